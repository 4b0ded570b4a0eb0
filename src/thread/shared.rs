//! [`Shared`]: what the handles, the tasks and the workers of one pool have in common.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use super::{
    builder::min_above_max,
    desk::Desk,
    dispatch::{Act, Dispatch, Refusal},
    inbox::Inboxes,
    seat::ThreadJob,
    spawner, worker,
};
use crate::{
    BuildError, Metrics, Shutdown, ShutdownReport,
    counted::Counted,
    error::TaskLabel,
    metrics::{Counters, Outcomes, Staff},
    panic::{drop_shielded, shield},
    pause::Soon,
    pool::{Admission, Closable, Closers},
    record::{Lane, LaneState, Running, Spot},
    shards::{own, own_here},
    task::Options,
};

/// Creates a thread. The tests have it fail.
pub(crate) type Spawn =
    Box<dyn Fn(thread::Builder, Box<dyn FnOnce() + Send>) -> io::Result<()> + Send + Sync>;

/// While so many jobs wait, who submits may leave more in its inbox.
const MANY: usize = 8;

/// The desk of a worker of a real pool.
type JobDesk = Desk<Counted<dyn ThreadJob>>;

/// Who works in a pool.
#[derive(Default)]
struct Roster {
    desks: Vec<(Arc<JobDesk>, Arc<Spot>)>,
    staff: Staff,
}

/// What a pool was told when it was built.
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) min_workers: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) on_worker_start: Option<Box<dyn Fn() + Send + Sync>>,
    pub(crate) spawn: Spawn,
}

impl Setup {
    /// Adds the pool's limits to a job that has none of its own.
    pub(crate) fn complete(&self, options: &mut Options) {
        options.queue_timeout = options.queue_timeout.or(self.queue_timeout);
        options.run_timeout = options.run_timeout.or(self.run_timeout);
    }
}

/// One pool, apart from its handles.
///
/// Handles, tasks and worker threads each hold it; so that it is not kept alive by itself, the handles have a second
/// counter of their own ([`Handles`](super::Handles)), whose end calls [`release`](Self::release).
///
/// Aligned, so that the count of its owners, which each task changes twice, is not on a cache line with what workers read.
#[repr(align(128))]
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) admission: Admission,
    pub(crate) counters: Counters,
    dispatch: Dispatch<Counted<dyn ThreadJob>>,
    /// The workers that run. Taken alone.
    roster: Mutex<Roster>,
    /// Why no job can be run, for a global pool whose settings are wrong.
    broken: Option<String>,
    /// The outcomes before the first shutdown.
    before_shutdown: OnceLock<Outcomes>,
    killed: AtomicBool,
    cancels_queued: AtomicBool,
    pub(crate) soon: Soon,
    /// Who waits for the end.
    closers: Closers,
}

impl Shared {
    pub(crate) fn new(setup: Setup, max: usize, queue_limit: Option<usize>) -> Self {
        Self {
            admission: Admission::new(queue_limit, max),
            counters: Counters::default(),
            dispatch: Dispatch::new(setup.min_workers, max, Inboxes::new(own(), MANY)),
            setup,
            roster: Mutex::default(),
            broken: None,
            before_shutdown: OnceLock::new(),
            killed: AtomicBool::new(false),
            cancels_queued: AtomicBool::new(false),
            soon: Soon::default(),
            closers: Closers::default(),
        }
    }

    /// Makes a pool in which every task finishes as unavailable, for this reason.
    pub(crate) fn broken(setup: Setup, reason: String) -> Self {
        let mut shared = Self::new(setup, 1, None);
        shared.broken = Some(reason);
        shared
    }
}

/// Jobs.
impl Shared {
    /// Puts a job into the queue and sees to it that somebody comes for it.
    pub(crate) fn enqueue(self: &Arc<Self>, job: Counted<dyn ThreadJob>) {
        if let Some(reason) = &self.broken {
            return job.fail(reason);
        }
        match self.dispatch.submit(own_here(), job) {
            Ok(act) => self.perform(act),
            // Closed after the job had been let in.
            Err(job) => job.refuse(&self.setup.name),
        }
    }

    /// Takes note that an entry of the queue is of no use any more.
    pub(crate) fn entry_is_void(&self) {
        drop(self.dispatch.cancelled(|job| job.is_queued()));
    }

    /// Has running jobs count what they have not counted yet.
    fn settle_counts(&self) {
        self.running().iter().for_each(|job| job.settle_counts());
    }

