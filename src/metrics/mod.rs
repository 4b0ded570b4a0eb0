//! What pools have done and are doing: [`Metrics`], as plain data; with the feature `metrics` also for any exporter.
#![cfg_attr(
    feature = "metrics",
    doc = "",
    doc = "[`report`] tells the figures of all pools to the `metrics` facade."
)]

mod counters;
mod distribution;
#[cfg(feature = "metrics")]
pub(crate) mod export;
mod histogram;
pub(crate) mod meter;
mod pace;
mod payload_use;
pub(crate) mod processor;
mod processor_use;
mod staff;
#[cfg(feature = "dashboard")]
mod tally;

use std::time::Duration;

#[cfg(feature = "dashboard")]
pub(crate) use counters::Tallies;
pub(crate) use counters::{Counters, Outcomes};
pub use distribution::Distribution;
#[cfg(feature = "metrics")]
pub use export::{BUCKETS, Reporter, report, report_every};
pub(crate) use histogram::Histogram;
pub(crate) use pace::{Pace, Recent};
pub(crate) use payload_use::LARGE;
pub use payload_use::PayloadUse;
pub(crate) use processor_use::FIGURES;
pub(crate) use processor_use::Measured;
pub use processor_use::{JobGroup, ProcessorUse};
pub(crate) use staff::Staff;

/// What a pool is doing and has done since it was built.
///
/// Obtained from the pool's `metrics()`. The figures are read one after the other while the pool goes on, so they need not
/// add up to the last job.
///
/// To ask for them costs about 4 µs with 2 workers and 8 µs (threads) to 13 µs (processes) with 64, as measured on a machine of two
/// processors. It adds up what each thread has counted for itself, and holds up no job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Workers that have a place in the pool, those just starting included; never more than `max_workers`. While a worker process is
    /// replaced on schedule, its successor stands by without a place, and the two count as one.
    pub workers: usize,
    /// Workers that have no job.
    pub idle_workers: usize,
    /// How many workers stay whether or not there are jobs for them.
    pub min_workers: usize,
    /// How many workers there may be at this moment; 0 for an executor that runs jobs on the calling thread.
    pub max_workers: usize,
    /// The most workers that there were at a time.
    pub most_workers: usize,
    /// Workers that have not had a job yet, of those that are there.
    pub unused_workers: usize,
    /// How long all workers have been there, together: a worker that has ended counts for its life. Of this they have been busy for
    /// `run_time.sum`, apart from what they run now.
    pub worker_time: Duration,
    /// How long ago the pool was built: what all counts are since.
    pub age: Duration,
    /// Jobs that wait for a worker.
    pub queued: usize,
    /// Jobs that workers run.
    pub running: usize,
    /// Jobs taken so far.
    pub submitted: u64,
    /// How often jobs were handed to the pool: items of a `map` that travel together are handed over as one.
    pub hand_overs: u64,
    /// Tasks that finished with a value.
    pub succeeded: u64,
    /// Tasks that finished because the job panicked.
    pub panicked: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that reached a time limit.
    pub timed_out: u64,
    /// Tasks that finished in any other way: their worker died, what they take or return could not cross, …
    pub failed: u64,
    /// Jobs not taken, because the queue was full or the pool closed.
    pub refused: u64,
    /// Worker processes that died unasked.
    pub worker_deaths: u64,
    /// Worker processes that were replaced on schedule.
    pub recycled: u64,
    /// Jobs that still run in a thread although their task has finished.
    pub abandoned: usize,
    /// How long jobs waited before they began.
    pub queue_wait: Distribution,
    /// How long jobs ran. Items of a chunked map that take less than a microsecond are measured a few together.
    pub run_time: Distribution,
    /// How jobs used the processor.
    pub processor: ProcessorUse,
    /// What went to worker processes and came back.
    pub payloads: PayloadUse,
}
