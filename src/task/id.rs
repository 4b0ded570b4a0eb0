//! [`TaskId`]: numbers the tasks of a program.

use std::{
    cell::Cell,
    fmt,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// How many ids a thread takes at a time.
const BLOCK: u64 = 64;

/// Identifies a task within the program. Ids are numbers from 1 upwards, roughly in the order of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl TaskId {
    /// Returns an id that no other task of this program has.
    #[inline]
    pub(crate) fn next() -> Self {
        thread_local! {
            /// The ids that this thread has taken and not given away.
            static MINE: Cell<Range<u64>> = const { Cell::new(0..0) };
        }
        let mut mine = MINE.take();
        if mine.is_empty() {
            mine = new_block();
        }
        let id = mine.start;
        mine.start += 1;
        MINE.set(mine);
        Self(id)
    }

    /// Returns the first of `count` ids in a row that no other task of this program has.
    pub(crate) fn next_of_many(count: u32) -> Self {
        Self(take_from_all(count.into()))
    }

    /// Returns one of the ids in a row that this is the first of.
    pub(crate) fn plus(self, count: u32) -> Self {
        Self(self.0 + u64::from(count))
    }

    #[cfg(test)]
    pub(crate) fn from_raw(id: u64) -> Self {
        Self(id)
    }

    /// The id as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

/// Takes as many ids at a time as make the one place that they come from quiet.
#[cold]
fn new_block() -> Range<u64> {
    let first = take_from_all(BLOCK);
    first..first + BLOCK
}

/// Takes so many ids in a row, and returns the first.
fn take_from_all(count: u64) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // ORDERING: Relaxed. Only the numbers must be unique; nothing is published by them.
    NEXT.fetch_add(count, Ordering::Relaxed)
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
