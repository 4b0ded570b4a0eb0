//! [`Remainder`]: what has not been taken of a batch.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{Batch, Finished};
use crate::timer::Delay;

/// After this time whoever waits for outcomes looks by itself whether there are some that it was not woken for.
pub(super) const NUDGE: Duration = Duration::from_millis(1);

/// The part of a batch whose outcomes have not been taken. Dropping it cancels that part.
pub(super) struct Remainder<R> {
    batch: Arc<dyn Batch<R>>,
    /// How many outcomes are to come.
    left: usize,
}

impl<R> Remainder<R> {
    pub(super) fn new(batch: Arc<dyn Batch<R>>) -> Self {
        Self { left: batch.len(), batch }
    }

    /// How many items the batch had at first.
    pub(super) fn all(&self) -> usize {
        self.batch.len()
    }

    /// How many outcomes are to come.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Exchanges `outcomes`, which is empty, for some that have finished.
    ///
    /// Arms `nudge` where it has to wait; one serves for any number of batches that are waited for one after the other.
    pub(super) fn poll_take(
        &mut self,
        outcomes: &mut Vec<Finished<R>>,
        nudge: &mut Option<Delay>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if self.batch.poll_take(outcomes, cx).is_ready() {
                self.left -= outcomes.len();
                return Poll::Ready(());
            }
            if !self.batch.has_begun() {
                return Poll::Pending;
            }
            if Pin::new(nudge.get_or_insert_with(|| Delay::new(NUDGE))).poll(cx).is_pending() {
                return Poll::Pending;
            }
            *nudge = None;
            self.batch.clone().hurry();
        }
    }
}

impl<R> Drop for Remainder<R> {
    fn drop(&mut self) {
        if self.left > 0 {
            self.batch.cancel();
        }
    }
}
