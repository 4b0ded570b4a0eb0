//! [`ClusterSeat`]: what a cluster pool adds to its tasks; [`ClusterJob`]: a task as the client sees it.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::{
    client::Event,
    content,
    message::{Content, Failure, Request},
    registry::Registered,
    shared::{Setup, Shared},
};
use crate::{
    Payload, Priority, TaskError, TaskId,
    clock::Stamp,
    error::{Operand, TaskLabel},
    metrics::{Counters, LARGE, Pace},
    panic::drop_shielded,
    pool::{Place, queue::Queued},
    record::{Run, Scope, Stage, UNKNOWN},
    task::{AnyTask, Cell, Left, Options, Seat, StopSignal, Whose},
};

/// A job, encoded: what it takes to publish it.
pub(super) struct Call {
    pub(super) function: &'static Registered,
    pub(super) argument: Bytes,
    pub(super) traceparent: Option<String>,
    /// The job's place in the pool, given back when the job has ended.
    pub(super) place: Place,
}

/// What a cluster pool keeps in a task.
pub(super) struct ClusterSeat<R> {
    shared: Arc<Shared>,
    /// Its number among the pool's jobs, in the order of their submission.
    number: u64,
    priority: Priority,
    queue_timeout: Option<Duration>,
    retries: u32,
    submitted: Stamp,
    /// How far the job has come: `WAITS`, `RUNS`, `LATE` (it is not to begin any more) or `OVER`.
    ///
    /// ORDERING: Relaxed here and for the nanoseconds. Only counts depend on them, and each transition happens once.
    progress: AtomicU8,
    /// When the job began, in nanoseconds after the submission.
    begun_nanos: AtomicU64,
    /// How long it ran, where a node has said so; else 0.
    ran_nanos: AtomicU64,
    /// Where to take note of how long it ran.
    pace: Option<Arc<Pace>>,
    result: PhantomData<fn() -> R>,
}

const WAITS: u8 = 0;
const RUNS: u8 = 1;
const LATE: u8 = 2;
const OVER: u8 = 3;

impl<R> ClusterSeat<R> {
    pub(super) fn new(shared: Arc<Shared>, options: &Options) -> Self {
        let retries = if options.retry > 0 { options.retry } else { shared.setup.retries };
        Self {
            number: shared.next_number(),
            priority: options.priority,
            queue_timeout: options.queue_timeout,
            retries,
            submitted: Stamp::now(),
            progress: AtomicU8::new(WAITS),
            begun_nanos: AtomicU64::new(0),
            ran_nanos: AtomicU64::new(0),
            pace: options.pace.clone(),
            shared,
            result: PhantomData,
        }
    }

    fn setup(&self) -> &Setup {
        &self.shared.setup
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Takes note that a node has begun the job; says whether that is new.
    fn begin(&self, waited: Duration) -> bool {
        if self.progress.compare_exchange(WAITS, RUNS, Relaxed, Relaxed).is_err() {
            return false;
        }
        self.begun_nanos.store(waited.as_nanos() as u64, Relaxed);
        self.counters().begun(waited);
        true
    }

    /// Settles the counts of a task that ends now. Returns how far it had come.
    fn count_end(&self) -> u8 {
        let before = self.progress.swap(OVER, Relaxed);
        match before {
            WAITS | LATE => self.counters().left_queue(),
            RUNS => {
                let ran = self.ran();
                if let Some(pace) = &self.pace {
                    pace.note(1, ran);
                }
                self.counters().ran(ran);
            }
            _ => {}
        }
        before
    }

    /// Records a task that ends now, which had come so far.
    fn record(&self, whose: Whose<'_>, outcome: &Result<R, TaskError>, before: u8) {
        if !self.counters().recorders().looks_for(Scope::Failures) {
            return;
        }
        match (before, outcome) {
            (WAITS | LATE, Err(error)) => {
                self.counters().recorders().ended(Stage::NeverBegan, 1, whose.submitted, error);
            }
            (RUNS, _) => self.counters().record_run(self.run(whose), Some(outcome)),
            _ => {}
        }
    }

    /// The run that ends now.
    fn run<'a>(&self, Whose { label, submitted }: Whose<'a>) -> Run<'a> {
        let begun = submitted.plus(Duration::from_nanos(self.begun_nanos.load(Relaxed)));
        Run { label, submitted, begun, ended: begun.plus(self.ran()), worker: UNKNOWN, items: 1 }
    }

    fn ran(&self) -> Duration {
        match self.ran_nanos.load(Relaxed) {
            0 => {
                let begun = Duration::from_nanos(self.begun_nanos.load(Relaxed));
                self.submitted.elapsed().saturating_sub(begun)
            }
            known => Duration::from_nanos(known),
        }
    }
}

impl<R: Payload> Seat for ClusterSeat<R> {
    type Job = Call;
    type Output = R;

    fn finished(&self, whose: Whose<'_>, outcome: &Result<R, TaskError>, left: Left) {
        if self.shared.is_inherited() {
            return;
        }
        let before = self.count_end();
        self.record(whose, outcome, before);
        // The count of the queue is settled above, also for a job that was published and never begun.
        self.counters().finished_many(outcome, 1);
        self.shared.gone(self.number, left);
    }

    fn stop(&self, _task: TaskId) {
        self.shared.tell(Event::Stop(self.number));
    }

    fn take_back(&self, task: TaskId) -> bool {
        let is_late = self.progress.compare_exchange(WAITS, LATE, Relaxed, Relaxed).is_ok();
        if is_late {
            self.stop(task);
        }
        is_late
    }

