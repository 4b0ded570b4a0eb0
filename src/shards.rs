//! [`Shards`]: the same thing a few times, so that threads that change it do not wait for each other's caches; [`Count`]: a
//! number in one of them.
//!
//! To change one word from two processors in turn costs more than all else that a small job needs (measured: two counts on one
//! cache line halve the rate of a thread pool). And to change it atomically takes as long as twenty plain instructions, even if nobody
//! else wants it; so the first threads have a shard of their own each, in which they count with plain loads and stores.
//!
//! 1. A shard whose index is less than [`own`] belongs to one thread at a time, or to none. It is taken and given back
//!    by [`TAKEN`], in the thread's [`Place`].
//! 2. Only the thread that has a place adds to the counts of its shard; anybody may read them.
//! 3. Threads that come when all of these are taken, and those that are just ending, share the others.

use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use crate::pause::processors;

/// The most shards that belong to a thread each, and the most that are shared.
const MOST: usize = 16;

/// Which shards that belong to a thread each are taken, by their bits.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// One `T` for each shard, on cache lines of its own. A clone is the same ones.
#[derive(Debug)]
pub(crate) struct Shards<T>(Arc<[Shard<T>]>);

impl<T> Clone for Shards<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(T);

impl<T> Shards<T> {
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        Self((0..own() + shared()).map(|_| Shard(make())).collect())
    }

    /// The one of this thread.
    #[inline]
    pub(crate) fn here(&self) -> &T {
        &self.0[Place::here().shard].0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

/// A number in a shard, for the threads whose shard it is. Wraps.
///
/// ORDERING: Relaxed throughout. It stands for itself. Whoever takes a shard after somebody else sees what that one has counted by the
/// order of [`TAKEN`].
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds, if this count was reached by [`Shards::here`].
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        if Place::here().is_own {
            self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
        } else {
            self.0.fetch_add(more, Relaxed);
        }
    }

    /// As [`add`](Self::add): what has come in one shard may go in another, and then this wraps.
    pub(crate) fn subtract(&self, less: u64) {
        self.add(less.wrapping_neg());
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// As [`add`](Self::add), but a maximum.
    pub(crate) fn raise(&self, to: u64) {
        if to > self.get() {
            self.0.fetch_max(to, Relaxed);
        }
    }
}

/// The number of the shard that belongs to this thread alone, if one does: less than [`own`].
#[inline]
pub(crate) fn own_here() -> Option<usize> {
    let Place { shard, is_own } = Place::here();
    is_own.then_some(shard)
}

/// How many shards belong to one thread each: enough for all that are usually awake.
pub(crate) fn own() -> usize {
    static OWN: OnceLock<usize> = OnceLock::new();
    *OWN.get_or_init(|| (4 * processors()).min(MOST))
}

/// How many are shared by all others.
fn shared() -> usize {
    (2 * processors()).min(MOST)
}

/// Where a thread counts.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    is_own: bool,
}

thread_local! {
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
    /// Apart from [`PLACE`], which is asked for with each count: to have something to drop makes it slower to ask for.
    static LEASE: Lease = const { Lease };
}

/// Ends with its thread.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Place { shard, is_own: true }) = PLACE.replace(Some(Place::shared())) else { return };
        // ORDERING: Release pairs with the Acquire in `take`: the next one sees what was counted here.
        TAKEN.fetch_and(!(1 << shard), Release);
    }
}

impl Place {
    #[inline]
    fn here() -> Self {
        PLACE.get().unwrap_or_else(Self::take)
    }

    /// Gives this thread its place.
    #[cold]
    fn take() -> Self {
        // Absent while the thread's own values are being dropped: what is taken then would not be given back.
        let is_alive = LEASE.try_with(|_| ()).is_ok();
        let shard = if is_alive { take_lowest(own()) } else { None };
        let place = shard.map_or_else(Self::shared, |shard| Self { shard, is_own: true });
        PLACE.set(Some(place));
        place
    }

    fn shared() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // ORDERING: Relaxed. Only the number matters.
        let number = NEXT.fetch_add(1, Relaxed);
        Self { shard: own() + number % shared(), is_own: false }
    }
}

/// Takes the lowest of the first `count` shards that is free.
fn take_lowest(count: usize) -> Option<usize> {
    let lowest = |taken: u64| Some(taken.trailing_ones() as usize).filter(|&shard| shard < count);
    // ORDERING: Acquire pairs with the Release of `Lease::drop`.
    let before = TAKEN.fetch_update(Acquire, Relaxed, |taken| lowest(taken).map(|shard| taken | 1 << shard));
    before.ok().and_then(lowest)
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_thread_keeps_its_shard() {
        let shards = Shards::new(|| Cell::new(0));
        shards.here().set(1);
        assert_eq!(shards.here().get(), 1);
        assert_eq!(shards.iter().map(Cell::get).sum::<i32>(), 1);
    }

    #[test]
    fn threads_that_come_and_go_in_great_numbers_lose_no_count() {
        const EACH: u64 = 50_000;
        let threads = 2 * (own() + shared());
        let counts = Arc::new(Shards::new(Count::new));
        for _ in 0..3 {
            // All at once, so that some share a shard.
            let start = Arc::new(Barrier::new(threads));
            let running: Vec<_> = (0..threads)
                .map(|_| {
                    let (counts, start) = (counts.clone(), start.clone());
                    thread::spawn(move || {
                        counts.here().add(0);
                        start.wait();
                        (0..EACH).for_each(|_| counts.here().add(1));
                    })
                })
                .collect();
            running.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!(counts.iter().map(Count::get).sum::<u64>(), 3 * threads as u64 * EACH);
    }

    #[test]
    fn who_ends_leaves_its_shard_and_counts_in_another_until_the_end() {
        struct Late(Arc<Shards<Count>>);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.here().add(1);
            }
        }
        thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let counts = Arc::new(Shards::new(Count::new));
        for _ in 0..2 * own() {
            let late = Late(counts.clone());
            thread::spawn(|| LATE.set(Some(late))).join().unwrap();
        }
        assert_eq!(counts.iter().map(Count::get).sum::<u64>(), 2 * own() as u64);
    }
}
