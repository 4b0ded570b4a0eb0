//! [`PoolEvidence`]: the numbers behind a finding.

use std::{fmt, time::Duration};

use super::PoolRule;

/// The numbers behind a finding. Shares are of 1.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PoolEvidence {
    /// For [`PoolRule::TooSmall`].
    #[non_exhaustive]
    TooSmall {
        /// How often jobs were handed over.
        hand_overs: u64,
        /// How long what was handed over at a time ran, on average.
        run_time: Duration,
        /// What a hand-over costs on a typical machine while jobs come in quick succession.
        hand_over: Duration,
    },
    /// For [`PoolRule::Oversubscribed`].
    #[non_exhaustive]
    Oversubscribed {
        /// Processors that the program may use.
        cores: usize,
        /// The most workers that there were at a time.
        most_workers: usize,
        /// The share of the run time that belongs to jobs that compute.
        computing: f64,
        /// How much of a core such a job had while it ran.
        cpu_share: f64,
    },
    /// For [`PoolRule::TooFewWorkers`] and [`PoolRule::Saturated`].
    #[non_exhaustive]
    Queue {
        /// How long jobs waited before they began, on average.
        wait: Duration,
        /// How long they ran, on average.
        run_time: Duration,
        /// How many workers there may be.
        max_workers: usize,
        /// With how many workers these jobs would use all cores; `None` where it is not known what they do.
        useful_workers: Option<usize>,
    },
    /// For [`PoolRule::TooManyWorkers`].
    #[non_exhaustive]
    Idle {
        /// Workers that are there.
        workers: usize,
        /// Those of them that never had a job.
        unused_workers: usize,
        /// Workers that there were on average.
        mean_workers: f64,
        /// Workers that had a job on average.
        mean_busy: f64,
    },
    /// For [`PoolRule::Payload`].
    #[non_exhaustive]
    Payload {
        /// Bytes of arguments of more than 2 KiB, per job.
        argument_bytes: u64,
        /// Bytes of results of more than 2 KiB, per job.
        result_bytes: u64,
        /// How long it took to encode, copy and decode them, per job and on both sides.
        time: Duration,
        /// The share of that in all the time that jobs took.
        share: f64,
    },
    /// For [`PoolRule::Mixed`].
    #[non_exhaustive]
    Mixed {
        /// Jobs that mostly waited, of those that were measured.
        waiting_jobs: u64,
        /// The share of the time that belongs to them, as if all that compute had a core each.
        waiting: f64,
        /// Jobs that mostly computed.
        computing_jobs: u64,
        /// The share of the time that belongs to them, likewise.
        computing: f64,
    },
}

impl PoolEvidence {
    /// Whether more workers would help.
    pub(super) fn is_short_of_workers(&self) -> bool {
        matches!(self, Self::Queue { max_workers, useful_workers, .. } if useful_workers.is_none_or(|useful| useful > *max_workers))
    }

    /// The rule that it is for.
    pub(super) fn rule(&self) -> PoolRule {
        match self {
            Self::TooSmall { .. } => PoolRule::TooSmall,
            Self::Oversubscribed { .. } => PoolRule::Oversubscribed,
            Self::Queue { .. } if self.is_short_of_workers() => PoolRule::TooFewWorkers,
            Self::Queue { .. } => PoolRule::Saturated,
            Self::Idle { .. } => PoolRule::TooManyWorkers,
            Self::Payload { .. } => PoolRule::Payload,
            Self::Mixed { .. } => PoolRule::Mixed,
        }
    }
}

impl fmt::Display for PoolEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { hand_overs, run_time, hand_over } => write!(
                f,
                "what is handed over runs for {run_time:.1?}, and to hand it over takes about {hand_over:.1?} ({hand_overs} times so far)"
            ),
            Self::Oversubscribed { cores, most_workers, computing, cpu_share } => write!(
                f,
                "up to {most_workers} workers on {cores} cores: jobs that compute ({} of the run time) had {} of a core",
                Percent(*computing),
                Percent(*cpu_share)
            ),
            Self::Queue { wait, run_time, max_workers, useful_workers } => {
                write!(
                    f,
                    "jobs wait for {wait:.1?} and run for {run_time:.1?}, with at most {max_workers} workers"
                )?;
                match useful_workers {
                    Some(useful) => write!(f, "; {useful} of them use all cores"),
                    None => Ok(()),
                }
            }
            Self::Idle { workers, unused_workers, mean_workers, mean_busy } => write!(
                f,
                "{workers} workers, {unused_workers} of which never had a job; on average {mean_busy:.2} of {mean_workers:.1} were busy"
            ),
            Self::Payload { argument_bytes, result_bytes, time, share } => write!(
                f,
                "a job takes {} and returns {}: to carry them takes {time:.1?}, {} of all",
                Bytes(*argument_bytes),
                Bytes(*result_bytes),
                Percent(*share)
            ),
            Self::Mixed { waiting_jobs, waiting, computing_jobs, computing } => write!(
                f,
                "{waiting_jobs} jobs waited ({} of the time) and {computing_jobs} computed ({})",
                Percent(*waiting),
                Percent(*computing)
            ),
        }
    }
}

/// A share of 1.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} %", self.0 * 100.0)
    }
}

struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as f64 / 1024.0 {
            kib if kib < 1024.0 => write!(f, "{kib:.0} KiB"),
            kib => write!(f, "{:.1} MiB", kib / 1024.0),
        }
    }
}
