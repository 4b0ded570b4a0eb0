//! [`Counters`]: what a pool counts.
//!
//! Each thread counts in a shard, and who asks adds them up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

#[cfg(feature = "dashboard")]
use super::tally::Tally;
use super::{FIGURES, Histogram, LARGE, Measured, Metrics, PayloadUse, meter, processor};
use crate::{
    TaskError, TaskErrorKind,
    clock::Stamp,
    record::{Recorders, Run, Scope, Stage},
    shards::{Count, Shards},
    task::{Left, Whose},
};

/// The counts of one pool, which any thread may add to.
///
/// ORDERING: Relaxed throughout. Each count, and the flag, stands for itself and publishes nothing. Who has seen a task finished sees all that
/// was counted for it before, in whichever shard.
///
/// A clone is the same counts: who tells of all pools still has them when a pool has ended.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    shards: Shards<Counts>,
    /// What hardly ever changes, away from what a pool keeps beside its counts.
    start: Arc<Start>,
}

#[derive(Debug)]
struct Start {
    /// When the counts began, and the processor time that the program had had by then.
    since: Instant,
    program_before: Option<Duration>,
    has_large_payloads: AtomicBool,
    /// How long all workers had been there when it was told last.
    worker_nanos: AtomicU64,
    recorders: Recorders,
}

/// What some of the threads have counted: 6 KiB.
#[derive(Debug, Default)]
struct Counts {
    submitted: Count,
    /// Jobs that have left the queue and did not begin.
    left_queue: Count,
    /// Jobs that had begun, and were put back to be run once more.
    returned: Count,
    /// Jobs that have begun after that. Those that began for the first time are those whose wait was recorded.
    begun_again: Count,
    /// Jobs that have ended and whose time has not been recorded: a count that wraps, as it may be counted out first.
    untimed: Count,
    abandoned: Count,
    succeeded: Count,
    panicked: Count,
    cancelled: Count,
    timed_out: Count,
    refused: Count,
    failed: Count,
    worker_deaths: Count,
    recycled: Count,
    queue_wait: Histogram,
    run_time: Histogram,
    /// Jobs that were handed over together with others, and how often that was.
    travelled: Count,
    travels: Count,
    /// See [`Measured`].
    measured: [Count; FIGURES],
    argument_bytes: Count,
    result_bytes: Count,
    payload_nanos: Count,
}

impl Counts {
    /// The count of tasks that finished in this way.
    fn of<T>(&self, outcome: &Result<T, TaskError>) -> &Count {
        match outcome.as_ref().map_err(TaskError::kind) {
            Ok(_) => &self.succeeded,
            Err(TaskErrorKind::Panicked) => &self.panicked,
            Err(TaskErrorKind::Cancelled) => &self.cancelled,
            Err(TaskErrorKind::TimedOut) => &self.timed_out,
            Err(_) => &self.failed,
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        let program_before = processor::of_program();
        let start = Start {
            since: Instant::now(),
            program_before,
            has_large_payloads: AtomicBool::new(false),
            worker_nanos: AtomicU64::new(0),
            recorders: Recorders::default(),
        };
        Self { shards: Shards::new(Counts::default), start: Arc::new(start) }
    }
}

impl Counters {
    /// Who looks at what the pool's workers do.
    #[inline]
    pub(crate) fn recorders(&self) -> &Recorders {
        &self.start.recorders
    }

    /// Tells who looks how many jobs wait, if it is time for that.
    #[inline]
    fn look_at_queue(&self) {
        if self.recorders().looks_for(Scope::All) {
            self.look_at_queue_if_due();
        }
    }

    #[inline(never)]
    fn look_at_queue_if_due(&self) {
        let now = Stamp::now();
        if self.recorders().is_look_due(now) {
            self.recorders().note_queued(now, self.queued() as u64);
        }
    }

    /// A run has ended with `outcome`, which is not to be seen before this.
    #[inline]
    pub(crate) fn record_run<T>(&self, run: Run<'_>, outcome: Option<&Result<T, TaskError>>) {
        if self.recorders().looks_for(Scope::Failures) {
            self.record_run_for_onlookers(run, outcome.map(|outcome| outcome.as_ref().err()));
        }
    }

    #[inline(never)]
    fn record_run_for_onlookers(&self, run: Run<'_>, outcome: Option<Option<&TaskError>>) {
        match outcome {
            Some(error) => self.recorders().ran(run, error),
            None => self.recorders().outlived(run),
        }
        self.look_at_queue();
    }

