//! [`Dispatch`]: who takes which job, who sleeps, who is woken, and when a worker is added.
//!
//! All of it is decided here, under one lock, and done by the caller after the lock is released: a decision comes back as a
//! [`Turn`] (for a worker) or an [`Act`] (for whoever changed something). So no lock is held while a thread is woken or
//! created, and while a job runs or is dropped.
//!
//! ```text
//!         Act::Grow                    takes a job, and rouses the next
//!  VACANT ──────────▶ SEARCHING ──────────────────────────────────────▶ BUSY
//!    ▲                 │     ▲                                          │  │
//!    │                 │     │ claimed: Act::Wake                       │  │ next job
//!    │    nothing there│     │                     nothing there        │  ╵
//!    │                 └──▶ IDLE ◀──────────────────────────────────────┘
//!    │                       │
//!    └───────────────────────┘  idle too long; also from SEARCHING and BUSY: more workers than allowed, the pool is
//!                               closed and the queue empty, no thread to be had
//! ```
//!
//! 1. **No job is stranded.** Whenever the lock is free: if the queue or a desk holds a job that waits, then somebody is SEARCHING,
//!    or else nobody is IDLE and no worker may be added (there are `max`, or the system has just refused a thread while
//!    others live). In the second case every worker is BUSY, and looks at its desk, at the queue and at the other desks when its
//!    job is done.
//! 2. SEARCHING is a duty, not a mood: whoever is claimed from the idle stack, or added, looks at the queue once before it
//!    may sleep or leave, even if its sleep ended by itself in the same moment.
//! 3. The duty is handed on: each change that ends a search or adds an entry closes with [`State::rouse`]. A worker that
//!    takes a job therefore rouses the next one *before* it runs the job, which may take for ever.
//! 4. One search at a time is enough for 1, so a submission wakes at most one worker, and none while a search is on: a burst
//!    of small jobs costs one wake-up, not one per job. Only [`Dispatch::grown`] goes beyond: the thread that creates
//!    workers is awake anyway, and goes on while there are more jobs than searchers.
//! 5. `live` counts every worker that is not VACANT, `searching` every one that is SEARCHING; `idle` lists the IDLE ones.
//!    A worker that waits for its thread to be created is SEARCHING.
//! 6. Without a worker nothing waits: if the system refuses the only thread there would be, the queue is given back.
//! 7. Once closed, nothing is added, and every worker leaves when it finds nothing that waits. By 1 nothing waits
//!    when the last one leaves.
//! 8. A worker whose jobs are short takes its share of the queue at once, or all of it, and has it wait on its [`Desk`]: one lock for
//!    many jobs. `stocked` lists the desks that may have waiting jobs, the one that was stocked first in front. A worker that finds the
//!    queue empty takes the older half of such a desk. A desk that has been stocked for [`PATIENCE`], which is far longer than what
//!    lies on it was to take, is held up by a long job: whoever looks next puts what waits there back into the queue, in front. So
//!    no job waits for the one before it longer than until the next worker looks.
//! 9. Nothing waits on a desk while jobs of several lanes wait: who takes the first of the queue takes the most urgent of all.
//! 10. What lies in an [inbox](super::inbox) counts as waiting in the queue, behind all that is there. An inbox is open only while
//!     somebody is SEARCHING, or nobody is IDLE and no worker may be added: when that ends, in [`State::rouse`], the inboxes are emptied into
//!     the queue and shut. So are they before a worker rests, when the pool is closed, and while jobs of several lanes wait. Whoever adds a
//!     job by the lock, or looks at all that waits, empties them first.
//!
//! Why a stack of sleepers and not one condition variable: the worker that fell asleep last has the warmest caches, and the
//! ones below it really grow old, so that keep-alive can end them; a condition variable wakes them in turn and enters the
//! kernel for every notification, slept or not. A token per thread ([`Sleeper`]) costs one exchange and a system call only
//! if the thread sleeps, and is kept when it comes early, so that the sleep may begin after the lock is released. It may
//! also end for no reason: a job that used `park` on its thread may have left a token behind. So a worker believes its own
//! entry under the lock, and never the wake-up.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use super::{
    desk::Desk,
    inbox::{Inboxes, Mail, Then},
    queue::{Lane, Queue, Queued},
};
use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering::Relaxed, Sleeper, Slept, now};

