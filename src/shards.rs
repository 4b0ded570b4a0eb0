//! [`Shards`]: the same thing a few times, so that threads that change it do not wait for each other's caches.
//!
//! To change one word from two processors in turn costs more than all else that a small job needs (measured: two counts on one
//! cache line halve the rate of a thread pool).

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::pause::processors;

/// The most shards.
const MOST: usize = 16;

/// A power of two of `T`s, each on cache lines of its own.
#[derive(Debug)]
pub(crate) struct Shards<T>(Box<[Shard<T>]>);

#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(T);

impl<T> Shards<T> {
    /// Twice as many as there are processors, so that two threads that run at the same time seldom share one.
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        let count = (2 * processors()).next_power_of_two().min(MOST);
        Self((0..count).map(|_| Shard(make())).collect())
    }

    /// The one of this thread.
    pub(crate) fn here(&self) -> &T {
        // A power of two, so this takes no division.
        &self.0[thread_number() & (self.0.len() - 1)].0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

/// Numbers the threads that ask, in the order in which they first do.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        // ORDERING: Relaxed. Only the number matters.
        let new = NEXT.fetch_add(1, Relaxed);
        NUMBER.set(Some(new));
        new
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_shard() {
        let shards = Shards::new(|| Cell::new(0));
        shards.here().set(1);
        assert_eq!(shards.here().get(), 1);
        assert_eq!(shards.iter().map(Cell::get).sum::<i32>(), 1);
    }
}
