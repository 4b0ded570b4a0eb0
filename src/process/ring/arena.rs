//! [`Arena`]: the shared memory of one worker's ring.

use std::ops::Range;

use super::{
    asleep::Asleep,
    progress::Progress,
    size::{FIGURES, SLOTS},
    slot::Slot,
    violation::Violation,
};
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// The layout of the shared memory. All zero is the empty ring.
///
/// Every field is an atomic, so a reference to an arena may be held while another process, even a hostile
/// one, writes to it. The memory must not go away or shrink meanwhile: whoever maps it seals it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Arena {
    /// One more than the position whose job should stop; 0 for none. Written by the parent.
    stop: AtomicU64,
    /// Set by the parent, cleared by either.
    pub(super) parent_asleep: Asleep,
    /// Set by the worker, cleared by either.
    pub(super) worker_asleep: Asleep,
    slots: [Slot; SLOTS],
    progress: Progress,
    /// What the worker has measured of its jobs, added up. Written by the worker alone.
    ///
    /// ORDERING: Relaxed. Each number stands for itself.
    figures: [AtomicU64; FIGURES],
}

impl Arena {
    /// Returns an empty ring outside shared memory.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self {
            stop: AtomicU64::new(0),
            parent_asleep: Asleep::new(),
            worker_asleep: Asleep::new(),
            slots: std::array::from_fn(|_| Slot::new()),
            progress: Progress::new(),
            figures: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Returns the slot that `position` uses.
    pub(super) fn slot(&self, position: u64) -> &Slot {
        &self.slots[(position % SLOTS as u64) as usize]
    }

    /// Says that the job at `position`, which runs, is several items. For the worker.
    pub(crate) fn begin_items(&self, position: u64) {
        self.progress.begin(position);
    }

    /// Publishes the result of an item of the running job, the `items`-th: `bytes` are all results so far, and the new one begins
    /// at `from`. Says whether there was room. For the worker.
    pub(crate) fn add_item(&self, items: u32, bytes: &[u8], from: usize) -> bool {
        self.progress.add(items, bytes, from)
    }

    /// As [`add_item`](Self::add_item): `word` holds the new one's bytes, eight at most, which lie at `range` among all.
    pub(crate) fn add_short_item(&self, items: u32, word: u64, range: Range<usize>) -> bool {
        self.progress.add_short(items, word, range)
    }

    /// Copies the results of the items of the job at `position` that has run last: their number, and their bytes, both the worker's
    /// word.
    pub(super) fn items(&self, position: u64) -> Result<(u32, Vec<u8>), Violation> {
        self.progress.read(position)
    }

    /// Adds to what the worker has measured. For the worker.
    pub(crate) fn add_figures(&self, more: [u64; FIGURES]) {
        for (figure, more) in self.figures.iter().zip(more) {
            figure.store(figure.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }

    /// What the worker has measured so far, by its own word.
    pub(super) fn figures(&self) -> [u64; FIGURES] {
        std::array::from_fn(|at| self.figures[at].load(Relaxed))
    }

    /// Returns whether the job at `position` was asked to stop. For the worker, from any thread.
    pub(crate) fn stop_requested(&self, position: u64) -> bool {
        // ORDERING: Relaxed, as in `request_stop`: a hint that carries no data.
        self.stop.load(Relaxed) == position + 1
    }

    /// Asks the job at `position` to stop. One flag is enough, since a worker runs one job at a time.
    pub(super) fn request_stop(&self, position: u64) {
        // ORDERING: Relaxed. A hint that carries no data; the job may finish first anyway.
        self.stop.store(position + 1, Relaxed);
    }
}
