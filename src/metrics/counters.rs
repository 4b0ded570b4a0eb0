//! [`Counters`]: what a pool counts.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use super::{Histogram, Metrics};
use crate::{TaskError, TaskErrorKind, task::Left};

/// The counts of one pool, which any thread may add to.
///
/// ORDERING: Relaxed throughout. Each count stands for itself and publishes nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    queued: AtomicUsize,
    running: AtomicUsize,
    abandoned: AtomicUsize,
    submitted: AtomicU64,
    succeeded: AtomicU64,
    panicked: AtomicU64,
    cancelled: AtomicU64,
    timed_out: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    worker_deaths: AtomicU64,
    recycled: AtomicU64,
    queue_wait: Histogram,
    run_time: Histogram,
}

impl Counters {
    /// A job has entered the queue.
    pub(crate) fn submitted(&self) {
        self.submitted.fetch_add(1, Relaxed);
        self.queued.fetch_add(1, Relaxed);
    }

    /// A job was not taken.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// A worker has begun a queued job.
    pub(crate) fn begun(&self, waited: Duration) {
        self.queued.fetch_sub(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        self.queue_wait.record(waited);
    }

    /// So many jobs have entered the queue.
    pub(crate) fn submitted_many(&self, jobs: u64) {
        self.submitted.fetch_add(jobs, Relaxed);
        self.queued.fetch_add(jobs as usize, Relaxed);
    }

    /// Workers have begun so many queued jobs, which had waited about as long.
    pub(crate) fn begun_many(&self, jobs: u64, waited: Duration) {
        self.queued.fetch_sub(jobs as usize, Relaxed);
        self.running.fetch_add(jobs as usize, Relaxed);
        self.queue_wait.record_many(jobs, waited);
    }

    /// Workers have let go of `ended` jobs; so many of their tasks finished in these ways, the others had finished before. How long
    /// they ran is told by [`took`](Self::took).
    pub(crate) fn ended_many(&self, ended: u64, succeeded: u64, panicked: u64) {
        self.running.fetch_sub(ended as usize, Relaxed);
        self.succeeded.fetch_add(succeeded, Relaxed);
        self.panicked.fetch_add(panicked, Relaxed);
    }

    /// So many jobs ran so long each.
    pub(crate) fn took(&self, times: impl IntoIterator<Item = (u64, Duration)>) {
        times.into_iter().for_each(|(jobs, time)| self.run_time.record_many(jobs, time));
    }

    /// A job that had begun waits again, to be run once more.
    pub(crate) fn returned(&self) {
        self.running.fetch_sub(1, Relaxed);
        self.queued.fetch_add(1, Relaxed);
    }

    /// A worker has begun so many jobs that had begun before, or nearly, whose wait has been recorded.
    pub(crate) fn begun_again(&self, jobs: u64) {
        self.queued.fetch_sub(jobs as usize, Relaxed);
        self.running.fetch_add(jobs as usize, Relaxed);
    }

    /// A worker has let go of a job that it had begun.
    pub(crate) fn ran(&self, time: Duration) {
        self.running.fetch_sub(1, Relaxed);
        self.run_time.record(time);
    }

    /// A job leaves the queue without having begun.
    pub(crate) fn left_queue(&self) {
        self.queued.fetch_sub(1, Relaxed);
    }

    /// A job runs on although its task has finished.
    pub(crate) fn abandoned(&self) {
        self.abandoned.fetch_add(1, Relaxed);
    }

    /// An abandoned job has ended.
    pub(crate) fn abandoned_ended(&self) {
        self.abandoned.fetch_sub(1, Relaxed);
    }

    /// A worker process died unasked.
    pub(crate) fn worker_died(&self) {
        self.worker_deaths.fetch_add(1, Relaxed);
    }

    /// A worker process was replaced on schedule.
    pub(crate) fn recycled(&self) {
        self.recycled.fetch_add(1, Relaxed);
    }

    /// A task has finished; a queued one also leaves the queue.
    pub(crate) fn finished<T>(&self, outcome: &Result<T, TaskError>, left: Left) {
        if left == Left::Queue {
            self.left_queue();
        }
        self.count_of(outcome).fetch_add(1, Relaxed);
    }

    fn count_of<T>(&self, outcome: &Result<T, TaskError>) -> &AtomicU64 {
        match outcome.as_ref().map_err(TaskError::kind) {
            Ok(_) => &self.succeeded,
            Err(TaskErrorKind::Panicked) => &self.panicked,
            Err(TaskErrorKind::Cancelled) => &self.cancelled,
            Err(TaskErrorKind::TimedOut) => &self.timed_out,
            Err(_) => &self.failed,
        }
    }

    /// As [`finished`](Self::finished), for so many tasks.
    pub(crate) fn finished_many<T>(&self, outcome: &Result<T, TaskError>, tasks: u64) {
        self.count_of(outcome).fetch_add(tasks, Relaxed);
    }

    /// So many tasks that were counted as finished in this way have not, or in another way.
    pub(crate) fn not_finished<T>(&self, outcome: &Result<T, TaskError>, tasks: u64) {
        self.count_of(outcome).fetch_sub(tasks, Relaxed);
    }

    /// So many jobs leave the queue without having begun.
    pub(crate) fn left_queue_many(&self, jobs: u64) {
        self.queued.fetch_sub(jobs as usize, Relaxed);
    }

    /// So many jobs that were let go of, or never begun, wait.
    pub(crate) fn waits_again(&self, jobs: u64) {
        self.queued.fetch_add(jobs as usize, Relaxed);
    }

    /// Whether at most one job waits.
    pub(crate) fn has_few_queued(&self) -> bool {
        level(&self.queued) <= 1
    }

    /// The counts so far; the caller adds the workers.
    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            queued: level(&self.queued),
            running: level(&self.running),
            submitted: self.submitted.load(Relaxed),
            succeeded: self.succeeded.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            refused: self.refused.load(Relaxed),
            worker_deaths: self.worker_deaths.load(Relaxed),
            recycled: self.recycled.load(Relaxed),
            abandoned: level(&self.abandoned),
            queue_wait: self.queue_wait.summary(),
            run_time: self.run_time.summary(),
            ..Metrics::default()
        }
    }

    /// Tasks that have finished, by outcome: for the report of a shutdown.
    pub(crate) fn outcomes(&self) -> Outcomes {
        Outcomes {
            succeeded: self.succeeded.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

/// A count of what comes and goes. Who goes in the very moment of coming may be counted out first, by another thread.
fn level(count: &AtomicUsize) -> usize {
    count.load(Relaxed).cast_signed().max(0).cast_unsigned()
}

/// Finished tasks by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) succeeded: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) timed_out: u64,
    pub(crate) failed: u64,
}
