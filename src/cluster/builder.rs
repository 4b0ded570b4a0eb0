//! [`ClusterPoolBuilder`]: how a pool of a cluster is set up, and connects.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    process,
    sync::OnceLock,
    thread,
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    ClusterError, ClusterErrorKind, ClusterPool, Delivery,
    access::{Access, access_settings, check_queue},
    client, registry,
    shared::{Setup, Shared},
    thread as client_thread,
};
use crate::task::{assert_may_block, block_on};

/// No server keeps a job for longer.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Sets up a [`ClusterPool`].
///
/// Made by [`ClusterPool::builder`]. What is not set has its default.
///
/// # Examples
///
/// Needs a server: see [`ClusterPool`].
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use heavylift::ClusterPool;
///
/// let pool = ClusterPool::builder()
///     .servers(["nats://10.0.0.1:4222", "nats://10.0.0.2:4222"])
///     .queue("gpu")
///     .in_flight(64)
///     .run_timeout(Duration::from_secs(60))
///     .deadline(Duration::from_secs(600))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `connect`"]
#[derive(Debug, Clone)]
pub struct ClusterPoolBuilder {
    access: Access,
    name: String,
    queue: String,
    delivery: Delivery,
    in_flight: usize,
    queue_limit: Option<usize>,
    retries: u32,
    queue_timeout: Option<Duration>,
    run_timeout: Option<Duration>,
    deadline: Duration,
    refusal_timeout: Duration,
    max_payload: u64,
}

impl ClusterPoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            access: Access::new(["nats://127.0.0.1:4222"]),
            name: super::pool::NAME.to_owned(),
            queue: "default".to_owned(),
            delivery: Delivery::default(),
            in_flight: 1024,
            queue_limit: None,
            retries: 4,
            queue_timeout: None,
            run_timeout: None,
            deadline: LONGEST_DEADLINE,
            refusal_timeout: Duration::from_secs(10),
            max_payload: 1 << 30,
        }
    }
}

access_settings!(ClusterPoolBuilder);

impl ClusterPoolBuilder {
    /// Which servers to connect to, as `nats://host:port` or `tls://host:port`: to any of them, and to another when that is lost.
    /// Default: `nats://127.0.0.1:4222`.
    pub fn servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.access.servers = servers.into_iter().map(Into::into).collect();
        self
    }
}

/// How jobs are handed out.
impl ClusterPoolBuilder {
    /// Names the pool, in messages and to the servers. Default: `cluster`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Which queue jobs go to: only nodes that serve it run them. 1 to 64 of `A-Z a-z 0-9 _ -`. Default: `default`.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// What is promised of a job when something is lost on the way: see [`Delivery`], and read it before you change this. Default:
    /// [`Delivery::AtLeastOnce`].
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// How many jobs may be published and not answered. What is beyond waits in this program, by [`Priority`](crate::Priority): a job
    /// that is in the queue of the servers is overtaken by none. Default: 1024.
    ///
    /// This is [`max_workers`](crate::Metrics::max_workers) of a cluster pool, whatever the number of nodes.
    pub fn in_flight(mut self, jobs: usize) -> Self {
        self.in_flight = jobs;
        self
    }

    /// Limits the number of jobs that wait in this program: the pool has room for `in_flight` jobs, and so many more. On a full pool `run`
    /// fails, `try_run` hands the job back and `submit` waits. Default: no limit.
    ///
    /// The queue of the servers has a limit of its own, for all programs together: see [`Topology::queue_limit`](super::Topology::queue_limit). A job that does not fit into it is
    /// [`Overloaded`](crate::TaskErrorKind::Overloaded), too.
    pub fn queue_limit(mut self, queue_limit: usize) -> Self {
        self.queue_limit = Some(queue_limit);
        self
    }

