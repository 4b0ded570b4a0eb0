//! [`Refused`]: a job that was not taken, handed back.

use std::{error::Error, fmt};

use crate::{TaskError, TaskErrorKind};

/// A pool did not take a job, and hands it back.
///
/// `J` is the job as given: the closure on a thread pool, the pair `(job, arg)` on a process pool. The reason is
/// [`is_full`](Self::is_full) or [`is_closed`](Self::is_closed). Converts into [`TaskError`] where the job is no longer
/// wanted.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use heavylift::{Shutdown, ThreadPool};
///
/// let pool = ThreadPool::builder().build()?;
/// pool.shutdown(Shutdown::Drain).blocking_wait();
/// let refused = pool.try_run(|| 1 + 1).expect_err("the pool is closed");
/// assert!(refused.is_closed());
/// let job = refused.into_inner();
/// assert_eq!(job(), 2); // nothing is lost
/// # Ok(())
/// # }
/// ```
pub struct Refused<J> {
    job: J,
    error: TaskError,
}

impl<J> Refused<J> {
    pub(crate) fn new(job: J, error: TaskError) -> Self {
        Self { job, error }
    }

    /// Whether the pool's bounded queue was full.
    pub fn is_full(&self) -> bool {
        self.error.kind() == TaskErrorKind::Overloaded
    }

    /// Whether the pool had been shut down.
    pub fn is_closed(&self) -> bool {
        self.error.kind() == TaskErrorKind::Closed
    }

    /// Returns the job as it was given.
    pub fn into_inner(self) -> J {
        self.job
    }
}

impl<J> fmt::Debug for Refused<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("kind", &self.error.kind()).finish_non_exhaustive()
    }
}

impl<J> fmt::Display for Refused<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<J> Error for Refused<J> {}

impl<J> From<Refused<J>> for TaskError {
    fn from(refused: Refused<J>) -> Self {
        refused.error
    }
}
