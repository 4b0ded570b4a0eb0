//! [`Unfinished`]: the time limit of an `as_completed` was reached.

use std::{error::Error, fmt, io, time::Duration};

/// The time limit of an [`as_completed`](crate::as_completed) was reached before all futures had finished.
///
/// Yielded by [`AsCompletedTimeout`](crate::AsCompletedTimeout). Converts into [`std::io::Error`].
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use std::{future, time::Duration};
///
/// use futures::TryStreamExt;
/// use heavylift::as_completed;
///
/// let stream = as_completed([future::pending::<()>()]).timeout(Duration::from_millis(1));
/// let late = stream.try_collect::<Vec<_>>().await.unwrap_err();
/// assert_eq!((late.unfinished(), late.total()), (1, 1));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    unfinished: usize,
    total: usize,
    after: Duration,
}

impl Unfinished {
    pub(super) fn new(unfinished: usize, total: usize, after: Duration) -> Self {
        Self { unfinished, total, after }
    }

    /// How many futures had not finished, and were dropped.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// How many futures there were in all.
    pub fn total(&self) -> usize {
        self.total
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} futures unfinished after {:?}", self.unfinished, self.total, self.after)
    }
}

impl Error for Unfinished {}

impl From<Unfinished> for io::Error {
    fn from(unfinished: Unfinished) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, unfinished)
    }
}
