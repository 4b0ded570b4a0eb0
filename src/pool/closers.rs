//! [`Closers`]: whoever waits for the end of a pool.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    task::{Context, Waker},
};

use crate::panic::shield;

/// The wakers of whoever waits for the end of a pool, which looks for itself whether that has come.
#[derive(Debug, Default)]
pub(crate) struct Closers {
    /// Taken alone, and never while a waker runs, is cloned or dropped.
    wakers: Mutex<Vec<Waker>>,
}

impl Closers {
    /// Leaves a waker. To be done before the look: then whoever ends later wakes it.
    pub(crate) fn leave(&self, cx: &Context<'_>) {
        // Cloned outside the lock, and dropped after it if it is there already.
        let waker = cx.waker().clone();
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|other| other.will_wake(&waker)) {
            wakers.push(waker);
        }
    }

    /// Wakes all of them, to look again.
    pub(crate) fn wake(&self) {
        let wakers = mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in wakers {
            shield(|| waker.wake());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    #[test]
    fn whoever_has_left_a_waker_is_woken_once_and_looks_again() {
        let closers = Closers::default();
        let mut wait = tokio_test::task::spawn(poll_fn(|cx| {
            closers.leave(cx);
            Poll::<()>::Pending
        }));
        assert!(wait.poll().is_pending() && wait.poll().is_pending());
        assert_eq!(closers.wakers.lock().unwrap().len(), 1);
        closers.wake();
        assert!(wait.is_woken() && closers.wakers.lock().unwrap().is_empty());
    }
}