    /// A task has finished whose job has not come to its end: it never began, or is abandoned.
    pub(crate) fn record_end<T>(&self, whose: Whose<'_>, outcome: &Result<T, TaskError>, left: Left) {
        let Err(error) = outcome else { return };
        let stage = if left == Left::Queue { Stage::NeverBegan } else { Stage::Abandoned };
        self.recorders().ended(stage, 1, whose.submitted, error);
    }

    /// Jobs that wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        let begun = self.shards.iter().map(|counts| counts.queue_wait.count()).fold(0, u64::wrapping_add);
        let entered = self.sum(|counts| &counts.submitted).wrapping_add(self.sum(|counts| &counts.returned));
        let left = self.sum(|counts| &counts.begun_again).wrapping_add(self.sum(|counts| &counts.left_queue));
        level(entered.wrapping_sub(begun).wrapping_sub(left))
    }

    /// A job has entered the queue.
    #[inline]
    pub(crate) fn submitted(&self) {
        self.here().submitted.add(1);
        self.look_at_queue();
    }

    /// A job was not taken.
    pub(crate) fn refused(&self) {
        self.here().refused.add(1);
    }

    /// A worker has begun a queued job.
    pub(crate) fn begun(&self, waited: Duration) {
        self.here().queue_wait.record(waited);
    }

    /// So many jobs have entered the queue, which are handed over as one.
    pub(crate) fn submitted_together(&self, jobs: u64) {
        let here = self.here();
        here.submitted.add(jobs);
        here.travelled.add(jobs);
        here.travels.add(1);
        self.look_at_queue();
    }

    /// Workers have begun so many queued jobs, which had waited about as long.
    pub(crate) fn begun_many(&self, jobs: u64, waited: Duration) {
        self.here().queue_wait.record_many(jobs, waited);
    }

    /// Workers have let go of `ended` jobs; so many of their tasks finished in these ways, the others had finished before. How long
    /// they ran is told by [`took`](Self::took).
    pub(crate) fn ended_many(&self, ended: u64, succeeded: u64, panicked: u64) {
        let here = self.here();
        here.untimed.add(ended);
        here.succeeded.add(succeeded);
        here.panicked.add(panicked);
    }

    /// So many jobs ran so long each.
    pub(crate) fn took(&self, times: impl IntoIterator<Item = (u64, Duration)>) {
        let here = self.here();
        for (jobs, time) in times {
            here.run_time.record_many(jobs, time);
            here.untimed.subtract(jobs);
        }
    }

    /// A job that had begun waits again, to be run once more.
    pub(crate) fn returned(&self) {
        self.here().returned.add(1);
    }

    /// A worker has begun so many jobs that had begun before, or nearly, whose wait has been recorded.
    pub(crate) fn begun_again(&self, jobs: u64) {
        self.here().begun_again.add(jobs);
    }

    /// A worker has let go of a job that it had begun.
    pub(crate) fn ran(&self, time: Duration) {
        self.here().run_time.record(time);
    }

    /// A job begins on this thread at this time.
    #[inline]
    pub(crate) fn computes_from(now: Stamp) {
        meter::begin(nanos(now));
    }

    /// So many jobs, which ran so long together, have ended on this thread by this time.
    #[inline]
    pub(crate) fn computed_until(&self, now: Stamp, jobs: u64, run_time: Duration) {
        if let Some(measured) = meter::end(nanos(now), jobs, run_time.as_nanos() as u64) {
            self.measured(measured);
        }
    }

    /// Jobs have been measured.
    #[cold]
    pub(crate) fn measured(&self, measured: Measured) {
        for (count, figure) in self.here().measured.iter().zip(measured.0) {
            count.add(figure);
        }
    }

    /// Whether it is to be measured how long an argument takes to encode: only where some have been large, for others take less time
    /// than that.
    #[inline]
    pub(crate) fn measures_payloads(&self) -> bool {
        self.start.has_large_payloads.load(Relaxed)
    }

    /// An argument of so many bytes has been encoded, which took so long, as far as that was measured.
    #[inline]
    pub(crate) fn argument(&self, bytes: usize, time: Option<Duration>) {
        if bytes > LARGE {
            self.large_payload(&self.here().argument_bytes, bytes, time);
        }
    }

