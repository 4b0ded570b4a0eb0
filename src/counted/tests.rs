//! Owners and blocks on real threads; the models are in `tests/loom/counted.rs`.
#![expect(unsafe_code, reason = "takes memory from blocks and gives it back")]

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::{
    block::{self, Block, Current},
    owner::Counted,
};

/// Counts its drops.
struct Drops<'a, const N: usize>(&'a AtomicU32, [u8; N]);

impl<const N: usize> Drop for Drops<'_, N> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn drops_once<const N: usize>() {
    let drops = AtomicU32::new(0);
    let owner = Counted::new(Drops(&drops, [N as u8; N]));
    let (weak, other) = (owner.downgrade(), owner.clone());
    drop(owner);
    assert_eq!(weak.clone().upgrade().map(|value| value.1), Some([N as u8; N]));
    assert_eq!(drops.load(Relaxed), 0);
    drop(other);
    assert_eq!(drops.load(Relaxed), 1);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_value_of_any_size_is_dropped_with_its_last_owner() {
    drops_once::<0>();
    drops_once::<1>();
    drops_once::<100>();
    drops_once::<500>();
    drops_once::<5_000>();
}

#[test]
fn values_lie_as_they_want_to() {
    #[repr(align(64))]
    struct Aligned(u8);
    #[repr(align(16))]
    struct Wide(u8);
    let values: Vec<_> = (0..100)
        .map(|n| {
            (Counted::new(n), Counted::new(Wide(n)), Counted::new(Aligned(n)), Counted::new(u64::from(n)))
        })
        .collect();
    for (n, (byte, wide, aligned, number)) in (0..).zip(&values) {
        assert_eq!((**byte, wide.0, aligned.0, **number), (n, n, n, n.into()));
        assert_eq!((&raw const **wide).addr() % 16 + (&raw const **aligned).addr() % 64, 0);
    }
}

/// Values of many blocks, dropped by other threads in another order.
#[test]
fn owners_come_and_go_on_several_threads() {
    let drops = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            let values: Vec<_> = (0..500).map(|n| Counted::new(Drops(&drops, [n as u8; 100]))).collect();
            let others = values.clone();
            scope.spawn(move || others.into_iter().rev().for_each(drop));
            scope.spawn(move || assert!((0..).zip(values).all(|(n, value)| value.1 == [n as u8; 100])));
        }
    });
    assert_eq!(drops.load(Relaxed), 5_000);
}

const TENTH: Layout = Layout::new::<[u64; block::SIZE / 80]>();

fn give_back(given: (NonNull<u8>, NonNull<Block>)) {
    // SAFETY: nobody uses what the tests take.
    unsafe { Block::give_back(given.1) };
}

#[test]
fn many_small_values_lie_in_one_block() {
    let current = Current::new();
    let given: Vec<_> = (0..9).map(|_| current.allocate(TENTH)).collect();
    assert!(given.windows(2).all(|two| two[0].1 == two[1].1 && two[0].0.addr() < two[1].0.addr()));
    let next = [current.allocate(TENTH), current.allocate(TENTH)];
    assert_ne!(given[8].1, next[1].1, "the first one is full");
    given.into_iter().chain(next).for_each(give_back);
}

#[test]
fn one_value_at_a_time_needs_one_block() {
    let current = Current::new();
    let blocks = (0..1_000).map(|_| {
        let given = current.allocate(TENTH);
        give_back(given);
        given.1
    });
    let mut blocks: Vec<_> = blocks.collect();
    blocks.dedup();
    assert_eq!(blocks.len(), 1);
}

#[test]
fn who_has_no_block_any_more_gets_one_for_each_value() {
    let (one, other) = (block::allocate_alone(TENTH), block::allocate_alone(Layout::new::<u8>()));
    assert_ne!(one.1, other.1);
    give_back(one);
    give_back(other);
}
