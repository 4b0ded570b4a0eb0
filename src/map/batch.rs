//! [`Batch`]: items of a map that travel together, as the map sees them.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use crate::TaskError;

/// What became of one item.
pub(crate) type Outcome<R> = Result<R, TaskError>;

/// The outcome of an item, with its place in the batch.
pub(crate) type Finished<R> = (u32, Outcome<R>);

/// Items that were started together. Sees to it that each of them finishes once.
pub(crate) trait Batch<R>: Send + Sync {
    /// How many items there are.
    fn len(&self) -> usize;

    /// Exchanges `outcomes`, which is empty, for what has finished since the last time, in the order in which it has; or arranges for a
    /// wake-up, if that is nothing: not for each outcome, but for many at a time. Who waits looks again by itself after a while.
    fn poll_take(&self, outcomes: &mut Vec<Finished<R>>, cx: &mut Context<'_>) -> Poll<()>;

    /// Somebody has waited in vain for a while: if items run, others may take a part of what has not begun.
    fn hurry(self: Arc<Self>);

    /// Cancels everything that has not finished, and drops what has.
    fn cancel(&self);
}
