//! [`Shared`]: what the handles, the tasks and the calls of one pool have in common.

use std::{
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    dispatch::{Answer, Dispatch, REMINDER, Remind},
    seat::RayonJob,
    stack,
    threads::{FromElsewhere, Threads},
};
use crate::{
    Closing, Metrics, Shutdown, ShutdownReport,
    counted::{Counted, unsize},
    error::TaskLabel,
    metrics::{Counters, Outcomes},
    panic::shield,
    pool::{
        Admission, Closable, Closers,
        registry::{AnyPool, Kind},
    },
    record::{Lane, LaneState, Recorded, Running},
    task::Options,
    timer::{self, Expire},
};

/// What a pool was told when it was built.
#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) queue_limit: Option<usize>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) run_timeout: Option<Duration>,
}

impl Setup {
    /// Adds the pool's limits to a job that has none of its own.
    pub(super) fn complete(&self, options: &mut Options) {
        options.queue_timeout = options.queue_timeout.or(self.queue_timeout);
        options.run_timeout = options.run_timeout.or(self.run_timeout);
    }
}

/// One pool, apart from its handles. Held by these, by its tasks and by the calls that rayon has.
pub(super) struct Shared {
    reminder: Counted<Reminder>,
    pub(super) setup: Setup,
    pub(super) threads: Threads,
    pub(super) admission: Admission,
    pub(super) counters: Counters,
    dispatch: Dispatch<Counted<dyn RayonJob>>,
    /// The outcomes before the first shutdown.
    before_shutdown: OnceLock<Outcomes>,
    /// Who waits for the end.
    closers: Closers,
}

impl Shared {
    pub(super) fn new(setup: Setup, threads: Threads) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            reminder: Counted::new(Reminder(me.clone())),
            admission: Admission::new(setup.queue_limit, threads.count()),
            counters: Counters::default(),
            dispatch: Dispatch::new(),
            before_shutdown: OnceLock::new(),
            closers: Closers::default(),
            setup,
            threads,
        })
    }

    pub(super) fn metrics(&self) -> Metrics {
        let workers = if self.is_over(0) { 0 } else { self.threads.count() };
        let idle_workers = workers.saturating_sub(self.dispatch.running());
        let max_workers = self.threads.count();
        Metrics { workers, idle_workers, max_workers, ..self.counters.snapshot() }
    }
}

/// What workers do.
impl Shared {
    fn lanes(&self) -> Vec<Lane> {
        let threads = u32::try_from(self.threads.count()).unwrap_or(u32::MAX);
        self.dispatch.look_at_running(|jobs| (0..threads).map(|number| lane(number, jobs)).collect())
    }
}

fn lane(number: u32, jobs: &[Counted<dyn RayonJob>]) -> Lane {
    let of_thread = jobs.iter().filter_map(|job| Some((job.spot().filter(|spot| spot.0 == number)?.1, job)));
    let innermost = of_thread.max_by_key(|(since, _)| *since);
    let running = innermost.map(|(since, job)| {
        let TaskLabel { id, name, .. } = job.label().clone();
        Running { id, name, since }
    });
    let state = if running.is_some() { LaneState::Busy } else { LaneState::Idle };
    Lane { worker: number, number, pid: None, born: None, state, running }
}

/// Jobs.
impl Shared {
    /// Puts a job into the queue and has a thread come for it.
    pub(super) fn enqueue(self: &Arc<Self>, job: Counted<dyn RayonJob>) {
        if let Threads::Missing(reason) = &self.threads {
            return job.fail(reason);
        }
        if let Err(job) = self.dispatch.submit(job.clone()) {
            // Closed after the job had been let in.
            return job.refuse(&self.setup.name);
        }
        if let Err(reason) = self.call() {
            job.fail(&reason);
        }
    }

    /// Has a thread come for a job.
    ///
    /// # Errors
    ///
    /// Why none will come.
    fn call(self: &Arc<Self>) -> Result<(), String> {
        let shared = self.clone();
        match self.threads.call(move || shared.answer()) {
            Ok(()) => Ok(()),
            // The timer's thread belongs to no pool of rayon's.
            Err(FromElsewhere) => self.remind_at(Instant::now(), self.dispatch.owe()),
        }
    }

    /// Has the [`Reminder`] come.
    fn remind_at(&self, time: Instant, remind: Remind) -> Result<(), String> {
        if remind == Remind::No {
            return Ok(());
        }
        timer::at(time, unsize!(self.reminder.downgrade() => dyn Expire)).map_err(|error| {
            self.dispatch.remind(0);
            format!("the timer thread does not start: {error}")
        })
    }

