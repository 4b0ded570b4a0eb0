//! [`Waited`]: what a `wait` returns.

/// The futures of a [`wait`](crate::wait), divided into those that have finished and the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited<F: Future> {
    /// Input position and output of each future that has finished, in the order in which they finished.
    pub done: Vec<(usize, F::Output)>,
    /// Input position and future of those that have not finished, in input order.
    ///
    /// Dropping them cancels tasks; they can be awaited, or waited for again.
    pub pending: Vec<(usize, F)>,
}