/// After a refusal, the first pause before a thread is asked for again. Doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long jobs may wait on a desk before they are put back into the queue.
const PATIENCE: Duration = Duration::from_millis(1);

/// So many entries of the queue are told from more by nobody who does not lock.
const SEVERAL: usize = 2;

/// The queue and the workers of one pool. See the module's documentation.
///
/// On cache lines of its own: it is written all the time, and its neighbours are read all the time.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Dispatch<J> {
    /// Guards everything. Under it nothing is locked but desks and inboxes, and no foreign code is called.
    state: Mutex<State<J>>,
    inboxes: Inboxes<J>,
    /// How many entries the queue has, up to [`SEVERAL`], for those who would rather not lock. Written under the lock, and only when it
    /// changes: while jobs come in great numbers it does not, and costs nobody a cache line.
    ///
    /// ORDERING: Relaxed. A hint: who acts on it looks again under the lock.
    entries: AtomicU32,
}

/// The lock on the state, which leaves behind how long the queue is.
struct Guard<'a, J> {
    state: MutexGuard<'a, State<J>>,
    entries: &'a AtomicU32,
}

/// In this order in memory: what is changed by each submission is on one cache line with the lock.
#[derive(Debug)]
#[repr(C)]
struct State<J> {
    closed: bool,
    queue: Queue<J>,
    /// By the worker's number.
    workers: Vec<Status>,
    inboxes: Inboxes<J>,
    mail: Mail<J>,
    /// Those that sleep; the one that fell asleep last is on top.
    idle: Vec<Idle>,
    stocked: VecDeque<Stocked<J>>,
    live: usize,
    searching: usize,
    min: usize,
    max: usize,
    growth: Growth,
}

/// Where a worker stands. See the diagram above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Vacant,
    Searching,
    Busy,
    Idle,
}

#[derive(Debug)]
struct Idle {
    number: usize,
    sleeper: Sleeper,
}

/// A desk on which jobs were put that wait.
#[derive(Debug)]
struct Stocked<J> {
    number: usize,
    desk: Arc<Desk<J>>,
    since: Instant,
}

/// A worker, as it presents itself.
#[derive(Debug, Clone)]
pub(crate) struct Member<J> {
    pub(crate) number: usize,
    pub(crate) sleeper: Sleeper,
    pub(crate) desk: Arc<Desk<J>>,
}

/// What a worker asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) now: Instant,
    /// How many jobs it wants at most.
    pub(crate) most: usize,
    /// Up to how many it takes all that wait, and not its share: where jobs are so short that to hand over half of them costs who
    /// submits more, by holding the lock, than it is worth. The others take them from its desk.
    pub(crate) all: usize,
    /// Whether it may linger before it sleeps.
    pub(crate) eager: bool,
}

/// Whether the system gives threads.
#[derive(Debug, Clone, Copy)]
enum Growth {
    Granted,
    /// It refused the last one; asked again at `retry`, and after `pause` if it refuses again.
    Refused {
        retry: Instant,
        pause: Duration,
    },
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Turn<J> {
    /// Performs the act, then runs the job, and then what waits on its desk.
    Run(J, Act),
    /// Stays awake for a moment, until [`Dispatch::has_entries`], and looks again.
    Linger,
    /// Sleeps, and looks again. At most as long as keep-alive says, where the worker may end.
    Sleep(Nap),
    /// Performs the act, and ends.
    Leave(Act),
}

/// How long an idle worker sleeps unless it is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nap {
    /// As long as keep-alive says.
    KeepAlive,
    /// For ever: it is one of `min_workers`.
    Unlimited,
}

