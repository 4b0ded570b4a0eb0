//! [`Cell`]: everything one task consists of, in one place; [`Seat`]: what an executor adds to it.
//!
//! The handle ([`Task`](super::Task)) sees a cell as [`TaskCell`], the executor as the `Cell` itself. Neither touches the
//! state word: all decisions go through [`Core`].
#![expect(unsafe_code, reason = "a cell knows that it has owners")]

use std::{
    panic::Location,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    TaskStatus,
    core::{Callback, Core, Phase},
    current,
    options::Options,
};
use crate::{
    Priority, TaskError, TaskId,
    clock::Stamp,
    counted::{Counted, unsize},
    error::{TaskLabel, TaskName},
    metrics::Pace,
    panic::shield,
    pause::spin,
    timer,
    trace::{JobSpan, SpanSlot},
};

/// What an executor keeps in each of its tasks, and does for it.
///
/// The methods are called by the cell, under no lock, on whichever thread the cause came from.
pub(crate) trait Seat: Send + Sync + Sized + 'static {
    /// The job while it is queued: a closure, an encoded call.
    type Job: Send;
    /// What the task yields.
    type Output: Send;

    /// Where to take note of how long the job runs, if the cell is to keep that for the seat.
    fn pace(_options: &Options) -> Option<Arc<Pace>> {
        None
    }

    /// Takes note of how a task ended; called once per task, before anybody can see the outcome.
    fn finished(&self, whose: Whose<'_>, outcome: &Result<Self::Output, TaskError>, left: Left);

    /// Stops a job that the executor holds, as far as it can be stopped. The cell finishes the task afterwards.
    fn stop(&self, task: TaskId);

    /// Takes a held job away from its worker if the worker has not begun it. Says whether that was so.
    fn take_back(&self, _task: TaskId) -> bool {
        false
    }

    /// Whether a worker has begun the held job.
    fn has_begun(&self, _task: TaskId) -> bool {
        true
    }

    /// Why nobody will ever finish the task, where that is so.
    fn lost(&self) -> Option<&'static str> {
        None
    }

    /// Within which time the outcome is likely to be there, if that is less than it takes to go to sleep and be woken.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// Takes note that the outcome was waited for that long, and whether it came.
    fn has_answered(&self, _within: Duration, _answered: bool) {}

    /// Whether the job has begun before, so that `queue_timeout` no longer applies although it waits.
    fn is_past_queue(&self) -> bool {
        false
    }

    /// Takes the outcome of a held job from its worker, should it be there at once, and finishes the task.
    fn collect(_cell: &Cell<Self>) {}

    /// Runs a queued job on this thread where waiting for it here could wait for ever.
    fn help(_cell: &Counted<Cell<Self>>) {}
}

/// From where a task finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It was queued and never began.
    Queue,
    /// The executor held it, and finished it.
    Hold,
    /// The executor still holds it, and somebody else finished it.
    Abandoned,
}

/// The task that a seat is told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) label: &'a TaskLabel,
    pub(crate) submitted: Stamp,
}

/// One task.
pub(crate) struct Cell<S: Seat> {
    core: Core<S::Job, Result<S::Output, TaskError>>,
    label: TaskLabel,
    submitted: Stamp,
    /// Most tasks have nothing unusual.
    limits: Option<Box<Limits>>,
    seat: S,
}

/// The time limits and the priority of a task, its span, and what it keeps for its seat.
struct Limits {
    priority: Priority,
    queue_timeout: Option<Duration>,
    run_timeout: Option<Duration>,
    /// When the run timeout is reached, for executors that let the cell watch it.
    run_deadline: OnceLock<Instant>,
    span: SpanSlot,
    pace: Option<Arc<Pace>>,
}

impl Limits {
    fn of(options: &Options, span: JobSpan, pace: Option<Arc<Pace>>) -> Option<Box<Self>> {
        let Options { queue_timeout, run_timeout, priority, .. } = *options;
        let limited = queue_timeout.is_some() || run_timeout.is_some() || priority != Priority::default();
        if !limited && span.is_none() && pace.is_none() {
            return None;
        }
        let (run_deadline, span) = (OnceLock::new(), SpanSlot::new(span));
        Some(Box::new(Self { priority, queue_timeout, run_timeout, run_deadline, span, pace }))
    }
}

