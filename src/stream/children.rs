//! [`Children`]: futures in a slab, each with a waker of its own that costs no allocation.
//!
//! Blocks of places, each twice as large as the one before, so that places never move. A block has two parts: the futures,
//! which the owner alone reaches, and the [`Signals`], which wakers point into and keep alive.
//!
//! 1. A future stays in its place from its first poll until it is dropped there: it is pinned.
//! 2. A waker is a pointer to one [`Signal`] and owns one count of the block's `Arc<Signals>`, so the signal lives as long as the waker.
//! 3. A place is used again as soon as it is free. Wakers of the future before then wake the new one once in vain.
#![expect(unsafe_code, reason = "pins futures in a slab and makes wakers that point into a block")]

use std::{
    mem::ManuallyDrop,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use super::{
    prefetch::{prefetch, prefetch_pointee},
    ready::{Link, MOST, Ready},
};

/// How many places the first block has.
const FIRST_BLOCK: usize = 32;
/// No place.
const NONE: u32 = u32::MAX;

/// Futures with their input positions. See the module's documentation.
pub(super) struct Children<F> {
    blocks: Vec<Block<F>>,
    ready: Arc<Ready>,
    /// The first free place below the end, or [`NONE`]; each names the next one.
    free: u32,
    /// How many places have ever been used.
    end: u32,
    len: usize,
}

struct Block<F> {
    signals: Arc<Signals>,
    /// Filled up to its capacity and never beyond, so that nothing in it moves.
    places: Vec<Place<F>>,
}

struct Place<F> {
    /// That of the future; of a free place which one is the next that is free.
    position: usize,
    future: Option<F>,
}

/// The parts of a block that wakers point to.
struct Signals {
    ready: Arc<Ready>,
    signals: Box<[Signal]>,
}

struct Signal {
    link: Link,
    number: u32,
    /// The block that it lies in.
    block: *const Signals,
}

// SAFETY: `block` is a pointer to the `Signals` that owns this signal, which are `Send` and `Sync` but for this field; it is only
// used to count references and to reach `ready`.
unsafe impl Send for Signal {}
// SAFETY: as above.
unsafe impl Sync for Signal {}

// The futures are pinned in their blocks, whatever becomes of this.
impl<F> Unpin for Children<F> {}

impl<F> Children<F> {
    pub(super) fn new() -> Self {
        Self { blocks: Vec::new(), ready: Arc::new(Ready::new()), free: NONE, end: 0, len: 0 }
    }

    /// How many futures there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Takes in a future. Returns its number, and whether it is to be queued, which it is already if an old waker has been woken.
    pub(super) fn insert(&mut self, position: usize, future: F) -> (u32, bool) {
        let place = Place { position, future: Some(future) };
        self.len += 1;
        if self.free == NONE {
            return (self.append(place), true);
        }
        let number = self.free;
        // The place is empty, so nothing foreign is dropped here.
        let empty = std::mem::replace(self.place_mut(number), place);
        self.free = empty.position as u32;
        (number, self.link(number).mark())
    }

    /// Takes note that a place is free, or will be as soon as its future has been dropped.
    fn leave(&mut self, number: u32) {
        self.place_mut(number).position = self.free as usize;
        self.free = number;
    }

    fn append(&mut self, place: Place<F>) -> u32 {
        let number = self.end;
        assert!(number < MOST, "so many futures at once");
        let (block, _) = locate(number);
        if block == self.blocks.len() {
            self.blocks.push(Block {
                signals: Signals::new(&self.ready, number, FIRST_BLOCK << block),
                places: Vec::with_capacity(FIRST_BLOCK << block),
            });
        }
        let places = &mut self.blocks[block].places;
        assert!(places.len() < places.capacity(), "what lies in a block must not move");
        places.push(place);
        self.end += 1;
        number
    }

    /// Prepares for the poll of a future that is next but a few: where many have been woken they lie in no order, and the processor
    /// would wait for the memory of each.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) {
        let (block, at) = locate(number);
        let Block { signals, places } = &self.blocks[block];
        prefetch(&signals.signals[at]);
        prefetch(&places[at]);
    }

    /// Prepares for the poll of a future that has been [prefetched](Self::prefetch): what it points to.
    #[inline]
    pub(super) fn prefetch_pointee(&self, number: u32) {
        let (block, at) = locate(number);
        self.blocks[block].places[at].future.iter().for_each(prefetch_pointee);
    }

    /// The input position of a future.
    #[inline]
    pub(super) fn position(&self, number: u32) -> usize {
        let (block, at) = locate(number);
        self.blocks[block].places[at].position
    }

    #[inline]
    pub(super) fn link(&self, number: u32) -> &Link {
        let (block, at) = locate(number);
        &self.blocks[block].signals.signals[at].link
    }

    #[inline]
    fn place_mut(&mut self, number: u32) -> &mut Place<F> {
        let (block, at) = locate(number);
        &mut self.blocks[block].places[at]
    }

    /// The positions of the futures, in no order.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> {
        let places = self.blocks.iter().flat_map(|block| &block.places);
        places.filter(|place| place.future.is_some()).map(|place| place.position)
    }

    /// Drops all futures, the latest first.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.free = NONE;
        for block in self.blocks.iter_mut().rev() {
            for place in block.places.iter_mut().rev() {
                place.future = None;
            }
        }
        (0..self.end).rev().for_each(|number| self.leave(number));
    }
}