/// What is to be done after the lock is released.
#[derive(Debug)]
#[must_use = "a job may wait for ever unless this is done"]
pub(crate) enum Act {
    Nothing,
    Wake(Sleeper),
    WakeAll(Vec<Sleeper>),
    /// Creates the thread of the worker with this number, or calls [`Dispatch::refused`].
    Grow(usize),
}

/// What follows from a thread that could not be created.
#[derive(Debug)]
pub(crate) struct Refusal<J> {
    /// The jobs for which there is no worker at all, and none to be had.
    pub(crate) stranded: Vec<J>,
    /// When to call [`Dispatch::retry`].
    pub(crate) retry: Option<Instant>,
    pub(crate) act: Act,
}

impl<J: Queued> Dispatch<J> {
    /// Without a worker: each is added when there is work for it, or by [`hire`](Self::hire).
    pub(crate) fn new(min: usize, max: usize, inboxes: Inboxes<J>) -> Self {
        Self {
            inboxes: inboxes.clone(),
            state: Mutex::new(State {
                closed: false,
                queue: Queue::new(),
                workers: Vec::new(),
                inboxes,
                mail: Mail::new(),
                idle: Vec::new(),
                stocked: VecDeque::new(),
                live: 0,
                searching: 0,
                min,
                max,
                growth: Growth::Granted,
            }),
            entries: AtomicU32::new(0),
        }
    }

    /// Adds a job. `inbox` is that of this thread, if it has one.
    ///
    /// # Errors
    ///
    /// The job, when the pool is closed.
    pub(crate) fn submit(&self, inbox: Option<usize>, mut job: J) -> Result<Act, J> {
        if let Some(number) = inbox {
            match self.inboxes.put(number, job) {
                Ok(()) => return Ok(Act::Nothing),
                Err(back) => job = back,
            }
        }
        let mut state = self.lock();
        if state.closed {
            return Err(job);
        }
        state.take_mail();
        if state.queue.push(job) == Lane::Unusual {
            state.shut_inboxes();
            state.recall_all();
        } else if let Some(number) = inbox {
            state.open_inbox(number);
        }
        Ok(state.rouse())
    }

    /// Adds many jobs, in their order, at the price of one.
    ///
    /// # Errors
    ///
    /// The jobs, when the pool is closed.
    #[allow(dead_code, reason = "for the models and tests: a chunk of `map` is one job")]
    pub(crate) fn submit_batch(&self, jobs: Vec<J>) -> Result<Act, Vec<J>> {
        let mut state = self.lock();
        if state.closed {
            return Err(jobs);
        }
        state.take_mail();
        if state.queue.push_batch(jobs) == Lane::Unusual {
            state.shut_inboxes();
            state.recall_all();
        }
        Ok(state.rouse())
    }

    /// Tells a worker what to do next. Called by that worker, when it has started, when its desk is empty and after each sleep.
    pub(crate) fn look(&self, worker: &Member<J>, slept: Slept, wish: Wish) -> Turn<J> {
        let mut state = self.lock();
        match (state.workers[worker.number], slept) {
            (Status::Idle, Slept::Woken) => Turn::Sleep(Nap::KeepAlive),
            (Status::Idle, Slept::TooLong) if state.live <= state.min => Turn::Sleep(Nap::Unlimited),
            (Status::Idle, Slept::TooLong) => state.leave(worker.number),
            _ => state.next(worker, wish),
        }
    }

    /// Adds a worker that is wanted without a job. The caller creates its thread, or calls [`refused`](Self::refused).
    pub(crate) fn hire(&self) -> usize {
        self.lock().add()
    }

    /// Takes note that a thread was created. Asks for another if more jobs wait than there are workers on the way.
    pub(crate) fn grown(&self) -> Act {
        let mut state = self.lock();
        state.growth = Growth::Granted;
        state.take_mail();
        if state.queue.len() > state.searching && state.idle.is_empty() && state.live < state.max {
            return Act::Grow(state.add());
        }
        Act::Nothing
    }

