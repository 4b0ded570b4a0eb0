//! [`ensure_topology`]: streams, consumers and the bucket, made or brought up to date by an administrator.

use std::{fmt, time::Duration};

use super::{
    access::{Access, access_settings, check_queue},
    engine::Engine,
    error::{ClusterError, ClusterErrorKind},
    thread,
};

/// How long all of it may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The shortest lease: nodes renew it three times as often.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// The shortest age that can be set: below it the servers would forget what they have seen too soon to drop copies.
const SHORTEST_AGE: Duration = Duration::from_secs(60);

/// What the servers are to hold for a cluster: queues and their limits, results, dead letters.
///
/// Plain data for [`ensure_topology`]; clients and nodes need only servers, credentials and the prefix of it.
///
/// | setting | default | |
/// |---|---|---|
/// | [`prefix`](Self::prefix) | `heavylift` | all names begin with it |
/// | [`queues`](Self::queues) | `default` | one for each capability, as in `gpu` |
/// | [`replicas`](Self::replicas) | 1 | 3 or 5 survive the loss of 1 or 2 servers |
/// | [`lease`](Self::lease) | 30 s | a job whose node is silent for that long is run elsewhere |
/// | [`max_deliver`](Self::max_deliver) | 100 | how often a job is delivered at most, refusals included |
/// | [`queue_limit`](Self::queue_limit) | 100 000 | jobs in all queues together; more are refused as `Overloaded` |
/// | [`queue_bytes`](Self::queue_bytes) | 1 GiB | their bytes, payloads in the bucket not included |
/// | [`running_limit`](Self::running_limit) | 20 000 | jobs of one queue that run on all nodes together |
/// | [`request_limit`](Self::request_limit) | 16 384 | requests of nodes that wait at one queue |
/// | [`max_age`](Self::max_age) | 24 h | a job, or a payload, that is older is forgotten |
/// | [`results_max_age`](Self::results_max_age) | 15 min | so long may a client be away |
/// | [`results_bytes`](Self::results_bytes) | no limit | bytes of all results; beyond it the oldest are forgotten |
/// | [`dead_letters_max_age`](Self::dead_letters_max_age) | 7 days | |
/// | [`in_memory`](Self::in_memory) | no: in files | |
#[must_use = "a topology is nothing but data until `ensure_topology`"]
#[derive(Debug, Clone)]
pub struct Topology {
    pub(super) access: Access,
    pub(super) queues: Vec<String>,
    pub(super) replicas: usize,
    pub(super) lease: Duration,
    pub(super) max_deliver: u32,
    pub(super) queue_limit: u64,
    pub(super) queue_bytes: u64,
    pub(super) running_limit: u64,
    pub(super) request_limit: u64,
    pub(super) max_age: Duration,
    pub(super) results_max_age: Duration,
    pub(super) results_bytes: Option<u64>,
    pub(super) dead_letters_max_age: Duration,
    pub(super) storage: Storage,
}

/// Where the servers keep messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    Files,
    Memory,
}

access_settings!(Topology);

impl Topology {
    /// With the defaults, on these servers: `nats://host:4222` or `tls://host:4222`, of one cluster.
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            access: Access::new(servers),
            queues: vec!["default".to_owned()],
            replicas: 1,
            lease: Duration::from_secs(30),
            max_deliver: 100,
            queue_limit: 100_000,
            queue_bytes: 1 << 30,
            running_limit: 20_000,
            request_limit: 16_384,
            max_age: 24 * HOUR,
            results_max_age: HOUR / 4,
            results_bytes: None,
            dead_letters_max_age: 7 * 24 * HOUR,
            storage: Storage::Files,
        }
    }

    /// The queues, in place of `default`: names of 1 to 64 characters of `A-Z a-z 0-9 _ -`. Queues that are there and not named are left.
    pub fn queues<S: Into<String>>(mut self, queues: impl IntoIterator<Item = S>) -> Self {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// On how many servers everything is kept: 1, 3 or 5. Default: 1.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// For how long a job's node may be silent until the job is given to another: 1 s at least. Default: 30 s.
    ///
    /// Nodes renew it every third of that, however long a job runs. It is what a job waits for when its node is killed.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How often the servers deliver a job at most, refusals by nodes that do not know it included: 1 at least. Default: 100.
    ///
    /// How often a job is *run* is set where it is submitted.
    pub fn max_deliver(mut self, times: u32) -> Self {
        self.max_deliver = times;
        self
    }

    /// How many jobs all queues hold together, running ones included: 1 at least. Default: 100 000.
    pub fn queue_limit(mut self, jobs: u64) -> Self {
        self.queue_limit = jobs;
        self
    }

    /// How many bytes all queues hold together: 1 MiB at least. Default: 1 GiB.
    pub fn queue_bytes(mut self, bytes: u64) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// How many jobs of one queue run on all nodes together, at most: 1 at least, and as many as their nodes have slots. Default: 20 000.
    pub fn running_limit(mut self, jobs: u64) -> Self {
        self.running_limit = jobs;
        self
    }

    /// How many requests for jobs wait at one queue: 1 at least. A node has one for each queue while it is idle, and after a burst one for
    /// each slot for 2 s; one too many is refused, and comes again 250 ms later. Servers do not change it of a queue that is there. Default: 16 384.
    pub fn request_limit(mut self, requests: u64) -> Self {
        self.request_limit = requests;
        self
    }

    /// After how long a job, or a payload in the bucket, is forgotten: 60 s at least. Default: 24 h.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// After how long a result that nobody has taken is forgotten: 60 s at least. Default: 15 minutes.
    pub fn results_max_age(mut self, age: Duration) -> Self {
        self.results_max_age = age;
        self
    }

    /// How many bytes of results the servers keep, those that somebody has read included: 1 MiB at least. Default: as many as come within
    /// [`results_max_age`](Self::results_max_age).
    ///
    /// Beyond it the oldest are forgotten. Clients read within milliseconds what comes for them, so that costs a client its results only if
    /// it is away for as long as it takes the others to fill this. Values that are stored as objects are in the bucket, and do not count.
    pub fn results_bytes(mut self, bytes: u64) -> Self {
        self.results_bytes = Some(bytes);
        self
    }

    /// After how long a dead letter is forgotten: 60 s at least. Default: 7 days.
    pub fn dead_letters_max_age(mut self, age: Duration) -> Self {
        self.dead_letters_max_age = age;
        self
    }

    /// Keeps everything in the servers' memory: a server that ends forgets it. For tests.
    pub fn in_memory(mut self) -> Self {
        self.storage = Storage::Memory;
        self
    }

    fn check(&self) -> Result<(), ClusterError> {
        self.access.check()?;
        if self.queues.is_empty() {
            return Err(setting("`queues` must name at least one".to_owned()));
        }
        for queue in &self.queues {
            check_queue(queue)?;
        }
        if !matches!(self.replicas, 1 | 3 | 5) {
            return Err(setting(format!("`replicas` must be 1, 3 or 5, not {}", self.replicas)));
        }
        at_least("lease", self.lease, SHORTEST_LEASE)?;
        at_least("max_age", self.max_age, SHORTEST_AGE)?;
        at_least("results_max_age", self.results_max_age, SHORTEST_AGE)?;
        at_least("dead_letters_max_age", self.dead_letters_max_age, SHORTEST_AGE)?;
        let counts = [
            ("max_deliver", u64::from(self.max_deliver), 1),
            ("queue_limit", self.queue_limit, 1),
            ("queue_bytes", self.queue_bytes, 1 << 20),
            ("results_bytes", self.results_bytes.unwrap_or(1 << 20), 1 << 20),
            ("running_limit", self.running_limit, 1),
            ("request_limit", self.request_limit, 1),
        ];
        for (field, value, least) in counts {
            if value < least || i64::try_from(value).is_err() {
                return Err(setting(format!("`{field}` must be {least} to {}, not {value}", i64::MAX)));
            }
        }
        Ok(())
    }
}

