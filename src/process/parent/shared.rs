//! [`Shared`]: what the handles, the tasks and the threads of one pool have in common.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use super::{
    keeper::Keeper,
    link::{Flight, Returned},
    manager,
    queue::Rank,
    schedule::{Closing, Schedule, Start},
    seat::ProcessJob,
    waiting::Waiting,
    worker::Worker,
    zygote::explain,
};
use crate::{
    Metrics, Shutdown, ShutdownReport, TaskError,
    clock::Stamp,
    counted::Counted,
    error::ExitCause,
    metrics::{Counters, Measured},
    pause::{is_parallel, spin},
    pool::{Admission, Closable, Latch},
    process::{
        config::Config,
        sys::{Bell, generation},
    },
    record::{Change, Ending, Lane, LaneState, WorkerRecord},
};

/// How long somebody may have the schedule to take as many jobs as a worker has room for, and some more.
const TAKES: Duration = Duration::from_micros(10);

/// One process pool.
pub(in crate::process) struct Shared {
    config: Config,
    admission: Admission,
    counters: Counters,
    sequence: AtomicU64,
    /// The jobs that have not begun.
    waiting: Waiting,
    /// How often a job came that was more urgent than others that waited.
    overtakings: AtomicU64,
    /// How many jobs were sent behind others; counted under the worker's link.
    sent_ahead: AtomicU64,
    /// `sent_ahead` when there was nothing left of them that had not begun.
    none_ahead: AtomicU64,
    /// Copies of the pool's handle.
    handles: AtomicUsize,
    /// Comes before every other lock of the pool. Never held while foreign code runs.
    schedule: Mutex<Schedule>,
    /// Wakes the manager, once there is one.
    bell: OnceLock<Bell>,
    /// Opens when the pool has come to its end.
    closed: Latch,
    /// Why no job can run here, where the pool's settings were wrong and nobody was there to be told.
    broken: Option<String>,
    /// Which process it belongs to.
    generation: u32,
}

/// Why no job can run on a pool that was inherited by `fork`.
pub(super) const INHERITED: &str = "this pool belongs to the process that this one was forked from, and so do its workers: \
                                    build a new one here";

impl Shared {
    pub(in crate::process) fn new(config: Config) -> Arc<Self> {
        Self::build(config, None)
    }

    /// Makes a pool that fails every job as unavailable.
    pub(in crate::process) fn broken(config: Config, reason: String) -> Arc<Self> {
        Self::build(config, Some(reason))
    }

    fn build(config: Config, broken: Option<String>) -> Arc<Self> {
        let schedule = Schedule { max_workers: config.max_workers, ..Schedule::default() };
        Arc::new(Self {
            admission: Admission::new(config.queue_limit, config.max_workers),
            config,
            counters: Counters::default(),
            sequence: AtomicU64::new(0),
            waiting: Waiting::default(),
            overtakings: AtomicU64::new(0),
            sent_ahead: AtomicU64::new(0),
            none_ahead: AtomicU64::new(0),
            handles: AtomicUsize::new(1),
            schedule: Mutex::new(schedule),
            bell: OnceLock::new(),
            closed: Latch::default(),
            broken,
            generation: generation(),
        })
    }

    pub(in crate::process) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether this is the copy of a pool, in a process that was forked from the pool's own.
    ///
    /// None of its threads exist there, any of its locks may be taken for good, and its workers are not this process's to
    /// stop. So whatever a handle or a task can reach asks this before it does anything else.
    pub(in crate::process) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    #[inline]
    pub(in crate::process) fn admission(&self) -> &Admission {
        static OPEN: Admission = Admission::open();
        // Who is let in there is told by `push`.
        if self.is_inherited() { &OPEN } else { &self.admission }
    }

    pub(in crate::process) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The next place in the order of submission.
    pub(super) fn next_sequence(&self) -> u64 {
        // ORDERING: Relaxed. Only the order of the numbers matters.
        self.sequence.fetch_add(1, Relaxed)
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        match self.schedule.try_lock() {
            Ok(schedule) => schedule,
            Err(_) => self.schedule_of_others(),
        }
    }

