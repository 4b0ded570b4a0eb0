//! [`ThreadPool`]: runs jobs on threads.
//!
//! ```text
//!  ThreadPool ──▶ Handles ──▶ Shared ◀── Worker (one per thread)      Spawner (one per program) creates the threads
//!                               │  ▲
//!                      Dispatch ┘  └── ThreadSeat (in each task's Cell)
//!                     │ │ │
//!               Inboxes │ Desk (one per worker)
//!                     Queue
//! ```
//!
//! [`dispatch`] decides who does what, and holds the protocol; [`worker`] and [`shared`] do it. A task's own life is the
//! business of its `task::Cell`.

mod builder;
mod chunk;
mod desk;
mod dispatch;
mod global;
mod grip;
mod inbox;
mod lap;
pub(crate) mod map;
mod seat;
mod shared;
mod spawner;
#[cfg(test)]
mod tests;
mod worker;

use std::{fmt, panic::Location, sync::Arc};

pub use builder::ThreadPoolBuilder;
use builder::{Role, nonzero};
use grip::{Grip, Root};
use seat::{Load, ThreadJob, ThreadSeat};
use shared::{End, Shared};
use tokio::runtime::Handle;

use crate::{
    BuildError, Closing, Job, Metrics, Recording, Refused, Shutdown, Submit, Task,
    counted::unsize,
    metrics::Counters,
    pool::{
        Admission, Start, Takes, Ticket, open_span, queue,
        registry::{self, AnyPool, Kind},
        sealed,
    },
    record::{Lane, Recorded},
    shards::Shards,
    task::{Cell, Options},
};

/// A pool of threads for jobs that block or compute.
///
/// A handle: clones share one pool. It can be used from any runtime, from several at once, and from none. Threads are
/// started when there is work for them, up to `max_workers`, and end when they have had none for `keep_alive`; idle ones
/// sleep. Jobs begin in the order in which they were submitted; while they take microseconds each, workers take several at a time, so
/// that of jobs that begin within a few microseconds of each other a later one may be first.
///
/// Two pools are there without being built: [`global`](Self::global) for calls that block, [`cpu`](Self::cpu) for work that
/// computes.
///
/// # What a job sees
///
/// [`tokio::runtime::Handle::current`] works in a job that was submitted from a runtime. A panic is caught, becomes the
/// task's error, and costs nobody anything else. A job that is no longer wanted is not stopped, which no thread can be, but
/// told: by [`is_cancelled`](crate::is_cancelled) and [`checkpoint`](crate::checkpoint).
///
/// A job may wait by [`blocking_wait`](Task::blocking_wait) for tasks of its own pool: one that is still queued is run
/// right there. A job that waits for them in any other way, or for tasks of a pool that in turn waits for this one, needs a
/// pool of its own.
///
/// **A job is not async.** `run(|| async { … })` runs nothing: the job returns a future, which nobody polls. Await async
/// code where you are, or spawn it on the runtime; a job that needs some calls
/// `Handle::current().block_on(async { … })`.
///
/// # The end of a pool
///
/// When the last handle is dropped, what is queued is still run, as far as a [`Task`] or
/// [`detach`](Task::detach) wants it; then the threads end. Dropping never blocks. When `main` returns, jobs are cut off
/// wherever they are: await [`shutdown`](Self::shutdown) before.
///
/// # When not to use this
///
/// - For async I/O with an async library: await it, or `tokio::spawn` it.
/// - For less than about 10 µs of work: do it where you are, a hand-over costs more.
/// - Where [`tokio::task::spawn_blocking`] does: for the odd blocking call in a program that limits nothing, cancels
///   nothing and measures nothing, it is one dependency less.
/// - For a loop over a slice that should use all cores: `rayon`, called inside one job of [`cpu`](Self::cpu), so that the
///   runtime's threads do not wait for it.
/// - For what must be stopped for certain, limited in memory, or may crash: a `ProcessPool`. A thread can be neither
///   stopped nor isolated.
/// - For what runs as long as the program: a thread of its own, it would occupy a worker for good.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use heavylift::{Shutdown, ThreadPool};
///
/// let pool = ThreadPool::builder().name("sums").max_workers(2).build()?;
/// let tasks: Vec<_> = (1..=3u64).map(|n| pool.run(move || (1..=n).sum::<u64>())).collect();
/// for (task, sum) in tasks.into_iter().zip([1, 3, 6]) {
///     assert_eq!(task.await?, sum);
/// }
/// let report = pool.shutdown(Shutdown::Drain).await;
/// assert!(report.is_complete());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ThreadPool {
    handles: Arc<Handles>,
}