    /// How often a job is run again after its worker process, or the whole node, has died under it, unless the job has a number of its own:
    /// see [`Job::retry`](crate::Job::retry), where 0 means this. After that it is a dead letter, and its task fails as
    /// [`WorkerDied`](crate::TaskErrorKind::WorkerDied). Default: 4.
    ///
    /// A job that is lost with its node, or on its way to one, counts as run, as nobody knows. So with 0 it may become a dead letter, and its task
    /// [`Unavailable`](crate::TaskErrorKind::Unavailable), without a run.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Limits the time that a job may wait before it begins, unless the job has a limit of its own: see
    /// [`Job::queue_timeout`](crate::Job::queue_timeout). Default: no limit but the [`deadline`](Self::deadline).
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// Limits the time that a job may run, unless the job has a limit of its own: see
    /// [`Job::run_timeout`](crate::Job::run_timeout). The node keeps it. Default: no limit but the [`deadline`](Self::deadline).
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.run_timeout = Some(limit);
        self
    }

    /// Limits the whole time of a job, from its submission to its result, all runs included: after that its task is
    /// [`TimedOut`](crate::TaskErrorKind::TimedOut), and the job is stopped wherever it is. Also bounds for how long a job is held when
    /// no server or no node is there. At most 24 h, which is the default; and at most `max_age` of the `Topology`, after which the servers forget it.
    ///
    /// Tasks end by the clock of this program. Nodes go by their own, and do not begin what is late by more than 5 s, nor what is so late for its
    /// [`queue_timeout`](Self::queue_timeout): so let the clocks of the machines be synchronised.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// For how long a job is offered to other nodes after one has said that it does not have its function, or has another version of it:
    /// after that its task is [`Unavailable`](crate::TaskErrorKind::Unavailable). Long enough for a rolling upgrade to bring a node that has
    /// it. While jobs of this pool with the same function run, or have run within that time, it waits on: then nodes are there that
    /// have it, and are busy. Default: 10 s.
    pub fn refusal_timeout(mut self, limit: Duration) -> Self {
        self.refusal_timeout = limit;
        self
    }

    /// The largest argument and the largest result, in bytes as encoded: what is larger fails as
    /// [`TooLarge`](crate::TaskErrorKind::TooLarge). What is larger than 512 KiB, or than half of what the servers take as one message,
    /// travels as an object of their store. Default: 1 GiB.
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = bytes;
        self
    }
}

/// To connect.
impl ClusterPoolBuilder {
    /// Connects, and returns the pool once the server has agreed to all that it needs.
    ///
    /// Can be awaited on any runtime, and by any executor: the pool has a thread of its own.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]: a setting is wrong (the message names it and what is allowed), two functions of this program have one name, no
    /// server answers within `connect_timeout`, the server does not know this user or does not permit something, TLS fails, or the
    /// streams are missing (see [`ensure_topology`](super::ensure_topology)).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the connection is closed.
    pub async fn connect(self) -> Result<ClusterPool, ClusterError> {
        self.check()?;
        let (setup, access) = self.split();
        let (events, incoming) = mpsc::unbounded_channel();
        let shared = Shared::new(setup, events);
        let (ready, connected) = oneshot::channel();
        let thread = format!("{}-client", shared.setup.name);
        let for_client = shared.clone();
        let started = client_thread::start(&thread, move || client::run(for_client, access, incoming, ready));
        started.map_err(|error| other(format!("the thread of the pool does not start: {error}")))?;
        match connected.await {
            Ok(outcome) => outcome.map(|()| ClusterPool::of(shared)),
            Err(_) => Err(other("the thread of the pool has ended before it was connected".to_owned())),
        }
    }

    /// As [`connect`](Self::connect), blocking this thread. Needs no runtime.
    ///
    /// # Errors
    ///
    /// As `connect`.
    ///
    /// # Panics
    ///
    /// On a thread that drives async tasks, and inside `on_done`.
    #[track_caller]
    pub fn blocking_connect(self) -> Result<ClusterPool, ClusterError> {
        assert_may_block();
        block_on(self.connect(), None).expect("a wait without a deadline ends with an outcome")
    }

