//! [`TaskId`]: numbers the tasks of a program.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Identifies a task within the program, from 1 upwards in the order of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

static NEXT: AtomicU64 = AtomicU64::new(1);

impl TaskId {
    /// Returns an id that no other task of this program has.
    pub(crate) fn next() -> Self {
        // ORDERING: Relaxed. Only the number must be unique; nothing is published by it.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the first of `count` ids in a row that no other task of this program has.
    pub(crate) fn next_of_many(count: u32) -> Self {
        // ORDERING: Relaxed, as in `next`.
        Self(NEXT.fetch_add(count.into(), Ordering::Relaxed))
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

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
