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

/// After so long whoever waits for outcomes looks by itself whether there are some that it was not woken for.
const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(128);

/// Has whoever waits look again by itself: after twice as long each time that there was nothing, because a batch may wait in the
/// queue for long.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    delay: Option<Delay>,
    /// The last pause; zero at first.
    pause: Duration,
}

impl Nudge {
    /// Something was there: what comes next is looked for soon. A short pause that is under way may go on.
    fn begin_anew(&mut self) {
        if self.pause > FIRST {
            self.delay = None;
        }
        self.pause = Duration::ZERO;
    }

    /// Is ready when it is time to look.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pause = &mut self.pause;
        let delay = self.delay.get_or_insert_with(|| {
            *pause = (2 * *pause).clamp(FIRST, LONGEST);
            Delay::new(*pause)
        });
        std::task::ready!(Pin::new(delay).poll(cx));
        self.delay = None;
        Poll::Ready(())
    }
}

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
        nudge: &mut Nudge,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if self.batch.poll_take(outcomes, cx).is_ready() {
                self.left -= outcomes.len();
                nudge.begin_anew();
                return Poll::Ready(());
            }
            std::task::ready!(nudge.poll(cx));
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn once_something_was_there_the_next_look_comes_soon() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut nudge = Nudge { pause: LONGEST, ..Nudge::default() };
        let _ = nudge.poll(&mut cx);
        assert_eq!(nudge.pause, LONGEST);
        nudge.begin_anew();
        let _ = nudge.poll(&mut cx);
        assert_eq!(nudge.pause, FIRST);
    }
}