/// Counts the handles of a pool, which its threads and tasks do not own.
struct Handles {
    shared: Arc<Shared>,
    /// What tasks hold the pool by: each thread that submits counts its tasks in a place of its own.
    roots: Shards<Arc<Root>>,
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.shared.release();
    }
}

/// The pools there are.
impl ThreadPool {
    /// Returns the program's pool for calls that block: files, databases, name resolution, foreign code that waits.
    ///
    /// Elastic: up to `max(32, 4 × cpus)` threads, named `heavylift-0` and so on, that end after 10 s without work. `cpus` is
    /// [`std::thread::available_parallelism`], which follows affinity and cgroup limits. tokio allows 512: jobs that wait for
    /// one another in numbers need a pool of their own.
    ///
    /// If the environment variable `HEAVYLIFT_THREADS` is a number from 1 upwards, that many threads are the limit instead,
    /// here, in [`cpu`](Self::cpu), and in every pool that is built without `max_workers`. If it is anything else, every
    /// task of this pool finishes [`Unavailable`](crate::TaskErrorKind::Unavailable), naming the variable. It is read once,
    /// at the first use of the pool. [`install_global`](ThreadPoolBuilder::install_global) replaces the pool before that.
    ///
    /// Once shut down it stays closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::ThreadPool;
    ///
    /// let text = ThreadPool::global().run(|| std::fs::read_to_string("Cargo.toml")).await??;
    /// assert!(text.contains("heavylift"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn global() -> &'static Self {
        global::get(&global::GLOBAL, Role::Global)
    }

    /// Returns the program's pool for work that computes, from about 10 µs to seconds a piece.
    ///
    /// As many threads as `cpus`, started on demand and named `heavy-cpu-0` and so on: never more, so that they neither starve
    /// the runtime nor one another. `cpus`, `HEAVYLIFT_THREADS` and shutdown are as for [`global`](Self::global), and
    /// [`install_cpu`](ThreadPoolBuilder::install_cpu) replaces the pool before its first use.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use heavylift::ThreadPool;
    ///
    /// let sum = ThreadPool::cpu().run(|| (1..=1_000_000u64).sum::<u64>()).await?;
    /// assert_eq!(sum, 500_000_500_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cpu() -> &'static Self {
        global::get(&global::CPU, Role::Cpu)
    }

    /// Returns a builder of a pool with its own settings.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }

    fn new(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        registry::enter(&shared);
        #[cfg(feature = "metrics")]
        crate::metrics::export::enter(&shared);
        let roots = Shards::new(|| Arc::new(Root(shared.clone())));
        Self { handles: Arc::new(Handles { shared, roots }) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handles.shared
    }
}

/// Jobs.
impl ThreadPool {
    /// Starts a job. It runs whether its task is awaited or not, and is cancelled when the task is dropped.
    ///
    /// Never blocks and never fails: on a full or closed pool the task is finished from the start, as
    /// [`Overloaded`](crate::TaskErrorKind::Overloaded) or [`Closed`](crate::TaskErrorKind::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use heavylift::ThreadPool;
    ///
    /// let words = vec!["heavy", "lift"];
    /// assert_eq!(ThreadPool::cpu().run(move || words.concat()).await?, "heavylift");
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::mpsc;
    /// use heavylift::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().max_workers(1).queue_limit(1).build()?;
    /// let (finish, finished) = mpsc::channel();
    /// let running = pool.try_run(move || finished.recv().is_ok())?;
    /// let queued = pool.try_run(|| true)?;
    /// let refused = pool.try_run(|| true).expect_err("one runs, one waits");
    /// assert!(refused.is_full());
    /// finish.send(())?;
    /// assert!(running.blocking_wait()? && queued.blocking_wait()?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn try_run<F, R>(&self, job: F) -> Result<Task<R>, Refused<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.try_run_with(job, Options::default(), Location::caller())
    }

    /// Starts a job as soon as the pool has room: at once, if it has no `queue_limit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().max_workers(2).queue_limit(2).build()?;
    /// let mut tasks = Vec::new();
    /// for n in 0..100u64 {
    ///     tasks.push(pool.submit(move || n * n).await?); // never more than 4 in the pool
    /// }
    /// assert_eq!(tasks.pop().expect("there are 100").await?, 99 * 99);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn submit<F, R>(&self, job: F) -> Submit<Self, F>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.job(job).submit()
    }

    /// Returns a builder of one job, that gives it a name and time limits.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use heavylift::{ThreadPool, checkpoint};
    ///
    /// let endless = || loop {
    ///     if let Err(cancelled) = checkpoint() {
    ///         return cancelled;
    ///     }
    /// };
    /// let task = ThreadPool::global().job(endless).name("endless").run_timeout(Duration::from_millis(1)).run();
    /// assert!(task.await.unwrap_err().is_timed_out());
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
impl ThreadPool {
    /// Returns what the pool is doing and has done.
    ///
    /// When a task has finished, its job is no longer counted as running, unless it was abandoned.
    pub fn metrics(&self) -> Metrics {
        self.shared().metrics()
    }

