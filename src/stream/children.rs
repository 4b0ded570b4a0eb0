//! [`Children`]: futures in a slab, each with a waker of its own that costs no allocation.
//!
//! The futures lie in blocks of places, each twice as large as the one before, so that places never move; the owner alone reaches them.
//! What wakers point into and keep alive are [`Groups`], each block of which is twice as large, too. A [`Group`] has what is to be
//! known of 64 children.
//!
//! 1. A future stays in its place from its first poll until it is dropped there: it is pinned.
//! 2. A waker is a pointer to a [`Group`], with the child's place in the group in its lowest bits, and owns one count of the
//!    `Arc<Groups>` that the group lies in, so the group lives as long as the waker.
//! 3. A place is used again as soon as it is free. Wakers of the future before then wake the new one once in vain.
#![expect(unsafe_code, reason = "pins futures in a slab and makes wakers that point into a block")]

use std::{
    mem::ManuallyDrop,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use super::ready::{GROUP, Link, Links, MOST, Ready};
use crate::prefetch::{prefetch, prefetch_pointee};

/// How many places the first block has.
const FIRST_BLOCK: usize = 32;
/// No place.
const NONE: u32 = u32::MAX;

/// Futures with their input positions. See the module's documentation.
pub(super) struct Children<F> {
    /// Each filled up to its capacity and never beyond, so that nothing in it moves.
    blocks: Vec<Vec<Place<F>>>,
    groups: Vec<Arc<Groups>>,
    ready: Arc<Ready>,
    /// The first free place below the end, or [`NONE`]; each names the next one.
    free: u32,
    /// How many places have ever been used.
    end: u32,
    len: usize,
}

struct Place<F> {
    /// That of the future; of a free place which one is the next that is free.
    position: usize,
    future: Option<F>,
}

/// A block of groups. So aligned that the count of its owners, which wakers change, lies on another line of the cache than what all read.
#[repr(align(64))]
struct Groups {
    ready: Arc<Ready>,
    groups: Box<[Group]>,
}

/// What wakers know of 64 children that follow each other. So aligned that a pointer to it has room for the place of a child in it.
#[repr(C, align(64))]
struct Group {
    /// The block that it lies in.
    block: *const Groups,
    /// The number of the first child.
    first: u32,
    links: Links,
}

const _: () = assert!(align_of::<Group>() >= GROUP);

// SAFETY: `block` is a pointer to the `Groups` that owns this group, which are `Send` and `Sync` but for this field; it is only
// used to count references and to reach `ready`.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

// The futures are pinned in their blocks, whatever becomes of this.
impl<F> Unpin for Children<F> {}

impl<F> Children<F> {
    pub(super) fn new() -> Self {
        let ready = Arc::new(Ready::new());
        Self { blocks: Vec::new(), groups: Vec::new(), ready, free: NONE, end: 0, len: 0 }
    }

    /// How many futures there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Takes in a future, which is to be polled, and returns its number.
    pub(super) fn insert(&mut self, position: usize, future: F) -> u32 {
        let place = Place { position, future: Some(future) };
        self.len += 1;
        if self.free == NONE {
            return self.append(place);
        }
        let number = self.free;
        // The place is empty, so nothing foreign is dropped here.
        let empty = std::mem::replace(self.place_mut(number), place);
        self.free = empty.position as u32;
        number
    }

    /// Takes note that a place is free, or will be as soon as its future has been dropped.
    fn leave(&mut self, number: u32) {
        self.place_mut(number).position = self.free as usize;
        self.free = number;
    }

    fn append(&mut self, place: Place<F>) -> u32 {
        let number = self.end;
        assert!(number < MOST, "so many futures at once");
        let (block, _) = locate(number, FIRST_BLOCK);
        if block == self.blocks.len() {
            self.blocks.push(Vec::with_capacity(FIRST_BLOCK << block));
        }
        let (block_of_groups, _) = locate(number, GROUP);
        if block_of_groups == self.groups.len() {
            self.groups.push(Groups::new(&self.ready, number, 1 << block_of_groups));
        }
        let places = &mut self.blocks[block];
        assert!(places.len() < places.capacity(), "what lies in a block must not move");
        places.push(place);
        self.end += 1;
        number
    }

    /// Prepares for the poll of a future that is next but a few: where many have been woken they lie in no order, and the processor
    /// would wait for the memory of each.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) {
        prefetch(self.group(number).0);
        prefetch(self.place(number));
    }

    /// Prepares for the poll of a future that has been [prefetched](Self::prefetch): what it points to.
    #[inline]
    pub(super) fn prefetch_pointee(&self, number: u32) {
        self.place(number).future.iter().for_each(prefetch_pointee);
    }

    /// The input position of a future.
    #[inline]
    pub(super) fn position(&self, number: u32) -> usize {
        self.place(number).position
    }

    #[inline]
    pub(super) fn link(&self, number: u32) -> Link<'_> {
        let (group, at) = self.group(number);
        group.links.link(at)
    }

    /// The group of a child, and its place there.
    #[inline]
    fn group(&self, number: u32) -> (&Group, usize) {
        let (block, at) = locate(number, GROUP);
        (&self.groups[block].groups[at / GROUP], at % GROUP)
    }

    #[inline]
    fn place(&self, number: u32) -> &Place<F> {
        let (block, at) = locate(number, FIRST_BLOCK);
        &self.blocks[block][at]
    }

    #[inline]
    fn place_mut(&mut self, number: u32) -> &mut Place<F> {
        let (block, at) = locate(number, FIRST_BLOCK);
        &mut self.blocks[block][at]
    }

    /// The positions of the futures, in no order.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> {
        let places = self.blocks.iter().flatten();
        places.filter(|place| place.future.is_some()).map(|place| place.position)
    }

    /// Drops all futures, the latest first.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.free = NONE;
        for block in self.blocks.iter_mut().rev() {
            for place in block.iter_mut().rev() {
                place.future = None;
            }
        }
        (0..self.end).rev().for_each(|number| self.leave(number));
    }
}

