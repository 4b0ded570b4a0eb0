//! Models of the counts of a value's owners, and of the blocks that it lies in.
//!
//! Loom knows of each piece of memory whether it was given back, once; and of each cell whether two are at it at the same time.
#![expect(unsafe_code, reason = "what loom watches is shared without a lock")]

use std::alloc::Layout;

use loom::{cell::UnsafeCell, sync::Arc, thread};

use self::protocol::block::{Block, Current};
use crate::check;
pub(crate) use protocol::owner::{Counted, Inner, unsize};

#[path = "../../src/counted"]
mod protocol {
    pub(crate) mod block;
    pub(crate) mod owner;
}

/// What owners look at, and its drop changes. So large that it has a block of its own: threads have none in the models.
struct Value(UnsafeCell<()>, [u64; 64]);

impl Value {
    fn new() -> Counted<Self> {
        Counted::new(Self(UnsafeCell::new(()), [0; 64]))
    }
}

trait Look: Send + Sync {
    fn look(&self);
}

impl Look for Value {
    fn look(&self) {
        self.0.with(|_| ());
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.with_mut(|_| ());
    }
}

// SAFETY: loom finds out.
unsafe impl Send for Value {}
// SAFETY: as above.
unsafe impl Sync for Value {}

#[test]
fn the_last_owner_drops_the_value_and_frees_the_memory() {
    check(|| {
        let first = Value::new();
        let second = unsize!(first.clone() => dyn Look);
        let other = thread::spawn(move || {
            let third = second.clone();
            second.look();
            drop(second);
            third.look();
        });
        first.look();
        drop(first);
        other.join().unwrap();
    });
}

#[test]
fn who_holds_it_weakly_becomes_an_owner_or_finds_nothing() {
    check(|| {
        let owner = Value::new();
        let weak = unsize!(owner.downgrade() => dyn Look);
        let other = thread::spawn(move || {
            let found = weak.upgrade();
            drop(weak);
            found.into_iter().for_each(|value| value.look());
        });
        owner.look();
        drop(owner);
        other.join().unwrap();
    });
}

#[test]
fn the_memory_stays_for_the_last_weak_one() {
    check(|| {
        let owner = Value::new();
        let weak = owner.downgrade();
        let other = weak.clone();
        let threads = [
            thread::spawn(move || drop(owner)),
            thread::spawn(move || other.upgrade().into_iter().for_each(|value| value.look())),
        ];
        drop(weak);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn an_owner_that_is_made_of_a_look_counts() {
    check(|| {
        let owner = Value::new();
        // SAFETY: the value was made by `Counted::new`, and is owned.
        let second = unsafe { Counted::of(&*owner) };
        let other = thread::spawn(move || second.look());
        drop(owner);
        other.join().unwrap();
    });
}

/// So large that two values fit into a block.
const LARGE: Layout = Layout::new::<[u64; 200]>();

#[test]
fn a_block_is_freed_by_who_is_the_last() {
    check(|| {
        let current = Current::new();
        let (_, block) = current.allocate(LARGE);
        let (_, same) = current.allocate(LARGE);
        assert_eq!(block, same);
        let place = Place(block);
        let other = thread::spawn(move || place.give_back());
        Place(block).give_back();
        drop(current);
        other.join().unwrap();
    });
}

#[test]
fn a_block_is_used_again_when_all_was_given_back() {
    check(|| {
        let current = Current::new();
        let memory = Arc::new(Memory(UnsafeCell::new(())));
        let places = [current.allocate(LARGE), current.allocate(LARGE)].map(|(_, block)| Place(block));
        let (other_place, first) = (Place(places[0].0), places[0].0);
        let other_memory = memory.clone();
        let other = thread::spawn(move || {
            other_memory.get_mut();
            other_place.give_back();
        });
        Place(first).give_back();
        // Either the same block, which is empty, or a new one.
        let (_, next) = current.allocate(LARGE);
        if next == first {
            memory.get_mut();
        }
        Place(next).give_back();
        other.join().unwrap();
    });
}

/// What was given to one thread after the other.
struct Memory(UnsafeCell<()>);

impl Memory {
    fn get_mut(&self) {
        self.0.with_mut(|_| ());
    }
}

// SAFETY: loom finds out.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// The memory of one value.
struct Place(std::ptr::NonNull<Block>);

// SAFETY: a block is given back by any thread.
unsafe impl Send for Place {}

impl Place {
    fn give_back(self) {
        // SAFETY: each place stands for one value, which nobody uses any more.
        unsafe { Block::give_back(self.0) };
    }
}
