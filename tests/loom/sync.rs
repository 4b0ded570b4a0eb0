//! What `src/sync.rs` offers, made of loom's types, plus [`mortal`]: a thread that dies between two steps.

#![allow(unused_imports, reason = "offers what src/sync.rs offers, used or not")]

use std::{
    cell::Cell,
    ops::Deref,
    panic,
    sync::OnceLock,
    task::Waker,
    time::{Duration, Instant},
};

use loom::sync::{Condvar, atomic};

pub(crate) use loom::{
    alloc::{alloc, dealloc},
    cell::UnsafeCell,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
};

loom::thread_local! {
    /// Steps that this thread has left to live.
    static LIFE: Cell<usize> = Cell::new(usize::MAX);
}

loom::lazy_static! {
    /// Touched by every step of every thread.
    ///
    /// Loom runs two steps in the other order, too, only where they touch the same object, and looks for that
    /// at the *last* access to an object alone: the load before a thread's own swap hides another thread's
    /// load from it, and whole models ran in a single schedule (loom 0.7.3, `rt/atomic.rs`,
    /// `last_dependent_access`). A condition variable on which nobody waits orders no memory and makes any
    /// two steps meet.
    static ref EVERY_STEP: Condvar = Condvar::new();
}

/// How a thread unwinds when its life is over.
struct Death;

/// Runs `body` for `steps` atomic operations and fences, then drops it in the middle, as the death of a
/// process would. Returns whether it lived to its end.
pub(crate) fn mortal(steps: usize, body: impl FnOnce()) -> bool {
    LIFE.with(|life| life.set(steps));
    let end = panic::catch_unwind(panic::AssertUnwindSafe(body));
    LIFE.with(|life| life.set(usize::MAX));
    match end {
        Ok(()) => true,
        Err(payload) if payload.is::<Death>() => false,
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// Counts a step, after which any other thread may be next.
fn step() {
    EVERY_STEP.notify_all();
    let left = LIFE.with(Cell::get);
    if left == 0 {
        panic::resume_unwind(Box::new(Death));
    }
    LIFE.with(|life| life.set(left - 1));
}

pub(crate) fn fence(order: Ordering) {
    step();
    atomic::fence(order);
}

/// Loom's atomic, whose usual operations count as steps. The rest is reached by `Deref` and counts as none.
macro_rules! counted {
    ($name:ident, $int:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) fn new(value: $int) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $int {
                step();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $int, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            pub(crate) fn swap(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.swap(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                from: $int,
                to: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                step();
                self.0.compare_exchange(from, to, success, failure)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                from: $int,
                to: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                self.compare_exchange(from, to, success, failure)
            }

            pub(crate) fn fetch_add(&self, more: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_add(more, order)
            }

            pub(crate) fn fetch_sub(&self, less: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_sub(less, order)
            }

            pub(crate) fn fetch_or(&self, bits: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_or(bits, order)
            }

            pub(crate) fn fetch_and(&self, bits: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_and(bits, order)
            }

            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                next: impl FnMut($int) -> Option<$int>,
            ) -> Result<$int, $int> {
                step();
                self.0.fetch_update(set, fetch, next)
            }
        }

        impl Deref for $name {
            type Target = atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

/// As those above, for pointers.
#[derive(Debug)]
pub(crate) struct AtomicPtr<T>(atomic::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    pub(crate) fn new(value: *mut T) -> Self {
        Self(atomic::AtomicPtr::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        step();
        self.0.load(order)
    }

    pub(crate) fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        step();
        self.0.swap(value, order)
    }

    pub(crate) fn compare_exchange_weak(
        &self,
        from: *mut T,
        to: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        step();
        self.0.compare_exchange(from, to, success, failure)
    }
}

counted!(AtomicU32, u32);
counted!(AtomicU64, u64);

/// A clock that stands still.
pub(crate) fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

/// `futures_util::task::AtomicWaker`, by its contract: who registers before a wake is woken by it, and who registers after
/// it sees all that was done before it. (Loom's own does not block, and prints.)
pub(crate) struct AtomicWaker(Mutex<Option<Waker>>);

impl AtomicWaker {
    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.lock().unwrap().take()
    }

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
