//! [`Recording`]: a pool that is being recorded.

use std::{fmt, sync::Arc};

use super::{Parts, Timeline};
use crate::{
    clock::Stamp,
    pool::registry::AnyPool,
    record::{Attached, Lane, Scope, Taken},
};

/// How many records are kept unless the user says otherwise.
const LIMIT: usize = 1_000_000;

/// Records what the workers of a pool do, from the call of `record` on until [`stop`](Self::stop).
///
/// Obtained from the `record()` of a pool. Several recordings of one pool may be under way; none changes what the pool does. It
/// holds no handle of the pool: one whose last handle is dropped comes to its end, and what it did can still be had.
///
/// # What it costs
///
/// Each run of a job takes some 100 ns on the thread that ends it, less than a hundredth of a job of 10 µs. Items of a chunked
/// [`map`](crate::ThreadPool::map) that take less than 50 µs are recorded some together. A pool that is not recorded pays
/// two loads of a flag for each job, and on threads two plain stores of when it began.
///
/// # Memory
///
/// A record takes 64 bytes, and as much more as the text of its error, cut at 512 bytes. Of jobs the latest million are kept, in no more
/// than 64 MB, or as many as [`limit`](Self::limit) says; of what happens to workers the latest 16 384. What was
/// dropped is [counted](Timeline::dropped). Names that jobs were given are shared with them, and kept as long as a record names them.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use heavylift::{JobEnd, ThreadPool};
///
/// let pool = ThreadPool::builder().name("sums").max_workers(2).build()?;
/// let recording = pool.record();
/// for n in 1..=10u64 {
///     pool.job(move || (1..=n).sum::<u64>()).name("sum").run().await?;
/// }
/// let timeline = recording.stop();
/// assert_eq!(timeline.jobs().len(), 10);
/// assert!(timeline.jobs().iter().all(|job| job.name() == "sum" && job.end() == JobEnd::Value));
///
/// let dir = tempfile::tempdir()?;
/// timeline.save_trace(dir.path().join("trace.json"))?; // opens in https://ui.perfetto.dev
/// timeline.save_svg(dir.path().join("timeline.svg"))?; // opens in any browser
/// # Ok(())
/// # }
/// ```
#[must_use = "a recording that is dropped is lost: call `stop`"]
pub struct Recording {
    pool: Arc<dyn AnyPool>,
    attached: Attached,
    before: Vec<Lane>,
}

impl Recording {
    pub(crate) fn start(pool: Arc<dyn AnyPool>) -> Self {
        Self::with_limit(pool, LIMIT)
    }

    fn with_limit(pool: Arc<dyn AnyPool>, limit: usize) -> Self {
        let attached = pool.record(Scope::All, limit);
        // After that: a worker that starts in between is there twice, which is seen, and not missed.
        let before = pool.lanes();
        Self { pool, attached, before }
    }

    /// Keeps the latest `records` of jobs, and drops earlier ones. Begins anew. Default: 1 000 000.
    ///
    /// Some more may be kept where the limit is less than a hundred, and about half as many where the pool's threads record very
    /// unevenly.
    ///
    /// # Panics
    ///
    /// If `records` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// let recording = heavylift::ThreadPool::cpu().record().limit(10_000); // 640 kB
    /// # drop(recording);
    /// ```
    pub fn limit(self, records: usize) -> Self {
        assert!(records > 0, "a recording must keep at least one record");
        Self::with_limit(self.pool.clone(), records)
    }

    /// Returns what was recorded so far, and goes on. Copies the records.
    pub fn snapshot(&self) -> Timeline {
        // Before the records are read: a job that ends in between is there twice, which is seen, and not missed.
        let now = self.pool.lanes();
        self.timeline(now, Attached::copy)
    }

    /// Ends the recording, and returns what was recorded.
    ///
    /// A task that was seen to be finished is in it. Jobs that run at this moment are in it as [running](crate::JobEnd::Running).
    ///
    /// Items of a [`map`](crate::ThreadPool::map) that run some together can be seen before their run is recorded: on threads that is
    /// after some 50 µs of them and one item more, on processes after the last of them. Until then they are in it as one job that
    /// is running, however many of them have finished. Those that failed are among its [failures](Timeline::failures) at once.
    pub fn stop(self) -> Timeline {
        let now = self.pool.lanes();
        self.timeline(now, Attached::take)
    }

    fn timeline(&self, now: Vec<Lane>, read: impl FnOnce(&Attached) -> Taken) -> Timeline {
        let taken = read(&self.attached);
        Timeline::new(Parts {
            pool: self.pool.name(),
            kind: self.pool.kind(),
            since: self.attached.since(),
            until: Stamp::now(),
            taken,
            before: &self.before,
            now: &now,
            queued_now: self.pool.counters().queued() as u64,
        })
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("pool", &self.pool.name()).finish_non_exhaustive()
    }
}