    /// A result of so many bytes has been decoded, which took so long, as far as that was measured.
    #[inline]
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for worker processes"))]
    pub(crate) fn result(&self, bytes: usize, time: Option<Duration>) {
        if bytes > LARGE {
            self.large_payload(&self.here().result_bytes, bytes, time);
        }
    }

    fn large_payload(&self, count: &Count, bytes: usize, time: Option<Duration>) {
        self.start.has_large_payloads.store(true, Relaxed);
        count.add(bytes as u64);
        time.into_iter().for_each(|time| self.payload_took(time));
    }

    /// A large payload has kept this program busy for so long.
    pub(crate) fn payload_took(&self, time: Duration) {
        self.here().payload_nanos.add(time.as_nanos() as u64);
    }

    /// A job leaves the queue without having begun.
    pub(crate) fn left_queue(&self) {
        self.here().left_queue.add(1);
    }

    /// A job was taken that cannot be sent to a worker. Its task fails with `error`, which nobody has seen yet.
    pub(crate) fn never_sent(&self, error: &TaskError) {
        // It leaves before it comes, so that nobody sees it wait.
        self.left_queue();
        self.here().failed.add(1);
        self.submitted();
        self.recorders().ended(Stage::NeverBegan, 1, Stamp::NEVER, error);
    }

    /// A job runs on although its task has finished.
    pub(crate) fn abandoned(&self) {
        self.here().abandoned.add(1);
    }

    /// An abandoned job has ended.
    pub(crate) fn abandoned_ended(&self) {
        self.here().abandoned.subtract(1);
    }

    /// A worker process died unasked.
    pub(crate) fn worker_died(&self) {
        self.here().worker_deaths.add(1);
    }

    /// A worker process was replaced on schedule.
    pub(crate) fn recycled(&self) {
        self.here().recycled.add(1);
    }

    /// A task has finished; a queued one also leaves the queue.
    pub(crate) fn finished<T>(&self, outcome: &Result<T, TaskError>, left: Left) {
        if left == Left::Queue {
            self.left_queue();
        }
        self.here().of(outcome).add(1);
    }

    /// As [`finished`](Self::finished), for so many tasks.
    pub(crate) fn finished_many<T>(&self, outcome: &Result<T, TaskError>, tasks: u64) {
        self.here().of(outcome).add(tasks);
    }

    /// So many tasks that were counted as finished in this way have not, or in another way.
    pub(crate) fn not_finished<T>(&self, outcome: &Result<T, TaskError>, tasks: u64) {
        self.here().of(outcome).subtract(tasks);
    }

    /// So many jobs leave the queue without having begun.
    pub(crate) fn left_queue_many(&self, jobs: u64) {
        self.here().left_queue.add(jobs);
    }

    /// So many jobs that were let go of without having begun wait.
    pub(crate) fn waits_again(&self, jobs: u64) {
        let here = self.here();
        here.returned.add(jobs);
        here.untimed.subtract(jobs);
    }

    /// All workers have been there for so long, together: told in order, and when the last one has gone.
    pub(crate) fn workers_had(&self, time: Duration) {
        self.start.worker_nanos.store(time.as_nanos() as u64, Relaxed);
    }

    /// The counts so far; the caller adds the workers, as long as there are any.
    pub(crate) fn snapshot(&self) -> Metrics {
        let queue_wait = Histogram::summary(self.shards.iter().map(|counts| &counts.queue_wait));
        let run_time = Histogram::summary(self.shards.iter().map(|counts| &counts.run_time));
        let submitted = self.sum(|counts| &counts.submitted);
        let begun = queue_wait.count + self.sum(|counts| &counts.begun_again);
        let returned = self.sum(|counts| &counts.returned);
        let entered = submitted + returned;
        let left = begun + self.sum(|counts| &counts.left_queue);
        let ended = run_time.count.wrapping_add(self.sum(|counts| &counts.untimed));
        let Outcomes { succeeded, panicked, cancelled, timed_out, failed } = self.outcomes();
        Metrics {
            queued: level(entered.wrapping_sub(left)),
            running: level(begun.wrapping_sub(ended.wrapping_add(returned))),
            submitted,
            succeeded,
            panicked,
            cancelled,
            timed_out,
            failed,
            refused: self.sum(|counts| &counts.refused),
            worker_deaths: self.sum(|counts| &counts.worker_deaths),
            recycled: self.sum(|counts| &counts.recycled),
            abandoned: level(self.sum(|counts| &counts.abandoned)),
            queue_wait,
            run_time,
            worker_time: Duration::from_nanos(self.start.worker_nanos.load(Relaxed)),
            age: self.start.since.elapsed(),
            hand_overs: (submitted + self.sum(|counts| &counts.travels))
                .saturating_sub(self.sum(|counts| &counts.travelled)),
            processor: self.all_measured().into_use(self.program_time()),
            payloads: PayloadUse {
                argument_bytes: self.sum(|counts| &counts.argument_bytes),
                result_bytes: self.sum(|counts| &counts.result_bytes),
                time: Duration::from_nanos(self.sum(|counts| &counts.payload_nanos)),
            },
            ..Metrics::default()
        }
    }

