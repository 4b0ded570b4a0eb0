//! [`Progress`]: how much of a payload has been written, for a reader that copies it meanwhile.
//!
//! One word in shared memory: the number of pieces that are there, and whether the reader sleeps.
//!
//! ```text
//! writer: begin: 0 ──(the payload is announced)──▶ advance: 1, 2, … all      each step takes the reader's mark off, and wakes it
//! reader: pieces: enough ──▶ copies      too few ──▶ fall_asleep: sets the mark, waits until the word is another one
//! ```
//!
//! 1. Only the writer changes the number, and only upwards after `begin`. It keeps its own count: of the word it reads nothing but
//!    the mark, so that a hostile reader gets itself woken for nothing, at worst.
//! 2. The payload is announced after `begin`, by a store with Release; the reader looks here only after it has seen that.
//! 3. No wake is lost: number and mark are one word. If the mark is set before the writer's step, that step sees it; if after, the
//!    mark is not set, for the word is another one.

use crate::sync::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// How far the writer of a payload has come.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Progress(AtomicU32);

/// The reader waits for more.
const ASLEEP: u32 = 1 << 31;

impl Progress {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Nothing is there yet of the next payload. For the writer, while nobody reads.
    pub(crate) fn begin(&self) {
        // ORDERING: Relaxed. The announcement of the payload makes it visible.
        self.0.store(0, Relaxed);
    }

    /// So many pieces are there now. Says whether the reader must be [woken](Self::word).
    #[must_use = "the reader sleeps on unless it is woken"]
    pub(crate) fn advance(&self, pieces: u32) -> bool {
        // ORDERING: Release pairs with the Acquire in `pieces`: who sees the number sees the bytes.
        self.0.swap(pieces & !ASLEEP, Release) & ASLEEP != 0
    }

    /// The number of pieces that are there.
    pub(crate) fn pieces(&self) -> u32 {
        // ORDERING: Acquire pairs with the Release in `advance`.
        self.0.load(Acquire) & !ASLEEP
    }

    /// Says that the reader is about to wait, having seen so many pieces. Returns for which value of the word it is to wait to
    /// change; `None` if it has changed already.
    pub(crate) fn fall_asleep(&self, seen: u32) -> Option<u32> {
        let marked = seen | ASLEEP;
        // ORDERING: Relaxed. Nothing is read by what it says; the wait ends in another look at `pieces`.
        match self.0.compare_exchange(seen, marked, Relaxed, Relaxed) {
            Ok(_) => Some(marked),
            // From a wait that ended for no reason.
            Err(found) => (found == marked).then_some(marked),
        }
    }

    /// The word itself, to wait on.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }
}