impl<S: Seat> Cell<S> {
    /// Makes a queued task. Its span ends with it.
    pub(crate) fn new(
        label: TaskLabel,
        options: &Options,
        seat: S,
        job: S::Job,
        span: JobSpan,
    ) -> Counted<Self> {
        let (submitted, limits) = (Stamp::now(), Limits::of(options, span, S::pace(options)));
        Counted::build(|| Self { core: Core::new(job), label, submitted, limits, seat })
    }

    /// One more owner of this task.
    pub(crate) fn owner(&self) -> Counted<Self> {
        // SAFETY: every cell is made by `new`, which puts it into a `Counted`; and nobody moves it out of there.
        unsafe { Counted::of(self) }
    }

    pub(crate) fn label(&self) -> &TaskLabel {
        &self.label
    }

    pub(crate) fn seat(&self) -> &S {
        &self.seat
    }

    pub(crate) fn submitted(&self) -> Instant {
        self.submitted.instant()
    }

    /// The same, for those who ask how long ago that was.
    pub(crate) fn submitted_at(&self) -> Stamp {
        self.submitted
    }

    pub(crate) fn priority(&self) -> Priority {
        self.limits.as_ref().map_or(Priority::default(), |limits| limits.priority)
    }

    /// Where to take note of how long the job runs, if it was to be kept here.
    pub(crate) fn pace(&self) -> Option<&Pace> {
        self.limits.as_ref()?.pace.as_deref()
    }

    pub(crate) fn run_timeout(&self) -> Option<Duration> {
        self.limits.as_ref()?.run_timeout
    }

    fn queue_timeout(&self) -> Option<Duration> {
        self.limits.as_ref()?.queue_timeout
    }

    /// When the run timeout is reached, if the cell watches it and the job has begun.
    fn run_deadline(&self) -> Option<Instant> {
        self.limits.as_ref()?.run_deadline.get().copied()
    }

    /// The span of the job, if anybody is interested and the task has not finished.
    pub(crate) fn span(&self) -> JobSpan {
        self.span_slot().map_or_else(JobSpan::default, SpanSlot::get)
    }

    pub(crate) fn span_slot(&self) -> Option<&SpanSlot> {
        self.limits.as_ref().map(|limits| &limits.span)
    }

    /// The task finishes so: before anybody can see it.
    fn finished(&self, outcome: &Result<S::Output, TaskError>, left: Left) {
        self.seat.finished(Whose { label: &self.label, submitted: self.submitted }, outcome, left);
        // In a copy of the program nobody hears of it, and any lock may be taken.
        if let Some(span) = self.span_slot()
            && self.seat.lost().is_none()
        {
            span.end(outcome.as_ref().err());
        }
    }

    /// Whether the job waits in the core.
    pub(crate) fn is_queued(&self) -> bool {
        self.core.phase() == Phase::Queued
    }

    /// Takes the job for running; `None` when the task has been finished meanwhile.
    pub(crate) fn claim(&self) -> Option<S::Job> {
        self.core.claim()
    }

    /// Puts a claimed job back to wait again; gives it back when the task has been finished meanwhile.
    pub(crate) fn put_back(&self, job: S::Job) -> Result<(), S::Job> {
        self.core.put_back(job)
    }

    /// Keeps a claimed job that is over until the task is dropped. Once, and only by who has claimed it.
    pub(crate) fn keep(&self, job: S::Job) {
        self.core.keep(job);
    }

    /// Finishes a task that the executor holds.
    ///
    /// # Errors
    ///
    /// The outcome, when somebody else has finished the task before.
    pub(crate) fn complete(
        &self,
        outcome: Result<S::Output, TaskError>,
    ) -> Result<(), Result<S::Output, TaskError>> {
        self.core.finish(outcome, |outcome, from| {
            self.finished(outcome, if from == Phase::Queued { Left::Queue } else { Left::Hold });
        })
    }

    /// Finishes a task with `error`, wherever it is, and stops its job. Says whether this call did it.
    pub(crate) fn end(&self, error: TaskError) -> bool {
        let mut outcome = Err(error);
        loop {
            let result = match self.core.phase() {
                Phase::Finished => return false,
                Phase::Queued => {
                    self.core.finish_queued(outcome, |outcome, _| self.finished(outcome, Left::Queue))
                }
                Phase::Held => {
                    self.core.stop();
                    self.seat.stop(self.label.id);
                    let result = self.finish_abandoned(outcome);
                    return result.is_ok();
                }
            };
            match result {
                Ok(()) => return true,
                // It was claimed in between: look again.
                Err(back) => outcome = back,
            }
        }
    }