    /// How long jobs have waited and run up to now, to be compared with a later moment.
    #[cfg(feature = "dashboard")]
    pub(crate) fn tallies(&self) -> Tallies {
        Tallies {
            queue_wait: Tally::of(self.shards.iter().map(|counts| &counts.queue_wait)),
            run_time: Tally::of(self.shards.iter().map(|counts| &counts.run_time)),
        }
    }

    /// What has been measured of jobs in threads, and in workers that have ended.
    pub(crate) fn all_measured(&self) -> Measured {
        Measured(std::array::from_fn(|at| self.sum(|counts| &counts.measured[at])))
    }

    /// The processor time of the program since the counts began.
    pub(crate) fn program_time(&self) -> Option<Duration> {
        Some(processor::of_program()?.saturating_sub(self.start.program_before?))
    }

    /// Tasks that have finished, by outcome: for the report of a shutdown.
    pub(crate) fn outcomes(&self) -> Outcomes {
        Outcomes {
            succeeded: self.sum(|counts| &counts.succeeded),
            panicked: self.sum(|counts| &counts.panicked),
            cancelled: self.sum(|counts| &counts.cancelled),
            timed_out: self.sum(|counts| &counts.timed_out),
            failed: self.sum(|counts| &counts.failed),
        }
    }

    fn here(&self) -> &Counts {
        self.shards.here()
    }

    fn sum(&self, count: impl Fn(&Counts) -> &Count) -> u64 {
        self.shards.iter().fold(0, |sum, counts| sum.wrapping_add(count(counts).get()))
    }
}

/// For who tells of all pools.
#[cfg(feature = "metrics")]
impl Counters {
    /// Adds how long jobs waited, and how long they ran.
    pub(super) fn add_times(
        &self,
        waits: &mut super::histogram::Buckets,
        runs: &mut super::histogram::Buckets,
    ) {
        for counts in self.shards.iter() {
            counts.queue_wait.add_to(waits);
            counts.run_time.add_to(runs);
        }
    }
}

/// For a meter, to which nothing has been measured at zero: a second more than since the beginning of the program.
fn nanos(at: Stamp) -> u64 {
    1_000_000_000 + at.nanos()
}

/// The sum of a count of what comes and goes. Who goes in the very moment of coming may be counted out first, by another thread.
fn level(sum: u64) -> usize {
    usize::try_from(sum.cast_signed().max(0)).unwrap_or(usize::MAX)
}

/// How long jobs have waited and run up to some moment.
#[cfg(feature = "dashboard")]
#[derive(Debug)]
pub(crate) struct Tallies {
    pub(crate) queue_wait: Tally,
    pub(crate) run_time: Tally,
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_comes_in_one_thread_and_goes_in_another_adds_up() {
        let counters = Arc::new(Counters::default());
        (0..3).for_each(|_| counters.submitted());
        let elsewhere = counters.clone();
        thread::spawn(move || {
            elsewhere.begun(Duration::from_micros(5));
            elsewhere.begun(Duration::from_micros(5));
            elsewhere.abandoned();
        })
        .join()
        .unwrap();
        let metrics = counters.snapshot();
        assert_eq!((metrics.submitted, metrics.queued, metrics.running, metrics.abandoned), (3, 1, 2, 1));
        counters.ran(Duration::from_micros(7));
        counters.returned();
        counters.abandoned_ended();
        counters.finished(&Ok(()), Left::Hold);
        let metrics = counters.snapshot();
        assert_eq!((metrics.queued, metrics.running, metrics.abandoned), (2, 0, 0));
        assert_eq!((metrics.queue_wait.count, metrics.run_time.count, metrics.succeeded), (2, 1, 1));
    }

    #[test]
    fn what_is_counted_out_before_it_was_counted_in_is_nothing() {
        assert_eq!([level(0), level(7), level(u64::MAX)], [0, 7, 0]);
    }
}
