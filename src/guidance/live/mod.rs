//! [`PoolAdvice`]: what should be changed about a pool, as far as its own metrics tell.

mod decide;
mod evidence;
mod rule;

use std::{fmt, time::Duration};

pub use evidence::PoolEvidence;
pub use rule::PoolRule;

use self::decide::{ENOUGH_JOBS, ENOUGH_TIME, Setting, findings, is_enough};
use crate::{Metrics, ProcessPool, ThreadPool, pool::sealed::Pool};

/// What should be changed about a pool, as far as its own metrics tell.
///
/// From [`ThreadPool::advice`] and [`ProcessPool::advice`]. Plain data; printed, it is a few lines for people.
///
/// All figures are of the whole life of the pool: advice changes slowly when a program begins to do something else. It takes a hundred
/// jobs and a second before anything is said at all.
///
/// # The rules
///
/// | id | when | evidence | change |
/// |---|---|---|---|
/// | `L1-too-small` | what is handed over at a time runs for less than the hand-over takes: 1.5 µs, a round trip to a worker that is awake (to one that sleeps it takes 50 µs); for processes 3 µs, for their run time has decoding and encoding in it | number of hand-overs, mean run time of each, cost of one | run it where you are, or hand over many at a time: `map` with `chunk_size` |
/// | `L2-oversubscribed` | half of the run time or more belongs to jobs that compute, these had less than three quarters of a core each, and more workers than cores have had jobs, of as many that there were at a time | cores, most workers at a time, share of computing jobs, their share of a core | `ThreadPool::cpu()`, or as many workers as cores |
/// | `L3-too-few-workers` | jobs wait longer than they run, on average and in the median, and for 100 µs at least; the pool has as many workers as it may have; and with these jobs the cores are not used up | mean wait and run time, workers allowed, workers that would use all cores | `resize` |
/// | `L4-too-many-workers` | two workers or more of `min_workers`, and a quarter of all, have never had a job; or, for processes, which stay by default, workers have been busy for less than 5 % of their time, ten minutes long | workers, unused ones, how many there were and were busy on average | `min_workers`; for processes `idle_timeout` |
/// | `L5-payload` | arguments and results have 64 KiB or more per job, and to encode, copy and decode them takes half or more of all the time that jobs take | bytes per job each way, time for them, its share | `Shared`, `SharedBytes` |
/// | `L6-mixed` | a fifth of the time or more belongs to jobs that wait, as much to jobs that compute (the latter counted as if each had a core), and there were ten of each | number and share of either | a pool for each kind |
/// | `L7-saturated` | as `L3`, but the jobs use all cores with the workers that there are | as for `L3` | `queue_limit` with `submit`; fewer or smaller jobs |
///
/// A job *computes* if it had three quarters of a core while it ran, or would have had it if others had not: it was preempted, and never
/// waited. It *waits* if it had a quarter at most, and gave the processor up by itself ([`ProcessorUse`](crate::ProcessorUse)).
///
/// # What is not said
///
/// * What follows from something else that was found. Jobs that are too small fill the queue; jobs of two kinds make it look as if workers
///   were too few or too many: then only the cause is told. So two findings never ask for opposite changes; the first is the one to begin with.
/// * That an elastic pool has few workers, or had a burst of jobs: workers that end by themselves are never too many, and a
///   queue that was long for a short time does not make the median job wait.
/// * Anything about waiting in a thread pool while the rest of the program computes half as long as its jobs wait: they may be waiting
///   for just that, for instance for rayon, and would gain nothing from more workers.
/// * `L2`, `L6` and `L7` where the system does not tell how long threads compute: elsewhere than on Linux.
///
/// That `L2` is found may also be because other programs use the cores. Then the advice does no harm.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::ThreadPool;
///
/// let pool = ThreadPool::cpu();
/// let sum = pool.run(|| (1..=1_000u64).sum::<u64>()).await?;
/// let advice = pool.advice();
/// println!("{advice}"); // thread pool "heavy-cpu": not enough seen: …
/// for finding in &advice.findings {
///     eprintln!("{}: {}; {}", finding.rule(), finding.evidence, finding.change);
/// }
/// # assert_eq!(sum, 500_500);
/// # assert!(!advice.is_enough && advice.findings.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PoolAdvice {
    /// The pool's name.
    pub pool: String,
    /// What kind of pool it is.
    pub kind: PoolKind,
    /// How many jobs have been seen to end.
    pub jobs: u64,
    /// For how long.
    pub age: Duration,
    /// Whether that is enough to say anything: a hundred jobs, and a second.
    pub is_enough: bool,
    /// What was found, causes first; nothing if all is well.
    pub findings: Vec<PoolFinding>,
}

/// What kind a pool is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolKind {
    /// A [`ThreadPool`].
    Threads,
    /// A [`ProcessPool`].
    Processes,
}

/// Something that should be changed about a pool.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PoolFinding {
    /// The numbers behind it.
    pub evidence: PoolEvidence,
    /// What to change, as a sentence that names what to call.
    pub change: String,
}

impl PoolFinding {
    /// Returns the rule by which it was found.
    pub fn rule(&self) -> PoolRule {
        self.evidence.rule()
    }
}

impl PoolAdvice {
    /// Returns whether something was found by this rule.
    pub fn has(&self, rule: PoolRule) -> bool {
        self.findings.iter().any(|finding| finding.rule() == rule)
    }

    pub(crate) fn of(pool: &str, metrics: &Metrics, kind: PoolKind) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            pool: pool.to_owned(),
            kind,
            jobs: metrics.run_time.count,
            age: metrics.age,
            is_enough: is_enough(metrics),
            findings: findings(metrics, Setting { kind, cores }),
        }
    }
}

impl ThreadPool {
    /// Returns what should be changed about this pool, as far as its metrics tell: see [`PoolAdvice`].
    ///
    /// Costs what [`metrics`](Self::metrics) costs: some microseconds, and nothing for the jobs.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), heavylift::BuildError> {
    /// use heavylift::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().name("images").build()?;
    /// assert!(pool.advice().to_string().starts_with("thread pool \"images\": not enough seen"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn advice(&self) -> PoolAdvice {
        PoolAdvice::of(self.name(), &self.metrics(), PoolKind::Threads)
    }
}

impl ProcessPool {
    /// Returns what should be changed about this pool, as far as its metrics tell: see [`PoolAdvice`].
    ///
    /// Costs what [`metrics`](Self::metrics) costs: some microseconds, and nothing for the jobs.
    ///
    /// # Examples
    ///
    /// ```
    /// use heavylift::ProcessPool;
    ///
    /// println!("{}", ProcessPool::global().advice());
    /// ```
    pub fn advice(&self) -> PoolAdvice {
        PoolAdvice::of(self.name(), &self.metrics(), PoolKind::Processes)
    }
}

impl fmt::Display for PoolAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pool {:?}: ", self.kind, self.pool)?;
        if !self.is_enough {
            write!(f, "not enough seen: {} jobs in {:.1?}", self.jobs, self.age)?;
            return write!(f, ", and it takes {ENOUGH_JOBS} in {ENOUGH_TIME:?}");
        }
        write!(f, "{} jobs in {:.1?}", self.jobs, self.age)?;
        if self.findings.is_empty() {
            return f.write_str(": nothing to change");
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl fmt::Display for PoolFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  {}", self.rule(), self.evidence, self.change)
    }
}

impl fmt::Display for PoolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Threads => "thread",
            Self::Processes => "process",
        })
    }
}
