//! [`Machine`]: what a hand-off costs here.

use std::time::Duration;

/// What a hand-off to an executor costs, beyond the job itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HandOff {
    /// A single job, from the call to its result, while jobs come in quick succession.
    pub round_trip: Duration,
    /// A single job after a pause, when whoever is to run it sleeps.
    pub after_pause: Duration,
    /// Each of many jobs that are started at once.
    pub per_job: Duration,
    /// Each of many jobs that `map` sends in chunks.
    pub per_item: Duration,
}

impl HandOff {
    pub(super) const fn from_nanos(round_trip: u64, after_pause: u64, per_job: u64, per_item: u64) -> Self {
        Self {
            round_trip: Duration::from_nanos(round_trip),
            after_pause: Duration::from_nanos(after_pause),
            per_job: Duration::from_nanos(per_job),
            per_item: Duration::from_nanos(per_item),
        }
    }
}

/// What a machine can do and what hand-offs cost on it, as plain data: for [`advise`](super::advise).
///
/// [`typical`](Self::typical) needs nothing, [`measure`](Self::measure) calibrates in less than 300 ms. All fields may be changed,
/// for instance to ask about another machine.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Machine {
    /// Processors that the program may use: affinity and cgroup quota are heeded.
    pub cores: usize,
    /// How many threads [`ThreadPool::global`](crate::ThreadPool::global) has at most.
    pub max_threads: usize,
    /// A job on the calling thread, behind [`Inline`](struct@crate::Inline); a plain call costs nothing.
    pub inline: Duration,
    /// An elastic thread pool.
    pub threads: HandOff,
    /// A thread pool with as many workers as cores.
    pub cpu: HandOff,
    /// A rayon pool. `None` without the feature `rayon`.
    pub rayon: Option<HandOff>,
    /// A process pool, with arguments and results of a few bytes. `None` where there are none.
    pub processes: Option<HandOff>,
    /// What each MiB costs more that crosses into a process or back, encoding aside.
    pub process_per_mib: Duration,
    /// A pool of other machines, over NATS with JetStream, next door. Never measured: assumed as
    /// in docs/choosing.md. `None` without the feature `nats`.
    pub cluster: Option<HandOff>,
    /// What each MiB costs more that goes to another machine or comes back, over a network of 1 Gbit/s and through a server that keeps it.
    pub cluster_per_mib: Duration,
    /// Bytes per second that one core copies within memory.
    pub memory_bandwidth: f64,
    /// Whether this was measured here.
    pub is_measured: bool,
}

impl Machine {
    /// Returns a machine with the cores of this one and the costs of a typical one, as measured on a virtual machine of two cores
    /// (README, "Measured"). Costs nothing and starts nothing.
    pub fn typical() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cores,
            max_threads: cores.saturating_mul(4).max(32),
            inline: Duration::from_nanos(250),
            threads: HandOff::from_nanos(1_500, 45_000, 300, 45),
            cpu: HandOff::from_nanos(1_500, 45_000, 300, 45),
            rayon: cfg!(feature = "rayon").then_some(HandOff::from_nanos(2_600, 45_000, 1_000, 1_000)),
            processes: cfg!(target_os = "linux").then_some(HandOff::from_nanos(1_500, 60_000, 800, 60)),
            process_per_mib: Duration::from_micros(280),
            cluster: cfg!(feature = "nats").then_some(HandOff::from_nanos(500_000, 500_000, 85_000, 85_000)),
            cluster_per_mib: Duration::from_millis(20),
            memory_bandwidth: 6.5e9,
            is_measured: false,
        }
    }
}