    /// Takes note that the thread of a worker could not be created.
    pub(crate) fn refused(&self, number: usize) -> Refusal<J> {
        let mut state = self.lock();
        state.vacate(number);
        if state.live == 0 {
            state.growth = Growth::Granted;
            state.shut_inboxes();
            return Refusal { stranded: state.queue.take_all(), retry: None, act: Act::Nothing };
        }
        let retry = state.pause_growth();
        Refusal { stranded: Vec::new(), retry: Some(retry), act: state.rouse() }
    }

    /// Looks again whether somebody is to be roused. Called when [`Refusal::retry`] has come; a later refusal has its own.
    pub(crate) fn retry(&self) -> Act {
        self.lock().rouse()
    }

    /// Takes out a worker whose thread ended without being told to. What waited on its desk waits in the queue again.
    pub(crate) fn lost(&self, number: usize) -> Act {
        let mut state = self.lock();
        if let Some(stocked) = state.take_stocked(number) {
            state.queue.put_back(stocked.desk.take_waiting());
        }
        state.vacate(number);
        if !state.closed && state.live < state.min {
            return Act::Grow(state.add());
        }
        state.rouse()
    }

    /// How many workers there may be.
    pub(crate) fn max(&self) -> usize {
        self.lock().max
    }

    /// Allows another number of workers. Returns the number before. Those that are too many leave when they look next.
    pub(crate) fn resize(&self, max: usize) -> (usize, Act) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.max, max);
        let surplus = state.live.saturating_sub(max).min(state.idle.len());
        if surplus == 0 {
            return (before, state.rouse());
        }
        (before, Act::WakeAll(state.claim(surplus)))
    }

    /// Adds nothing any more, and has every worker leave as soon as the queue is empty.
    pub(crate) fn close(&self) -> Act {
        let mut state = self.lock();
        state.closed = true;
        state.shut_inboxes();
        let all = state.idle.len();
        Act::WakeAll(state.claim(all))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes every job that waits, in the queue or on a desk.
    pub(crate) fn take_all(&self) -> Vec<J> {
        let mut state = self.lock();
        state.take_mail();
        let mut all = state.queue.take_all();
        all.extend(state.stocked.drain(..).flat_map(|stocked| stocked.desk.take_waiting()));
        all
    }

    /// Takes note that a job in the queue was cancelled. Returns entries that are of no use any more, to be dropped.
    pub(crate) fn cancelled(&self, is_wanted: impl Fn(&J) -> bool) -> Vec<J> {
        let mut state = self.lock();
        state.take_mail();
        state.queue.cancelled(is_wanted)
    }

    /// Workers that are alive or being created.
    pub(crate) fn live(&self) -> usize {
        self.lock().live
    }

    /// Workers that are alive or being created, and those of them that sleep.
    pub(crate) fn workers(&self) -> (usize, usize) {
        let state = self.lock();
        (state.live, state.idle.len())
    }

    /// Whether the queue had entries, a moment ago.
    pub(crate) fn has_entries(&self) -> bool {
        self.entries.load(Relaxed) > 0
    }

    /// Whether the queue had one entry at most, a moment ago.
    pub(crate) fn has_few_entries(&self) -> bool {
        self.entries.load(Relaxed) <= 1
    }

    fn lock(&self) -> Guard<'_, J> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Guard { state, entries: &self.entries }
    }
}

impl<J> Deref for Guard<'_, J> {
    type Target = State<J>;

    fn deref(&self) -> &State<J> {
        &self.state
    }
}

impl<J> DerefMut for Guard<'_, J> {
    fn deref_mut(&mut self) -> &mut State<J> {
        &mut self.state
    }
}

impl<J> Drop for Guard<'_, J> {
    fn drop(&mut self) {
        let several = self.state.mail.may_come();
        let entries = if several { SEVERAL } else { self.state.queue.len().min(SEVERAL) } as u32;
        if self.entries.load(Relaxed) != entries {
            self.entries.store(entries, Relaxed);
        }
    }
}

