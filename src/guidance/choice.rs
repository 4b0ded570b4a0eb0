//! [`Choice`]: where a job goes.

use std::fmt;

/// Where a job goes: an executor, or what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Choice {
    /// No executor: `.await` the future where it is, or `tokio::spawn` it.
    Await,
    /// The calling thread, at once: a plain call, or [`Inline`](struct@crate::Inline) behind an [`Executor`](crate::Executor).
    Inline,
    /// Threads for calls that wait: [`ThreadPool::global`](crate::ThreadPool::global), or a pool of the size that is advised.
    Threads,
    /// As many threads as cores: [`ThreadPool::cpu`](crate::ThreadPool::cpu).
    Cpu,
    /// A rayon pool, for one job that splits its own data: `run_in_rayon` (feature `rayon`), or rayon inside a job of
    /// [`ThreadPool::cpu`](crate::ThreadPool::cpu).
    Rayon,
    /// Child processes: [`ProcessPool`](crate::ProcessPool).
    Processes,
    /// A named thread of its own, [`std::thread::Builder`], for what never ends.
    Thread,
    /// Other machines: `ClusterPool` (feature `nats`), for what takes longer here than is [allowed](crate::Profile::within).
    Cluster,
}

impl Choice {
    /// The name as it is printed: `await`, `inline`, `threads`, `cpu`, `rayon`, `processes`, `thread` or `cluster`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Await => "await",
            Self::Inline => "inline",
            Self::Threads => "threads",
            Self::Cpu => "cpu",
            Self::Rayon => "rayon",
            Self::Processes => "processes",
            Self::Thread => "thread",
            Self::Cluster => "cluster",
        }
    }

    /// How to write it.
    pub(super) fn how(self) -> &'static str {
        match self {
            Self::Await => "`.await` it",
            Self::Inline => "call it",
            Self::Threads => "`ThreadPool`, elastic",
            Self::Cpu => "`ThreadPool::cpu()`",
            Self::Rayon => "rayon: `run_in_rayon`, or inside a job of `ThreadPool::cpu()`",
            Self::Processes => "`ProcessPool`",
            Self::Thread => "a named `std::thread` of its own",
            Self::Cluster => "`ClusterPool`",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
