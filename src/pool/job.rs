//! [`Job`]: a job with a name, limits and its place among others, before it is started.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    panic::Location,
    sync::Arc,
    time::Duration,
};

use super::{Start, Submit, Takes};
use crate::{Priority, Refused, Task, task::Options};

/// A job that is about to be started: give it a name, time limits, a priority, then [`run`](Self::run) it.
///
/// Made by the `job` method of a pool. `J` is the closure on a thread pool, the pair of function and argument on a process
/// pool.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use std::time::Duration;
/// use heavylift::ThreadPool;
///
/// let task = ThreadPool::cpu().job(|| 1 + 1).name("sum").queue_timeout(Duration::from_secs(5)).run();
/// assert_eq!(task.name(), "sum");
/// assert_eq!(task.await?, 2);
/// # Ok(())
/// # }
/// ```
#[must_use = "a job starts with `run`, `try_run` or `submit`"]
pub struct Job<P, J> {
    pool: P,
    job: J,
    options: Options,
}

impl<P, J> Job<P, J> {
    pub(crate) fn new(pool: P, job: J) -> Self {
        Self { pool, job, options: Options::default() }
    }

    /// Names the task, for errors and logs. Default: the type name of the function.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Limits the time that the job may wait before it begins; after that it never starts, and its task is timed out. Once it
    /// has begun the limit has no more effect, also if it is run again by [`retry`](Self::retry). Default: the pool's;
    /// [`Duration::MAX`] is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().max_workers(1).build()?;
    /// let (open, closed) = std::sync::mpsc::channel::<()>();
    /// let running = pool.run(move || closed.recv().is_err());
    /// let late = pool.job(|| "too late").queue_timeout(Duration::from_millis(10)).run();
    /// assert!(late.await.unwrap_err().is_timed_out());
    /// drop(open);
    /// assert!(running.await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.options.queue_timeout = Some(limit);
        self
    }

    /// Limits the time that the job may run, counted from its beginning; of a job that is run again by
    /// [`retry`](Self::retry), each run for itself. In a process it is then killed; in a thread it is asked to stop, and its
    /// value is dropped. Default: the pool's; [`Duration::MAX`] is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use heavylift::ProcessPool;
    ///
    /// fn endless(_: ()) {
    ///     loop {
    ///         std::thread::park();
    ///     }
    /// }
    ///
    /// let task = ProcessPool::global().job(endless, ()).run_timeout(Duration::from_millis(50)).run();
    /// assert!(task.await.unwrap_err().is_timed_out());
    /// # }
    /// ```
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.options.run_timeout = Some(limit);
        self
    }

    /// How long the job may go on after it was asked to stop, before its worker is killed: it sees
    /// [`is_cancelled`](crate::is_cancelled) and gets SIGTERM. If it returns in time its worker lives on. The task is finished
    /// at once in any case. Default: the pool's `kill_grace`, which is 0 unless set.
    ///
    /// No effect on a thread pool, whose workers are never killed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::{ProcessPool, is_cancelled};
    ///
    /// fn until_asked(_: ()) {
    ///     while !is_cancelled() {
    ///         std::thread::sleep(Duration::from_millis(1));
    ///     }
    ///     // … removes its temporary files
    /// }
    ///
    /// let pool = ProcessPool::builder().max_workers(1).build()?;
    /// let worker = pool.run(|()| std::process::id(), ()).await?;
    /// let grace = Duration::from_secs(30);
    /// let task = pool.job(until_asked, ()).kill_grace(grace).run_timeout(Duration::from_millis(20)).run();
    /// assert!(task.await.unwrap_err().is_timed_out());
    /// assert_eq!(pool.run(|()| std::process::id(), ()).await?, worker);
    /// # Ok(())
    /// # }
    /// ```
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.options.kill_grace = Some(grace);
        self
    }

    /// Has the job run again, at most `times` times, when its worker process dies under it. Default: 0, because only the
    /// caller knows whether a job may be run twice: ask for it where the job is idempotent.
    ///
    /// It returns to its old place in the queue. Nothing else is tried again: no panic, no error, no time limit, and no task
    /// that was cancelled or dropped; a shutdown that cancels ends it. Each death is counted in
    /// [`Metrics::worker_deaths`](crate::Metrics::worker_deaths). A job that has killed `times + 1` workers is given up, with an
    /// error that [names them](crate::TaskError::dead_workers).
    ///
    /// No effect on a thread pool, where a job that crashes takes the program with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::ProcessPool;
    ///
    /// fn crash(_: ()) {
    ///     std::process::abort();
    /// }
    ///
    /// let pool = ProcessPool::builder().max_workers(1).build()?;
    /// let error = pool.job(crash, ()).retry(2).run().await.unwrap_err();
    /// assert!(error.is_worker_died());
    /// assert_eq!(error.dead_workers().len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry(mut self, times: u32) -> Self {
        self.options.retry = times;
        self
    }

    /// Which of several waiting jobs begins first: see [`Priority`]. Default: [`Priority::Normal`].
    ///
    /// While jobs of several priorities wait, a process pool sends its workers none ahead of time, so that a worker that
    /// becomes free begins the most urgent one. That costs throughput of very short jobs.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use heavylift::{Priority, ThreadPool};
    ///
    /// let index = ThreadPool::cpu().job(|| "all of it, some time").priority(Priority::Low).run();
    /// let click = ThreadPool::cpu().job(|| "what somebody waits for").priority(Priority::High).run();
    /// assert_eq!(click.await?, "what somebody waits for");
    /// assert_eq!(index.await?, "all of it, some time");
    /// # Ok(())
    /// # }
    /// ```
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Sends the job to the worker process that ran the last job with an equal key, if that worker has nothing to do, else to
    /// any. For jobs that find something in their worker that an earlier one has left there: a cache, a model, an open file.
    ///
    /// A hint and nothing more: the worker may be busy, replaced or dead. The pool remembers some thousand keys. Keys are
    /// compared by a hash of 64 bits.
    ///
    /// No effect on a thread pool, whose workers share their memory anyway.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use heavylift::ProcessPool;
    ///
    /// let pool = ProcessPool::global();
    /// let lookup = |(city, street): (String, String)| city.len() + street.len(); // in a map that is loaded once per worker
    /// let key = "Rome".to_owned();
    /// let found = pool.job(lookup, (key.clone(), "Via Appia".into())).affinity(key).run().await?;
    /// assert_eq!(found, 13);
    /// # Ok(())
    /// # }
    /// ```
    pub fn affinity(mut self, key: impl Hash) -> Self {
        // With fixed keys: the same hash for the same key, in all calls.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.options.affinity = Some(hasher.finish());
        self
    }
}

impl<P: Takes<J>, J> Job<P, J> {
    /// Starts the job. On a full or closed pool the task is finished from the start, as overloaded or closed.
    #[track_caller]
    pub fn run(self) -> Task<P::Output> {
        self.pool.run_with(self.job, self.options, Location::caller())
    }

    /// Starts the job unless the pool is full or closed; never waits.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the job in it.
    #[track_caller]
    pub fn try_run(self) -> Result<Task<P::Output>, Refused<J>> {
        self.pool.try_run_with(self.job, self.options, Location::caller())
    }

    /// Starts the job as soon as the pool has room.
    #[track_caller]
    pub fn submit(self) -> Submit<P, J> {
        Submit::new(self.pool, self.job, self.options, Location::caller())
    }
}

impl<P, J> fmt::Debug for Job<P, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("options", &self.options).finish_non_exhaustive()
    }
}
