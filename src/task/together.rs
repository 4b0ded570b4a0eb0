//! [`Together`]: one wake for many outcomes. Who finishes several tasks in a row wakes their awaiters when all are finished.
//!
//! Woken at once, an awaiter runs on another processor, or in place of who finishes, takes one outcome, finds the next one missing, and
//! sleeps again: once for each outcome, at worst.

use std::{cell::RefCell, task::Waker};

use crate::panic::shield;

thread_local! {
    /// The wakers of what this thread has finished, while it finishes several tasks. Nothing foreign runs while it is borrowed.
    static HELD: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Wakes who awaits a task that has finished: now, or when the thread's [`Together`] ends.
pub(super) fn wake(waker: Waker) {
    if let Some(waker) = hold(waker) {
        shield(|| waker.wake());
    }
}

/// Keeps the waker until the thread's [`Together`] ends, or gives it back if there is none.
fn hold(waker: Waker) -> Option<Waker> {
    let mut waker = Some(waker);
    // Absent while the thread's own values are being dropped.
    let _ = HELD.try_with(|held| held.borrow_mut().as_mut().map(|wakers| wakers.extend(waker.take())));
    waker
}

/// While it lives, who awaits what this thread finishes is not woken; at its end all are.
///
/// Not to be kept for longer than awaiters may wait: before anything that takes its time, [`wake_now`].
#[must_use = "it ends when it is dropped"]
pub(crate) struct Together(());

impl Together {
    pub(crate) fn begin() -> Self {
        HELD.with(|held| _ = held.borrow_mut().get_or_insert_default());
        Self(())
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        wake_all(HELD.with(|held| held.borrow_mut().take()));
    }
}

/// Wakes all that the thread's [`Together`] has held up so far.
pub(crate) fn wake_now() {
    wake_all(HELD.with(|held| held.borrow_mut().as_mut().map(std::mem::take)));
}

fn wake_all(wakers: Option<Vec<Waker>>) {
    wakers.into_iter().flatten().for_each(|waker| shield(|| waker.wake()));
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn awaited(by: &Arc<Woken>) -> Waker {
        by.clone().into()
    }

    #[test]
    fn who_awaits_one_of_several_is_woken_when_all_are_finished() {
        let (first, second) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let woken = || (first.0.load(Relaxed), second.0.load(Relaxed));
        let together = Together::begin();
        wake(awaited(&first));
        wake(awaited(&second));
        assert_eq!(woken(), (0, 0));
        drop(together);
        assert_eq!(woken(), (1, 1));
        wake(awaited(&first));
        assert_eq!(woken(), (2, 1), "alone it is woken at once");
    }

    #[test]
    fn before_what_takes_its_time_those_that_wait_are_woken() {
        let woken = Arc::<Woken>::default();
        let together = Together::begin();
        wake(awaited(&woken));
        wake_now();
        assert_eq!(woken.0.load(Relaxed), 1);
        wake(awaited(&woken));
        assert_eq!(woken.0.load(Relaxed), 1, "held up again");
        drop(together);
        assert_eq!(woken.0.load(Relaxed), 2);
    }

    #[test]
    fn a_waker_that_panics_or_comes_back_for_more_hurts_nobody() {
        struct Hostile;
        impl Wake for Hostile {
            fn wake(self: Arc<Self>) {
                drop(Together::begin());
                wake_now();
                panic!("a waker's own");
            }
        }
        let woken = Arc::<Woken>::default();
        let together = Together::begin();
        wake(Arc::new(Hostile).into());
        wake(awaited(&woken));
        drop(together);
        assert_eq!(woken.0.load(Relaxed), 1);
    }
}
