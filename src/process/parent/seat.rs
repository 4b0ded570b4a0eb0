//! [`ProcessSeat`]: what a process pool adds to its tasks; [`ProcessJob`]: a task as the pool's threads see it.

use std::{
    any::Any,
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    assigned::Assigned,
    direct::Needs,
    queue::Rank,
    retry::Death,
    shared::{INHERITED, Shared},
    worker::Worker,
};
use crate::{
    Priority, TaskError, TaskId, WorkerExit,
    clock::Stamp,
    error::{Operand, TaskLabel},
    metrics::{Counters, LARGE, Pace},
    panic::{catch, drop_shielded},
    pool::Place,
    process::{
        call::Function,
        items::{self, Sheaf},
        names::{self, Name},
        ring::{INLINE, fits_with_note},
        sys::generation,
    },
    record::{Run, Scope, Stage, UNKNOWN},
    task::{AnyTask, Cell, Left, Options, Seat, StopSignal, Whose},
    trace::{JobSpan, Note},
    wire::{Arrived, Body, Encoded, Payload, decode_out_of},
};

/// A job of a process pool, encoded: what it takes to send it.
pub(in crate::process) struct Call {
    pub(super) function: Function,
    pub(super) argument: Encoded,
    /// What the worker is told of the job's trace.
    pub(super) note: Note,
    /// The job's place in the pool, given back when this is dropped: when the job has ended.
    place: Place,
    generation: u32,
}

impl Call {
    /// Makes a call.
    ///
    /// # Errors
    ///
    /// Why the argument cannot be sent.
    pub(in crate::process) fn new(
        function: Function,
        mut argument: Encoded,
        place: Place,
        note: Note,
    ) -> Result<Self, &'static str> {
        if argument.pieces().iter().any(|piece| piece.descriptor().is_none()) {
            return Err(
                "shared memory that this process was given, or had before a fork, cannot be passed on: copy it",
            );
        }
        let names: Vec<Name> = argument.pieces().iter().map(|piece| Name::Sent(piece.id())).collect();
        if !names.is_empty() {
            names::append(argument.bytes_mut(), &names);
        }
        Ok(Self { function, argument, note, place, generation: generation() })
    }

    /// Whether it takes nothing but a slot to send it.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.needs(), Needs::Slot)
    }

    /// Whether all but the place is a small buffer: it can wait, and is better dropped by the thread that has made it. Two threads that
    /// make and free in one part of the heap wait for each other.
    pub(super) fn may_wait(&self) -> bool {
        self.argument.is_buffer() && self.argument.len() <= INLINE
    }

    /// Whether the argument goes into the slot.
    pub(super) fn fits_slot(&self) -> bool {
        fits_with_note(self.argument.len(), self.note.as_bytes().len())
    }

    fn needs(&self) -> Needs {
        match self.argument.pieces() {
            _ if !self.fits_slot() => Needs::Keeper,
            [] => Needs::Slot,
            [piece] => Needs::Piece(piece.id()),
            _ => Needs::Keeper,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.generation != generation() {
            // A copy of the pool, whose locks may be taken for good: see `Shared::is_inherited`.
            std::mem::forget(std::mem::take(&mut self.place));
        }
    }
}

/// What a process pool keeps in a task.
pub(in crate::process) struct ProcessSeat<R> {
    shared: Arc<Shared>,
    /// The place among the jobs that wait.
    rank: Rank,
    priority: Priority,
    /// Most jobs have nothing of it.
    rare: Option<Box<Rare>>,
    submitted: Stamp,
    worker: Assigned,
    needs: Needs,
    /// Whether the job was sent without the keeper, and its reply not been watched for. ORDERING: Relaxed. Written before the task is seen
    /// by anybody else.
    is_direct: AtomicBool,
    /// How far the job has come, for the counts: `WAITS`, `RUNS`, `AGAIN` (waits to be run once more) or `OVER`.
    ///
    /// ORDERING: Relaxed here and for the nanoseconds. Only counts depend on them, and each transition happens once.
    progress: AtomicU8,
    /// When the job began, in nanoseconds after the submission.
    begun_nanos: AtomicU64,
    /// How long it ran, where that is known before it is counted; else 0.
    ran_nanos: AtomicU64,
    /// How many items of a map the job is; 1 for any other.
    items: u32,
    /// Whether they are what was left of a job that had begun.
    is_rest: bool,
    /// Where to take note of how long it ran.
    pace: Option<Arc<Pace>>,
    result: PhantomData<fn() -> R>,
}