impl<F: Unpin> Children<F> {
    /// Takes out all futures, with their positions.
    pub(super) fn take(&mut self) -> Vec<(usize, F)> {
        let places = self.blocks.iter_mut().flatten();
        let taken = places.filter_map(|place| Some((place.position, place.future.take()?))).collect();
        self.clear();
        taken
    }
}

impl<F: Future> Children<F> {
    /// Polls a future that is new, or was taken from the ready ones and unmarked. Once it has finished, or has panicked, it is dropped.
    /// `None` if there is none in this place any more.
    pub(super) fn poll(&mut self, number: u32) -> Option<Poll<(usize, F::Output)>> {
        let position = self.position(number);
        let mut removal = Removal { children: self, number };
        let polled = removal.poll()?;
        if polled.is_pending() {
            std::mem::forget(removal);
        }
        Some(polled.map(|output| (position, output)))
    }

    fn poll_place(&mut self, number: u32) -> Option<Poll<F::Output>> {
        let waker = self.raw_waker(number);
        let future = self.place_mut(number).future.as_mut()?;
        // SAFETY: the place lies in a vector that never grows beyond its capacity. The future ends there, by `remove`, `clear` or
        // drop; only `take` moves it, where it is `Unpin` (invariant 1).
        let future = unsafe { Pin::new_unchecked(future) };
        // SAFETY: the group lives on during the poll, in which this waker is borrowed, and the count that the waker would give
        // back is not given back (`ManuallyDrop`), as it was not taken.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(waker) });
        Some(future.poll(&mut Context::from_waker(&waker)))
    }

    #[inline]
    fn raw_waker(&self, number: u32) -> RawWaker {
        let (group, at) = self.group(number);
        // The pointer is one to all of the group, so that the group can be found from it again.
        let data = (&raw const *group).cast::<()>().wrapping_byte_add(at);
        RawWaker::new(data, &VTABLE)
    }
}

/// Removes a future when it is dropped, in any way.
struct Removal<'a, F> {
    children: &'a mut Children<F>,
    number: u32,
}

impl<F: Future> Removal<'_, F> {
    fn poll(&mut self) -> Option<Poll<F::Output>> {
        self.children.poll_place(self.number)
    }
}

impl<F> Drop for Removal<'_, F> {
    fn drop(&mut self) {
        let Self { children, number } = self;
        // Absent where the place had been left before it was polled: then it is free already.
        if children.place_mut(*number).future.is_some() {
            children.len -= 1;
            children.leave(*number);
            // Last, for its own drop may panic.
            children.place_mut(*number).future = None;
        }
    }
}

impl<F> Drop for Children<F> {
    fn drop(&mut self) {
        self.ready.forget_owner();
        self.clear();
    }
}

/// The block and the place in it of a number, where the first block has so many places: a power of two.
#[inline]
fn locate(number: u32, first_block: usize) -> (usize, usize) {
    let number = number as usize + first_block;
    let block = (number.ilog2() - first_block.ilog2()) as usize;
    (block, number - (first_block << block))
}

impl Groups {
    /// So many, from the one with child `first` on.
    fn new(ready: &Arc<Ready>, first: u32, count: usize) -> Arc<Self> {
        Arc::new_cyclic(|block: &Weak<Self>| {
            let group = |first| Group { block: block.as_ptr(), first, links: Links::new() };
            Self { ready: ready.clone(), groups: (first..).step_by(GROUP).take(count).map(group).collect() }
        })
    }
}

const VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// # Safety
///
/// `data` is that of a waker, made by [`raw_waker`](Children::raw_waker) and not yet dropped; so for all functions of the table. By
/// invariant 2 its group and the block of it are alive.
unsafe fn clone(data: *const ()) -> RawWaker {
    let (group, _) = group_of(data);
    // SAFETY: by the caller's promise.
    let block = unsafe { (*group).block };
    // SAFETY: the block is alive, and lies in an `Arc`.
    unsafe { Arc::increment_strong_count(block) };
    RawWaker::new(data, &VTABLE)
}

