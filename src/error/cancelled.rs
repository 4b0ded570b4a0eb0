//! [`Cancelled`]: what [`checkpoint`](crate::checkpoint) returns in a job that should stop.

use std::{error::Error, fmt, io};

/// The job was asked to stop.
///
/// Returned by [`checkpoint`](crate::checkpoint), to be passed up with `?`. Converts into [`std::io::Error`] and into
/// [`JobError`](crate::JobError).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the job was asked to stop")
    }
}

impl Error for Cancelled {}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        // Not `Interrupted`: std's read and write loops would try again for ever.
        io::Error::other(cancelled)
    }
}
