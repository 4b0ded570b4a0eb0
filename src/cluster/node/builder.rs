//! [`NodeBuilder`].

use std::{fmt, num::NonZeroUsize, time::Duration};

use super::{Node, NodeReport, serve};
use crate::{
    AnyExecutor, Executor, ProcessPool,
    cluster::{
        access::{Access, access_settings, check_queue},
        error::{ClusterError, ClusterErrorKind},
        registry,
    },
    panic::shield,
    pool::sealed::Pool,
};

/// Called with the node's name.
type OnServing = Box<dyn FnOnce(&str) + Send>;

/// Builds a [`Node`]. Made by [`Node::builder`].
#[must_use = "a node starts with `serve` or `start`"]
pub struct NodeBuilder {
    access: Access,
    queues: Vec<String>,
    slots: Option<usize>,
    pool: Option<AnyExecutor>,
    name: Option<String>,
    drain_timeout: Duration,
    max_payload: u64,
    on_serving: Option<OnServing>,
}

/// What a node is to be, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) access: Access,
    pub(super) queues: Vec<String>,
    pub(super) slots: usize,
    pub(super) pool: AnyExecutor,
    /// Whether the pool was made for this node, and ends with it.
    pub(super) owns_pool: bool,
    pub(super) name: String,
    pub(super) drain_timeout: Duration,
    pub(super) max_payload: u64,
}

access_settings!(NodeBuilder);

impl NodeBuilder {
    pub(super) fn new() -> Self {
        Self {
            access: Access::new(["nats://127.0.0.1:4222"]),
            queues: vec!["default".to_owned()],
            slots: None,
            pool: None,
            name: None,
            drain_timeout: Duration::from_secs(30),
            max_payload: 1 << 30,
            on_serving: None,
        }
    }

    /// The servers, as `nats://host:port` or `tls://host:port`; several of one cluster, of which any will do. Default:
    /// `nats://127.0.0.1:4222`.
    pub fn servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.access.servers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// The queues that it serves: what this machine can do, `gpu` or `bigmem`, say. Free slots go to the queues that have jobs, and none
    /// is left out. Default: `default` alone.
    pub fn queues<S: Into<String>>(mut self, queues: impl IntoIterator<Item = S>) -> Self {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// How many jobs it has at a time. Default: as many as its pool has workers at most.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = Some(slots);
        self
    }

    /// The pool that runs the jobs, on this machine. Default: a [`ProcessPool`] of its own with as many workers as slots, or as CPUs.
    ///
    /// On a [`ThreadPool`](crate::ThreadPool) a job cannot be killed, and one that crashes takes the node with it; its jobs then run again
    /// elsewhere. What is tokio's current runtime there is the node's own: a job puts nothing on it that computes. Other jobs of the pool take
    /// turns with those of the node. The pool is not shut down with the node; when it is shut down by
    /// others the node ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use heavylift::{Node, ThreadPool};
    ///
    /// let builder = Node::builder().pool(ThreadPool::cpu());
    /// ```
    pub fn pool(mut self, pool: impl Into<AnyExecutor>) -> Self {
        self.pool = Some(pool.into());
        self
    }

