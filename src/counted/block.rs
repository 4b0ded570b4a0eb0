//! [`Block`]: a piece of the heap in which many small values lie, one after the other.
//!
//! `malloc` and `free` of every task by itself were an eighth of all the time that it took to start many on a thread pool. So each
//! thread has a block out of which it takes memory by moving a mark, and which goes back to the heap as a whole, when all that lies in
//! it has been given back.
//!
//! ```text
//!           allocate: given += 1                  give_back: live -= 1, by anybody
//!  CURRENT ──────────────────────▶ … full ──▶ RETIRED ──────────▶ … live = 0: freed by who gives back the last
//!     ▲                                │
//!     └── all was given back meanwhile ┘
//! ```
//!
//! 1. `live` begins at [`HELD`], which stands for the thread whose block it is, and falls by one for each value that is given back. So it
//!    stays above zero as long as the thread takes memory from the block.
//! 2. Only that thread knows how many it has `given`. When it lets go it takes `HELD - given` off: from then on `live` says how many
//!    values lie in the block, and whoever brings it to zero, once, frees the block.
//! 3. A full block of which `live` is `HELD - given` is empty, and nobody else knows of it: it is used again.
//!
//! A value that lives long keeps a block of [`SIZE`] bytes from the heap. What is larger than [`SMALL`] has one of its own.
#![expect(unsafe_code, reason = "gives memory and takes it back")]

use std::{
    alloc::{Layout, handle_alloc_error},
    cell::Cell,
    ptr::NonNull,
};

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, alloc, dealloc, fence};

/// How large a block is: with what the heap adds, a page.
pub(crate) const SIZE: usize = 4096 - 16;
/// What is larger has a block of its own.
const SMALL: usize = SIZE / 8;
/// How values in a shared block may want to lie.
const ALIGN: usize = 16;
/// Where the first value lies.
const BEGIN: usize = size_of::<Block>().next_multiple_of(ALIGN);
/// Stands for the thread that takes memory from a block: more than fit into it.
const HELD: u32 = 1 << 31;

/// The head of a piece of the heap. See the module's documentation.
pub(crate) struct Block {
    live: AtomicU32,
    /// Of the whole.
    layout: Layout,
}

thread_local! {
    static CURRENT: Current = const { Current::new() };
}

/// Takes memory from this thread's block. To be given back by [`Block::give_back`].
#[inline]
pub(crate) fn allocate(layout: Layout) -> (NonNull<u8>, NonNull<Block>) {
    if layout.size() <= SMALL && layout.align() <= ALIGN {
        // Absent while the thread's own values are being dropped.
        if let Ok(given) = CURRENT.try_with(|current| current.allocate(layout)) {
            return given;
        }
    }
    allocate_alone(layout)
}

/// Takes a block for one value.
#[cold]
pub(crate) fn allocate_alone(layout: Layout) -> (NonNull<u8>, NonNull<Block>) {
    let (whole, at) =
        Layout::new::<Block>().extend(layout).expect("a value is smaller than half of all memory");
    let block = Block::new(whole.pad_to_align(), 1);
    // SAFETY: the block is as large as head and value together.
    (unsafe { block.cast().byte_add(at) }, block)
}

/// The block from which a thread takes memory.
pub(crate) struct Current {
    block: Cell<Option<NonNull<Block>>>,
    /// Up to where values lie in it.
    mark: Cell<usize>,
    given: Cell<u32>,
}

impl Current {
    pub(crate) const fn new() -> Self {
        Self { block: Cell::new(None), mark: Cell::new(0), given: Cell::new(0) }
    }

    /// Takes memory for a value no larger than [`SMALL`], which wants to lie no better than [`ALIGN`].
    #[inline]
    pub(crate) fn allocate(&self, layout: Layout) -> (NonNull<u8>, NonNull<Block>) {
        let mut at = self.mark.get().next_multiple_of(layout.align());
        let block = match self.block.get() {
            Some(block) if at + layout.size() <= SIZE => block,
            _ => {
                at = BEGIN;
                self.turn_over()
            }
        };
        self.mark.set(at + layout.size());
        self.given.set(self.given.get() + 1);
        // SAFETY: there is room for the value from there on: that was just looked at, or the block is empty.
        (unsafe { block.cast().byte_add(at) }, block)
    }

    /// Takes an empty block in place of a full one.
    #[cold]
    fn turn_over(&self) -> NonNull<Block> {
        let block = self.empty().unwrap_or_else(|| {
            self.let_go();
            Block::new(Layout::from_size_align(SIZE, ALIGN).expect("small, and by a power of two"), HELD)
        });
        self.block.set(Some(block));
        self.given.set(0);
        block
    }

    /// The block there is, if all was given back (invariant 3).
    fn empty(&self) -> Option<NonNull<Block>> {
        let block = self.block.get()?;
        // SAFETY: the block is there as long as this thread holds it (invariant 1).
        let live = unsafe { &block.as_ref().live };
        // ORDERING: Acquire pairs with the Release of who gave the values back, and is done with the memory.
        if live.load(Acquire) != HELD - self.given.get() {
            return None;
        }
        // ORDERING: Relaxed. Nobody else knows of the block.
        live.store(HELD, Relaxed);
        Some(block)
    }

    /// Takes no more memory from the block there is (invariant 2).
    fn let_go(&self) {
        if let Some(block) = self.block.take() {
            // SAFETY: the thread's part is given back once: it has forgotten the block.
            unsafe { Block::release(block, HELD - self.given.get()) };
        }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Block {
    fn new(layout: Layout, live: u32) -> NonNull<Self> {
        // SAFETY: the size is not zero: there is room for a head at least.
        let block: *mut Self = unsafe { alloc(layout) }.cast();
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        // SAFETY: the memory is new, large enough and lies as `layout` says, which is meant for a head in front.
        unsafe { block.write(Self { live: AtomicU32::new(live), layout }) };
        block
    }

    /// Gives a value's memory back.
    ///
    /// # Safety
    ///
    /// It was taken from this block, nobody uses it any more, and it is given back once.
    #[inline]
    pub(crate) unsafe fn give_back(block: NonNull<Self>) {
        // SAFETY: by the caller's promise.
        unsafe { Self::release(block, 1) };
    }

    /// Takes `part` off what is live, and frees the block if that was the last.
    ///
    /// # Safety
    ///
    /// The part is the caller's, who does not use the block any more.
    #[inline]
    unsafe fn release(block: NonNull<Self>, part: u32) {
        // SAFETY: the block is there, for the caller's part is live.
        // ORDERING: Release pairs with the Acquire of who frees the block, or uses it again.
        let before = unsafe { &block.as_ref().live }.fetch_sub(part, Release);
        debug_assert!(before >= part, "no more is given back than was given");
        if before == part {
            // SAFETY: nothing is live, so nobody else knows of the block (invariants 1 and 2).
            unsafe { Self::free(block) };
        }
    }

    /// # Safety
    ///
    /// Nobody else knows of the block.
    unsafe fn free(block: NonNull<Self>) {
        // ORDERING: Acquire pairs with the Release of all who gave back before.
        fence(Acquire);
        // SAFETY: by the caller's promise; it was allocated with the layout that it keeps.
        unsafe {
            let layout = block.as_ref().layout;
            block.drop_in_place();
            dealloc(block.as_ptr().cast(), layout);
        }
    }
}
