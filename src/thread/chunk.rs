//! [`Chunk`]: items of a map that are one job of the pool.
//!
//! ```text
//! inputs ──claim──▶ running ──finish──▶ finished ──poll_take──▶ the map
//!    └────────────────┴──────── end ──────┘
//! ```
//!
//! 1. An item is in one of these places, and moves under the lock. What is ended while its job runs is *abandoned*: its
//!    outcome is dropped when it comes.
//! 2. A worker that finishes an item and claims the next does both in one step, which is all that an item costs besides its job.
//! 3. Whoever runs the chunk has an [`Entry`] of its own, in the queue and on its desk: the first for the chunk itself, others for
//!    helpers. A helper is called when what is left may take longer than to wake it ([`is_worth_help`]), or when the map has
//!    waited in vain ([`Batch::hurry`]). So an item that takes long holds up others of its chunk for a few milliseconds at most
//!    while other workers are idle.
//! 4. What the items add to the pool's counts is noted in the chunk and counted before anybody can look: when outcomes are
//!    taken, at the end of each lap, and when the counts are asked for. Items that take less than about a microsecond are measured
//!    a few together ([`Lap`]); how long they ran is recorded at its end, which may come after their outcomes were taken.
//! 5. Outcomes are taken when the chunk has ended, or [`PATIENCE`] after the last were; whoever was woken may take them in any case.
//! 6. Wakers, jobs and drops of inputs and values are foreign code: never called under the lock.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::runtime::{Handle, Id};

use super::{
    lap::{Lap, Untold, is_worth_help, mean},
    queue::Queued,
    seat::ThreadJob,
    shared::Shared,
    worker,
};
use crate::{
    Priority, TaskError, TaskId,
    clock::Stamp,
    counted::{Counted, unsize},
    error::{TaskLabel, TaskName},
    map::{Batch, Finished, Inputs, Outcome, Placed, Setup},
    metrics::{Counters, Pace},
    panic::{catch, drop_shielded, shield},
    pool::{Place, registry::Kind},
    record::{Run, Scope, Spot, Stage, UNKNOWN},
    task::{self, Left, StopSignal},
    trace::{JobSpan, SpanSlot},
};

/// At most so long does an outcome wait for others before whoever waits for it is woken, or may take it. Who takes outcomes as soon as
/// there are some keeps up with the worker, and each waits for the other's lock at every item.
const PATIENCE: Duration = Duration::from_micros(250);

/// Items that run one after the other. See the module's documentation.
pub(super) struct Chunk<F, A, R> {
    shared: Arc<Shared>,
    /// The label of the first item; those of the others differ by the id.
    label: TaskLabel,
    len: u32,
    priority: Priority,
    submitted: Instant,
    runtime: Option<Handle>,
    /// How long the items of the map take.
    pace: Arc<Pace>,
    /// Of all items. Ends when nothing runs and nothing is left to begin.
    span: SpanSlot,
    /// Whether items that have begun are not wanted any more.
    ///
    /// ORDERING: Relaxed, as for `is_exhausted`. Advice, which publishes nothing.
    is_stopped: AtomicBool,
    /// Whether nothing is left to begin: for who must not lock.
    is_exhausted: AtomicBool,
    /// Taken before a shelf of `record`, and no other.
    state: Mutex<State<F, A, R>>,
}

struct State<F, A, R> {
    /// Absent once nothing is left to begin.
    job: Option<Arc<F>>,
    /// What has not begun.
    inputs: Placed<A>,
    /// The items that run, at most one per worker.
    running: Vec<u32>,
    finished: Vec<Finished<R>>,
    waiter: Option<Waker>,
    /// When outcomes were last taken or whoever waits was woken, or else the first item began.
    quiet_since: Instant,
    /// Whether what has finished may be taken in any case.
    is_called_for: bool,
    /// The entries that no worker has taken yet: the first, and one of a helper.
    first_is_queued: bool,
    helper_is_queued: bool,
    /// Somebody tells the span of items that it has ended, and ends the span if they were the last.
    is_being_told: bool,
    tally: Tally,
}

