//! [`Serve`], [`Listening`]: the dashboard as a server of its own.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use axum::{
    extract::Request,
    http::{StatusCode, header::HOST},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::{
    net::{TcpListener, ToSocketAddrs, lookup_host},
    sync::oneshot,
};

use super::{audience::Audience, pools::Pools, routes};

/// Serves the dashboard on an address of its own, on loopback.
///
/// What it returns is to be awaited, and then serves for ever: give it a task of its own. [`listen`](Serve::listen) first to learn the
/// address, for instance of port 0. It needs a tokio runtime with I/O.
///
/// Names and errors of jobs can be read there, so by default only this machine is let in: an address that is not one of loopback is
/// an error, and a request that names another host is answered with 403, as it comes from a page elsewhere whose name was
/// pointed at this machine (DNS rebinding). [`allow_remote`](Serve::allow_remote) lifts both.
///
/// # Errors
///
/// When awaited: the address cannot be resolved or listened on; `InvalidInput` if it is not one of loopback.
///
/// # Cancel safety
///
/// Dropped, it stops to listen, and its connections are ended: open pages say that they are disconnected. Nothing is lost but what the
/// pages were being sent. A task that awaits it is to be aborted for that; to drop its handle lets it go on.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::dashboard;
///
/// // On a task of its own, since awaiting it never returns.
/// tokio::spawn(dashboard::serve("127.0.0.1:8787").into_future());
/// // … what the program is for
/// # }
/// ```
///
/// An error, such as an address that is taken, ends the task above in silence. [`listen`](Serve::listen) tells it before anything is served.
pub fn serve<A: ToSocketAddrs>(address: A) -> Serve<A> {
    Serve { address, reach: Reach::Loopback }
}

/// A server for the dashboard that has not begun. From [`serve`].
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<A> {
    address: A,
    reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Loopback,
    Anywhere,
}

impl<A: ToSocketAddrs> Serve<A> {
    /// Serves others than this machine as well, without asking who they are, and in clear.
    ///
    /// Whoever reaches the address reads names and errors of jobs. Behind a proxy that asks who it is, this is also what lets the name of
    /// the proxy in.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// use heavylift::dashboard;
    ///
    /// assert!(dashboard::serve("0.0.0.0:0").listen().await.is_err());
    /// let listening = dashboard::serve("0.0.0.0:0").allow_remote().listen().await?;
    /// # drop(listening);
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow_remote(mut self) -> Self {
        self.reach = Reach::Anywhere;
        self
    }

    /// Takes the address, and returns what serves there once it is awaited.
    ///
    /// # Errors
    ///
    /// The address cannot be resolved or listened on; `InvalidInput` if it is not one of loopback.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not taken the address.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let dashboard = heavylift::dashboard::serve("127.0.0.1:0").listen().await?;
    /// println!("http://{}", dashboard.address());
    /// tokio::spawn(dashboard.into_future());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn listen(self) -> io::Result<Listening> {
        let addresses: Vec<SocketAddr> = lookup_host(self.address).await?.collect();
        let remote = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let (Some(remote), Reach::Loopback) = (remote, self.reach) {
            let reason =
                format!("{remote} is not an address of loopback: others could read it, see `allow_remote`");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let listener = TcpListener::bind(&addresses[..]).await?;
        let address = listener.local_addr()?;
        Ok(Listening { listener, address, reach: self.reach })
    }
}

impl<A: ToSocketAddrs + Send + 'static> IntoFuture for Serve<A>
where
    A::Future: Send,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.listen().await?.await })
    }
}

impl<A> fmt::Debug for Serve<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// A server for the dashboard that has its address, and answers once it is awaited. From [`Serve::listen`].
///
/// # Errors
///
/// Awaited, it ends with an error of the system only.
///
/// # Cancel safety
///
/// Dropped, awaited or not, it stops to listen, gives the address back, and its connections are ended, as with [`serve`].
#[derive(Debug)]
#[must_use = "a server does nothing unless awaited"]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    reach: Reach,
}

impl Listening {
    /// Returns the address, with the port that was chosen if it was to be any.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn serve(self) -> io::Result<()> {
        let audience = Arc::new(Audience::new(Pools::new()));
        let mut router = routes::router(audience.clone());
        if self.reach == Reach::Loopback {
            router = router.layer(middleware::from_fn(only_for_this_machine));
        }
        let (open, closed) = oneshot::channel();
        // Dropped together with this future, it ends what axum has given tasks of their own: the open pages, and idle connections.
        let _end = End { audience, _open: open };
        axum::serve(self.listener, router).with_graceful_shutdown(async { drop(closed.await) }).await
    }
}

impl IntoFuture for Listening {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.serve())
    }
}

struct End {
    audience: Arc<Audience>,
    _open: oneshot::Sender<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.audience.close();
    }
}

async fn only_for_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    // A browser always says which host it means.
    if host.is_none_or(is_this_machine) {
        return next.run(request).await;
    }
    let reason = "the dashboard is for this machine: ask for it by localhost, or see `allow_remote`\n";
    (StatusCode::FORBIDDEN, reason).into_response()
}

/// Whether a `Host` header names loopback.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_machine_only_by_a_name_that_can_be_nothing_else() {
        for host in
            ["localhost", "LOCALHOST:80", "a.localhost:1", "127.0.0.1:8787", "127.1.2.3", "[::1]:80", "[::1]"]
        {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com:80",
            "10.0.0.1",
            "0.0.0.0:80",
            "[::]:80",
            "127.0.0.1.example",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