    /// Waits awake for somebody who takes many jobs, at first: to go to sleep and be woken would take longer, and whoever has the lock
    /// would have to do the waking.
    #[cold]
    fn schedule_of_others(&self) -> MutexGuard<'_, Schedule> {
        let mut schedule = None;
        if is_parallel() {
            spin(TAKES, || {
                schedule = self.schedule.try_lock().ok();
                schedule.is_some()
            });
        }
        schedule.unwrap_or_else(|| self.schedule.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn bell(&self) -> Option<&Bell> {
        self.bell.get()
    }

    /// Wakes the manager.
    pub(super) fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

/// Jobs come and go.
impl Shared {
    /// Puts a job into the queue, or finishes its task if the pool has closed meanwhile.
    ///
    /// What was sent ahead and is less urgent is taken back, so that no worker begins it first.
    pub(in crate::process) fn push(self: &Arc<Self>, job: Counted<dyn ProcessJob>) {
        if self.is_inherited() {
            return job.finish(Err(TaskError::unavailable(job.label().clone(), INHERITED)));
        }
        if let Some(reason) = &self.broken {
            return job.finish(Err(TaskError::unavailable(job.label().clone(), reason)));
        }
        let mut schedule = self.schedule();
        if schedule.closing.is_some() {
            drop(schedule);
            job.finish(Err(TaskError::closed(job.label().clone(), &self.config.name)));
            return;
        }
        let (rank, overtakes) = (job.rank(), schedule.overtakes(&*job, &self.waiting));
        if !overtakes && let Some(sent) = self.send_directly(&mut schedule, &job) {
            drop(schedule);
            return sent.ring();
        }
        if overtakes {
            // ORDERING: Relaxed. A keeper reads it under its worker's link: see `overtake`.
            self.overtakings.fetch_add(1, Relaxed);
        }
        let woken = schedule.push_new(job);
        let start = woken[0].is_none() && schedule.to_start(self.config.min_workers) > 0;
        let manager = std::mem::replace(&mut schedule.has_manager, true);
        let workers = if overtakes { schedule.workers.clone() } else { Vec::new() };
        drop(schedule);
        workers.iter().for_each(|worker| self.overtake(worker, rank));
        if !manager {
            self.start_manager();
        } else if start {
            self.ring();
        }
        woken.into_iter().for_each(|worker| self.wake(worker));
    }

    /// Takes back what a worker was sent ahead that ranks after a job in the queue.
    ///
    /// What its keeper has in hand at this moment it looks at again before it sends it: it looks at the number of overtakings under the link, so
    /// that either it sees the new one, or the job is seen here.
    fn overtake(&self, worker: &Worker, rank: Rank) {
        let taken = worker.link().take_back_after(rank);
        if !taken.is_empty() {
            self.put_back(taken);
            // It may have nothing left to do.
            worker.bell.ring();
        }
    }

    /// How many jobs have come that were more urgent than others that waited.
    pub(super) fn overtakings(&self) -> u64 {
        // ORDERING: Relaxed, as in `push`.
        self.overtakings.load(Relaxed)
    }

    /// So many jobs are sent behind others. Called under the worker's link.
    pub(super) fn count_ahead(&self, jobs: usize) {
        if jobs > 0 {
            self.sent_ahead.fetch_add(jobs as u64, Relaxed);
        }
    }

    /// The count of jobs sent behind others; `None` if it is known that they all have begun.
    ///
    /// ORDERING: Relaxed, as in `count_ahead` and `found_none_ahead`. It is asked for before the links are locked, so what was
    /// sent after the look under a link has a higher number, and is looked for again.
    pub(super) fn ahead(&self) -> Option<u64> {
        let sent = self.sent_ahead.load(Relaxed);
        (sent != self.none_ahead.load(Relaxed)).then_some(sent)
    }

    /// Of the jobs counted so far none was left in any link.
    pub(super) fn found_none_ahead(&self, counted: u64) {
        self.none_ahead.store(counted, Relaxed);
    }

    /// Whether a shutdown cancels what is queued.
    pub(super) fn cancels_queued(&self) -> bool {
        self.schedule().closing.is_some_and(|closing| closing.mode != Shutdown::Drain)
    }

    /// Starts the manager if it has not been: for `min_workers`.
    pub(in crate::process) fn start_early(self: &Arc<Self>) {
        let manager = std::mem::replace(&mut self.schedule().has_manager, true);
        if !manager {
            self.start_manager();
        }
    }

    fn start_manager(self: &Arc<Self>) {
        let started = Bell::new().and_then(|bell| {
            let _ = self.bell.set(bell);
            let shared = self.clone();
            thread::Builder::new()
                .name(format!("{}-manager", self.config.name))
                .spawn(move || manager::run(&shared))
        });
        if let Err(error) = started {
            let mut schedule = self.schedule();
            schedule.has_manager = false;
            let closing = schedule.closing.is_some();
            drop(schedule);
            if closing {
                // Closed meanwhile by somebody who left the end to the manager.
                self.end();
            }
            self.fail_queued(&format!("the pool's manager cannot start: {}", explain(&error)));
        }
    }

    /// Takes a finished task out of the queue.
    pub(super) fn forget(&self, rank: Rank) {
        if self.is_inherited() {
            return;
        }
        let mut schedule = self.schedule();
        let job = schedule.queue.remove(rank);
        let over = schedule.closing.is_some() && schedule.queue.is_empty();
        drop(schedule);
        drop(job);
        if over {
            self.ring_all();
        }
    }

    /// Puts jobs that were taken back from a worker into their old places, and has others take them.
    pub(super) fn put_back(&self, taken: Vec<Flight>) {
        if taken.is_empty() {
            return;
        }
        self.put_back_calls(taken.into_iter().map(|flight| (flight.job, flight.call)).collect());
    }

    pub(super) fn put_back_calls(&self, taken: Vec<Returned>) {
        let waiting: Vec<Counted<dyn ProcessJob>> =
            taken.into_iter().filter_map(|(job, call)| job.clone().put_back(call).then_some(job)).collect();
        let mut schedule = self.schedule();
        let woken: Vec<Arc<Worker>> = waiting.iter().filter_map(|job| schedule.push(job.clone())).collect();
        let drains = schedule.closing.is_none_or(|closing| closing.mode == Shutdown::Drain);
        drop(schedule);
        if !drains {
            // They were under way when the shutdown looked for what to cancel.
            waiting.iter().for_each(|job| job.cancel());
        }
        for worker in woken {
            worker.bell.ring();
        }
        self.ring();
    }

    /// Finishes every queued task as unavailable.
    pub(super) fn fail_queued(&self, reason: &str) {
        let queue = self.schedule().queue.take_all();
        for job in queue.into_iter().map(|queued| queued.job) {
            job.finish(Err(TaskError::unavailable(job.label().clone(), reason)));
        }
    }
}

/// What workers do.
impl Shared {
    /// Tells who looks what happened to a worker.
    pub(super) fn record_change(&self, worker: &Worker, at: Stamp, what: Change) {
        let (serial, number, pid) = (worker.ticket as u32, worker.number, Some(worker.pid));
        let change = || WorkerRecord { worker: serial, number, pid, at, what };
        self.counters.recorders().worker_changed(change);
    }

    pub(in crate::process) fn lanes(&self) -> Vec<Lane> {
        if self.is_inherited() {
            return Vec::new();
        }
        let schedule = self.schedule();
        let standing_by = schedule.successors.iter().map(|worker| (worker.clone(), LaneState::StandingBy));
        let departing = schedule.departing.iter().map(|worker| (worker.clone(), LaneState::Leaving));
        let serving = schedule.workers.iter().map(|worker| (worker.clone(), LaneState::Idle));
        let workers: Vec<_> = serving.chain(standing_by).chain(departing).collect();
        drop(schedule);
        let mut lanes: Vec<Lane> = workers.iter().map(|(worker, state)| worker.lane(*state)).collect();
        lanes.sort_by_key(|lane| lane.number);
        lanes
    }
}

/// Workers come and go.
impl Shared {
    /// A worker has been forked: gives it a keeper.
    ///
    /// # Errors
    ///
    /// When the keeper's thread cannot be started. The worker is killed.
    pub(super) fn employ(self: &Arc<Self>, worker: Arc<Worker>) -> Result<(), String> {
        let mut schedule = self.schedule();
        schedule.employ(worker.clone(), self.config.min_workers);
        drop(schedule);
        self.record_change(&worker, Stamp::of(worker.born), Change::Started);
        let keeper = Keeper::new(self.clone(), worker.clone());
        let name = format!("{}-keeper-{}", self.config.name, worker.number);
        match thread::Builder::new().name(name).spawn(move || keeper.run()) {
            Ok(_) => Ok(()),
            Err(error) => {
                worker.kill();
                worker.clear_up();
                let why = "the keeper of a worker cannot start".into();
                self.record_change(&worker, Stamp::now(), Change::Ended(Ending::Died(why)));
                let mut schedule = self.schedule();
                if worker.awaited.swap(false, Relaxed) {
                    schedule.starting -= 1;
                }
                schedule.remove(&worker);
                drop(schedule);
                Err(format!("the keeper of a worker cannot start: {}", explain(&error)))
            }
        }
    }

    /// The smallest number that no worker has.
    pub(super) fn free_number(&self) -> u32 {
        let schedule = self.schedule();
        (0..)
            .find(|number| {
                let mut named = schedule.workers.iter().chain(&schedule.successors);
                !named.any(|worker| worker.number == *number)
            })
            .unwrap_or(u32::MAX)
    }

    /// A worker whose process may live.
    pub(super) fn worker(&self, ticket: u64) -> Option<Arc<Worker>> {
        self.schedule().alive().find(|worker| worker.ticket == ticket).cloned()
    }

    /// The zygote has reaped a worker.
    pub(super) fn tell_exit(&self, ticket: u64, cause: ExitCause) {
        if let Some(worker) = self.worker(ticket) {
            worker.set_exit(cause);
        }
    }

    /// A worker has said whether it is ready.
    pub(super) fn started(&self, worker: &Worker, outcome: Start) {
        let woken = self.schedule().started(worker, outcome);
        self.wake(woken);
        self.ring();
    }

    /// A worker serves no more, but is not gone yet.
    pub(super) fn leaving(&self, worker: &Arc<Worker>) {
        let woken = self.schedule().leave(worker);
        self.wake(woken);
        self.ring();
    }

    /// A worker has died: it is to be replaced, and is not gone yet.
    pub(super) fn dying(&self, worker: &Arc<Worker>) {
        let woken = self.schedule().leave_to_successor(worker);
        self.wake(woken);
        self.ring();
    }

    pub(super) fn wake(&self, workers: impl IntoIterator<Item = Arc<Worker>>) {
        for worker in workers {
            worker.bell.ring();
        }
    }

    /// A worker is to be replaced, and serves on for now.
    pub(super) fn order_successor(&self, worker: &Worker) {
        if self.schedule().order_successor(worker) {
            self.ring();
        }
    }

    /// A worker that was leaving is gone.
    pub(super) fn gone(&self, worker: &Arc<Worker>) {
        worker.clear_up();
        let measured = worker.measured();
        let mut schedule = self.schedule();
        schedule.departing.retain(|other| !Arc::ptr_eq(other, worker));
        // Under the lock, so that who asks for it counts it once.
        self.counters.measured(measured);
        drop(schedule);
        self.ring();
    }

    /// Wakes everybody to look at the schedule again.
    pub(super) fn ring_all(&self) {
        let workers: Vec<Arc<Worker>> = self.schedule().alive().cloned().collect();
        self.wake(workers);
        self.ring();
    }

    /// Everything is done and gone.
    pub(super) fn end(&self) {
        let mut schedule = self.schedule();
        schedule.ended = true;
        self.counters.workers_had(schedule.staff.time(Instant::now()));
        drop(schedule);
        self.closed.open();
    }

    pub(in crate::process) fn metrics(&self) -> Metrics {
        if self.is_inherited() {
            return self.counters.snapshot();
        }
        let schedule = self.schedule();
        let (serving, idle_workers) = (schedule.workers.clone(), schedule.idle.len());
        let alive: Vec<Arc<Worker>> = schedule.alive().cloned().collect();
        let measured_before = self.counters.all_measured();
        let (most_workers, worker_time) = (schedule.staff.most(), schedule.staff.time(Instant::now()));
        let (min_workers, max_workers) = (self.config.min_workers, schedule.max_workers);
        drop(schedule);
        let workers = serving.len();
        serving.iter().for_each(|worker| worker.note_beginning());
        let unused_workers = serving.iter().filter(|worker| !worker.is_used()).count();
        let mut metrics = self.counters.snapshot();
        let measured = alive.iter().map(|worker| worker.measured());
        let measured = measured.fold(measured_before, Measured::plus);
        metrics.processor = measured.into_use(metrics.processor.program);
        Metrics {
            workers,
            idle_workers,
            min_workers,
            max_workers,
            most_workers,
            unused_workers,
            worker_time,
            ..metrics
        }
    }

    /// How many workers there may be at this moment.
    pub(in crate::process) fn max_workers(&self) -> usize {
        if self.is_inherited() { self.config.max_workers } else { self.schedule().max_workers }
    }

    /// Changes the number of workers that there may be. Surplus ones retire when they are idle.
    pub(in crate::process) fn resize(&self, workers: usize) {
        if self.is_inherited() {
            return;
        }
        let mut schedule = self.schedule();
        let before = std::mem::replace(&mut schedule.max_workers, workers);
        schedule.limit_replacements();
        let serving = schedule.workers.clone();
        drop(schedule);
        self.admission.resize(before, workers);
        if workers > before {
            // What was sent ahead, for want of workers, need not wait any more.
            for worker in serving {
                let taken = worker.link().take_back_all();
                self.put_back(taken);
            }
        }
        self.ring_all();
    }
}

/// The pool closes.
impl Shared {
    pub(in crate::process) fn add_handle(&self) {
        // ORDERING: Relaxed, as for `Arc`: a new handle comes from one that exists.
        self.handles.fetch_add(1, Relaxed);
    }

    /// A handle is dropped. With the last one the pool runs out: what is queued is still run.
    pub(in crate::process) fn drop_handle(&self) {
        // ORDERING: Relaxed. The schedule's lock orders everything that follows.
        if self.handles.fetch_sub(1, Relaxed) == 1 {
            self.close(Shutdown::Drain);
        }
    }

    /// Closes the pool, or makes a shutdown that is under way a stricter one.
    pub(in crate::process) fn close(&self, mode: Shutdown) {
        if self.is_inherited() {
            return;
        }
        self.admission.close();
        let mut schedule = self.schedule();
        let before = schedule.closing.map_or_else(|| self.counters.outcomes(), |closing| closing.before);
        let mode = schedule.closing.map_or(mode, |closing| stricter(closing.mode, mode));
        schedule.closing = Some(Closing { mode, before });
        let unused = !schedule.has_manager;
        drop(schedule);
        match mode {
            Shutdown::Drain => {}
            Shutdown::CancelQueued => drop(self.cancel(Which::NotBegun)),
            Shutdown::Kill => drop(self.cancel(Which::All)),
        }
        if unused {
            self.end();
        }
        self.ring_all();
    }

    /// Cancels what was just sent, if a shutdown that cancels came while it was under way to the worker.
    pub(super) fn cancel_if_closing(&self, worker: &Worker) {
        let mode = self.schedule().closing.map(|closing| closing.mode);
        let which = match mode {
            None | Some(Shutdown::Drain) => return,
            Some(Shutdown::CancelQueued) => Which::NotBegun,
            Some(Shutdown::Kill) => Which::All,
        };
        for job in sent_jobs(worker, which) {
            job.cancel();
        }
    }

    /// Cancels jobs, and says how many.
    fn cancel(&self, which: Which) -> u64 {
        let schedule = self.schedule();
        let queued: Vec<Counted<dyn ProcessJob>> =
            schedule.queue.iter().map(|queued| queued.job.clone()).collect();
        let workers = schedule.workers.clone();
        drop(schedule);
        let sent = workers.iter().flat_map(|worker| sent_jobs(worker, which));
        let jobs: Vec<Counted<dyn ProcessJob>> = queued.into_iter().chain(sent).collect();
        for job in &jobs {
            job.cancel();
        }
        jobs.len() as u64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    NotBegun,
    All,
}

fn sent_jobs(worker: &Worker, which: Which) -> Vec<Counted<dyn ProcessJob>> {
    let link = worker.link();
    match which {
        Which::NotBegun => link.not_begun().map(|flight| flight.job.clone()).collect(),
        Which::All => link.flights.iter().map(|flight| flight.job.clone()).collect(),
    }
}

fn stricter(a: Shutdown, b: Shutdown) -> Shutdown {
    let rank = |mode| match mode {
        Shutdown::Drain => 0,
        Shutdown::CancelQueued => 1,
        Shutdown::Kill => 2,
    };
    if rank(b) > rank(a) { b } else { a }
}

impl Closable for Shared {
    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_inherited() { Poll::Ready(()) } else { self.closed.poll(cx) }
    }

    fn give_up(&self) -> u64 {
        if self.is_inherited() {
            return 0;
        }
        let abandoned = self.cancel(Which::All);
        self.close(Shutdown::Kill);
        abandoned
    }

    fn report(&self) -> ShutdownReport {
        if self.is_inherited() {
            return ShutdownReport::default();
        }
        let before = self.schedule().closing.map(|closing| closing.before).unwrap_or_default();
        ShutdownReport::between(before, self.counters.outcomes())
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessPool").field("name", &self.config.name).finish_non_exhaustive()
    }
}