/// What only some jobs are told.
#[derive(Default)]
struct Rare {
    affinity: Option<u64>,
    kill_grace: Option<Duration>,
    /// How many times the job may be run again.
    retry: u32,
    /// The workers that died under the job, which was then run again. Taken under a worker's link or alone.
    deaths: Mutex<Vec<u32>>,
}

impl Rare {
    fn of(options: &Options) -> Option<Box<Self>> {
        let Options { affinity, kill_grace, retry, .. } = *options;
        let is_rare = affinity.is_some() || kill_grace.is_some() || retry > 0;
        is_rare.then(|| Box::new(Self { affinity, kill_grace, retry, deaths: Mutex::default() }))
    }

    fn deaths(&self) -> MutexGuard<'_, Vec<u32>> {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const WAITS: u8 = 0;
const RUNS: u8 = 1;
const OVER: u8 = 2;
const AGAIN: u8 = 3;

impl<R> ProcessSeat<R> {
    pub(in crate::process) fn new(shared: Arc<Shared>, options: &Options, call: &Call) -> Self {
        let (submitted, priority) = (Stamp::now(), options.priority);
        shared.waiting().add(priority);
        let is_timed = options.run_timeout.or(shared.config().run_timeout).is_some();
        let needs = if options.affinity.is_some() || is_timed { Needs::Keeper } else { call.needs() };
        Self {
            rank: Rank::new(priority, submitted.instant(), shared.next_sequence()),
            priority,
            rare: Rare::of(options),
            submitted,
            shared,
            worker: Assigned::default(),
            needs,
            is_direct: AtomicBool::new(false),
            progress: AtomicU8::new(WAITS),
            begun_nanos: AtomicU64::new(0),
            ran_nanos: AtomicU64::new(0),
            items: 1,
            is_rest: false,
            pace: options.pace.clone(),
            result: PhantomData,
        }
    }

    /// Has the job count as so many, and, if some of them have been tried before, wait in their old place.
    pub(super) fn of_items(self, items: u32, rank: Option<Rank>) -> Self {
        let is_rest = rank.is_some();
        Self { items, is_rest, rank: rank.unwrap_or(self.rank), needs: Needs::Keeper, ..self }
    }

    pub(super) fn rank(&self) -> Rank {
        self.rank
    }

    /// What the job's items have published, if it runs and is several; the worker's word.
    pub(super) fn published(&self, task: TaskId) -> Option<Vec<u8>> {
        self.worker()?.link().published(task)
    }

    fn counters(&self) -> &Counters {
        self.shared.counters()
    }

    fn worker(&self) -> Option<Arc<Worker>> {
        self.shared.worker(self.worker.ticket()?)
    }

    fn kill_grace(&self) -> Duration {
        let own = self.rare.as_ref().and_then(|rare| rare.kill_grace);
        own.unwrap_or(self.shared.config().kill_grace)
    }

    /// Takes note that the job begins; says whether that is new.
    fn begin(&self, waited: Duration) -> bool {
        let may_begin = |progress| matches!(progress, WAITS | AGAIN).then_some(RUNS);
        let Ok(before) = self.progress.fetch_update(Relaxed, Relaxed, may_begin) else { return false };
        self.begun_nanos.store(waited.as_nanos() as u64, Relaxed);
        self.shared.waiting().remove(self.priority);
        match before {
            WAITS if !self.is_rest => self.counters().begun_many(self.items.into(), waited),
            _ => self.counters().begun_again(self.items.into()),
        }
        true
    }

    /// The job had begun, and waits to be run once more.
    fn begin_again(&self) {
        if self.progress.compare_exchange(RUNS, AGAIN, Relaxed, Relaxed).is_ok() {
            self.ran_nanos.store(0, Relaxed);
            self.shared.waiting().add(self.priority);
            self.counters().returned();
        }
    }

