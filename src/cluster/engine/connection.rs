//! The connection: how it is made, kept and closed.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{Context, consumer::PullConsumer, context::ContextBuilder, object_store::ObjectStore},
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{Engine, TIME_LIMIT, errors, watch::Watch};
use crate::cluster::{
    access::{Access, Who},
    error::{ClusterError, ClusterErrorKind},
    names::Names,
};

/// How often a server that is not there yet is tried.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What all clones of an [`Engine`] share.
///
/// They share the client's handle as well: its own clones are several allocations each, and every message has some.
pub(super) struct Shared {
    client: Client,
    pub(super) context: Context,
    pub(super) names: Names,
    pub(super) watch: Arc<Watch>,
    /// The consumers that were asked for, by stream and name. No other lock is taken meanwhile.
    pub(super) consumers: Mutex<HashMap<String, PullConsumer>>,
    /// The bucket for payloads, asked for once.
    pub(super) payloads: Mutex<Option<ObjectStore>>,
    /// How many objects may be on their way at once.
    pub(super) transfers: Semaphore,
}

/// So that each is quick: all share the connection, and each has a time limit and takes memory.
const TRANSFERS: usize = 4;

impl Engine {
    /// Connects. Bounded by the access's limit; fails with the kind of error that it is: unreachable, TLS, denied.
    ///
    /// A server that is not there is tried again until the limit is over; one that refuses is not.
    pub(in crate::cluster) async fn connect(access: &Access, name: &str) -> Result<Self, ClusterError> {
        access.check()?;
        let end = Instant::now() + access.connect_timeout;
        let watch = Arc::new(Watch::new());
        let client = loop {
            let left = end.saturating_duration_since(Instant::now());
            let options = options(access, name, &watch).await?.connection_timeout(left.max(CONNECT_PAUSE));
            let error = match timeout(left, options.connect(&access.servers[..])).await {
                Ok(Ok(client)) => break client,
                Ok(Err(error)) => errors::connecting(&error, &access.servers),
                Err(_) => errors::no_answer(&access.servers, access.connect_timeout),
            };
            let over = Instant::now() + CONNECT_PAUSE >= end;
            if over || error.kind() != ClusterErrorKind::Unreachable {
                return Err(error);
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        };
        // The event comes by another task: whoever waits for the next connection must not be woken by this one.
        let mut connections = watch.connections.subscribe();
        let _ = timeout(TIME_LIMIT, connections.wait_for(|count| *count > 0)).await;
        let context = ContextBuilder::new().timeout(TIME_LIMIT).build(client.clone());
        let shared = Shared {
            client,
            context,
            names: Names::new(&access.prefix),
            watch,
            consumers: Mutex::default(),
            payloads: Mutex::default(),
            transfers: Semaphore::new(TRANSFERS),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(in crate::cluster) fn names(&self) -> &Names {
        &self.shared.names
    }

    /// The largest message, headers included, in bytes.
    pub(in crate::cluster) fn max_message(&self) -> u64 {
        self.client().max_payload() as u64
    }

    /// Counts how often it has connected: changes at each reconnection.
    pub(in crate::cluster) fn connections(&self) -> watch::Receiver<u64> {
        self.shared.watch.connections.subscribe()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client().connection_state() == async_nats::connection::State::Connected
    }

    /// The last that the server has complained of: a permission, for one.
    #[cfg(test)]
    pub(in crate::cluster) fn complaint(&self) -> Option<String> {
        self.shared.watch.last()
    }

    /// Sends what is buffered, and closes. Bounded by [`TIME_LIMIT`].
    pub(in crate::cluster) async fn close(&self) {
        let mut closed = self.shared.watch.closed.subscribe();
        let client = self.client();
        let closing = async {
            let _ = client.flush().await;
            let _ = client.drain().await;
            let _ = closed.wait_for(|closed| *closed).await;
        };
        let _ = timeout(TIME_LIMIT, closing).await;
    }

    /// Whether the connection was closed for good.
    pub(super) fn closed(&self) -> watch::Receiver<bool> {
        self.shared.watch.closed.subscribe()
    }

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }
}

async fn options(access: &Access, name: &str, watch: &Arc<Watch>) -> Result<ConnectOptions, ClusterError> {
    let watch = Arc::clone(watch);
    let mut options = ConnectOptions::new()
        .name(name)
        .ping_interval(Duration::from_secs(10))
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            watch.on(event);
            std::future::ready(())
        });
    options = match &access.credentials.0 {
        Who::Anybody => options,
        Who::User { name, password } => options.user_and_password(name.clone(), password.clone()),
        Who::Nkey { seed } => options.nkey(seed.clone()),
        Who::File(path) => options.credentials_file(path).await.map_err(|error| {
            let text = format!("credentials file {} cannot be used: {error}", path.display());
            ClusterError::new(ClusterErrorKind::Setting, text)
        })?,
    };
    let Some(tls) = &access.tls else { return Ok(options) };
    for path in tls.roots.iter().chain(tls.client.iter().flat_map(|(certificate, key)| [certificate, key])) {
        // The library does not say which one it is.
        std::fs::File::open(path).map_err(|error| {
            let text = format!("file {} for TLS cannot be read: {error}", path.display());
            ClusterError::new(ClusterErrorKind::Tls, text)
        })?;
    }
    options = options.require_tls(true);
    if let Some(roots) = &tls.roots {
        options = options.add_root_certificates(roots.clone());
    }
    if let Some((certificate, key)) = &tls.client {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// At once, then soon, then some four times a second; with jitter, so that a thousand programs do not come back in step.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let most = 1_u64 << attempts.min(8);
    let jitter = RandomState::new().build_hasher().finish() % (most / 2 + 1);
    Duration::from_millis(most.min(250) + jitter)
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connections = *self.shared.watch.connections.borrow();
        f.debug_struct("Engine").field("connections", &connections).finish_non_exhaustive()
    }
}