    /// Answers a call, on a thread of rayon's.
    fn answer(self: &Arc<Self>) {
        self.threads.note_here();
        loop {
            match self.dispatch.answer(stack::here(), |job| job.is_queued()) {
                Answer::Run(job) => return self.run(job),
                Answer::Void(job) => drop(job),
                Answer::Nothing => return,
                Answer::Later(remind) => {
                    // Without a timer the thread's own job still makes the call when it has ended.
                    let _ = self.remind_at(Instant::now() + REMINDER, remind);
                    return;
                }
            }
        }
    }

    /// Runs a job that another one on this thread waits for.
    pub(super) fn run_here(self: &Arc<Self>, job: Counted<dyn RayonJob>) {
        self.dispatch.begin_here(job.clone());
        self.run(job);
        self.entry_is_void();
    }

    /// Runs a job that the dispatch lists as running.
    fn run(self: &Arc<Self>, job: Counted<dyn RayonJob>) {
        let id = job.label().id;
        let on_stack = stack::enter(self, id);
        job.run();
        drop(on_stack);
        let (ended, call) = self.dispatch.ended(stack::here(), |job| job.label().id == id);
        drop(ended);
        if call {
            // On a thread of the pool's, where a call can always be made.
            let _ = self.call();
        }
        self.wake_closers_if_closed();
    }

    /// Takes note that an entry of the queue is of no use any more.
    pub(super) fn entry_is_void(&self) {
        drop(self.dispatch.cancelled(|job| job.is_queued()));
        self.wake_closers_if_closed();
    }
}

/// Makes calls that are owed.
/// Makes the calls that could not be made at once.
struct Reminder(Weak<Shared>);

impl Expire for Reminder {
    fn expired(&self) {
        let Some(shared) = self.0.upgrade() else { return };
        for _ in 0..shared.dispatch.remind(shared.threads.count()) {
            // The timer's thread can call any pool.
            let _ = shared.call();
        }
    }

    fn is_over(&self) -> bool {
        false
    }
}

/// The end.
impl Shared {
    fn close(&self, mode: Shutdown) {
        self.before_shutdown.get_or_init(|| self.counters.outcomes());
        // It wakes whoever waits for room: foreign wakers.
        shield(|| self.admission.close());
        self.dispatch.close();
        match mode {
            Shutdown::Drain => {}
            Shutdown::CancelQueued => _ = count(self.dispatch.take_queued()),
            Shutdown::Kill => _ = count(self.dispatch.kill()),
        }
        self.closers.wake();
    }

    /// Whether the pool is closed and nothing is left of its work, apart from so many jobs.
    fn is_over(&self, apart_from: usize) -> bool {
        let (is_over, void) = self.dispatch.is_over(apart_from, |job| job.is_queued());
        drop(void);
        is_over
    }

    fn wake_closers_if_closed(&self) {
        // Asked of the door, which takes no lock. Who waits for the end looks under the dispatch's lock after the door was closed; so it
        // sees what the caller has just taken note of under that lock, or else the caller sees the door closed.
        if self.admission.is_closed() {
            self.closers.wake();
        }
    }
}

/// Cancels the tasks. Returns how many of them this call ended.
fn count(jobs: Vec<Counted<dyn RayonJob>>) -> u64 {
    jobs.iter().map(|job| u64::from(job.cancel())).sum()
}

impl Recorded for Shared {
    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl AnyPool for Shared {
    fn kind(&self) -> Kind {
        Kind::Rayon
    }

    fn name(&self) -> &str {
        &self.setup.name
    }

    fn metrics(&self) -> Metrics {
        Shared::metrics(self)
    }

    fn lanes(&self) -> Vec<Lane> {
        Shared::lanes(self)
    }

    fn shut_down(self: Arc<Self>, mode: Shutdown) -> Closing {
        self.close(mode);
        Closing::new(Arc::new(End(self)))
    }
}

/// The pool as its [`Closing`] sees it.
struct End(Arc<Shared>);

impl Closable for End {
    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.closers.leave(cx);
        if self.0.is_over(stack::jobs_of(&self.0)) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn give_up(&self) -> u64 {
        let ended = count(self.0.dispatch.kill());
        self.0.closers.wake();
        ended
    }

    fn report(&self) -> ShutdownReport {
        let before = self.0.before_shutdown.get().copied().unwrap_or_default();
        ShutdownReport::between(before, self.0.counters.outcomes())
    }
}
