//! [`Progress`]: what a worker has published of the job that it runs, where that is several items.
//!
//! One place for each worker, because a worker runs one job at a time. The items' results lie one behind the other; which bytes
//! those are is not the ring's business.
//!
//! 1. The worker alone writes. It adds the bytes of a result and then counts it, before it begins the next item.
//! 2. What it says is of the job at `position`. A reader asks for the position before and after it has copied, so that it
//!    never takes the results of one job for those of another.
//! 3. It stays after the death of the worker, and is then what that has published.

use std::ops::Range;

use super::{size::INLINE, violation::Violation};
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

/// See the module's documentation. All zero: nothing of any job.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Progress {
    /// One more than the position of the job.
    position: AtomicU64,
    /// The number of results in the upper half, of their bytes in the lower.
    done: AtomicU64,
    bytes: [AtomicU64; INLINE / 8],
}

impl Progress {
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self {
            position: AtomicU64::new(0),
            done: AtomicU64::new(0),
            bytes: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The job at `position` begins: nothing of it is done.
    pub(super) fn begin(&self, position: u64) {
        self.done.store(0, Relaxed);
        // ORDERING: Release: who sees the position sees the zero.
        self.position.store(position + 1, Release);
        // ORDERING: pairs with the fence in `read`: who sees a byte that is written from now on sees the position afterwards.
        fence(Release);
    }

    /// One more result is there, the `items`-th: `bytes` are all results so far, and the new one begins at `from`. Says whether
    /// there was room.
    pub(super) fn add(&self, items: u32, bytes: &[u8], from: usize) -> bool {
        if bytes.len() > INLINE {
            return false;
        }
        let first = from / 8;
        let (words, rest) = bytes[first * 8..].as_chunks::<8>();
        for (cell, word) in self.bytes[first..].iter().zip(words) {
            cell.store(u64::from_ne_bytes(*word), Relaxed);
        }
        if !rest.is_empty() {
            // Bytewise: to call `memcpy` takes longer.
            let last = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.bytes[first + words.len()].store(last.to_le(), Relaxed);
        }
        // ORDERING: Release pairs with the Acquire in `read`: who sees the count sees the bytes.
        self.done.store(u64::from(items) << 32 | bytes.len() as u64, Release);
        true
    }

    /// As [`add`](Self::add): `word` holds the new result's bytes, eight at most, the first one lowest, which lie at `range` among all.
    #[inline]
    pub(super) fn add_short(&self, items: u32, word: u64, range: Range<usize>) -> bool {
        if range.end > INLINE {
            return false;
        }
        let (at, shift) = (range.start / 8, 8 * (range.start % 8));
        let cell = &self.bytes[at];
        let before = u64::from_le(cell.load(Relaxed)) & ((1 << shift) - 1);
        cell.store((before | word << shift).to_le(), Relaxed);
        if shift + 8 * range.len() > 64 {
            self.bytes[at + 1].store((word >> (64 - shift)).to_le(), Relaxed);
        }
        // ORDERING: as in `add`.
        self.done.store(u64::from(items) << 32 | range.end as u64, Release);
        true
    }

    /// Copies what is there of the job at `position`: the number of results, and their bytes.
    pub(super) fn read(&self, position: u64) -> Result<(u32, Vec<u8>), Violation> {
        // ORDERING: Acquire pairs with the Release in `begin`.
        if self.position.load(Acquire) != position + 1 {
            return Ok((0, Vec::new()));
        }
        // ORDERING: Acquire pairs with the Release in `add`.
        let done = self.done.load(Acquire);
        let (items, len) = ((done >> 32) as u32, done as u32 as usize);
        if len > INLINE {
            return Err(Violation::new("the results of items are longer than their place"));
        }
        let words = self.bytes.iter().take(len.div_ceil(8));
        let mut bytes: Vec<u8> = words.flat_map(|cell| cell.load(Relaxed).to_ne_bytes()).collect();
        bytes.truncate(len);
        // ORDERING: pairs with the fence in `begin`.
        fence(Acquire);
        if self.position.load(Relaxed) != position + 1 {
            return Ok((0, Vec::new()));
        }
        Ok((items, bytes))
    }
}
