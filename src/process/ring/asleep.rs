//! [`Asleep`]: the flag with which one side says that it must be rung.

use crate::sync::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst, fence};

/// Set while its owner waits for the doorbell and has not been rung. On a cache line of its own: the other
/// side reads it after every word it publishes, and that should cost nothing while nobody sleeps.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Asleep(AtomicU32);

impl Asleep {
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Says that the owner is about to wait. It must read the ring once more before it does.
    pub(super) fn set(&self) {
        self.0.store(1, Relaxed);
        // ORDERING: pairs with the fence in `take_ring`. Whichever is second sees the other side's store: the
        // flag, or the word.
        fence(SeqCst);
    }

    /// Says that the owner is awake.
    pub(super) fn clear(&self) {
        // ORDERING: Relaxed. A publisher that misses it rings once too often.
        self.0.store(0, Relaxed);
    }

    /// Returns whether the owner has said that it waits, and was not rung since. Asks only: whoever publishes must ring.
    pub(super) fn is_set(&self) -> bool {
        // ORDERING: Relaxed. A hint, on which no wake depends.
        self.0.load(Relaxed) != 0
    }

    /// Returns whether the owner must be rung for what was just published, and clears the flag: the caller
    /// must ring.
    pub(super) fn take_ring(&self) -> bool {
        // ORDERING: pairs with the fence in `set`. The word was stored before it.
        fence(SeqCst);
        // ORDERING: Relaxed, ordered by the fence.
        let must_ring = self.0.load(Relaxed) != 0;
        if must_ring {
            // ORDERING: Relaxed. The load may be stale and this may wipe out a younger `set`: that owner,
            // too, is woken by the ring that follows, and the ring orders this store before its next `set`. A
            // swap that rings only if it found the flag set would be right as well, but dearer, and only by
            // the fine print of modification order.
            self.0.store(0, Relaxed);
        }
        must_ring
    }
}
