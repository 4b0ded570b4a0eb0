//! [`ProcessPool`]: runs functions in child processes.

use std::{
    any::type_name,
    fmt,
    panic::Location,
    sync::{Arc, OnceLock},
    time::Instant,
};

use super::{
    Capabilities, ProcessPoolBuilder, call,
    parent::{Call, ProcessJob, ProcessSeat, Shared},
};
use crate::{
    BuildError, Closing, Job, Metrics, Payload, Recording, Refused, Shutdown, Submit, Task, TaskError,
    counted::unsize,
    error::{Operand, TaskLabel},
    metrics::Counters,
    no_capture::assert_no_capture,
    panic::catch,
    pool::{
        Admission, Start, Takes, Ticket, open_span,
        registry::{self, AnyPool, Kind},
        sealed,
    },
    record::{Lane, Recorded},
    task::{Cell, Options},
    wire::{Encoded, encode},
};

/// Runs functions in a pool of managed child processes.
///
/// A job is a plain function and its argument. The function is named to the worker, the argument is encoded and sent, the
/// result comes back as the value of a [`Task`]. There is nothing to set up: no call in `main`, no macro, no registration.
///
/// What a process gives that a thread cannot: a job that crashes, exits, overflows its stack or is killed costs its own task
/// and nobody else's; a time limit really stops the work; memory and global state are the worker's own.
///
/// The handle is cheap to clone; all clones are the same pool. Its scheduling runs on its own threads, so that it can be used
/// from any runtime, from several, and from none. When the last handle is dropped, what is queued still runs, then the workers
/// end. No worker outlives the program.
///
/// A job is a function that captures nothing: put the values into the argument. A closure without captures is fine:
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::ProcessPool;
///
/// fn count(text: &str) -> usize {
///     text.split_whitespace().count()
/// }
///
/// let pool = ProcessPool::global();
/// let pid = pool.run(|()| std::process::id(), ()).await?;
/// assert_ne!(pid, std::process::id());
/// let sum = pool.run(|(a, b): (u32, u32)| a + b, (1, 2)).await?;
/// assert_eq!(sum, 3);
/// let words = pool.run(|text: String| count(&text), "to be or not".to_string()).await?;
/// assert_eq!(words, 4);
/// # Ok(())
/// # }
/// ```
///
/// A capture does not compile:
///
/// ```compile_fail
/// # #[tokio::main]
/// # async fn main() {
/// let base = 40;
/// heavylift::run_in_process_pool(move |n: u32| n + base, 2).await.ok();
/// # }
/// ```
///
/// # When not to use this
///
/// - Work that needs no isolation and no kill: [`ThreadPool::cpu`](crate::ThreadPool::cpu) hands it over more cheaply, and
///   without encoding arguments.
/// - Blocking calls that only wait: [`ThreadPool::global`](crate::ThreadPool::global) or tokio's `spawn_blocking`.
/// - Parallelism over slices: rayon, inside one job.
///
/// # Limits
///
/// Linux 5.10 or newer. Elsewhere [`build`](ProcessPoolBuilder::build) is an error that says so, and jobs of the global pool
/// finish as unavailable. A worker is not reset between jobs: what a job leaves in global variables, the environment or the
/// current directory, the next one finds; `max_tasks_per_worker(1)` isolates them. A worker's standard input is /dev/null; its
/// standard output is the program's, flushed after each job; its standard error is passed through;
/// [`capture_output`](ProcessPoolBuilder::capture_output) changes that. It ends by `_exit`: no `atexit` handlers, no coverage data.
///
/// In a program that forks without exec, the copy's pools are not usable: jobs and tasks finish as
/// [`Unavailable`](crate::TaskErrorKind::Unavailable) at once, dropping or shutting down does nothing, and the program's own pools are
/// not affected. The copy may build a pool of its own, whose `queue_timeout`s are not kept: the thread that watches them was not
/// copied.
pub struct ProcessPool {
    shared: Arc<Shared>,
}

static GLOBAL: OnceLock<ProcessPool> = OnceLock::new();