fn at_least(field: &str, value: Duration, least: Duration) -> Result<(), ClusterError> {
    if value < least || i64::try_from(value.as_nanos()).is_err() {
        return Err(setting(format!(
            "`{field}` must be {least:?} at least and 292 years at most, not {value:?}"
        )));
    }
    Ok(())
}

fn setting(text: String) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Setting, text)
}

/// What [`ensure_topology`] has done: names of streams, and of consumers as `stream/consumer`.
///
/// `Display` says it in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopologyReport {
    created: Vec<String>,
    changed: Vec<String>,
    left: Vec<String>,
}

/// What was done about one stream or consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Created,
    Changed,
    Left,
}

impl TopologyReport {
    /// What was not there.
    pub fn created(&self) -> &[String] {
        &self.created
    }

    /// What was there with other settings.
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// What was as it must be.
    pub fn left(&self) -> &[String] {
        &self.left
    }

    pub(super) fn note(&mut self, name: String, done: Done) {
        match done {
            Done::Created => self.created.push(name),
            Done::Changed => self.changed.push(name),
            Done::Left => self.left.push(name),
        }
    }
}

impl fmt::Display for TopologyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("created", &self.created), ("changed", &self.changed), ("left as it was", &self.left)];
        let said = parts.iter().filter(|(_, names)| !names.is_empty());
        let said: Vec<_> = said.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
        f.write_str(&said.join("; "))
    }
}

/// Makes what a cluster needs at its servers, or brings it up to date, and says what it has done.
///
/// Idempotent: call it when a cluster is set up or its limits change, from one place. It needs an administrator's permissions, while clients and
/// nodes need none of them. What other settings streams have (placement, a description) is kept. May be awaited on any runtime.
///
/// # Errors
///
/// A setting is wrong; no server answers; the user is not permitted; or something is there that cannot be changed, such as a stream of that name
/// which does not keep a queue. Bounded: 30 s after connecting, though mostly done in a few milliseconds.
///
/// # Cancel safety
///
/// If it is dropped, it goes on by itself. Call it again to be sure.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), heavylift::cluster::ClusterError> {
/// use heavylift::cluster::{Topology, ensure_topology};
///
/// let topology = Topology::new(["nats://a:4222", "nats://b:4222", "nats://c:4222"]).queues(["default", "gpu"]).replicas(3);
/// println!("{}", ensure_topology(&topology).await?);
/// # Ok(())
/// # }
/// ```
pub async fn ensure_topology(topology: &Topology) -> Result<TopologyReport, ClusterError> {
    topology.check()?;
    let (topology, (answer, answered)) = (topology.clone(), tokio::sync::oneshot::channel());
    let other = |text: String| ClusterError::new(ClusterErrorKind::Other, text);
    let started = thread::start("heavylift-topology", move || async move {
        let _ = answer.send(ensure(&topology).await);
    });
    started.map_err(|error| other(format!("cannot start a thread: {error}")))?;
    let ended = |_| other("the thread that makes the topology has ended".to_owned());
    answered.await.map_err(ended)?
}

async fn ensure(topology: &Topology) -> Result<TopologyReport, ClusterError> {
    let engine = Engine::connect(&topology.access, "heavylift topology").await?;
    let done = tokio::time::timeout(TIME_LIMIT, engine.ensure(topology)).await;
    engine.close().await;
    let late = |_| {
        let text = format!("the servers have not made the topology within {TIME_LIMIT:?}");
        ClusterError::new(ClusterErrorKind::Unreachable, text)
    };
    done.map_err(late)?
}