    fn finish_abandoned(
        &self,
        outcome: Result<S::Output, TaskError>,
    ) -> Result<(), Result<S::Output, TaskError>> {
        self.core.finish(outcome, |outcome, from| {
            self.finished(outcome, if from == Phase::Queued { Left::Queue } else { Left::Abandoned });
        })
    }

    /// Has the timer watch `queue_timeout`. Without a timer thread the limit cannot be kept, and the task is refused.
    pub(crate) fn watch_queue(&self) {
        if let Some(limit) = self.queue_timeout() {
            self.watch(self.submitted().checked_add(limit), "queue_timeout");
        }
    }

    /// Starts the clock of `run_timeout` and has the timer watch it.
    pub(crate) fn watch_run(&self, begun: Stamp) {
        let Some(limits) = &self.limits else { return };
        let deadline = limits.run_timeout.and_then(|limit| begun.instant().checked_add(limit));
        let Some(deadline) = deadline else { return };
        // A job begins once, so the place is empty.
        let _ = limits.run_deadline.set(deadline);
        self.watch(Some(deadline), "run_timeout");
    }

    fn watch(&self, deadline: Option<Instant>, limit: &str) {
        let Some(deadline) = deadline else { return };
        let target = unsize!(self.owner().downgrade() => dyn timer::Expire);
        if let Err(error) = timer::at(deadline, target) {
            let reason = format!("{limit} cannot be watched: the timer thread does not start: {error}");
            self.end(TaskError::unavailable(self.label.clone(), reason));
        }
    }

    /// Whether the task has waited longer than it may; the executor that holds it and has not begun it then ends it so.
    pub(crate) fn end_if_queue_expired(&self, now: Instant) -> bool {
        let Some(error) = self.queue_error(now) else { return false };
        // An error means that it was finished in this very moment: it must not begin, either.
        let _ = self.finish_abandoned(Err(error));
        true
    }

    /// Whether the task has waited longer than it may.
    pub(crate) fn is_queue_expired(&self, now: Instant) -> bool {
        self.queue_error(now).is_some()
    }

    fn queue_error(&self, now: Instant) -> Option<TaskError> {
        let limit = self.queue_timeout()?;
        let reached = self.submitted().checked_add(limit).is_some_and(|deadline| now >= deadline);
        (reached && !self.seat.is_past_queue())
            .then(|| TaskError::timed_out(self.label.clone(), "queue_timeout", limit))
    }

    /// Ends the task if it has waited too long without having begun.
    fn expire_queued(&self, now: Instant) {
        let Some(error) = self.queue_error(now) else { return };
        let mut outcome = Err(error);
        while self.core.phase() == Phase::Queued {
            match self.core.finish_queued(outcome, |outcome, _| self.finished(outcome, Left::Queue)) {
                Ok(()) => return,
                Err(back) => outcome = back,
            }
        }
        if self.core.phase() == Phase::Held && self.seat.take_back(self.label.id) {
            // An error means that it was cancelled in this very moment.
            let _ = self.finish_abandoned(outcome);
        }
    }

    fn expire_running(&self, now: Instant) {
        let (Some(limit), Some(deadline)) = (self.run_timeout(), self.run_deadline()) else { return };
        if now >= deadline {
            self.end(TaskError::timed_out(self.label.clone(), "run_timeout", limit));
        }
    }
}

impl<S: Seat> Cell<S> {
    /// Ends a task that nobody else will ever finish. Returns what there is to say of it where the outcome cannot be reached: whoever
    /// was handing that over when the program was copied is not in the copy.
    fn end_if_lost(&self) -> Option<TaskError> {
        let reason = self.seat.lost()?;
        let error = || TaskError::unavailable(self.label.clone(), reason);
        self.end(error());
        Some(error())
    }
}

impl<S: Seat> timer::Expire for Cell<S> {
    fn expired(&self) {
        let now = Instant::now();
        self.expire_queued(now);
        self.expire_running(now);
    }

