//! [`Batch`]: items of a map that travel together, as the map sees them.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
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
    /// wake-up, if that is nothing.
    fn poll_take(&self, outcomes: &mut Vec<Finished<R>>, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether items run, so that a wake-up may come late: see [`Waiter`].
    fn has_begun(&self) -> bool;

    /// Somebody has waited for long while items have begun: others may take a part of what has not.
    fn hurry(self: Arc<Self>);

    /// Cancels everything that has not finished, and drops what has.
    fn cancel(&self);
}

/// Who waits for outcomes of a batch.
#[derive(Debug, Default)]
pub(crate) enum Waiter {
    #[default]
    Nobody,
    /// Is to be woken for the next outcome.
    Eager(Waker),
    /// Looks again by itself after a while, and is better woken once for many outcomes.
    Patient(Waker),
}

impl Waiter {
    /// Who waits from now on. Returns who waited before, to be dropped outside of all locks.
    pub(crate) fn wait(&mut self, waker: Waker, has_begun: bool) -> Self {
        let waiter = if has_begun { Self::Patient(waker) } else { Self::Eager(waker) };
        std::mem::replace(self, waiter)
    }

    /// Who is to be woken now that there is an outcome; `urgent` if there will be no better moment.
    pub(crate) fn take(&mut self, urgent: bool) -> Option<Waker> {
        match (&self, urgent) {
            (Self::Nobody, _) | (Self::Patient(_), false) => None,
            _ => match std::mem::take(self) {
                Self::Nobody => None,
                Self::Eager(waker) | Self::Patient(waker) => Some(waker),
            },
        }
    }
}
