//! [`ReturnWhen`]: what a `wait` waits for.

/// What [`wait`](crate::wait) waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnWhen {
    /// Any future has finished.
    FirstCompleted,
    /// Any future has returned an error, or all have finished.
    FirstError,
    /// All futures have finished.
    AllCompleted,
}

impl ReturnWhen {
    /// Whether it is enough that one future has finished, with or without an error.
    pub(super) fn is_met_by<T, E>(self, output: &Result<T, E>) -> bool {
        match self {
            Self::FirstCompleted => true,
            Self::FirstError => output.is_err(),
            Self::AllCompleted => false,
        }
    }
}
