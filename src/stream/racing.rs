//! [`Racing`]: futures with their input positions, reaped as they finish.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;

use super::{budget, numbered::Numbered};
use crate::timer::Delay;

/// Unfinished futures with their input positions; what all combinators are made of.
///
/// 1. A future leaves when it has finished, when it has panicked, or by [`clear`](Self::clear).
/// 2. Reaping one costs one unit of tokio's cooperative budget, besides what its own poll spends.
pub(super) struct Racing<F> {
    unfinished: FuturesUnordered<Numbered<F>>,
    /// How many were ever pushed; the next position.
    pushed: usize,
    /// Whether the limit has passed and the turn since then reaped nothing, for want of budget.
    is_overtime: bool,
}

/// What became of a poll that did not have to wait.
pub(super) enum Reaped<T> {
    /// The future at this position has finished.
    Output(usize, T),
    /// The time is up, and nothing that has finished is left to reap.
    Expired,
    /// No future is left.
    Empty,
}

impl<F> Racing<F> {
    pub(super) fn new() -> Self {
        Self { unfinished: FuturesUnordered::new(), pushed: 0, is_overtime: false }
    }

    /// Adds a future and returns its position.
    pub(super) fn push(&mut self, future: F) -> usize {
        let position = self.pushed;
        self.unfinished.push(Numbered { position, future });
        self.pushed += 1;
        position
    }

    /// How many were ever pushed.
    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    /// How many are unfinished.
    pub(super) fn len(&self) -> usize {
        self.unfinished.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// The positions of those that are unfinished, in no order.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> {
        Pin::new(&self.unfinished).iter_pin_ref().map(|child| child.position)
    }

    /// Drops those that are unfinished.
    pub(super) fn clear(&mut self) {
        self.unfinished.clear();
    }
}

impl<F: Unpin> Racing<F> {
    /// Takes out those that are unfinished, in input order.
    pub(super) fn take(&mut self) -> Vec<(usize, F)> {
        let unfinished = std::mem::take(&mut self.unfinished);
        let mut taken: Vec<_> = unfinished.into_iter().map(|child| (child.position, child.future)).collect();
        taken.sort_unstable_by_key(|&(position, _)| position);
        taken
    }
}

impl<F: Future> Racing<F> {
    /// Reaps one future that has finished.
    pub(super) fn poll_reap(&mut self, cx: &mut Context<'_>) -> Poll<Reaped<F::Output>> {
        ready!(budget::poll_left(cx));
        self.poll_children(cx)
    }

    /// As [`poll_reap`](Self::poll_reap), until `limit`. What has finished by then is still reaped first.
    pub(super) fn poll_reap_before(
        &mut self,
        limit: &mut Delay,
        cx: &mut Context<'_>,
    ) -> Poll<Reaped<F::Output>> {
        // A turn that comes without budget polls no child: it says nothing about what has finished.
        ready!(budget::poll_left(cx));
        if let Poll::Ready(reaped) = self.poll_children(cx) {
            self.is_overtime = false;
            return Poll::Ready(reaped);
        }
        ready!(Pin::new(limit).poll(cx));
        // A child may have spent the budget in front of finished siblings: they have one turn more. Not another one
        // after a turn without result, or a child that spends all of each turn would keep the limit away for ever. Nor
        // one without any budget: that child might never return.
        if budget::is_left() || self.is_overtime {
            return Poll::Ready(Reaped::Expired);
        }
        self.is_overtime = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_children(&mut self, cx: &mut Context<'_>) -> Poll<Reaped<F::Output>> {
        let Some((position, output)) = ready!(Pin::new(&mut self.unfinished).poll_next(cx)) else {
            return Poll::Ready(Reaped::Empty);
        };
        budget::spend(cx);
        Poll::Ready(Reaped::Output(position, output))
    }
}

impl<F, T: IntoFuture<IntoFuture = F>> Extend<T> for Racing<F> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, futures: I) {
        for future in futures {
            self.push(future.into_future());
        }
    }
}
