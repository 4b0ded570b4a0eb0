//! [`TaskErrorKind`]: the ways in which a task ends without a value.

use std::fmt;

/// How a task ended without a value.
///
/// Obtained from [`TaskError::kind`](crate::TaskError::kind). Printed, it is a word or two: `timed out`, `worker died`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The task was cancelled: by its caller, by a drop, or by a shutdown.
    Cancelled,
    /// A time limit was reached: `queue_timeout`, `run_timeout` or the `timeout` of a combinator.
    TimedOut,
    /// The job panicked.
    Panicked,
    /// The worker process that ran the job died: exit, signal, abort or stack overflow.
    WorkerDied,
    /// The pool's bounded queue was full.
    Overloaded,
    /// The pool had been shut down.
    Closed,
    /// The argument or the result could not be encoded.
    Encode,
    /// The argument or the result could not be decoded.
    Decode,
    /// The argument or the result was larger than `max_payload`.
    TooLarge,
    /// The pool could not run the job at all: its workers do not start, or the platform has no process pool.
    Unavailable,
}

impl TaskErrorKind {
    /// Its name for machines: the same in spans, in traces and on the dashboard.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
            Self::WorkerDied => "worker_died",
            Self::Overloaded => "overloaded",
            Self::Closed => "closed",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
        }
    }

    /// It in a word or two, for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed out",
            Self::Panicked => "panicked",
            Self::WorkerDied => "worker died",
            Self::Overloaded => "overloaded",
            Self::Closed => "closed",
            Self::Encode => "not encodable",
            Self::Decode => "not decodable",
            Self::TooLarge => "too large",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}
