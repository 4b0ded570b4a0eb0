//! [`ThreadPoolBuilder`]: how a thread pool is set up.

use std::{fmt, time::Duration};

use super::{
    ThreadPool, global,
    shared::{Setup, Shared, Spawn},
};
use crate::BuildError;

/// How long an idle worker lives, by default.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Sets up a [`ThreadPool`].
///
/// Made by [`ThreadPool::builder`]. What is not set has its default.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use heavylift::ThreadPool;
///
/// // At most 4 images at a time, at most 100 in the queue: what comes beyond is refused at once.
/// let images = ThreadPool::builder().name("images").max_workers(4).queue_limit(100).build()?;
/// let name = images.run(|| std::thread::current().name().map(str::to_owned)).await?;
/// assert_eq!(name.as_deref(), Some("images-0"));
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`, `install_global` or `install_cpu`"]
pub struct ThreadPoolBuilder {
    name: Option<String>,
    min_workers: usize,
    max_workers: Option<usize>,
    keep_alive: Duration,
    queue_limit: Option<usize>,
    queue_timeout: Option<Duration>,
    run_timeout: Option<Duration>,
    stack_size: Option<usize>,
    on_worker_start: Option<Box<dyn Fn() + Send + Sync>>,
    spawn: Spawn,
}

/// What a pool is for: decides about the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Own,
    Global,
    Cpu,
}

impl ThreadPoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            min_workers: 0,
            max_workers: None,
            keep_alive: KEEP_ALIVE,
            queue_limit: None,
            queue_timeout: None,
            run_timeout: None,
            stack_size: None,
            on_worker_start: None,
            spawn: Box::new(|builder, life| builder.spawn(life).map(drop)),
        }
    }

    /// Names the pool, in messages and in the names of its threads: `{name}-0`, `{name}-1` and so on, with the name cut so
    /// that the whole has at most 15 bytes, which is what Linux shows. Default: `pool`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Has this many workers started at once, and never ended before the pool is. Default: 0, so that threads are started
    /// when there is work for them.
    pub fn min_workers(mut self, min_workers: usize) -> Self {
        self.min_workers = min_workers;
        self
    }

    /// Limits the number of workers, that is, of jobs that run at the same time. Default: as of
    /// [`ThreadPool::global`], `max(32, 4 × cpus)` or what `HEAVYLIFT_THREADS` says, and not less than `min_workers`.
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.max_workers = Some(max_workers);
        self
    }

    /// Ends a worker beyond `min_workers` that has had no job for this long; zero ends it as soon as it finds none.
    /// Default: 10 s.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Limits the number of jobs that wait: the pool has room for `max_workers + queue_limit` jobs, running and waiting
    /// together. On a full pool `run` fails, `try_run` hands the job back and `submit` waits. Default: no limit.
    pub fn queue_limit(mut self, queue_limit: usize) -> Self {
        self.queue_limit = Some(queue_limit);
        self
    }

    /// Limits the time that a job may wait before it begins, unless the job has a limit of its own: see
    /// [`Job::queue_timeout`](crate::Job::queue_timeout). Default: no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().max_workers(1).queue_timeout(Duration::from_millis(20)).build()?;
    /// let (open, closed) = std::sync::mpsc::channel::<()>();
    /// let running = pool.job(move || closed.recv().is_err()).queue_timeout(Duration::MAX).run();
    /// assert!(pool.run(|| "too late").await.unwrap_err().is_timed_out());
    /// drop(open);
    /// assert!(running.await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// Limits the time that a job may run, unless the job has a limit of its own: then its task is timed out, and the job,
    /// which cannot be stopped, sees [`is_cancelled`](crate::is_cancelled). See
    /// [`Job::run_timeout`](crate::Job::run_timeout). Default: no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::{ThreadPool, checkpoint};
    ///
    /// let pool = ThreadPool::builder().run_timeout(Duration::from_millis(20)).build()?;
    /// let task = pool.run(|| while checkpoint().is_ok() {});
    /// assert!(task.await.unwrap_err().is_timed_out());
    /// # Ok(())
    /// # }
    /// ```
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.run_timeout = Some(limit);
        self
    }

    /// Sets the size of each worker's stack, in bytes. Default: that of [`std::thread`], 2 MiB unless `RUST_MIN_STACK` says
    /// otherwise.
    pub fn stack_size(mut self, stack_size: usize) -> Self {
        self.stack_size = Some(stack_size);
        self
    }

    /// Has each worker call this first, on its own thread. A panic in it is reported by the panic hook, and the worker goes
    /// on as if it had returned. Default: nothing.
    pub fn on_worker_start(mut self, on_worker_start: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_worker_start = Some(Box::new(on_worker_start));
        self
    }

    /// Has threads created by `spawn`, which may refuse.
    #[cfg(test)]
    pub(crate) fn spawn(mut self, spawn: Spawn) -> Self {
        self.spawn = spawn;
        self
    }

    /// Builds the pool, and starts `min_workers`.
    ///
    /// # Errors
    ///
    /// [`BuildError`] naming the field: `max_workers`, `queue_limit`, `stack_size` or a time limit is zero, `min_workers` is greater than
    /// `max_workers`, `name` is empty or holds a NUL, the operating system refuses a thread for one of `min_workers`; or
    /// `max_workers` is not set and `HEAVYLIFT_THREADS` is not a number.
    pub fn build(self) -> Result<ThreadPool, BuildError> {
        self.build_as(Role::Own)
    }

    /// Builds the pool that [`ThreadPool::global`] and [`run_in_thread_pool`](crate::run_in_thread_pool) use from now on.
    /// Defaults are those of that pool.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); and if the global pool has started, which its first use does.
    ///
    /// # Examples
    ///
    /// ```
    /// use heavylift::ThreadPool;
    ///
    /// # fn main() -> Result<(), heavylift::BuildError> {
    /// ThreadPool::builder().name("blocking").max_workers(8).install_global()?; // first thing in `main`
    /// assert!(ThreadPool::builder().install_global().is_err()); // too late
    /// # Ok(())
    /// # }
    /// ```
    pub fn install_global(self) -> Result<(), BuildError> {
        global::install(&global::GLOBAL, "install_global", || self.build_as(Role::Global))
    }

    /// Builds the pool that [`ThreadPool::cpu`] uses from now on. Defaults are those of that pool.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); and if the CPU pool has started, which its first use does.
    pub fn install_cpu(self) -> Result<(), BuildError> {
        global::install(&global::CPU, "install_cpu", || self.build_as(Role::Cpu))
    }

    pub(crate) fn build_as(self, role: Role) -> Result<ThreadPool, BuildError> {
        self.check()?;
        let max = self.max_or_default(role)?;
        let (min, queue_limit) = (self.min_workers, self.queue_limit);
        let pool = ThreadPool::new(Shared::new(self.into_setup(role), max, queue_limit));
        for _ in 0..min {
            pool.shared().hire().map_err(|error| no_thread(min, &error))?;
        }
        Ok(pool)
    }

    /// Builds a pool that cannot run anything, for this reason.
    pub(crate) fn build_broken(self, role: Role, why: &BuildError) -> ThreadPool {
        ThreadPool::new(Shared::broken(self.into_setup(role), why.to_string()))
    }

    fn check(&self) -> Result<(), BuildError> {
        nonzero("max_workers", self.max_workers)?;
        nonzero("queue_limit", self.queue_limit)?;
        nonzero("stack_size", self.stack_size)?;
        some_time("queue_timeout", self.queue_timeout)?;
        some_time("run_timeout", self.run_timeout)?;
        match (&self.name, self.max_workers) {
            (Some(name), _) if name.is_empty() => Err(BuildError::new("name", "it is empty")),
            (Some(name), _) if name.contains('\0') => {
                Err(BuildError::new("name", format!("{name:?} holds a NUL")))
            }
            (_, Some(max)) if self.min_workers > max => Err(min_above_max(self.min_workers, max)),
            _ => Ok(()),
        }
    }

    fn max_or_default(&self, role: Role) -> Result<usize, BuildError> {
        match self.max_workers {
            Some(max) => Ok(max),
            None => Ok(global::default_size(role)?.max(self.min_workers)),
        }
    }

    fn into_setup(self, role: Role) -> Setup {
        let default = || role.name().to_owned();
        Setup {
            name: self.name.unwrap_or_else(default),
            min_workers: self.min_workers,
            keep_alive: self.keep_alive,
            queue_timeout: self.queue_timeout,
            run_timeout: self.run_timeout,
            stack_size: self.stack_size,
            on_worker_start: self.on_worker_start,
            spawn: self.spawn,
        }
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "pool",
            Self::Global => "heavylift",
            Self::Cpu => "heavy-cpu",
        }
    }
}