    /// The workers and the counts.
    pub(crate) fn metrics(&self) -> Metrics {
        self.settle_counts();
        let (workers, idle_workers) = self.dispatch.workers();
        let roster = self.lock_roster();
        // A worker has its place before its thread comes.
        let (most_workers, worker_time) =
            (roster.staff.most().max(workers), roster.staff.time(Instant::now()));
        let desks = roster.desks.clone();
        drop(roster);
        let unused_workers = desks.iter().filter(|(desk, _)| !desk.is_used()).count();
        let (min_workers, max_workers) = (self.setup.min_workers, self.max_workers());
        let counts = self.counters.snapshot();
        Metrics {
            workers,
            idle_workers,
            min_workers,
            max_workers,
            most_workers,
            unused_workers,
            worker_time,
            ..counts
        }
    }
}

/// What workers do.
impl Shared {
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let desks = self.lock_roster().desks.clone();
        let mut lanes: Vec<Lane> = desks.iter().map(|(desk, spot)| lane(desk, spot)).collect();
        lanes.sort_by_key(|lane| lane.number);
        lanes
    }
}

fn lane(desk: &JobDesk, spot: &Spot) -> Lane {
    let running = running(desk, spot);
    let state = if running.is_some() { LaneState::Busy } else { LaneState::Idle };
    Lane { worker: spot.number, number: spot.number, pid: None, born: None, state, running }
}

/// What a worker runs, and since when: of one job, unless they take turns faster than one can look.
fn running(desk: &JobDesk, spot: &Spot) -> Option<Running> {
    // Not by holding the job: it may end meanwhile, and is not to be dropped by who looks.
    let look = |since| {
        desk.innermost(|job| {
            let TaskLabel { id, name, .. } = job.label().clone();
            Running { id, name, since }
        })
    };
    let mut since = spot.since();
    for _ in 0..8 {
        let running = look(since);
        let before = std::mem::replace(&mut since, spot.since());
        if before == since {
            return running;
        }
    }
    look(since)
}

/// Workers.
impl Shared {
    pub(crate) fn dispatch(&self) -> &Dispatch<Counted<dyn ThreadJob>> {
        &self.dispatch
    }

    /// Does what was decided under the lock.
    pub(crate) fn perform(self: &Arc<Self>, act: Act) {
        if !matches!(act, Act::Nothing) {
            self.perform_something(act);
        }
    }

    fn perform_something(self: &Arc<Self>, act: Act) {
        match act {
            Act::Nothing => {}
            Act::Wake(sleeper) => sleeper.wake(),
            Act::WakeAll(sleepers) => sleepers.iter().for_each(|sleeper| sleeper.wake()),
            Act::Grow(number) => {
                if let Err(error) = spawner::grow(self, number) {
                    // No spawner, no retry by it: the next submission tries again.
                    self.refused(number, &error);
                }
            }
        }
    }

    /// Starts a worker that is wanted without a job.
    pub(crate) fn hire(self: &Arc<Self>) -> io::Result<()> {
        let number = self.dispatch.hire();
        worker::start(self, number).inspect_err(|error| _ = self.refused(number, error))
    }

    /// Starts a worker, and as many more as there are jobs for. Called on the spawner's thread; returns when it is to call
    /// [`retry`](Self::retry).
    pub(crate) fn grow(self: &Arc<Self>, mut number: usize) -> Option<Instant> {
        loop {
            if let Err(error) = worker::start(self, number) {
                return self.refused(number, &error);
            }
            let Act::Grow(next) = self.dispatch.grown() else { return None };
            number = next;
        }
    }

    /// Asks for a thread again, after a refusal.
    pub(crate) fn retry(self: &Arc<Self>) {
        self.perform(self.dispatch.retry());
    }

    /// How many workers there may be.
    pub(crate) fn max_workers(&self) -> usize {
        self.dispatch.max()
    }

    pub(crate) fn resize(self: &Arc<Self>, max: usize) -> Result<(), BuildError> {
        if max < self.setup.min_workers {
            return Err(min_above_max(self.setup.min_workers, max));
        }
        let (before, act) = self.dispatch.resize(max);
        self.perform(act);
        // Two calls at once may come here in the other order: the differences add up all the same. Room that is added wakes
        // whoever waits for it: foreign wakers.
        shield(|| self.admission.resize(before, max));
        Ok(())
    }

