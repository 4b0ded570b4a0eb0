//! [`RayonPool`]: runs jobs on rayon's threads.
//!
//! ```text
//!  RayonPool ──▶ Shared ◀── RayonSeat (in each task's Cell)
//!                 │  │
//!          Dispatch  Threads ──▶ rayon
//! ```
//!
//! [`dispatch`] decides which job a thread runs, and holds the protocol; [`shared`] and [`seat`] do it; [`threads`] knows which of
//! rayon's pools is meant, [`stack`] which jobs a thread is in.

mod builder;
mod dispatch;
mod map;
mod seat;
mod shared;
mod stack;
mod threads;

use std::{
    fmt,
    panic::Location,
    sync::{Arc, OnceLock},
};

pub use builder::RayonPoolBuilder;
use seat::{Load, RayonJob, RayonSeat};
use shared::{Setup, Shared};
use threads::Threads;

use crate::{
    Closing, Job, Metrics, Recording, Refused, Shutdown, Submit, Task,
    counted::unsize,
    metrics::Counters,
    pool::{
        Admission, Start, Takes, Ticket, open_span,
        registry::{self, AnyPool, Kind},
        sealed,
    },
    task::{Cell, Options},
};

/// What a pool is called unless it is told.
const NAME: &str = "rayon";

/// A pool of jobs that are parallel inside, on the threads of rayon. Needs the feature `rayon`.
///
/// A job begins on one of rayon's threads; what it does by `par_iter`, `join` or `scope` is shared by all of them. No thread is
/// added: as many jobs run at the same time as rayon has threads, and threads without a job help the others with their parallel parts.
///
/// A handle: clones share one pool. It can be used from any runtime, from several at once, and from none. [`global`](Self::global)
/// is there without being built and uses rayon's global pool; [`new`](Self::new) takes a pool of one's own.
///
/// # What a job sees
///
/// As in a [`ThreadPool`](crate::ThreadPool): [`tokio::runtime::Handle::current`] works in a job that was submitted from a runtime; a
/// panic, also one in a parallel part, becomes the task's error and reaches no panic handler of rayon's; a job that is no longer
/// wanted is told so by [`is_cancelled`](crate::is_cancelled) and [`checkpoint`](crate::checkpoint).
///
/// All of this belongs to the thread that the job began on. In a **parallel part**, which may run on another thread, it is that thread's
/// own job that they ask about, or none. Take the flag along by [`with_cancel_flag`](crate::with_cancel_flag):
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{Cancelled, run_in_rayon, with_cancel_flag};
/// use rayon::prelude::*;
///
/// let task = run_in_rayon(|| {
///     with_cancel_flag(|flag| {
///         let square = |n: u64| flag.checkpoint().map(|()| n * n);
///         (0..1_000).into_par_iter().map(square).sum::<Result<u64, Cancelled>>()
///     })
/// });
/// assert_eq!(task.await?.ok(), Some(332_833_500));
/// # Ok(())
/// # }
/// ```
///
/// # Which job begins when
///
/// rayon knows no priorities and takes nothing back. So jobs wait in a queue of this pool, and a thread of rayon's that has nothing
/// else to do takes the one that is due first: in the order of submission, and by [`Priority`](crate::Priority). A job that is
/// cancelled while it waits is dropped at once.
///
/// A thread that waits for the parallel parts of its job, which others run, helps with parts of any job, as rayon's threads do. But it
/// **begins no other job** meanwhile, as it would with one that was given to `rayon::spawn`: so no job is held up by one that came
/// later, nor by one that needs a lock that it holds. The price is that a thread may wait for the last part of its job while jobs
/// are queued; threads that have become free come for those within a millisecond.
///
/// # Jobs that wait
///
/// A job may wait by [`blocking_wait`](Task::blocking_wait) for tasks of its own pool: one that is still queued is run right there;
/// while one runs elsewhere, this thread helps with parallel parts. (So hold no lock meanwhile that parts of other jobs take.) A job that waits
/// for a task that runs beneath it on its own thread, which can only be its own or one that waits for it, gets an
/// [`Unavailable`](crate::TaskErrorKind::Unavailable) error. In a parallel part wait for no task that in turn waits for that part.
///
/// # The end of a pool
///
/// When the last handle is dropped, what is queued is still run, as far as a [`Task`] or [`detach`](Task::detach) wants it. Neither that
/// nor [`shutdown`](Self::shutdown) ends rayon's threads: those of a pool of one's own end with it, once nobody holds it any more.
///
/// # When not to use this
///
/// - For calls that wait, for files, locks or the network: [`ThreadPool::global`](crate::ThreadPool::global). There are as many threads as
///   processors, and one that sleeps is missing in every parallel loop of the program.
/// - For jobs that compute and are not parallel inside: [`ThreadPool::cpu`](crate::ThreadPool::cpu), which hands over small ones several
///   times as fast and does not get in the way of parallel loops.
/// - For a library that brings its own threads (BLAS, polars): call it once, from a job of `ThreadPool::cpu`.
/// - Where no async code waits for the result: rayon alone.
/// - For what must be stopped for certain or may crash: a [`ProcessPool`](crate::ProcessPool), whose jobs may use rayon, too.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::RayonPool;
/// use rayon::prelude::*;
///
/// let mut words = vec!["or", "not", "to", "be"];
/// let sorted = RayonPool::global().run(move || {
///     words.par_sort();
///     words
/// });
/// assert_eq!(sorted.await?, ["be", "not", "or", "to"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RayonPool {
    shared: Arc<Shared>,
}

