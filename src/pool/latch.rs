//! [`Latch`]: something that happens once, and that any number of futures wait for.

use std::{
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::panic::shield;

/// Closed at first; open for good after [`open`](Self::open).
#[derive(Debug, Default)]
pub(crate) struct Latch {
    /// Guards both; taken alone, and never while a waker runs or is dropped.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    wakers: Vec<Waker>,
}

impl Latch {
    /// Opens it and wakes whoever waits.
    pub(crate) fn open(&self) {
        let wakers = {
            let mut state = self.lock();
            state.open = true;
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            shield(|| waker.wake());
        }
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        // Cloned before the lock is taken: a waker is foreign code.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.open {
            drop(state);
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|known| known.will_wake(&waker)) {
            state.wakers.push(waker);
        }
        Poll::Pending
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_woken_and_whoever_comes_later_does_not_wait() {
        let latch = Latch::default();
        let mut waits = [0, 1].map(|_| tokio_test::task::spawn(std::future::poll_fn(|cx| latch.poll(cx))));
        assert!(waits.iter_mut().all(|wait| wait.poll().is_pending()));
        latch.open();
        assert!(waits.iter_mut().all(|wait| wait.is_woken() && wait.poll().is_ready()));
        assert!(tokio_test::task::spawn(std::future::poll_fn(|cx| latch.poll(cx))).poll().is_ready());
    }
}