    /// A thread could not be created.
    fn refused(self: &Arc<Self>, number: usize, error: &io::Error) -> Option<Instant> {
        let Refusal { stranded, retry, act } = self.dispatch.refused(number);
        let reason = format!("the operating system refuses a thread for pool {:?}: {error}", self.setup.name);
        stranded.into_iter().for_each(|job| job.fail(&reason));
        self.perform(act);
        self.worker_left();
        retry
    }

    pub(crate) fn worker_came(&self, desk: Arc<JobDesk>, spot: Arc<Spot>) {
        let mut roster = self.lock_roster();
        roster.desks.push((desk, spot));
        roster.staff.came(Instant::now());
    }

    /// A worker is gone from the dispatch: one step closer to the end of a shutdown.
    pub(crate) fn worker_left(&self) {
        if self.dispatch.is_closed() {
            self.closers.wake();
        }
    }

    pub(crate) fn clear_desk(&self, desk: &Arc<JobDesk>) {
        let mut roster = self.lock_roster();
        roster.desks.retain(|(other, _)| !Arc::ptr_eq(other, desk));
        let now = Instant::now();
        roster.staff.left(now);
        self.counters.workers_had(roster.staff.time(now));
    }

    fn lock_roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end.
impl Shared {
    /// The last handle is gone: what is queued is run, and then the workers end.
    pub(crate) fn release(self: &Arc<Self>) {
        self.perform(self.dispatch.close());
    }

    pub(crate) fn close(self: &Arc<Self>, mode: Shutdown) {
        self.settle_counts();
        self.before_shutdown.get_or_init(|| self.counters.outcomes());
        // It wakes whoever waits for room: foreign wakers.
        shield(|| self.admission.close());
        self.perform(self.dispatch.close());
        match mode {
            Shutdown::Drain => {}
            Shutdown::CancelQueued => _ = self.cancel_queued(),
            Shutdown::Kill => _ = self.kill(),
        }
        self.closers.wake();
    }

    /// Cancels what is queued. Returns how many tasks that ended.
    fn cancel_queued(&self) -> u64 {
        // ORDERING: Relaxed, as in `kill`, and for the same reason.
        self.cancels_queued.store(true, Ordering::Relaxed);
        let waiting: u64 = self.running().iter().map(|job| job.cancel_waiting()).sum();
        waiting + count(self.dispatch.take_all())
    }

    /// Whether what has not begun is not to begin any more. Asked by a worker after it has put the job on its desk.
    pub(crate) fn cancels_queued(&self) -> bool {
        // ORDERING: Relaxed, as in `kill`.
        self.cancels_queued.load(Ordering::Relaxed)
    }

    /// Cancels what is queued or running. Returns how many tasks that ended.
    fn kill(&self) -> u64 {
        // ORDERING: Relaxed. Pairs with the load in `is_killed` by way of the desk's lock: a worker that puts down its job
        // after this has looked at its desk has locked the desk after this did, and sees the flag.
        self.killed.store(true, Ordering::Relaxed);
        let running = self.running();
        self.cancel_queued() + count(running)
    }

    /// The jobs that are being run.
    fn running(&self) -> Vec<Counted<dyn ThreadJob>> {
        let desks = self.lock_roster().desks.clone();
        desks.iter().flat_map(|(desk, _)| desk.running()).collect()
    }

    /// Whether jobs are not to be run any more. Asked by a worker after it has put the job on its desk.
    pub(crate) fn is_killed(&self) -> bool {
        // ORDERING: Relaxed, as in `kill`.
        self.killed.load(Ordering::Relaxed)
    }

    /// Whether nobody works here any more, apart from the thread that asks.
    fn has_ended(self: &Arc<Self>) -> bool {
        self.is_killed() || self.dispatch.live() <= usize::from(worker::is_here(self))
    }
}

/// Cancels the tasks. Returns how many of them this call ended.
fn count(jobs: Vec<Counted<dyn ThreadJob>>) -> u64 {
    jobs.iter().map(|job| job.cancel()).sum()
}

/// The pool as its [`Closing`](crate::Closing) sees it.
pub(crate) struct End(pub(crate) Arc<Shared>);

impl Closable for End {
    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.closers.leave(cx);
        if self.0.has_ended() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn give_up(&self) -> u64 {
        let ended = self.0.kill();
        self.0.closers.wake();
        ended
    }

    fn report(&self) -> ShutdownReport {
        self.0.settle_counts();
        let before = self.0.before_shutdown.get().copied().unwrap_or_default();
        ShutdownReport::between(before, self.0.counters.outcomes())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop_shielded(self.setup.on_worker_start.take());
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.setup.name).finish_non_exhaustive()
    }
}
