//! [`Racing`]: futures with their input positions, reaped as they finish.

use std::{
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{budget, children::Children};
use crate::{progress::Shown, timer::Delay};

/// Unfinished futures with their input positions; what all combinators are made of.
///
/// 1. A future leaves when it has finished, when it has panicked, or by [`clear`](Self::clear).
/// 2. A poll of a future costs one unit of tokio's cooperative budget, besides what it spends itself, whether it finishes or not:
///    a hundred thousand that are polled for the first time take turns with other tasks, and may finish meanwhile.
/// 3. Only what was woken is polled, in the order in which it was. Without budget nothing is polled: once a sibling has spent it,
///    tokio's own futures only pretend to be pending, and all that have finished would be visited in vain, each turn anew.
/// 4. A turn ends after as many polls as there are futures: those that wake themselves hold up nobody.
pub(super) struct Racing<F> {
    children: Children<F>,
    /// Those that have not been polled yet, in the order of their positions; none of the ranges is empty.
    fresh: VecDeque<Range<u32>>,
    /// Those that were woken, the first to be polled last.
    woken: Vec<u32>,
    /// How many were ever pushed; the next position.
    pushed: usize,
    /// How many polls there have been since one was reaped.
    vain: usize,
    /// Whether the limit has passed, and `vain` counts from then on.
    is_overtime: bool,
}

/// A turn polls at least so many: some may turn out to be gone, or to wake themselves once.
const LEAST_POLLS: usize = 4;
/// How many polls ahead memory is prefetched; half as many for what is found only there.
const AHEAD: usize = 8;

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
        Self {
            children: Children::new(),
            fresh: VecDeque::new(),
            woken: Vec::new(),
            pushed: 0,
            vain: 0,
            is_overtime: false,
        }
    }

    /// Adds a future and returns its position.
    pub(super) fn push(&mut self, future: F) -> usize {
        let position = self.pushed;
        let number = self.children.insert(position, future);
        match self.fresh.back_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => self.fresh.push_back(number..number + 1),
        }
        self.pushed += 1;
        position
    }

    /// How many were ever pushed.
    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    /// How many are unfinished.
    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.len() == 0
    }

    /// The positions of those that are unfinished, in no order.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> {
        self.children.positions()
    }

    /// Drops those that are unfinished.
    pub(super) fn clear(&mut self) {
        self.fresh.clear();
        self.children.clear();
    }
}

impl<F: Unpin> Racing<F> {
    /// Takes out those that are unfinished, in input order.
    pub(super) fn take(&mut self) -> Vec<(usize, F)> {
        self.fresh.clear();
        let mut taken = self.children.take();
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
    fn poll_reap_before(&mut self, limit: &mut Delay, cx: &mut Context<'_>) -> Poll<Reaped<F::Output>> {
        // A turn that comes without budget polls no child: it says nothing about what has finished.
        ready!(budget::poll_left(cx));
        if let Poll::Ready(reaped) = self.poll_children(cx) {
            self.is_overtime = false;
            return Poll::Ready(reaped);
        }
        ready!(Pin::new(limit).poll(cx));
        // What had finished by then may come after others that spend the budget: each has one poll more, but not two, or one that
        // always wakes itself would keep the limit away for ever. Nor is it polled without any budget: it might never return.
        if budget::is_left() || (self.is_overtime && self.has_gone_round()) {
            return Poll::Ready(Reaped::Expired);
        }
        if !self.is_overtime {
            self.is_overtime = true;
            self.vain = 0;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reaps one, before the limit if there is one, and shows on a bar what comes of it.
    pub(super) fn poll_shown(
        &mut self,
        limit: Option<&mut Delay>,
        shown: &mut Shown<F::Output>,
        cx: &mut Context<'_>,
    ) -> Poll<Reaped<F::Output>> {
        let reaped = match limit {
            Some(limit) => self.poll_reap_before(limit, cx),
            None => self.poll_reap(cx),
        };
        let total = Some(self.pushed);
        match &reaped {
            Poll::Pending if shown.has_news() => shown.show(total),
            Poll::Ready(Reaped::Output(_, output)) if shown.came(output) => shown.look(total),
            _ => {}
        }
        reaped
    }

    /// Polls what is fresh or was woken until one has finished. The caller has seen that there is budget.
    fn poll_children(&mut self, cx: &mut Context<'_>) -> Poll<Reaped<F::Output>> {
        if self.is_empty() {
            return Poll::Ready(Reaped::Empty);
        }
        for _ in 0..self.len().max(LEAST_POLLS) {
            let Some(number) = self.next() else {
                if self.children.ready().sleep(cx.waker()) {
                    return Poll::Pending;
                }
                continue;
            };
            let polled = self.children.poll(number);
            budget::spend(cx);
            if let Some(Poll::Ready((position, output))) = polled {
                self.vain = 0;
                return Poll::Ready(Reaped::Output(position, output));
            }
            self.vain += 1;
            ready!(budget::poll_left(cx));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether each has been polled since one was reaped, so that what had finished by then is reaped.
    pub(super) fn has_gone_round(&self) -> bool {
        self.vain >= self.len()
    }

    /// The input position of one that is to be polled soon, if some have been woken.
    #[inline]
    pub(super) fn soon(&self) -> Option<usize> {
        let at = self.woken.len().checked_sub(AHEAD / 2)?;
        Some(self.children.position(self.woken[at]))
    }

    /// Takes one that is to be polled.
    fn next(&mut self) -> Option<u32> {
        self.next_fresh().or_else(|| self.next_woken())
    }

    fn next_fresh(&mut self) -> Option<u32> {
        let numbers = self.fresh.front_mut()?;
        let number = numbers.next();
        if Range::is_empty(numbers) {
            self.fresh.pop_front();
        }
        number
    }

    fn next_woken(&mut self) -> Option<u32> {
        if self.woken.is_empty() {
            // At once for as many as there can be: to grow bit by bit has the heap tidy up each time.
            self.woken.reserve(self.children.len());
            self.children.ready().take_all(&mut self.woken, |number| self.children.link(number));
        }
        let next = self.woken.pop()?;
        if let Some(ahead) = self.woken.len().checked_sub(AHEAD) {
            self.children.prefetch(self.woken[ahead]);
        }
        if let Some(ahead) = self.woken.len().checked_sub(AHEAD / 2) {
            self.children.prefetch_pointee(self.woken[ahead]);
        }
        self.children.link(next).unmark();
        Some(next)
    }
}

impl<F, T: IntoFuture<IntoFuture = F>> Extend<T> for Racing<F> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, futures: I) {
        for future in futures {
            self.push(future.into_future());
        }
    }
}