    /// Settles the counts of a task that ends now, of whose items so many have run. Returns how far it had come.
    fn count_end(&self, ran: u32) -> u8 {
        let before = self.progress.swap(OVER, Relaxed);
        match before {
            WAITS | AGAIN => {
                self.shared.waiting().remove(self.priority);
                self.counters().left_queue_many(self.items.into());
            }
            RUNS if self.items == 1 => {
                let time = self.ran();
                self.note_pace(1, time);
                self.counters().ran(time);
            }
            RUNS => {
                self.note_pace(ran, self.ran());
                let time = self.ran() / ran.max(1);
                self.counters().ended_many(self.items.into(), 0, 0);
                self.counters().took([(ran.into(), time)]);
            }
            _ => {}
        }
        before
    }

    /// Records a task that ends now, which had come so far and of whose items so many have run.
    fn record(&self, whose: Whose<'_>, outcome: &Result<R, TaskError>, before: u8, ran: u32) {
        if !self.counters().recorders().looks_for(Scope::Failures) {
            return;
        }
        match (before, outcome) {
            (WAITS | AGAIN, Err(error)) => {
                let recorders = self.counters().recorders();
                recorders.ended(Stage::NeverBegan, self.items, whose.submitted, error);
            }
            (RUNS, _) => self.counters().record_run(self.run(whose, ran), Some(outcome)),
            _ => {}
        }
    }

    /// The run that ends now.
    fn run<'a>(&self, Whose { label, submitted }: Whose<'a>, items: u32) -> Run<'a> {
        let begun = submitted.plus(Duration::from_nanos(self.begun_nanos.load(Relaxed)));
        let worker = self.worker.ticket().map_or(UNKNOWN, |ticket| ticket as u32);
        Run { label, submitted, begun, ended: begun.plus(self.ran()), worker, items }
    }

    fn note_pace(&self, items: u32, together: Duration) {
        if let Some(pace) = &self.pace {
            pace.note(items.into(), together);
        }
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

impl<R: Payload> Seat for ProcessSeat<R> {
    type Job = Call;
    type Output = R;

    fn finished(&self, whose: Whose<'_>, outcome: &Result<R, TaskError>, left: Left) {
        let ran = if self.items == 1 { 1 } else { ran(outcome).min(self.items) };
        let before = self.count_end(ran);
        self.record(whose, outcome, before, ran);
        // The count of the queue is settled above, also for a job that was sent and never begun.
        self.counters().finished_many(outcome, self.items.into());
        if left == Left::Queue {
            self.shared.forget(self.rank);
        }
    }

    fn stop(&self, task: TaskId) {
        if self.shared.is_inherited() {
            return;
        }
        if let Some(worker) = self.worker() {
            if self.counters().recorders().looks_for(Scope::Failures) {
                // What was killed is to have a run, also if its keeper has not looked since it began.
                worker.note_beginning();
            }
            let (taken, runs) = worker.stop(task, self.kill_grace());
            self.shared.put_back(taken);
            if let Some(position) = runs {
                worker.signal_for(position, self.kill_grace());
            }
        }
    }

    fn take_back(&self, task: TaskId) -> bool {
        !self.shared.is_inherited() && self.worker().is_some_and(|worker| worker.take_back(task))
    }

    fn lost(&self) -> Option<&'static str> {
        self.shared.is_inherited().then_some(INHERITED)
    }

    fn collect(cell: &Cell<Self>) {
        let seat = cell.seat();
        if !seat.is_direct.load(Relaxed) || !seat.is_direct.swap(false, Relaxed) {
            return;
        }
        let Some(worker) = seat.worker() else { return };
        let Some(watched) = seat.shared.watch(&worker, cell.label().id) else { return };
        drop_shielded(watched.flight.call);
        cell.answered(watched.begun, watched.took, Ok(&mut Body::from(watched.value).into()));
    }

    fn is_past_queue(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.deaths().is_empty())
    }

    fn has_begun(&self, task: TaskId) -> bool {
        !matches!(self.progress.load(Relaxed), WAITS | AGAIN)
            || !self.shared.is_inherited()
                && self.worker().is_some_and(|worker| worker.link().has_begun(task))
    }
}

/// How many items have run of a job of several that ends so.
fn ran<R: 'static>(outcome: &Result<R, TaskError>) -> u32 {
    let count = |mut results: &[u8]| std::iter::from_fn(|| items::take(&mut results)).count() as u32;
    match outcome {
        Ok(sheaf) => (sheaf as &dyn Any).downcast_ref().map_or(1, |sheaf: &Sheaf| sheaf.count),
        // That which was running when the worker ended has run, too.
        Err(error) => error.worker().and_then(WorkerExit::items).map_or(0, count) + 1,
    }
}

