//! The primitives that the checked protocols are written against.
//!
//! The models in `tests/loom/` compile the same protocol files against a module of the same name that
//! re-exports loom's types, so a file that is to be model-checked imports from here and from nowhere else.

pub(crate) use futures_util::task::AtomicWaker;
pub(crate) use std::alloc::{alloc, dealloc};
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard};

use std::{
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// `std::cell::UnsafeCell` with the closure-based access of loom's.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer for reading.
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer for writing.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// The clock. Stands still in the models.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A thread that sleeps until it is woken: std's `park` and `unpark`.
///
/// A wake-up that comes before the sleep is kept, and ends it at once.
#[derive(Debug, Clone)]
pub(crate) struct Sleeper(Thread);

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    /// By a wake-up, or for no reason at all.
    Woken,
    /// Its time limit is over.
    TooLong,
}

impl Sleeper {
    /// This thread.
    pub(crate) fn current() -> Self {
        Self(thread::current())
    }

    /// Ends the sleep of this thread, or its next one.
    pub(crate) fn wake(&self) {
        self.0.unpark();
    }

    /// Sleeps. Only for the thread that made this sleeper.
    pub(crate) fn sleep(&self, limit: Option<Duration>) -> Slept {
        debug_assert_eq!(self.0.id(), thread::current().id());
        let Some(limit) = limit else {
            thread::park();
            return Slept::Woken;
        };
        let start = Instant::now();
        thread::park_timeout(limit);
        if start.elapsed() < limit { Slept::Woken } else { Slept::TooLong }
    }
}
