//! Waiting awake for a moment, where going to sleep and being woken would take longer: [`Pause`] for those who wait for work,
//! [`Soon`] for those who wait for its outcome.
//!
//! To wake an idle processor takes 15 to 50 µs (measured), far more than to hand over a small job.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How long who has run out of work stays awake: as long as it takes to be woken, so that it costs at most as much again as it
/// can save.
const LINGER: Duration = Duration::from_micros(50);

/// The time in which a thread has nothing to do. While work comes in quick succession it stays awake meanwhile, yielding its
/// processor; if the last pause was a long one it does not.
#[derive(Debug)]
pub(crate) struct Pause {
    begun: Option<Instant>,
    was_short: bool,
}

impl Default for Pause {
    fn default() -> Self {
        Self { begun: None, was_short: true }
    }
}

impl Pause {
    /// There is nothing to do.
    pub(crate) fn begin(&mut self) -> Instant {
        *self.begun.get_or_insert_with(Instant::now)
    }

    /// There is something to do.
    pub(crate) fn end(&mut self) {
        self.was_short = self.begun.take().is_none_or(|begun| begun.elapsed() < LINGER);
    }

    /// Whether the last pause was so short that lingering would have caught its end.
    pub(crate) fn was_short(&self) -> bool {
        self.was_short
    }

    /// Lets other threads run until something is `found`, for as long as it is worth it. Says whether it was found.
    pub(crate) fn linger(&mut self, found: impl Fn() -> bool) -> bool {
        let begun = self.begin();
        while self.was_short && begun.elapsed() < LINGER {
            if found() {
                return true;
            }
            thread::yield_now();
        }
        false
    }
}

/// How many outcomes are not waited for awake after one that was, and did not come: enough to make it cheap to try again.
const DOUBTS: u32 = 64;

/// Whether a pool's jobs end so soon that their outcome is better waited for awake.
///
/// It may be that they do and yet cannot: where the system has put the worker on the very processor that waits. So who has waited
/// in vain says so, and for a while nobody tries.
///
/// ORDERING: Relaxed. A hint.
#[derive(Debug, Default)]
pub(crate) struct Soon {
    likely: AtomicBool,
    doubts: AtomicU32,
}

impl Soon {
    /// A job has taken so long, and whoever ran it is awake.
    pub(crate) fn took(&self, time: Duration) {
        self.set(time < Duration::from_micros(1) && is_parallel());
    }

    /// Whoever runs jobs goes to sleep.
    pub(crate) fn not_now(&self) {
        self.set(false);
    }

    /// Whether to wait awake for an outcome that is to come.
    pub(crate) fn is_worth_waiting(&self) -> bool {
        let doubts = self.doubts.load(Relaxed);
        if doubts > 0 {
            self.doubts.store(doubts - 1, Relaxed);
        }
        doubts == 0 && self.likely.load(Relaxed)
    }

    /// An outcome was waited for awake, and did not come.
    pub(crate) fn waited_in_vain(&self) {
        self.doubts.store(DOUBTS, Relaxed);
    }

    fn set(&self, likely: bool) {
        // Most often nothing changes, and then nobody else's cache is disturbed.
        if self.likely.load(Relaxed) != likely {
            self.likely.store(likely, Relaxed);
        }
    }
}

/// Whether somebody else can run while this thread spins.
fn is_parallel() -> bool {
    processors() > 1
}

/// How many processors this program may use, as far as that was known when it was first asked for.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Spins until `found`, or until `limit` is over. Says whether it was found.
pub(crate) fn spin(limit: Duration, found: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !found() {
        if begun.elapsed() >= limit {
            return false;
        }
        (0..8).for_each(|_| std::hint::spin_loop());
    }
    true
}