/// The pools there are.
impl RayonPool {
    /// Returns the program's pool for jobs that are parallel inside, on rayon's global pool: the one that `par_iter` uses anywhere
    /// outside of other pools.
    ///
    /// Has no `queue_limit`; a service that wants one builds its own over the same threads, by
    /// [`builder`](Self::builder)`().queue_limit(…)`. rayon's global pool is started by the first use. If it cannot be, every task finishes
    /// [`Unavailable`](crate::TaskErrorKind::Unavailable) and says why. Once shut down it stays closed.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<RayonPool> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::with_threads(Threads::global()))
    }

    /// Makes a pool over a pool of rayon's, which it shares with all its other users.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use heavylift::RayonPool;
    /// use rayon::prelude::*;
    ///
    /// let threads = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build()?);
    /// let pool = RayonPool::new(threads);
    /// assert_eq!(pool.run(|| (1..=10u32).into_par_iter().sum::<u32>()).await?, 55);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(threads: Arc<rayon::ThreadPool>) -> Self {
        Self::with_threads(Threads::Own(threads))
    }

    /// Returns a builder of a pool with its own settings.
    pub fn builder() -> RayonPoolBuilder {
        RayonPoolBuilder::new()
    }

    fn with_threads(threads: Threads) -> Self {
        Self::of(Shared::new(Setup { name: NAME.to_owned(), ..Setup::default() }, threads))
    }

    fn of(shared: Arc<Shared>) -> Self {
        registry::enter(&shared);
        #[cfg(feature = "metrics")]
        crate::metrics::export::enter(&shared);
        Self { shared }
    }
}

impl From<Arc<rayon::ThreadPool>> for RayonPool {
    fn from(threads: Arc<rayon::ThreadPool>) -> Self {
        Self::new(threads)
    }
}

impl From<rayon::ThreadPool> for RayonPool {
    fn from(threads: rayon::ThreadPool) -> Self {
        Self::new(Arc::new(threads))
    }
}