impl<F: Unpin> Children<F> {
    /// Takes out all futures, with their positions.
    pub(super) fn take(&mut self) -> Vec<(usize, F)> {
        let places = self.blocks.iter_mut().flat_map(|block| &mut block.places);
        let taken = places.filter_map(|place| Some((place.position, place.future.take()?))).collect();
        self.clear();
        taken
    }
}

impl<F: Future> Children<F> {
    /// Polls a future that was taken from the ready ones. Once it has finished, or has panicked, it is dropped. `None` if there is
    /// none in this place any more.
    pub(super) fn poll(&mut self, number: u32) -> Option<Poll<(usize, F::Output)>> {
        self.link(number).unmark();
        let position = self.place_mut(number).position;
        let mut removal = Removal { children: self, number };
        let polled = removal.poll()?;
        if polled.is_pending() {
            std::mem::forget(removal);
        }
        Some(polled.map(|output| (position, output)))
    }

    fn poll_place(&mut self, number: u32) -> Option<Poll<F::Output>> {
        let (block, at) = locate(number);
        let Block { signals, places } = &mut self.blocks[block];
        let future = places[at].future.as_mut()?;
        // SAFETY: the place lies in a vector that never grows beyond its capacity. The future ends there, by `remove`, `clear` or
        // drop; only `take` moves it, where it is `Unpin` (invariant 1).
        let future = unsafe { Pin::new_unchecked(future) };
        // SAFETY: the block lives on during the poll, in which this waker is borrowed, and the count that the waker would give
        // back is not given back (`ManuallyDrop`), as it was not taken.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(signals.signals[at].as_raw_waker()) });
        Some(future.poll(&mut Context::from_waker(&waker)))
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

/// The block and the place in it of a number.
#[inline]
fn locate(number: u32) -> (usize, usize) {
    let number = number as usize + FIRST_BLOCK;
    let block = (number.ilog2() - FIRST_BLOCK.ilog2()) as usize;
    (block, number - (FIRST_BLOCK << block))
}

impl Signals {
    fn new(ready: &Arc<Ready>, first: u32, count: usize) -> Arc<Self> {
        Arc::new_cyclic(|block: &Weak<Self>| {
            let signal = |number| Signal { link: Link::new(), number, block: block.as_ptr() };
            Self { ready: ready.clone(), signals: (first..).take(count).map(signal).collect() }
        })
    }
}

impl Signal {
    #[inline]
    fn as_raw_waker(&self) -> RawWaker {
        RawWaker::new((&raw const *self).cast(), &VTABLE)
    }
}

const VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// # Safety
///
/// `data` points to a `Signal` in a block that is alive; so for all functions of the table. By invariant 2 it is so for every waker.
unsafe fn clone(data: *const ()) -> RawWaker {
    let signal = data.cast::<Signal>();
    // SAFETY: by the caller's promise.
    let block = unsafe { (*signal).block };
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
    // SAFETY: by the caller's promise, for as long as this reference lives.
    let signal = unsafe { &*data.cast::<Signal>() };
    // SAFETY: the block owns the signal, so it is alive, too.
    let block = unsafe { &*signal.block };
    block.ready.push(signal.number, &signal.link);
}

/// # Safety
///
/// As for [`wake`].
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: by the caller's promise. No reference into the block is kept: this may be its end.
    let block = unsafe { (*data.cast::<Signal>()).block };
    // SAFETY: the count is the waker's, by the caller's promise.
    unsafe { Arc::decrement_strong_count(block) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for number in 0..1000 {
            assert_eq!(locate(number), expected);
            expected.1 += 1;
            if expected.1 == FIRST_BLOCK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        let (block, at) = locate(MOST - 1);
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
            let (number, is_unqueued) = children.insert(position, Keeps(Arc::clone(&wakers)));
            assert!(is_unqueued && children.poll(number).is_some_and(|polled| polled.is_pending()));
        }
        let keep = |n: usize| wakers.lock().map(|wakers| wakers[n].clone()).ok();
        let (first, last) = (keep(0), keep(99));
        first.iter().chain(&last).chain(&first).for_each(Waker::wake_by_ref);
        assert_eq!(woken(&children), [99, 0]);
        children.clear();
        assert_eq!((children.len(), children.positions().count()), (0, 0));
        // Woken in vain, and then queued as soon as it is taken in.
        children.link(7).unmark();
        keep(7).iter().for_each(Waker::wake_by_ref);
        let used_again: Vec<_> = (0..8).map(|n| children.insert(n, Keeps(Arc::clone(&wakers)))).collect();
        assert_eq!(used_again[7], (7, false));
        drop(children);
        first.into_iter().chain(last).for_each(Waker::wake);
        assert_eq!(Arc::strong_count(&wakers), 1, "the futures are gone");
    }

    #[test]
    fn a_future_that_has_finished_or_panicked_leaves_its_place() {
        let mut children = Children::new();
        let finishes = |n: u32| async move { if n == 1 { panic!("a future's own") } else { n } };
        let numbers = [0, 1, 2].map(|n| children.insert(n as usize + 10, finishes(n)).0);
        assert_eq!(children.poll(numbers[0]), Some(Poll::Ready((10, 0))));
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| children.poll(numbers[1])));
        assert!(polled.is_err());
        assert_eq!((children.len(), children.positions().collect::<Vec<_>>()), (1, vec![12]));
        assert_eq!((children.poll(numbers[0]), children.poll(numbers[1])), (None, None));
        assert_eq!(children.insert(20, finishes(5)).0, 1, "used again");
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
        let number = children.insert(0, Touchy).0;
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| children.poll(number)));
        assert!(polled.is_err());
        assert_eq!((children.len(), children.positions().count(), children.free), (0, 0, number));
    }
}