/// A task of a process pool, whatever its result.
pub(in crate::process) trait ProcessJob: Send + Sync {
    fn id(&self) -> TaskId;
    fn label(&self) -> &TaskLabel;
    /// The span of the job, if anybody is interested.
    fn span(&self) -> JobSpan;
    fn rank(&self) -> Rank;
    fn priority(&self) -> Priority;
    /// Whether it is several items of a map.
    fn is_of_items(&self) -> bool;
    /// The hash of the key by which it should go to the worker of earlier jobs.
    fn affinity(&self) -> Option<u64>;
    fn run_timeout(&self) -> Option<Duration>;
    /// What it takes to send it without a look at anything else.
    fn needs(&self) -> Needs;
    /// The job is being sent without the keeper.
    fn note_direct(&self);

    /// Takes the call for sending; `None` if the task has been finished meanwhile.
    fn claim(&self) -> Option<Call>;

    /// Lets the job wait again; drops it if the task has been finished meanwhile. Says whether it waits.
    fn put_back(&self, call: Call) -> bool;

    /// Names the worker that the job is sent to, under that worker's link. After this and [`Assigned::settle`], who stops the task
    /// finds the worker; who stopped it before is seen by `is_stopped`.
    fn assign(&self, worker: &Worker);

    /// Whether the job must not begin any more.
    fn is_stopped(&self) -> bool;

    /// Whether its `queue_timeout` is over. Ends nothing.
    fn is_queue_expired(&self, now: Instant) -> bool;

    /// Ends the task if its `queue_timeout` is over; says whether it was.
    fn queue_expired(&self, now: Instant) -> bool;

    /// A worker has begun the job.
    fn begun(&self, at: Instant);

    /// The worker of a job that had begun was seen to be dead: what follows takes a while, and is no part of the run.
    fn ran_until(&self, at: Instant);

    /// A worker died under the job. Says whether the job is to be run again; it then waits as if it had not begun.
    fn survives(&self, pid: u32) -> bool;

    /// Finishes the task because a worker died under it: the last one.
    fn lose(&self, exit: WorkerExit);

    /// Ends the task because `run_timeout` is over.
    fn run_expired(&self);

    /// Cancels the task.
    fn cancel(&self);

    /// Keeps the call of a job that is over until the task is dropped. Its place comes free.
    fn keep(&self, call: Call);

    /// The worker that began the job at `begun` has answered it, and `took` so long: finishes the task with its value as it arrived, of
    /// which the buffer may be left, or with an error.
    fn answered(&self, begun: Instant, took: Duration, outcome: Result<&mut Arrived, TaskError>);

    /// Finishes the task with its value as it arrived, of which the buffer may be left, or with an error.
    fn finish(&self, outcome: Result<&mut Arrived, TaskError>);
}

impl<R: Payload> ProcessJob for Cell<ProcessSeat<R>> {
    fn id(&self) -> TaskId {
        self.label().id
    }

    fn label(&self) -> &TaskLabel {
        Cell::label(self)
    }

    fn span(&self) -> JobSpan {
        Cell::span(self)
    }

    fn rank(&self) -> Rank {
        self.seat().rank
    }

    fn priority(&self) -> Priority {
        self.seat().priority
    }

    fn is_of_items(&self) -> bool {
        self.seat().items > 1
    }

    fn affinity(&self) -> Option<u64> {
        self.seat().rare.as_ref()?.affinity
    }

    fn run_timeout(&self) -> Option<Duration> {
        Cell::run_timeout(self).or(self.seat().shared.config().run_timeout)
    }

    fn needs(&self) -> Needs {
        self.seat().needs
    }

    fn note_direct(&self) {
        self.seat().is_direct.store(true, Relaxed);
    }

    fn claim(&self) -> Option<Call> {
        Cell::claim(self)
    }

    fn put_back(&self, call: Call) -> bool {
        match Cell::put_back(self, call) {
            Ok(()) => {
                // While it was sent its timer may have come and found nothing to do.
                self.watch_queue();
                true
            }
            Err(call) => {
                drop_shielded(call);
                false
            }
        }
    }