impl ProcessPool {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        registry::enter(&shared);
        #[cfg(feature = "metrics")]
        crate::metrics::export::enter(&shared);
        Self { shared }
    }

    /// Returns the pool that [`run_in_process_pool`] uses, with as many workers as there are CPUs, started on demand.
    ///
    /// The environment variable `HEAVYLIFT_PROCESSES` overrides the number of workers; with a bad value every task finishes as
    /// unavailable. Once shut down it stays closed.
    pub fn global() -> &'static Self {
        GLOBAL.get_or_init(|| Self::builder().build_or_broken())
    }

    /// Returns a builder for a pool of its own.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::new()
    }

    /// Returns what this machine offers to process pools and what it lacks, by name. Starts nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use heavylift::ProcessPool;
    ///
    /// for missing in ProcessPool::capabilities().lacking() {
    ///     eprintln!("{missing}");
    /// }
    /// ```
    pub fn capabilities() -> Capabilities {
        super::capabilities()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn install_global(self) -> Result<(), BuildError> {
        GLOBAL
            .set(self)
            .map_err(|_| BuildError::new("install_global", "the global process pool has started already"))
    }

    /// Runs `job(arg)` in a worker process. Starts at once: needs no await.
    ///
    /// On a full or closed pool, and when the argument cannot be encoded, the task is finished from the start with that error.
    #[track_caller]
    pub fn run<F, A, R>(&self, job: F, arg: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a process");
        self.run_with((job, arg), Options::default(), Location::caller())
    }

    /// Runs `job(arg)` in a worker process unless the pool is full or closed. Never waits.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the job and its argument in it.
    #[track_caller]
    pub fn try_run<F, A, R>(&self, job: F, arg: A) -> Result<Task<R>, Refused<(F, A)>>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a process");
        self.try_run_with((job, arg), Options::default(), Location::caller())
    }

    /// Returns a future that starts `job(arg)` as soon as the pool has room.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, it drops the job, which has not started.
    #[track_caller]
    pub fn submit<F, A, R>(&self, job: F, arg: A) -> Submit<Self, (F, A)>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a process");
        Submit::new(self.clone(), (job, arg), Options::default(), Location::caller())
    }

    /// Returns a builder that gives the job a name and time limits before it is started.
    pub fn job<F, A, R>(&self, job: F, arg: A) -> Job<Self, (F, A)>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a process");
        Job::new(self.clone(), (job, arg))
    }

    /// Returns what the pool is doing and has done.
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
    /// use heavylift::{ProcessPool, WorkerEnd};
    ///
    /// let pool = ProcessPool::builder().max_workers(1).build()?;
    /// let recording = pool.record();
    /// let crashed = pool.job(|()| -> u32 { std::process::abort() }, ()).name("crash").run().await;
    /// assert!(crashed.unwrap_err().is_worker_died());
    /// let timeline = recording.stop();
    /// assert_eq!(timeline.workers()[0].end(), Some(WorkerEnd::Died));
    /// let failed = timeline.failures().next().ok_or("it has failed")?;
    /// assert_eq!((failed.name(), failed.pid()), ("crash", timeline.workers()[0].pid()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(&self) -> Recording {
        Recording::start(self.shared.clone())
    }

    /// Changes the number of workers that there may be. Surplus workers end when they are idle.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for zero, and for fewer than `min_workers`.
    pub fn resize(&self, workers: usize) -> Result<(), BuildError> {
        super::builder::check_workers(self.shared.config().min_workers, workers)?;
        self.shared.resize(workers);
        Ok(())
    }

    /// Closes the pool at once, and returns a future that resolves when it has come to its end: every task finished, no process
    /// left.
    ///
    /// May be called again, also with a stricter mode.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::{ProcessPool, Shutdown};
    ///
    /// let pool = ProcessPool::builder().max_workers(1).build()?;
    /// let task = pool.run(|n: u64| n * n, 12);
    /// let report = pool.shutdown(Shutdown::Drain).await;
    /// assert_eq!((report.cancelled, report.abandoned), (0, 0));
    /// assert_eq!(task.await?, 144);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, mode: Shutdown) -> Closing {
        self.shared.clone().shut_down(mode)
    }
}

impl Recorded for Shared {
    fn counters(&self) -> &Counters {
        Shared::counters(self)
    }
}

impl AnyPool for Shared {
    fn kind(&self) -> Kind {
        Kind::Processes
    }

    fn name(&self) -> &str {
        &self.config().name
    }

    fn metrics(&self) -> Metrics {
        Shared::metrics(self)
    }

    fn lanes(&self) -> Vec<Lane> {
        Shared::lanes(self)
    }

    fn shut_down(self: Arc<Self>, mode: Shutdown) -> Closing {
        self.close(mode);
        Closing::new(self)
    }
}