    /// Records what the workers do from now on, job by job: see [`Recording`], whose [`stop`](Recording::stop) returns the
    /// timeline.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().max_workers(1).build()?;
    /// let recording = pool.record();
    /// pool.job(|| 6 * 7).name("answer").run().await?;
    /// let timeline = recording.stop();
    /// assert_eq!((timeline.jobs()[0].name(), timeline.jobs()[0].worker()), ("answer", Some(0)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(&self) -> Recording {
        Recording::start(self.shared().clone())
    }

    /// Changes `max_workers`. Missing workers are started when there is work for them; of those that are too many, idle
    /// ones end at once, others when their job has returned. A bounded queue keeps its `queue_limit`.
    ///
    /// # Errors
    ///
    /// [`BuildError`], if `max_workers` is zero or less than `min_workers`; the pool stays as it is.
    pub fn resize(&self, max_workers: usize) -> Result<(), BuildError> {
        nonzero("max_workers", Some(max_workers))?;
        self.shared().resize(max_workers)
    }

    /// Closes the pool, at once and for all its handles: new jobs are refused, those queued are finished or cancelled, those
    /// running go on, and the threads end.
    ///
    /// - [`Drain`](Shutdown::Drain) finishes what is queued.
    /// - [`CancelQueued`](Shutdown::CancelQueued) cancels what is queued.
    /// - [`Kill`](Shutdown::Kill) also finishes the tasks of running jobs as cancelled, and asks the jobs to stop. It does
    ///   not wait for them.
    ///
    /// The future resolves when running jobs have returned and the workers have ended, except after `Kill`. It can be called
    /// again: a stronger mode is added to what was asked before, a weaker one changes nothing. Awaited in a job of this
    /// pool it does not wait for that job; two jobs that both await it wait for each other.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::{Shutdown, ThreadPool};
    ///
    /// let pool = ThreadPool::builder().build()?;
    /// pool.run(|| println!("a log line")).detach();
    /// let report = pool.shutdown(Shutdown::Drain).timeout(Duration::from_secs(5)).await;
    /// assert_eq!((report.cancelled, report.abandoned), (0, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, mode: Shutdown) -> Closing {
        AnyPool::shut_down(self.shared().clone(), mode)
    }
}

/// Starts a job on [`ThreadPool::global`], which is started by the first call.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::run_in_thread_pool;
///
/// let home = run_in_thread_pool(|| std::env::current_dir().is_ok()).await?;
/// assert!(home);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn run_in_thread_pool<F, R>(job: F) -> Task<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    ThreadPool::global().run(job)
}

impl Recorded for Shared {
    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl AnyPool for Shared {
    fn kind(&self) -> Kind {
        Kind::Threads
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

impl sealed::Pool for ThreadPool {
    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    #[inline]
    fn admission(&self) -> &Admission {
        &self.shared().admission
    }

    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn counters(&self) -> &Counters {
        &self.shared().counters
    }

    fn name(&self) -> &str {
        &self.shared().setup.name
    }

    fn kind(&self) -> &'static str {
        Kind::Threads.label()
    }
}

impl<F, R> Takes<F> for ThreadPool
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Output = R;

    fn start(&self, job: F, ticket: Ticket) -> Task<R> {
        let Ticket { label, mut options, place } = ticket;
        self.shared().setup.complete(&mut options);
        let seat = ThreadSeat::new(Grip::new(self.handles.roots.here(), Handle::try_current().ok()));
        let span = open_span(self, &label);
        let cell = Cell::new(label, &options, seat, Load { job, place }, span);
        self.shared().counters.submitted();
        cell.watch_queue();
        let task = Task::new(cell.clone());
        self.shared().enqueue(unsize!(cell => dyn ThreadJob));
        task
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metrics { workers, queued, running, .. } = self.metrics();
        f.debug_struct("ThreadPool")
            .field("name", &self.shared().setup.name)
            .field("workers", &workers)
            .field("queued", &queued)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}