/// What has happened and is not in the pool's counts.
#[derive(Debug, Default)]
struct Tally {
    begun: u64,
    ended: u64,
    succeeded: u64,
    panicked: u64,
}

/// What has run on one thread and has not been recorded.
#[derive(Debug)]
struct Tape<'a> {
    spot: &'a Spot,
    since: Stamp,
    first: u32,
    items: u32,
}

impl Tape<'_> {
    fn note(&mut self, item: u32) {
        if self.items == 0 {
            self.first = item;
            // Not when the last part ended: there may be no next one, and then nothing runs.
            self.spot.begin(self.since);
        }
        self.items += 1;
    }
}

/// An item with what it takes to run it.
type Claimed<A> = (u32, (A, Place));

/// What of a chunk is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    NotBegun,
    All,
}

impl<F, A, R> Chunk<F, A, R>
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: Send + 'static,
    R: Send + 'static,
{
    /// Puts items into the pool's queue.
    pub(super) fn start(shared: &Arc<Shared>, job: Arc<F>, inputs: Inputs<A>, setup: &Setup) -> Arc<Self> {
        let len = u32::try_from(inputs.inputs.len()).expect("nobody has memory for more");
        let name = setup.options.name.clone().map_or(TaskName::OfFunction(setup.function), TaskName::given);
        let submitted = Instant::now();
        let state = State {
            job: Some(job),
            inputs: inputs.into_iter(),
            running: Vec::new(),
            finished: Vec::new(),
            waiter: None,
            quiet_since: submitted,
            is_called_for: false,
            first_is_queued: true,
            helper_is_queued: false,
            is_being_told: false,
            tally: Tally::default(),
        };
        let label = TaskLabel { id: TaskId::next_of_many(len), name, submitted_at: setup.at };
        let span = JobSpan::of_items(Kind::Threads.label(), &shared.setup.name, &label, len);
        let chunk = Arc::new(Self {
            shared: shared.clone(),
            label,
            len,
            priority: setup.options.priority,
            submitted,
            runtime: Handle::try_current().ok(),
            pace: setup.pace.clone(),
            span: SpanSlot::new(span),
            is_stopped: AtomicBool::new(false),
            is_exhausted: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        shared.counters.submitted_together(len.into());
        shared.enqueue(unsize!(Entry::new(&chunk, Role::First) => dyn ThreadJob));
        chunk
    }

    fn label_of(&self, item: u32) -> TaskLabel {
        TaskLabel { id: self.label.id.plus(item), ..self.label.clone() }
    }

    /// Runs items on this thread until none is left to begin.
    fn run(self: &Arc<Self>, spot: &Spot) {
        let Some(job) = self.lock().job.clone() else { return };
        // A helper may come too late to run anything: the first item says since when.
        let outer = spot.since();
        let span = self.span.get();
        span.begins(worker::number_here);
        span.clone().inside(|| task::enter(&**self, || self.run_items(&*job, spot, &span)));
        spot.begin(outer);
        drop_shielded(job);
    }

    fn run_items(self: &Arc<Self>, job: &F, spot: &Spot, span: &JobSpan) {
        self.call_help_if_worth_it();
        let (mut lap, mut untold) = (Lap::new(Instant::now()), Untold::default());
        let mut tape = Tape { spot, since: Stamp::of(lap.began()), first: 0, items: 0 };
        Counters::computes_from(tape.since);
        let mut done = None;
        while let Some((item, (input, place))) = self.step(done.take(), lap.began(), &mut tape) {
            tape.note(item);
            let outcome = catch(|| job(input));
            // It comes free before anybody can see the outcome and come back for it.
            drop_shielded(place);
            let outcome = outcome.map_err(|report| TaskError::panicked(self.label_of(item), report));
            if let Err(error) = &outcome {
                span.fails(error);
            }
            done = Some((item, outcome));
            if lap.is_over_after_one_more() && self.end_lap(&mut lap, &mut untold) {
                self.record(&mut tape, Some(Stamp::of(lap.began())));
            }
        }
        self.end_lap(&mut lap, &mut untold);
        self.tell(untold.take(), lap.began());
    }

    /// Takes note of an outcome, and claims the next item.
    fn step(&self, done: Option<Finished<R>>, now: Instant, tape: &mut Tape<'_>) -> Option<Claimed<A>> {
        if let Some((_, Err(error))) = &done {
            let recorders = self.shared.counters.recorders();
            recorders.item_failed(tape.spot.number, Stamp::of(self.submitted), error);
        }
        let mut state = self.lock();
        if state.inputs.len() == 0 {
            // Before the last outcome can be seen.
            self.record(tape, None);
        }
        if self.span.is_used() && done.is_some() && state.runs_its_last() {
            // Nobody else can begin or finish an item now, only end this one.
            drop(state);
            self.span.end_items();
            state = self.lock();
        }
        let late = done.and_then(|(item, outcome)| state.finish(item, outcome).err());
        let next = state.claim(self.len, now);
        let job = if next.is_none() { state.job.take() } else { None };
        let waker = state.due_waker(now);
        drop(state);
        if let Some(late) = late {
            drop_shielded(late);
            self.shared.counters.abandoned_ended();
        }
        if let Some(waker) = waker {
            shield(|| waker.wake());
        }
        if next.is_none() {
            self.is_exhausted.store(true, Relaxed);
            drop_shielded(job);
        }
        next
    }

    /// Records the items that have run on this thread since the last time.
    fn record(&self, tape: &mut Tape<'_>, ended: Option<Stamp>) {
        let items = std::mem::take(&mut tape.items);
        if items == 0 {
            return;
        }
        let ended = ended.unwrap_or_else(Stamp::now);
        let begun = std::mem::replace(&mut tape.since, ended);
        if self.shared.counters.recorders().looks_for(Scope::All) {
            let label = &self.label_of(tape.first);
            let submitted = Stamp::of(self.submitted);
            let run = Run { label, submitted, begun, ended, worker: tape.spot.number, items };
            self.shared.counters.record_run::<()>(run, Some(&Ok(())));
        }
    }

    /// Records that an item was ended; of those that had not begun so many at once.
    fn record_end(&self, outcome: &Outcome<R>, left: Left, items: u32) {
        if let (1.., Err(error)) = (items, outcome) {
            let (recorders, submitted) = (self.shared.counters.recorders(), Stamp::of(self.submitted));
            match left {
                Left::Queue => recorders.ended(Stage::NeverBegan, items, submitted, error),
                _ => recorders.item_failed(UNKNOWN, submitted, error),
            }
        }
    }

    /// Reads the clock, and counts what has happened. Says whether the map was told of it.
    fn end_lap(self: &Arc<Self>, lap: &mut Lap, untold: &mut Untold) -> bool {
        let times = lap.end(Instant::now());
        if let Some(each) = mean(times) {
            self.pace.note_latest(each);
        }
        let told = untold.add(times);
        self.tell(told, lap.began());
        self.shared.counters.took(times);
        self.count(&mut self.lock(), lap.began());
        if lap.is_of_one() {
            self.call_help_if_worth_it();
        }
        told.is_some()
    }

    /// Tells the map how long items took, and the pool's counts when that was. Done for many at a time.
    fn tell(&self, times: Option<(u64, Duration)>, now: Instant) {
        if let Some((items, together)) = times {
            self.pace.note(items, together);
            self.shared.counters.computed_until(Stamp::of(now), items, together);
        }
    }

    fn call_help_if_worth_it(self: &Arc<Self>) {
        let left = self.lock().inputs.len();
        if is_worth_help(left, self.pace.latest()) {
            self.call_help();
        }
    }

    /// Puts an entry into the queue by which another worker takes a part of what is left.
    fn call_help(self: &Arc<Self>) {
        if self.shared.max_workers() < 2 {
            return;
        }
        let mut state = self.lock();
        if state.inputs.len() == 0 || std::mem::replace(&mut state.helper_is_queued, true) {
            return;
        }
        drop(state);
        self.shared.enqueue(unsize!(Entry::new(self, Role::Helper) => dyn ThreadJob));
    }

    /// Ends what has not begun, or all that has not finished, each item with an error of its own. Returns how many items.
    ///
    /// The extent is asked for under the lock: whoever takes an entry does so before it locks and begins an item.
    fn end(&self, extent: impl FnOnce() -> Extent, error: impl Fn(TaskLabel) -> TaskError) -> u64 {
        let mut state = self.lock();
        let extent = extent();
        let inputs = std::mem::replace(&mut state.inputs, Inputs::default().into_iter());
        let first_waiting = self.len - inputs.len() as u32;
        let running = if extent == Extent::All { std::mem::take(&mut state.running) } else { Vec::new() };
        if inputs.len() + running.len() == 0 {
            return 0;
        }
        self.is_exhausted.store(true, Relaxed);
        if !running.is_empty() {
            self.is_stopped.store(true, Relaxed);
        }
        self.count(&mut state, Instant::now());
        if self.span.is_used() {
            // What was taken out above is nobody's but ours. An item that still runs may finish meanwhile: the span is not to end with
            // that, or it would tell of nothing but success.
            state.is_being_told = true;
            drop(state);
            let first = running.first().copied().unwrap_or(first_waiting);
            self.span.get().fails(&error(self.label_of(first)));
            state = self.lock();
            state.is_being_told = false;
            if state.running.is_empty() {
                drop(state);
                self.span.end_items();
                state = self.lock();
            }
        }
        let running = running.into_iter().map(|item| (item, Left::Abandoned));
        let mut waiting_items = self.len - first_waiting;
        let waiting = (first_waiting..self.len).map(|item| (item, Left::Queue));
        let mut ended = 0;
        for (item, left) in running.chain(waiting) {
            let outcome = Err(error(self.label_of(item)));
            self.shared.counters.finished(&outcome, left);
            if left == Left::Abandoned {
                self.shared.counters.abandoned();
            }
            let items = if left == Left::Queue { std::mem::take(&mut waiting_items) } else { 1 };
            self.record_end(&outcome, left, items);
            state.finished.push((item, outcome));
            ended += 1;
        }
        state.is_called_for = true;
        let (waker, job) = (state.waiter.take(), state.job.take());
        let is_void = std::mem::take(&mut state.first_is_queued);
        drop(state);
        if is_void {
            self.shared.entry_is_void();
        }
        // What is foreign; each input comes with its place in the pool.
        inputs.for_each(drop_shielded);
        drop_shielded(job);
        if let Some(waker) = waker {
            shield(|| waker.wake());
        }
        ended
    }
}

impl<F, A, R> Chunk<F, A, R> {
    fn lock(&self) -> MutexGuard<'_, State<F, A, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what has happened to the pool's counts.
    fn count(&self, state: &mut State<F, A, R>, now: Instant) {
        let Tally { begun, ended, succeeded, panicked } = std::mem::take(&mut state.tally);
        let counters = &self.shared.counters;
        if begun > 0 {
            counters.begun_many(begun, now.saturating_duration_since(self.submitted));
        }
        if ended > 0 {
            counters.ended_many(ended, succeeded, panicked);
        }
    }
}

impl<F, A, R> State<F, A, R> {
    /// Whether one item runs, nothing is left to begin, and nobody is about to end the span.
    fn runs_its_last(&self) -> bool {
        self.running.len() == 1 && self.inputs.len() == 0 && !self.is_being_told
    }

    fn claim(&mut self, len: u32, now: Instant) -> Option<Claimed<A>> {
        let item = len - self.inputs.len() as u32;
        let next = self.inputs.next()?;
        if item == 0 {
            self.quiet_since = now;
        }
        self.running.push(item);
        self.tally.begun += 1;
        Some((item, next))
    }

    /// Takes note of an outcome; gives it back if the item was ended before.
    fn finish(&mut self, item: u32, outcome: Outcome<R>) -> Result<(), Outcome<R>> {
        self.tally.ended += 1;
        let Some(at) = self.running.iter().position(|running| *running == item) else { return Err(outcome) };
        self.running.swap_remove(at);
        match &outcome {
            Ok(_) => self.tally.succeeded += 1,
            Err(_) => self.tally.panicked += 1,
        }
        self.finished.push((item, outcome));
        Ok(())
    }

    /// Who is to be woken at this moment.
    fn due_waker(&mut self, now: Instant) -> Option<Waker> {
        if self.waiter.is_none() || self.finished.is_empty() || !self.is_due(now) {
            return None;
        }
        (self.quiet_since, self.is_called_for) = (now, true);
        self.waiter.take()
    }

    /// Whether what has finished need not wait for more.
    fn is_due(&self, now: Instant) -> bool {
        let has_ended = self.running.is_empty() && self.inputs.len() == 0;
        has_ended || self.is_called_for || now.saturating_duration_since(self.quiet_since) >= PATIENCE
    }
}

impl<F, A, R> Batch<R> for Chunk<F, A, R>
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: Send + 'static,
    R: Send + 'static,
{
    fn len(&self) -> usize {
        self.len as usize
    }

    fn poll_take(&self, outcomes: &mut Vec<Finished<R>>, cx: &mut Context<'_>) -> Poll<()> {
        if self.take(outcomes) {
            return Poll::Ready(());
        }
        // Cloned outside the lock, and left before the look: whoever finishes an item later wakes it.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let before = state.waiter.replace(waker);
        drop(state);
        drop(before);
        if self.take(outcomes) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn hurry(self: Arc<Self>) {
        if !self.lock().running.is_empty() {
            self.call_help();
        }
    }

    fn cancel(&self) {
        self.end(|| Extent::All, TaskError::cancelled);
        let finished = std::mem::take(&mut self.lock().finished);
        drop_shielded(finished);
    }
}

impl<F, A, R> Chunk<F, A, R> {
    /// Exchanges `outcomes` for what has finished, unless more will have soon; says whether that is something.
    fn take(&self, outcomes: &mut Vec<Finished<R>>) -> bool {
        debug_assert!(outcomes.is_empty());
        let mut state = self.lock();
        if state.finished.is_empty() {
            return false;
        }
        let now = Instant::now();
        if !state.is_due(now) {
            return false;
        }
        (state.quiet_since, state.is_called_for) = (now, false);
        std::mem::swap(&mut state.finished, outcomes);
        // Who sees an outcome finds it counted.
        self.count(&mut state, now);
        true
    }
}

impl<F, A, R> StopSignal for Chunk<F, A, R>
where
    F: Send + Sync,
    A: Send,
    R: Send,
{
    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Relaxed)
    }
}

impl<F, A, R> Drop for Chunk<F, A, R> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop_shielded((state.job.take(), std::mem::take(&mut state.finished)));
    }
}

