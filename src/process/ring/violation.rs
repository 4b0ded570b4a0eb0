//! [`Violation`]: what the other side wrote cannot be.

use std::{error::Error, fmt};

/// The shared memory holds something that a sound worker never writes.
///
/// The worker's memory is corrupt or the worker is hostile: it is to be killed, and what it was running is
/// lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation(&'static str);

impl Violation {
    pub(super) const fn new(what: &'static str) -> Self {
        Self(what)
    }

    /// Returns what was wrong, for the log.
    pub(crate) fn what(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker broke the ring's protocol: {}", self.0)
    }
}

impl Error for Violation {}