    fn is_over(&self) -> bool {
        match self.core.phase() {
            Phase::Finished => true,
            Phase::Queued => false,
            Phase::Held => self.run_deadline().is_none() && self.seat.has_begun(self.label.id),
        }
    }
}

impl<S: Seat> current::StopSignal for Cell<S> {
    fn is_stopped(&self) -> bool {
        self.core.is_stopped()
    }
}

/// A task as a [`CancelHandle`](super::CancelHandle) sees it.
pub(crate) trait AnyTask: Send + Sync {
    fn cancel(&self) -> bool;
    fn is_finished(&self) -> bool;
}

/// A task as its [`Task`](super::Task) sees it.
pub(crate) trait TaskCell<T>: AnyTask {
    fn label(&self) -> &TaskLabel;
    fn status(&self) -> TaskStatus;
    /// For the task alone, which only one at a time polls.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, TaskError>>;
    fn take(&self) -> Option<Result<T, TaskError>>;
    fn detach(&self);
    fn on_done(&self, callback: Callback<Result<T, TaskError>>);
    fn help(&self);
}

impl<S: Seat> AnyTask for Cell<S> {
    fn cancel(&self) -> bool {
        self.core.phase() != Phase::Finished && self.end(TaskError::cancelled(self.label.clone()))
    }

    fn is_finished(&self) -> bool {
        self.end_if_lost().is_some() || self.core.phase() == Phase::Finished
    }
}

impl<S: Seat> TaskCell<S::Output> for Cell<S> {
    fn label(&self) -> &TaskLabel {
        &self.label
    }

    fn status(&self) -> TaskStatus {
        if self.end_if_lost().is_some() {
            return TaskStatus::Finished;
        }
        match self.core.phase() {
            Phase::Queued => TaskStatus::Queued,
            Phase::Held if self.seat.has_begun(self.label.id) => TaskStatus::Running,
            Phase::Held => TaskStatus::Queued,
            Phase::Finished => TaskStatus::Finished,
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<S::Output, TaskError>> {
        if let Some(outcome) = self.core.take() {
            return Poll::Ready(outcome);
        }
        if let Some(error) = self.end_if_lost() {
            return Poll::Ready(self.core.take().unwrap_or(Err(error)));
        }
        if self.core.phase() == Phase::Held {
            S::collect(self);
        }
        if let Some(limit) = self.seat.answers_within() {
            let answered = spin(limit, || self.core.phase() == Phase::Finished);
            self.seat.has_answered(limit, answered);
        }
        self.core.poll(cx)
    }

    fn take(&self) -> Option<Result<S::Output, TaskError>> {
        let error = self.end_if_lost();
        self.core.take().or(error.map(Err))
    }

    fn detach(&self) {
        self.core.detach();
    }

    fn on_done(&self, callback: Callback<Result<S::Output, TaskError>>) {
        match self.end_if_lost() {
            Some(error) if self.core.phase() != Phase::Finished => shield(|| callback(&Err(error))),
            _ => self.core.on_done(callback),
        }
    }

    fn help(&self) {
        S::help(&self.owner());
    }
}

/// The seat of a task that was refused and never reached an executor.
pub(crate) struct Nowhere<T>(std::marker::PhantomData<fn() -> T>);

impl<T: Send + 'static> Seat for Nowhere<T> {
    type Job = ();
    type Output = T;

    fn finished(&self, _whose: Whose<'_>, _outcome: &Result<T, TaskError>, _left: Left) {}

    fn stop(&self, _task: TaskId) {}
}

/// Makes a task that is finished with `error` from the start.
pub(crate) fn refused<T: Send + 'static>(
    error: TaskError,
    label: TaskLabel,
    span: JobSpan,
) -> Counted<Cell<Nowhere<T>>> {
    let seat = Nowhere(std::marker::PhantomData);
    let cell = Cell::new(label, &Options::default(), seat, (), span);
    // It cannot have been finished: nobody else has seen it yet.
    let _ = cell.complete(Err(error));
    cell
}

/// Labels a task: a fresh id, the name as given or else `function`, and the caller's line.
#[inline]
pub(crate) fn label(
    function: &'static str,
    options: &mut Options,
    at: &'static Location<'static>,
) -> TaskLabel {
    let name = options.name.take().map_or(TaskName::OfFunction(function), TaskName::given);
    TaskLabel { id: TaskId::next(), name, submitted_at: at }
}