    fn assign(&self, worker: &Worker) {
        self.seat().worker.set(worker.ticket);
        if let Some(span) = self.span_slot() {
            span.goes_to(worker.number, worker.pid);
        }
    }

    fn is_stopped(&self) -> bool {
        StopSignal::is_stopped(self) || AnyTask::is_finished(self)
    }

    fn is_queue_expired(&self, now: Instant) -> bool {
        Cell::is_queue_expired(self, now)
    }

    fn queue_expired(&self, now: Instant) -> bool {
        self.end_if_queue_expired(now)
    }

    fn begun(&self, at: Instant) {
        let begins = self.seat().begin(at.saturating_duration_since(self.submitted()));
        if begins && let Some(span) = self.span_slot() {
            span.began_at(at);
        }
    }

    fn ran_until(&self, at: Instant) {
        let begun = Duration::from_nanos(self.seat().begun_nanos.load(Relaxed));
        let ran = at.saturating_duration_since(self.submitted()).saturating_sub(begun);
        self.seat().ran_nanos.store((ran.as_nanos() as u64).max(1), Relaxed);
    }

    fn survives(&self, pid: u32) -> bool {
        let seat = self.seat();
        let Some(rare) = seat.rare.as_ref().filter(|rare| rare.retry > 0) else { return false };
        let cancels = seat.shared.cancels_queued();
        let stopped = ProcessJob::is_stopped(self);
        let mut deaths = rare.deaths();
        let death = Death { retry: rare.retry, before: deaths.len(), stopped, cancels };
        if death.is_forgiven() {
            deaths.push(pid);
            drop(deaths);
            if seat.counters().recorders().looks_for(Scope::Failures) {
                let whose = Whose { label: Cell::label(self), submitted: self.submitted_at() };
                let text = format!("its worker died, with pid {pid}, and it is to be run again");
                seat.counters().recorders().lost(seat.run(whose, seat.items), &text);
            }
            seat.begin_again();
        }
        death.is_forgiven()
    }

    fn lose(&self, exit: WorkerExit) {
        let label = Cell::label(self).clone();
        let died = match &self.seat().rare {
            Some(rare) => TaskError::workers_died(label, exit, &rare.deaths()),
            None => TaskError::worker_died(label, exit),
        };
        self.finish(Err(died));
    }

    fn run_expired(&self) {
        if let Some(limit) = ProcessJob::run_timeout(self) {
            self.end(TaskError::timed_out(Cell::label(self).clone(), "run_timeout", limit));
        }
    }

    fn cancel(&self) {
        self.end(TaskError::cancelled(Cell::label(self).clone()));
    }

    fn keep(&self, mut call: Call) {
        drop_shielded(std::mem::take(&mut call.place));
        Cell::keep(self, call);
    }

    fn answered(&self, begun: Instant, took: Duration, outcome: Result<&mut Arrived, TaskError>) {
        self.begun(begun);
        // Zero would be taken for unknown.
        self.seat().ran_nanos.store((took.as_nanos() as u64).max(1), Relaxed);
        if let Some(span) = self.span_slot() {
            span.ran(took);
        }
        self.finish(outcome);
    }

    fn finish(&self, outcome: Result<&mut Arrived, TaskError>) {
        if StopSignal::is_stopped(self) {
            // Who stopped it is about to finish the task: a job that obeys at once must not be quicker.
            return;
        }
        let outcome = outcome.and_then(|value| self.decode(value));
        if let Err(late) = self.complete(outcome) {
            drop_shielded(late);
        }
    }
}

impl<R: Payload> Cell<ProcessSeat<R>> {
    fn decode(&self, value: &mut Arrived) -> Result<R, TaskError> {
        let label = || Cell::label(self).clone();
        let bytes = value.body.len();
        let begun = (bytes > LARGE).then(Instant::now);
        let decoded = catch(|| decode_out_of::<R>(value));
        self.seat().counters().result(bytes, begun.map(|begun| begun.elapsed()));
        match decoded {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(why)) => Err(TaskError::decode(label(), Operand::Result, why)),
            Err(report) => Err(TaskError::decode(label(), Operand::Result, report.into_summary())),
        }
    }
}
