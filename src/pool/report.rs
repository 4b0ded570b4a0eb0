//! [`ShutdownReport`]: what became of a pool's work.

use std::fmt;

use crate::metrics::Outcomes;

/// What became of the tasks of a pool since its shutdown was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that finished with a value.
    pub succeeded: u64,
    /// Tasks whose job panicked.
    pub panicked: u64,
    /// Tasks that were cancelled, by the shutdown or otherwise.
    pub cancelled: u64,
    /// Tasks that reached a time limit.
    pub timed_out: u64,
    /// Tasks that ended in any other way: their worker died, their result could not be decoded, …
    pub failed: u64,
    /// Jobs that were given up when the time limit of the shutdown was reached: queued ones were cancelled, those in a
    /// process killed, those in a thread asked to stop.
    pub abandoned: u64,
}

impl ShutdownReport {
    /// Whether everything had ended by itself before the time limit.
    pub fn is_complete(&self) -> bool {
        self.abandoned == 0
    }

    #[cfg(unix)]
    pub(crate) fn add(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.panicked += other.panicked;
        self.cancelled += other.cancelled;
        self.timed_out += other.timed_out;
        self.failed += other.failed;
        self.abandoned += other.abandoned;
    }

    pub(crate) fn between(before: Outcomes, after: Outcomes) -> Self {
        Self {
            succeeded: after.succeeded - before.succeeded,
            panicked: after.panicked - before.panicked,
            cancelled: after.cancelled - before.cancelled,
            timed_out: after.timed_out - before.timed_out,
            failed: after.failed - before.failed,
            abandoned: 0,
        }
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, panicked, cancelled, timed_out, failed, abandoned } = self;
        write!(
            f,
            "{succeeded} succeeded, {panicked} panicked, {cancelled} cancelled, {timed_out} timed out, {failed} failed, \
             {abandoned} abandoned"
        )
    }
}