/// # Safety
///
/// As for [`clone`], and the waker's count is given up.
unsafe fn wake(data: *const ()) {
    // SAFETY: by the caller's promise.
    unsafe { wake_by_ref(data) };
    // SAFETY: by the caller's promise.
    unsafe { drop_waker(data) };
}

/// # Safety
///
/// As for [`clone`].
unsafe fn wake_by_ref(data: *const ()) {
    let (group, at) = group_of(data);
    // SAFETY: by the caller's promise, for as long as this reference lives.
    let group = unsafe { &*group };
    // SAFETY: the block owns the group, so it is alive, too.
    let block = unsafe { &*group.block };
    block.ready.push(group.first + at as u32, group.links.link(at));
}

/// # Safety
///
/// As for [`wake`].
unsafe fn drop_waker(data: *const ()) {
    let (group, _) = group_of(data);
    // SAFETY: by the caller's promise. No reference into the block is kept: this may be its end.
    let block = unsafe { (*group).block };
    // SAFETY: the count is the waker's, by the caller's promise.
    unsafe { Arc::decrement_strong_count(block) };
}

/// The group that a waker points to, and the child's place in it.
fn group_of(data: *const ()) -> (*const Group, usize) {
    let at = data.addr() % GROUP;
    (data.wrapping_byte_sub(at).cast(), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for number in 0..1000 {
            assert_eq!(locate(number, FIRST_BLOCK), expected);
            expected.1 += 1;
            if expected.1 == FIRST_BLOCK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        let (block, at) = locate(MOST - 1, FIRST_BLOCK);
        assert!(at < FIRST_BLOCK << block);
    }

    /// Keeps the waker that it was last polled with where others find it.
    struct Keeps(std::sync::Arc<std::sync::Mutex<Vec<Waker>>>);

    impl Future for Keeps {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(cx.waker().clone());
            Poll::Pending
        }
    }

    fn woken<F>(children: &Children<F>) -> Vec<u32> {
        let mut taken = Vec::new();
        children.ready().take_all(&mut taken, |number| children.link(number));
        taken
    }

    #[test]
    fn wakers_outlive_the_futures_and_the_slab() {
        let wakers = Arc::default();
        let mut children = Children::new();
        for position in 0..100 {
            let number = children.insert(position, Keeps(Arc::clone(&wakers)));
            assert!(children.poll(number).is_some_and(|polled| polled.is_pending()));
        }
        let keep = |n: usize| wakers.lock().map(|wakers| wakers[n].clone()).ok();
        let (first, last) = (keep(0), keep(99));
        first.iter().chain(&last).chain(&first).for_each(Waker::wake_by_ref);
        assert_eq!(woken(&children), [99, 0]);
        children.clear();
        assert_eq!((children.len(), children.positions().count()), (0, 0));
        // Those that were woken and not looked at are woken already, and a waker of before wakes the next one in its place.
        [7, 0].iter().for_each(|&n| keep(n).iter().for_each(Waker::wake_by_ref));
        let used_again: Vec<_> = (0..8).map(|n| children.insert(n, Keeps(Arc::clone(&wakers)))).collect();
        assert!(used_again.into_iter().eq(0..8));
        assert_eq!(woken(&children), [7]);
        drop(children);
        first.into_iter().chain(last).for_each(Waker::wake);
        assert_eq!(Arc::strong_count(&wakers), 1, "the futures are gone");
    }

    #[test]
    fn a_future_that_has_finished_or_panicked_leaves_its_place() {
        let mut children = Children::new();
        let finishes = |n: u32| async move { if n == 1 { panic!("a future's own") } else { n } };
        let numbers = [0, 1, 2].map(|n| children.insert(n as usize + 10, finishes(n)));
        assert_eq!(children.poll(numbers[0]), Some(Poll::Ready((10, 0))));
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| children.poll(numbers[1])));
        assert!(polled.is_err());
        assert_eq!((children.len(), children.positions().collect::<Vec<_>>()), (1, vec![12]));
        assert_eq!((children.poll(numbers[0]), children.poll(numbers[1])), (None, None));
        assert_eq!(children.insert(20, finishes(5)), 1, "used again");
    }

    #[test]
    fn a_future_whose_drop_panics_leaves_its_place() {
        struct Touchy;

        impl Drop for Touchy {
            fn drop(&mut self) {
                panic!("a future's own");
            }
        }

        impl Future for Touchy {
            type Output = ();

            fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                Poll::Ready(())
            }
        }

        let mut children = Children::new();
        let number = children.insert(0, Touchy);
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| children.poll(number)));
        assert!(polled.is_err());
        assert_eq!((children.len(), children.positions().count(), children.free), (0, 0, number));
    }
}