impl<J: Queued> State<J> {
    /// The turn of a worker that is SEARCHING or BUSY, and has nothing on its desk.
    fn next(&mut self, worker: &Member<J>, wish: Wish) -> Turn<J> {
        self.take_stocked(worker.number);
        if self.live > self.max {
            return self.leave(worker.number);
        }
        self.recall_stuck(wish.now);
        if self.queue.is_empty() {
            self.take_mail();
        }
        let Some(job) = self.find(worker, wish) else { return self.rest(worker, wish.eager) };
        self.set(worker.number, Status::Busy);
        Turn::Run(job, self.rouse())
    }

    /// A job from anywhere. If there is none the inboxes are shut.
    fn find(&mut self, worker: &Member<J>, wish: Wish) -> Option<J> {
        if let Some(job) = self.take(worker, wish).or_else(|| self.steal(worker, wish.now)) {
            return Some(job);
        }
        self.shut_inboxes();
        self.take(worker, wish)
    }

    /// Puts what lies in inboxes into the queue.
    fn take_mail(&mut self) {
        if self.mail.may_come() {
            self.queue.push_usual(self.inboxes.empty(&mut self.mail, Then::StayOpen));
        }
    }

    /// Puts what lies in inboxes into the queue, and shuts them.
    fn shut_inboxes(&mut self) {
        if self.mail.may_come() {
            self.queue.push_usual(self.inboxes.empty(&mut self.mail, Then::Shut));
        }
    }

    /// Lets a thread leave its next jobs in its inbox, if so many wait that nobody misses them (invariant 10).
    #[inline]
    fn open_inbox(&mut self, number: usize) {
        if self.inboxes.are_worth_opening(self.queue.len()) && self.is_covered() && !self.queue.is_mixed() {
            self.inboxes.open(number, &mut self.mail);
        }
    }

    /// Whether somebody will look at the queue without being roused, or nobody can be.
    #[inline]
    fn is_covered(&self) -> bool {
        self.searching > 0 || (self.idle.is_empty() && self.live >= self.max)
    }

    /// Takes the first job of the queue, and stocks the worker's desk with its share of the others.
    fn take(&mut self, worker: &Member<J>, wish: Wish) -> Option<J> {
        let job = self.queue.pop()?;
        let waiting = self.queue.len();
        let behind = behind(waiting, self.live, wish.most);
        if behind == 0 || self.queue.is_mixed() {
            return Some(job);
        }
        if waiting <= wish.all {
            self.queue.swap_usual(|waiting| worker.desk.stock_all(waiting));
        } else {
            worker.desk.stock(self.queue.pop_usual(behind));
        }
        self.note_stocked(worker, wish.now);
        Some(job)
    }

    /// Takes the older half of what waits on another worker's desk.
    fn steal(&mut self, worker: &Member<J>, now: Instant) -> Option<J> {
        while let Some(stocked) = self.stocked.front() {
            let mut stolen = stocked.desk.take_half();
            let Some(job) = stolen.pop_front() else {
                self.stocked.pop_front();
                continue;
            };
            if !stolen.is_empty() {
                worker.desk.stock(stolen);
                self.note_stocked(worker, now);
            }
            return Some(job);
        }
        None
    }

    fn note_stocked(&mut self, worker: &Member<J>, since: Instant) {
        let Member { number, desk, .. } = worker;
        self.stocked.push_back(Stocked { number: *number, desk: desk.clone(), since });
    }

    fn take_stocked(&mut self, number: usize) -> Option<Stocked<J>> {
        let index = self.stocked.iter().position(|stocked| stocked.number == number)?;
        self.stocked.remove(index)
    }

    /// Puts back what has waited on a desk for too long.
    fn recall_stuck(&mut self, now: Instant) {
        let stuck = self.stocked.iter().take_while(|stocked| now >= stocked.since + PATIENCE).count();
        // What was stocked first comes to stand in front.
        for stocked in self.stocked.drain(..stuck).rev() {
            self.queue.put_back(stocked.desk.take_waiting());
        }
    }