impl Clone for ProcessPool {
    fn clone(&self) -> Self {
        self.shared.add_handle();
        Self { shared: self.shared.clone() }
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl sealed::Pool for ProcessPool {
    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    #[inline]
    fn admission(&self) -> &Admission {
        self.shared.admission()
    }

    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn counters(&self) -> &Counters {
        self.shared.counters()
    }

    fn name(&self) -> &str {
        &self.shared.config().name
    }

    fn kind(&self) -> &'static str {
        Kind::Processes.label()
    }
}

impl<F, A, R> Takes<(F, A)> for ProcessPool
where
    F: Fn(A) -> R + Copy + Send + 'static,
    A: Payload,
    R: Payload,
{
    type Output = R;

    fn start(&self, (_, argument): (F, A), ticket: Ticket) -> Task<R> {
        let counters = self.shared.counters();
        let begun = counters.measures_payloads().then(Instant::now);
        let argument = encode_argument(argument);
        if let Ok(encoded) = &argument {
            counters.argument(encoded.len(), begun.map(|begun| begun.elapsed()));
        }
        self.start_encoded::<F, A, R>(argument, ticket)
    }

    fn default_name() -> &'static str {
        type_name::<F>()
    }
}

/// Encodes an argument, or says why not.
fn encode_argument<A: Payload>(argument: A) -> Result<Encoded, String> {
    match catch(|| encode(argument)) {
        Ok(Ok(encoded)) => Ok(encoded),
        Ok(Err(why)) => Err(why.to_string()),
        Err(report) => Err(report.into_summary()),
    }
}

impl ProcessPool {
    /// Starts the job of an argument that has been encoded, as far as it could be.
    pub(super) fn start_encoded<F, A, R>(&self, argument: Result<Encoded, String>, ticket: Ticket) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Payload,
    {
        let Ticket { label, options, place } = ticket;
        let span = open_span(self, &label);
        let call = self.admissible(argument, &label).and_then(|encoded| {
            let call = Call::new(call::job::<F, A, R>(), encoded, place, span.note());
            call.map_err(|why| TaskError::encode(label.clone(), Operand::Argument, why))
        });
        let call = match call {
            Ok(call) => call,
            Err(error) => {
                self.shared.counters().never_sent(&error);
                return Task::refused(error, label, span);
            }
        };
        let queue_timeout = options.queue_timeout.or(self.shared.config().queue_timeout);
        let options = Options { queue_timeout, ..options };
        self.shared.counters().submitted();
        let seat = ProcessSeat::<R>::new(self.shared.clone(), &options, &call);
        let cell = Cell::new(label, &options, seat, call, span);
        let task = Task::new(cell.clone());
        if queue_timeout.is_none() {
            self.shared.push(unsize!(cell => dyn ProcessJob));
        } else {
            self.shared.push(unsize!(cell.clone() => dyn ProcessJob));
            cell.watch_queue();
        }
        task
    }

    /// The argument, if it could be encoded and is not too large.
    fn admissible(&self, argument: Result<Encoded, String>, label: &TaskLabel) -> Result<Encoded, TaskError> {
        let encoded = argument.map_err(|why| TaskError::encode(label.clone(), Operand::Argument, why))?;
        let (size, limit) = (encoded.len() as u64, self.shared.config().max_payload);
        if size > limit {
            return Err(TaskError::too_large(label.clone(), Operand::Argument, size, limit));
        }
        Ok(encoded)
    }
}

/// Runs `job(arg)` in a worker process of the [global pool](ProcessPool::global), and returns a future of its result.
///
/// Starts at once: needs no await. Dropping the task kills the job. The job is a plain function, or a closure that captures
/// nothing.
///
/// # Errors
///
/// The task resolves to a [`TaskError`] when the job panics, its worker dies, its argument or result cannot cross, or the
/// worker side does not start: see [`TaskErrorKind`](crate::TaskErrorKind).
///
/// # Cancel safety
///
/// Dropping the task cancels it: a queued job never starts, a running one is ended by killing its worker.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::run_in_process_pool;
///
/// fn count_primes(limit: u64) -> usize {
///     (2..limit).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
/// }
///
/// let primes = run_in_process_pool(count_primes, 10_000).await?;
/// assert_eq!(primes, 1229);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn run_in_process_pool<F, A, R>(job: F, arg: A) -> Task<R>
where
    F: Fn(A) -> R + Copy + Send + 'static,
    A: Payload,
    R: Payload,
{
    assert_no_capture!(F, "a job for a process");
    ProcessPool::global().run_with((job, arg), Options::default(), Location::caller())
}