    fn has_begun(&self, _task: TaskId) -> bool {
        matches!(self.progress.load(Relaxed), RUNS | OVER)
    }

    fn lost(&self) -> Option<&'static str> {
        self.shared.is_inherited().then_some(super::shared::INHERITED)
    }
}

/// A task of a cluster pool, whatever its result.
///
/// None of the methods unwinds: foreign code in them is shielded.
pub(super) trait ClusterJob: Queued + Send + Sync {
    fn number(&self) -> u64;

    /// When its whole time is over.
    fn deadline(&self) -> Instant;

    /// Takes the job for publishing, with its place; `None` if the task has been finished meanwhile.
    fn claim(&self) -> Option<(Request, Place)>;

    /// Whether the job waits to be published.
    fn is_queued(&self) -> bool;

    fn has_begun(&self) -> bool;

    /// Whether nobody wants the job any more.
    fn is_over(&self) -> bool;

    /// A node has begun the job.
    fn begun(&self, at: Instant);

    /// A node has run the job for so long: finishes the task with its value.
    fn answered(&self, ran: Duration, value: Bytes);

    /// A node says why there is no value, after it has run the job for so long.
    fn failed(&self, ran: Duration, failure: Failure);

    /// Finishes the task with what `error` makes of its label, and has the job stopped. Says whether this call did it.
    fn end(&self, error: &dyn Fn(TaskLabel) -> TaskError) -> bool;
}

impl<R: Payload> Queued for Cell<ClusterSeat<R>> {
    fn lane(&self) -> usize {
        self.seat().priority.lane()
    }

    fn due(&self) -> Instant {
        self.seat().priority.due(self.submitted())
    }
}

impl<R: Payload> ClusterJob for Cell<ClusterSeat<R>> {
    fn number(&self) -> u64 {
        self.seat().number
    }

    fn deadline(&self) -> Instant {
        self.submitted() + self.seat().setup().deadline()
    }

    fn claim(&self) -> Option<(Request, Place)> {
        let Call { function, argument, traceparent, place } = Cell::claim(self)?;
        let seat = self.seat();
        let setup = seat.setup();
        let queue_deadline = seat.queue_timeout.and_then(|limit| self.submitted().checked_add(limit));
        let request = Request {
            id: setup.id_of(seat.number),
            resubmission: 0,
            client: setup.client.clone(),
            job: function.name().to_owned(),
            fingerprint: function.fingerprint(),
            queue: setup.queue.clone(),
            deadline: wall_clock(self.deadline()),
            queue_deadline: queue_deadline.and_then(wall_clock),
            run_timeout: self.run_timeout().filter(|limit| *limit < Duration::MAX),
            retries: seat.retries,
            traceparent,
            argument: Content::Here(argument),
        };
        Some((request, place))
    }

    fn is_queued(&self) -> bool {
        Cell::is_queued(self)
    }

    fn has_begun(&self) -> bool {
        Seat::has_begun(self.seat(), Cell::label(self).id)
    }

    fn is_over(&self) -> bool {
        StopSignal::is_stopped(self) || AnyTask::is_finished(self)
    }

    fn begun(&self, at: Instant) {
        let begins = self.seat().begin(at.saturating_duration_since(self.submitted()));
        if begins && let Some(span) = self.span_slot() {
            span.began_at(at);
        }
    }

    fn answered(&self, ran: Duration, value: Bytes) {
        self.ran(ran);
        if StopSignal::is_stopped(self) {
            // Who stopped it is about to finish the task: a job that obeys at once must not be quicker.
            return;
        }
        self.finish(self.decode(value));
    }

    fn failed(&self, ran: Duration, failure: Failure) {
        if failure.is_of_a_run() {
            self.ran(ran);
        }
        if matches!(failure, Failure::WorkerDied { .. }) {
            self.seat().counters().worker_died();
        }
        if !StopSignal::is_stopped(self) {
            let failure = failure.with_limits(self.seat().setup().deadline(), self.seat().queue_timeout);
            self.finish(Err(failure.into_error(Cell::label(self).clone())));
        }
    }

    fn end(&self, error: &dyn Fn(TaskLabel) -> TaskError) -> bool {
        Cell::end(self, error(Cell::label(self).clone()))
    }
}

impl<R: Payload> Cell<ClusterSeat<R>> {
    /// A node has run the job for so long, until now or nearly.
    fn ran(&self, ran: Duration) {
        // The notice that it has begun may be lost; the answer says it, too.
        let now = Instant::now();
        self.begun(now.checked_sub(ran).unwrap_or(now));
        // Zero would be taken for unknown.
        self.seat().ran_nanos.store((ran.as_nanos() as u64).max(1), Relaxed);
        if let Some(span) = self.span_slot() {
            span.ran(ran);
        }
    }

    fn decode(&self, value: Bytes) -> Result<R, TaskError> {
        let bytes = value.len();
        let begun = (bytes > LARGE).then(Instant::now);
        let decoded = content::unpack::<R>(value);
        self.seat().counters().result(bytes, begun.map(|begun| begun.elapsed()));
        decoded.map_err(|why| TaskError::decode(Cell::label(self).clone(), Operand::Result, why))
    }

    fn finish(&self, outcome: Result<R, TaskError>) {
        if let Err(late) = self.complete(outcome) {
            drop_shielded(late);
        }
    }
}

/// A time as the clocks of other machines have it; none if that is beyond them.
fn wall_clock(at: Instant) -> Option<SystemTime> {
    SystemTime::now().checked_add(at.saturating_duration_since(Instant::now()))
}