/// A chunk in the queue and on a desk, once for each worker that is to run it.
struct Entry<F, A, R> {
    chunk: Arc<Chunk<F, A, R>>,
    role: Role,
    /// Whether a worker runs it. Written by that worker alone.
    ///
    /// ORDERING: Relaxed. The worker locks the chunk after it has written it, and before it begins an item. So who reads it under
    /// that lock sees it, or else there is no such item.
    is_taken: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    First,
    Helper,
}

impl<F, A, R> Entry<F, A, R> {
    fn new(chunk: &Arc<Chunk<F, A, R>>, role: Role) -> Counted<Self> {
        Counted::new(Self { chunk: chunk.clone(), role, is_taken: AtomicBool::new(false) })
    }

    fn is_taken(&self) -> bool {
        self.is_taken.load(Relaxed)
    }

    /// What ends with this entry. To be asked under the chunk's lock.
    fn extent(&self) -> Extent {
        if self.is_taken() { Extent::All } else { Extent::NotBegun }
    }

    /// It is not in the queue any more.
    fn leave_queue(&self) {
        let mut state = self.chunk.lock();
        match self.role {
            Role::First => state.first_is_queued = false,
            Role::Helper => state.helper_is_queued = false,
        }
    }
}

impl<F, A, R> Queued for Entry<F, A, R> {
    fn lane(&self) -> usize {
        self.chunk.priority.lane()
    }

