//! [`RayonPoolBuilder`]: how a rayon pool is set up.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    RayonPool,
    shared::{Setup, Shared},
    threads::Threads,
};
use crate::BuildError;

/// Sets up a [`RayonPool`].
///
/// Made by [`RayonPool::builder`]. What is not set has its default. How many threads there are, their stacks and their names are
/// rayon's business.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use heavylift::RayonPool;
///
/// // At most 4 jobs at a time, at most 100 in the queue: what comes beyond is refused at once.
/// let threads = rayon::ThreadPoolBuilder::new().num_threads(4).build()?;
/// let images = RayonPool::builder().threads(Arc::new(threads)).name("images").queue_limit(100).build()?;
/// assert_eq!(images.run(rayon::current_num_threads).await?, 4);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct RayonPoolBuilder {
    threads: Option<Arc<rayon::ThreadPool>>,
    name: Option<String>,
    queue_limit: Option<usize>,
    queue_timeout: Option<Duration>,
    run_timeout: Option<Duration>,
}

impl RayonPoolBuilder {
    pub(super) fn new() -> Self {
        Self { threads: None, name: None, queue_limit: None, queue_timeout: None, run_timeout: None }
    }

    /// Runs jobs on the threads of a pool of one's own. Default: on those of rayon's global pool.
    pub fn threads(mut self, threads: Arc<rayon::ThreadPool>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Names the pool, in messages. Default: `rayon`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Limits the number of jobs that wait: the pool has room for as many jobs as it has threads, and so many more. On a full pool
    /// `run` fails, `try_run` hands the job back and `submit` waits. Default: no limit.
    pub fn queue_limit(mut self, queue_limit: usize) -> Self {
        self.queue_limit = Some(queue_limit);
        self
    }

    /// Limits the time that a job may wait before it begins, unless the job has a limit of its own: see
    /// [`Job::queue_timeout`](crate::Job::queue_timeout). Default: no limit.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// Limits the time that a job may run, unless the job has a limit of its own: see
    /// [`Job::run_timeout`](crate::Job::run_timeout). Default: no limit.
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.run_timeout = Some(limit);
        self
    }

    /// Builds the pool. Starts rayon's global pool, if that is to be used and nobody has.
    ///
    /// # Errors
    ///
    /// [`BuildError`] naming the field: `queue_limit` or a time limit is zero, `name` is empty, or rayon's global pool, in place of
    /// `threads`, does not start.
    pub fn build(self) -> Result<RayonPool, BuildError> {
        self.check()?;
        let threads = self.threads.map_or_else(Threads::global, Threads::Own);
        if let Threads::Missing(reason) = &threads {
            return Err(BuildError::new("threads", reason.clone()));
        }
        let setup = Setup {
            name: self.name.unwrap_or_else(|| super::NAME.to_owned()),
            queue_limit: self.queue_limit,
            queue_timeout: self.queue_timeout,
            run_timeout: self.run_timeout,
        };
        Ok(RayonPool::of(Shared::new(setup, threads)))
    }

    fn check(&self) -> Result<(), BuildError> {
        if self.name.as_ref().is_some_and(String::is_empty) {
            return Err(BuildError::new("name", "it is empty"));
        }
        if self.queue_limit == Some(0) {
            return Err(BuildError::new("queue_limit", "0 is too small, the least is 1"));
        }
        for (field, limit) in [("queue_timeout", self.queue_timeout), ("run_timeout", self.run_timeout)] {
            if limit == Some(Duration::ZERO) {
                return Err(BuildError::new(field, "a limit of no time at all: more than 0"));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RayonPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RayonPoolBuilder")
            .field("name", &self.name)
            .field("queue_limit", &self.queue_limit)
            .field("queue_timeout", &self.queue_timeout)
            .field("run_timeout", &self.run_timeout)
            .finish_non_exhaustive()
    }
}