    /// Puts back what waits on desks: from now on the most urgent one of all is to be begun first.
    fn recall_all(&mut self) {
        let mut waiting: Vec<J> =
            self.stocked.drain(..).flat_map(|stocked| stocked.desk.take_waiting()).collect();
        waiting.sort_by_key(Queued::due);
        self.queue.put_back(waiting.into());
    }

    /// The turn of a worker that found nothing to do.
    fn rest(&mut self, worker: &Member<J>, eager: bool) -> Turn<J> {
        let number = worker.number;
        if self.closed {
            return self.leave(number);
        }
        if eager && self.may_linger(number) {
            self.set(number, Status::Searching);
            return Turn::Linger;
        }
        self.set(number, Status::Idle);
        self.idle.push(Idle { number, sleeper: worker.sleeper.clone() });
        Turn::Sleep(Nap::KeepAlive)
    }

    /// Whether a worker that found nothing may stay awake for a moment: once after each job, and one at a time, which is
    /// enough (invariant 4).
    fn may_linger(&self, number: usize) -> bool {
        self.workers[number] == Status::Busy && self.searching == 0
    }

    fn leave(&mut self, number: usize) -> Turn<J> {
        self.vacate(number);
        Turn::Leave(self.rouse())
    }

    /// Sees to it that somebody searches if there is something to find (invariant 1).
    #[inline]
    fn rouse(&mut self) -> Act {
        if self.is_covered() {
            return Act::Nothing;
        }
        self.shut_inboxes();
        if self.queue.is_empty() && self.stocked.is_empty() {
            return Act::Nothing;
        }
        self.rouse_somebody()
    }

    fn rouse_somebody(&mut self) -> Act {
        if let Some(Idle { number, sleeper }) = self.idle.pop() {
            self.set(number, Status::Searching);
            return Act::Wake(sleeper);
        }
        if self.live < self.max && self.may_grow() { Act::Grow(self.add()) } else { Act::Nothing }
    }

    /// Without any worker a thread is asked for whatever happened before (invariant 6).
    fn may_grow(&self) -> bool {
        match self.growth {
            Growth::Granted => true,
            Growth::Refused { retry, .. } => self.live == 0 || now() >= retry,
        }
    }

    /// Puts off the next attempt to grow, each time for longer. Returns its time.
    fn pause_growth(&mut self) -> Instant {
        let pause = match self.growth {
            Growth::Granted => FIRST_PAUSE,
            Growth::Refused { pause, .. } => (2 * pause).min(LONGEST_PAUSE),
        };
        let retry = now() + pause;
        self.growth = Growth::Refused { retry, pause };
        retry
    }

    /// Gives the topmost sleepers the duty to search (invariant 2).
    fn claim(&mut self, count: usize) -> Vec<Sleeper> {
        let claimed = self.idle.split_off(self.idle.len().saturating_sub(count));
        claimed.iter().for_each(|idle| self.set(idle.number, Status::Searching));
        claimed.into_iter().map(|idle| idle.sleeper).collect()
    }

    /// Gives a new worker the lowest number that is vacant.
    fn add(&mut self) -> usize {
        let vacant = self.workers.iter().position(|&status| status == Status::Vacant);
        let number = vacant.unwrap_or_else(|| {
            self.workers.push(Status::Vacant);
            self.workers.len() - 1
        });
        self.set(number, Status::Searching);
        number
    }

    fn vacate(&mut self, number: usize) {
        self.idle.retain(|idle| idle.number != number);
        self.set(number, Status::Vacant);
    }

    /// The one place that changes a status, and keeps the counts (invariant 5).
    fn set(&mut self, number: usize, status: Status) {
        let before = std::mem::replace(&mut self.workers[number], status);
        self.searching += usize::from(status == Status::Searching);
        self.searching -= usize::from(before == Status::Searching);
        self.live += usize::from(status != Status::Vacant);
        self.live -= usize::from(before != Status::Vacant);
    }
}

/// How many jobs a worker takes behind the first, when so many wait: its share.
fn behind(waiting: usize, workers: usize, most: usize) -> usize {
    (waiting / workers.max(1)).min(most.saturating_sub(1))
}