/// Says that `field` must not be zero.
pub(crate) fn nonzero(field: &'static str, value: Option<usize>) -> Result<(), BuildError> {
    match value {
        Some(0) => Err(BuildError::new(field, "0 is too small, the least is 1")),
        _ => Ok(()),
    }
}

/// Says that the limit `field` must leave some time.
fn some_time(field: &'static str, limit: Option<Duration>) -> Result<(), BuildError> {
    match limit {
        Some(Duration::ZERO) => Err(BuildError::new(field, "a limit of no time at all: more than 0")),
        _ => Ok(()),
    }
}

/// Says that `max_workers` must not be less than `min_workers`.
pub(crate) fn min_above_max(min: usize, max: usize) -> BuildError {
    BuildError::new("min_workers", format!("{min} is too large, max_workers is {max}"))
}

fn no_thread(min: usize, error: &std::io::Error) -> BuildError {
    BuildError::new("min_workers", format!("the operating system refuses one of {min} threads: {error}"))
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("name", &self.name)
            .field("min_workers", &self.min_workers)
            .field("max_workers", &self.max_workers)
            .field("keep_alive", &self.keep_alive)
            .field("queue_limit", &self.queue_limit)
            .field("queue_timeout", &self.queue_timeout)
            .field("run_timeout", &self.run_timeout)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}