    fn due(&self) -> Instant {
        self.chunk.priority.due(self.chunk.submitted)
    }

    fn submitted_nanos(&self) -> u64 {
        Stamp::of(self.chunk.submitted).nanos()
    }
}

impl<F, A, R> ThreadJob for Entry<F, A, R>
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: Send + 'static,
    R: Send + 'static,
{
    fn run(&self, spot: &Spot) {
        self.is_taken.store(true, Relaxed);
        self.leave_queue();
        self.chunk.run(spot);
    }

    fn runtime(&self) -> Option<Handle> {
        self.chunk.runtime.clone()
    }

    fn runtime_id(&self) -> Option<Id> {
        self.chunk.runtime.as_ref().map(Handle::id)
    }

    fn label(&self) -> &TaskLabel {
        &self.chunk.label
    }

    fn is_queued(&self) -> bool {
        !self.chunk.is_exhausted.load(Relaxed)
    }

    fn cancel(&self) -> u64 {
        self.chunk.end(|| self.extent(), TaskError::cancelled)
    }

    fn cancel_waiting(&self) -> u64 {
        self.chunk.end(|| Extent::NotBegun, TaskError::cancelled)
    }

    fn refuse(&self, pool: &str) {
        self.leave_queue();
        // Without a helper the others do its work.
        if self.role == Role::First {
            self.chunk.end(|| Extent::NotBegun, |label| TaskError::closed(label, pool));
        }
    }

    fn fail(&self, reason: &str) {
        if self.role == Role::Helper && !self.is_taken() {
            return self.leave_queue();
        }
        self.chunk.end(|| self.extent(), |label| TaskError::unavailable(label, reason));
    }

    fn settle_counts(&self) {
        self.chunk.count(&mut self.chunk.lock(), Instant::now());
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use std::{cell::Cell, fmt::Debug, future::poll_fn, panic::Location, sync::mpsc};

    use tokio_test::block_on;
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
        subscriber::{Interest, with_default},
    };

    use super::*;
    use crate::ThreadPool;

    /// Hears what is said of how the items of a chunk ended.
    struct Listener(mpsc::Sender<String>);

    impl Subscriber for Listener {
        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            // So that other tests, which have no subscriber, get no spans by this one.
            Interest::sometimes()
        }

        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, values: &span::Record<'_>) {
            values.record(&mut &*self);
        }

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, _: &Event<'_>) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    impl Visit for &Listener {
        fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

        fn record_str(&mut self, field: &Field, value: &str) {
            if field.name() == "outcome" {
                self.0.send(value.to_owned()).expect("the test listens to the end");
            }
        }
    }

    #[test]
    fn a_span_tells_of_items_that_are_ended_while_the_last_one_that_runs_finishes() {
        let pool = ThreadPool::builder().max_workers(1).build().unwrap();
        let ((begins, begun), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
        let released = Mutex::new(released);
        let job = Arc::new(move |_| {
            begins.send(()).unwrap();
            released.lock().unwrap().recv().is_ok()
        });
        let mut inputs = Inputs::default();
        (0..3).for_each(|item: u32| inputs.push(item, Place::default()));
        let setup = Setup::new("job", Location::caller());
        let (told, outcomes) = mpsc::channel();
        let chunk = with_default(Listener(told), || Chunk::start(pool.shared(), job, inputs, &setup));
        begun.recv().unwrap();
        // What was not begun has been taken out by the time that its error is made, and the span is not told yet.
        let is_first = Cell::new(true);
        let ended = chunk.end(
            || Extent::NotBegun,
            |label| {
                if is_first.replace(false) {
                    release.send(()).unwrap();
                    let mut finished = Vec::new();
                    block_on(poll_fn(|cx| chunk.poll_take(&mut finished, cx)));
                    assert!(matches!(finished[..], [(0, Ok(true))]));
                }
                TaskError::cancelled(label)
            },
        );
        assert_eq!((ended, outcomes.try_iter().collect::<Vec<_>>()), (2, vec!["cancelled".to_owned()]));
    }
}