    fn check(&self) -> Result<(), ClusterError> {
        self.access.check()?;
        check_queue(&self.queue)?;
        if self.name.is_empty() {
            return Err(setting("name", "must not be empty"));
        }
        let numbers = [
            ("in_flight", self.in_flight as u64),
            ("queue_limit", self.queue_limit.map_or(1, |limit| limit as u64)),
            ("max_payload", self.max_payload),
        ];
        if let Some((field, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
            return Err(setting(field, "must be at least 1"));
        }
        let limits = [("queue_timeout", self.queue_timeout), ("run_timeout", self.run_timeout)];
        let bounded = [
            ("connect_timeout", self.access.connect_timeout),
            ("deadline", self.deadline),
            ("refusal_timeout", self.refusal_timeout),
        ];
        if let Some((field, time)) = bounded.into_iter().find(|(_, time)| *time > LONGEST_DEADLINE) {
            return Err(setting(field, &format!("must be at most 24 h, not {time:?}")));
        }
        let mut times = bounded.map(|(field, time)| (field, Some(time))).into_iter().chain(limits);
        if let Some((field, _)) = times.find(|(_, time)| *time == Some(Duration::ZERO)) {
            return Err(setting(field, "must be longer than 0"));
        }
        registry::check().map_err(|why| ClusterError::new(ClusterErrorKind::Registration, why))
    }

    fn split(self) -> (Setup, Access) {
        let setup = Setup {
            name: self.name,
            client: new_client(),
            queue: self.queue,
            delivery: self.delivery,
            in_flight: self.in_flight,
            queue_limit: self.queue_limit,
            retries: self.retries,
            queue_timeout: self.queue_timeout,
            run_timeout: self.run_timeout,
            asked_deadline: self.deadline,
            kept_for: OnceLock::new(),
            refusal_timeout: self.refusal_timeout,
            max_payload: self.max_payload,
        };
        (setup, self.access)
    }
}

fn setting(field: &str, why: &str) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Setting, format!("`{field}` {why}"))
}

fn other(why: String) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Other, why)
}

/// What no other pool is called, of this program or any other: 128 bits, whose keys are random.
fn new_client() -> String {
    let who = (process::id(), SystemTime::now(), thread::current().id());
    // Two hashers of one thread differ, too.
    let [high, low] = [(); 2].map(|()| RandomState::new().hash_one(who));
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> ClusterPoolBuilder {
        ClusterPoolBuilder::new().servers(["nats://127.0.0.1:1"])
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_is_allowed() {
        let day = Duration::from_secs(86_400);
        let table = [
            (builder().name(""), "`name` must not be empty"),
            (builder().in_flight(0), "`in_flight` must be at least 1"),
            (builder().queue_limit(0), "`queue_limit` must be at least 1"),
            (builder().max_payload(0), "`max_payload` must be at least 1"),
            (builder().run_timeout(Duration::ZERO), "`run_timeout` must be longer than 0"),
            (builder().deadline(Duration::ZERO), "`deadline` must be longer than 0"),
            (builder().deadline(2 * day), "`deadline` must be at most 24 h, not 172800s"),
        ];
        for (builder, message) in table {
            let error = builder.check().unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ClusterErrorKind::Setting, message));
        }
        for (builder, field) in [
            (builder().servers([""; 0]), "`servers`"),
            (builder().prefix("a.b"), "`prefix`"),
            (builder().queue(""), "`queue`"),
        ] {
            assert!(builder.check().unwrap_err().to_string().starts_with(field));
        }
        builder().check().unwrap();
    }

    #[test]
    fn no_two_pools_have_one_name_to_the_servers() {
        let names: std::collections::HashSet<String> = (0..1000).map(|_| new_client()).collect();
        assert_eq!((names.len(), names.iter().all(|name| name.len() == 32)), (1000, true));
    }
}