/// Jobs.
impl RayonPool {
    /// Starts a job. It runs whether its task is awaited or not, and is cancelled when the task is dropped.
    ///
    /// Never blocks and never fails: on a full or closed pool the task is finished from the start, as
    /// [`Overloaded`](crate::TaskErrorKind::Overloaded) or [`Closed`](crate::TaskErrorKind::Closed).
    #[track_caller]
    pub fn run<F, R>(&self, job: F) -> Task<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.run_with(job, Options::default(), Location::caller())
    }

    /// Starts a job unless the pool is full or closed; never waits.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the job in it.
    #[track_caller]
    pub fn try_run<F, R>(&self, job: F) -> Result<Task<R>, Refused<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.try_run_with(job, Options::default(), Location::caller())
    }

    /// Starts a job as soon as the pool has room: at once, if it has no `queue_limit`.
    #[track_caller]
    pub fn submit<F, R>(&self, job: F) -> Submit<Self, F>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.job(job).submit()
    }

    /// Returns a builder of one job, that gives it a name, time limits and a priority.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use std::time::Duration;
    /// use heavylift::{Priority, RayonPool};
    /// use rayon::prelude::*;
    ///
    /// let job = RayonPool::global().job(|| (0..1_000u64).into_par_iter().map(|n| n * n).sum::<u64>());
    /// let task = job.name("squares").priority(Priority::High).run_timeout(Duration::from_secs(60)).run();
    /// assert_eq!(task.await?, 332_833_500);
    /// # Ok(())
    /// # }
    /// ```
    pub fn job<F, R>(&self, job: F) -> Job<Self, F>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        Job::new(self.clone(), job)
    }
}

/// The pool itself.
impl RayonPool {
    /// Returns what the pool is doing and has done.
    ///
    /// `workers` are rayon's threads, and none once the pool has been shut down; those are idle that are in no job of this pool,
    /// whatever else they do.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    /// Records what the workers do from now on, job by job: see [`Recording`], whose [`stop`](Recording::stop) returns the
    /// timeline.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::RayonPool;
    ///
    /// let recording = RayonPool::global().record();
    /// RayonPool::global().job(|| 6 * 7).name("answer").run().await?;
    /// assert!(recording.stop().jobs().iter().any(|job| job.name() == "answer"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(&self) -> Recording {
        Recording::start(self.shared.clone())
    }

    /// Closes the pool, at once and for all its handles: new jobs are refused, those queued are finished or cancelled, those running
    /// go on. rayon's threads live on.
    ///
    /// - [`Drain`](Shutdown::Drain) finishes what is queued.
    /// - [`CancelQueued`](Shutdown::CancelQueued) cancels what is queued.
    /// - [`Kill`](Shutdown::Kill) also finishes the tasks of running jobs as cancelled, and asks the jobs to stop. It does not wait
    ///   for them.
    ///
    /// The future resolves when running jobs have returned, except after `Kill`. It can be called again: a stronger mode is added to
    /// what was asked before, a weaker one changes nothing. Awaited in a job of this pool it does not wait for that job; two jobs
    /// that both await it wait for each other.
    pub fn shutdown(&self, mode: Shutdown) -> Closing {
        AnyPool::shut_down(self.shared.clone(), mode)
    }
}

/// Starts a job on [`RayonPool::global`], for work that is parallel inside. Needs the feature `rayon`.
///
/// The job begins on a thread of rayon's global pool, so that `par_iter` inside it uses that pool's other threads, and the runtime's
/// threads wait for none of it.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::run_in_rayon;
/// use rayon::prelude::*;
///
/// let sum = run_in_rayon(|| (1..=1_000u64).into_par_iter().sum::<u64>()).await?;
/// assert_eq!(sum, 500_500);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn run_in_rayon<F, R>(job: F) -> Task<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    RayonPool::global().run(job)
}

impl sealed::Pool for RayonPool {
    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    fn name(&self) -> &str {
        &self.shared.setup.name
    }

    fn kind(&self) -> &'static str {
        Kind::Rayon.label()
    }
}

impl<F, R> Takes<F> for RayonPool
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Output = R;

    fn start(&self, job: F, ticket: Ticket) -> Task<R> {
        let Ticket { label, mut options, place } = ticket;
        self.shared.setup.complete(&mut options);
        let seat = RayonSeat::new(self.shared.clone(), options.priority);
        let span = open_span(self, &label);
        let cell = Cell::new(label, &options, seat, Load { job, place }, span);
        self.shared.counters.submitted();
        cell.watch_queue();
        let task = Task::new(cell.clone());
        self.shared.enqueue(unsize!(cell => dyn RayonJob));
        task
    }
}

impl fmt::Debug for RayonPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metrics { workers, queued, running, .. } = self.metrics();
        f.debug_struct("RayonPool")
            .field("name", &self.shared.setup.name)
            .field("workers", &workers)
            .field("queued", &queued)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}
