//! What `src/sync.rs` offers, made of loom's types.

#![allow(unused_imports, reason = "offers what src/sync.rs offers, used or not")]

use std::{
    sync::OnceLock,
    task::Waker,
    time::{Duration, Instant},
};

use loom::sync::Condvar;
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering, fence},
    },
};

/// As in `src/sync.rs`, but few.
pub(crate) const LOOKS: u8 = 1;

/// A clock that stands still.
pub(crate) fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

/// `futures_util::task::AtomicWaker`, by its contract: who registers before a wake is woken by it, and who registers after
/// it sees all that was done before it. (Loom's own does not block, and prints.)
pub(crate) struct AtomicWaker(Mutex<Option<Waker>>);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn register(&self, waker: &Waker) {
        let old = self.0.lock().unwrap().replace(waker.clone());
        drop(old);
    }

    pub(crate) fn wake(&self) {
        let waker = self.0.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// As in `src/sync.rs`. (Loom's own `unpark` would also end a wait for a lock.)
#[derive(Debug, Clone)]
pub(crate) struct Sleeper(Arc<Token>);

#[derive(Debug)]
struct Token {
    woken: Mutex<bool>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    Woken,
    TooLong,
}

impl Sleeper {
    /// Called once per thread.
    pub(crate) fn current() -> Self {
        Self(Arc::new(Token { woken: Mutex::new(false), changed: Condvar::new() }))
    }

    pub(crate) fn wake(&self) {
        *self.0.woken.lock().unwrap() = true;
        self.0.changed.notify_one();
    }

    /// With a limit it is over at once: under some schedule that is any time.
    pub(crate) fn sleep(&self, limit: Option<Duration>) -> Slept {
        let mut woken = self.0.woken.lock().unwrap();
        if limit.is_some() {
            *woken = false;
            return Slept::TooLong;
        }
        while !*woken {
            woken = self.0.changed.wait(woken).unwrap();
        }
        *woken = false;
        Slept::Woken
    }
}
