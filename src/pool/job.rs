//! [`Job`]: a job with a name and time limits, before it is started.

use std::{fmt, panic::Location, sync::Arc, time::Duration};

use super::{Start, Submit, Takes};
use crate::{Refused, Task, task::Options};

/// A job that is about to be started: give it a name and time limits, then [`run`](Self::run) it.
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

    /// Limits the time that the job may wait before it begins; after that it never starts, and its task is timed out.
    /// Default: none.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.options.queue_timeout = Some(limit);
        self
    }

    /// Limits the time that the job may run, counted from its beginning. In a process it is then killed; in a thread it is
    /// asked to stop, and its value is dropped. Default: the pool's, where it has one.
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.options.run_timeout = Some(limit);
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