    /// What clients and the servers call it. Default: the host's name and the process id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long running jobs may go on after the node was told to end; then they are stopped and given back, for others to run. Default: 30 s.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// The largest result, in bytes; a larger one ends its task as [too large](crate::TaskErrorKind::TooLarge). What does not fit into half a
    /// message of the server goes through its object store. Default: 1 GiB.
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = bytes;
        self
    }

    /// Is called with the node's name once it serves: to tell a supervisor that it is ready. A panic in it is reported and hurts nobody.
    /// Default: nothing.
    pub fn on_serving(mut self, callback: impl FnOnce(&str) + Send + 'static) -> Self {
        self.on_serving = Some(Box::new(callback));
        self
    }

    /// Serves until the program is asked to end, by SIGTERM or SIGINT, and returns what the node has done.
    ///
    /// The first signal drains, the second stops what runs and gives it back, the third ends the program. From this call on the signals
    /// no longer end it at once, also once the node has ended: `main` must return by itself. Other listeners, such as
    /// [`shutdown_on_ctrl_c`](crate::shutdown_on_ctrl_c) or tokio's, hear them as well.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start). Once it serves nothing ends it but signals and the end of its pool: a lost connection is made again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the node drains in the background.
    #[cfg(unix)]
    pub async fn serve(self) -> Result<NodeReport, ClusterError> {
        let no_signals = |error| ClusterError::new(ClusterErrorKind::Other, format!("signals: {error}"));
        let mut ear = super::signals::hear().map_err(no_signals)?;
        let node = tokio::select! {
            node = self.start() => node?,
            () = ear.next() => return Ok(NodeReport::default()),
        };
        let mut ended = std::pin::pin!(node.ended());
        let mut mode = crate::Shutdown::Drain;
        loop {
            tokio::select! {
                report = &mut ended => return Ok(report),
                () = ear.next() => drop(node.shutdown(mode)),
            }
            mode = crate::Shutdown::Kill;
        }
    }

    /// Starts the node, and returns its handle once it serves. Listens to no signals.
    ///
    /// # Errors
    ///
    /// A setting is wrong, or a pool cannot be built ([`Setting`](ClusterErrorKind::Setting)); two functions have one name
    /// ([`Registration`](ClusterErrorKind::Registration)); no server answers within `connect_timeout`
    /// ([`Unreachable`](ClusterErrorKind::Unreachable), [`Tls`](ClusterErrorKind::Tls), [`Denied`](ClusterErrorKind::Denied)); streams or queues are
    /// missing ([`Topology`](ClusterErrorKind::Topology): call [`ensure_topology`](crate::cluster::ensure_topology)).
    ///
    /// # Cancel safety
    ///
    /// Dropped, the node does not start, or ends.
    pub async fn start(mut self) -> Result<Node, ClusterError> {
        registry::check().map_err(|why| ClusterError::new(ClusterErrorKind::Registration, why))?;
        let on_serving = self.on_serving.take();
        let node = serve::start(self.check()?).await?;
        if let Some(callback) = on_serving {
            shield(|| callback(node.name()));
        }
        Ok(node)
    }

    fn check(self) -> Result<Settings, ClusterError> {
        let wrong = |what: &str, why: &str| {
            Err(ClusterError::new(ClusterErrorKind::Setting, format!("`{what}` {why}")))
        };
        self.access.check()?;
        if self.queues.is_empty() {
            return wrong("queues", "must name at least one");
        }
        for (n, queue) in self.queues.iter().enumerate() {
            check_queue(queue)?;
            if self.queues[..n].contains(queue) {
                return wrong("queues", &format!("must name each once: {queue:?} is there twice"));
            }
        }
        if self.slots == Some(0) {
            return wrong("slots", "must be at least 1");
        }
        if self.max_payload == 0 {
            return wrong("max_payload", "must be at least 1");
        }
        let name = self.name.unwrap_or_else(default_name);
        if name.is_empty() || name.chars().any(char::is_control) {
            return wrong("name", &format!("must be a text without control characters, not {name:?}"));
        }
        let owns_pool = self.pool.is_none();
        let pool = match self.pool {
            Some(pool) if pool.kind() == "inline" => {
                return wrong(
                    "pool",
                    "must not be `Inline`, which would run jobs on the node's own thread: use a `ThreadPool`",
                );
            }
            Some(pool) if pool.kind() == "cluster" => {
                return wrong("pool", "must be one on this machine, not a `ClusterPool`");
            }
            Some(pool) => pool,
            None => own_pool(self.slots, self.max_payload)?,
        };
        let slots = self.slots.unwrap_or_else(|| pool.metrics().max_workers.max(1));
        let (access, queues) = (self.access, self.queues);
        let (drain_timeout, max_payload) = (self.drain_timeout, self.max_payload);
        Ok(Settings { access, queues, slots, pool, owns_pool, name, drain_timeout, max_payload })
    }
}

fn own_pool(slots: Option<usize>, max_payload: u64) -> Result<AnyExecutor, ClusterError> {
    // The result travels in an envelope of its own between the worker and the node.
    let builder = ProcessPool::builder().name("node").max_payload(max_payload.saturating_add(1 << 10));
    let builder = match slots.and_then(NonZeroUsize::new) {
        Some(slots) => builder.max_workers(slots.get()),
        None => builder,
    };
    let wrong =
        |error| ClusterError::new(ClusterErrorKind::Setting, format!("`pool` cannot be built: {error}"));
    Ok(builder.build().map_err(wrong)?.into())
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("access", &self.access)
            .field("queues", &self.queues)
            .field("slots", &self.slots)
            .field("pool", &self.pool)
            .field("name", &self.name)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

fn default_name() -> String {
    format!("{}-{}", host_name(), std::process::id())
}

#[cfg(target_os = "linux")]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(target_os = "linux"))]
fn host_name() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| "node".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inline, ThreadPool};

    #[test]
    fn a_wrong_setting_is_named() {
        let new = || Node::builder().pool(ThreadPool::cpu());
        let no: [&str; 0] = [];
        for (builder, named) in [
            (new().servers(no), "servers"),
            (new().prefix("a b"), "\"a b\""),
            (new().prefix(""), "prefix"),
            (new().queues(no), "queues"),
            (new().queues(["a.b"]), "\"a.b\""),
            (new().queues(["a", "b", "a"]), "twice"),
            (new().slots(0), "slots"),
            (new().max_payload(0), "max_payload"),
            (new().name("a\nb"), "name"),
            (Node::builder().pool(Inline::new()), "Inline"),
        ] {
            let error = builder.check().unwrap_err();
            assert_eq!(error.kind(), ClusterErrorKind::Setting);
            let text = error.to_string();
            assert!(text.starts_with('`') && text.contains(named), "{text}");
        }
    }

    #[test]
    fn slots_are_those_of_the_pool() {
        let pool = ThreadPool::builder().max_workers(7).build().unwrap();
        let settings = Node::builder().pool(&pool).check().unwrap();
        assert_eq!((settings.slots, settings.owns_pool), (7, false));
        assert!(settings.name.ends_with(&format!("-{}", std::process::id())), "{}", settings.name);
        assert_eq!(Node::builder().pool(&pool).slots(3).check().unwrap().slots, 3);
    }
}
