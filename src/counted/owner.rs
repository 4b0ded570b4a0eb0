//! [`Counted`], the owner of a value with others, and [`Weak`], who does not keep it alive.
//!
//! ```text
//!              clone, upgrade                      drop of the last owner, where somebody holds it weakly
//!   (1, w) ──────────────────▶ (n, w) ─▶ … ─▶ (1, w) ───────────▶ (0, w + 1) ── value dropped ──▶ (0, w) ─▶ … ─▶ memory freed
//!                                               │
//!                                               └ w = 0: nobody else is there, or can come. Value dropped, memory freed.
//! ```
//!
//! The owner that drops the value counts as a weak one meanwhile (`w + 1`), so that the memory stays until it has.
#![expect(unsafe_code, reason = "shared ownership is made of pointers and counts")]

use std::{
    alloc::Layout,
    fmt,
    marker::PhantomData,
    mem::{ManuallyDrop, offset_of},
    ops::Deref,
    process::abort,
    ptr::{self, NonNull},
};

use super::block::{self, Block};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU64, fence};

/// One owner.
const STRONG: u64 = 1 << 32;
/// One that holds it weakly.
const WEAK: u64 = 1;
/// So many of a kind and there is a leak in a loop: the count must not run over.
const MOST: u64 = 1 << 31;

/// A value with several owners. See the module's documentation.
pub(crate) struct Counted<T: ?Sized> {
    at: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

/// Does not keep the value alive.
pub(crate) struct Weak<T: ?Sized> {
    at: NonNull<Inner<T>>,
}

/// What the owners share. Reached by their pointer alone; seen by others for [`unsize`].
#[repr(C)]
pub(crate) struct Inner<T: ?Sized> {
    /// Owners in the upper half, those that hold it weakly in the lower one.
    counts: AtomicU64,
    /// The memory that this lies in.
    block: NonNull<Block>,
    value: T,
}

// SAFETY: as for `Arc`: to send an owner is to share the value, and may be to drop it elsewhere. The counts are atomic, and so is
// the block's.
unsafe impl<T: ?Sized + Send + Sync> Send for Counted<T> {}
// SAFETY: as above: by `&Counted<T>` one gets `&T` and more owners.
unsafe impl<T: ?Sized + Send + Sync> Sync for Counted<T> {}
// SAFETY: as above: a weak one may become an owner.
unsafe impl<T: ?Sized + Send + Sync> Send for Weak<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Weak<T> {}

/// Not pinned with it: the value stays where it is.
impl<T: ?Sized> Unpin for Counted<T> {}

/// `unsize!(counted => dyn Trait)`: the same owner, or weak one, of the value as a trait object.
macro_rules! unsize {
    ($counted:expr => $to:ty) => {
        $counted.widen(|inner| {
            let wide: *mut $crate::counted::Inner<$to> = inner;
            wide
        })
    };
}
pub(crate) use unsize;

impl<T> Counted<T> {
    #[inline]
    pub(crate) fn new(value: T) -> Self {
        Self::build(|| value)
    }

    /// Has the value made where it is to lie: as a rule the compiler then moves none of its parts twice.
    #[inline(always)]
    pub(crate) fn build(value: impl FnOnce() -> T) -> Self {
        let (place, block) = block::allocate(Layout::new::<Inner<T>>());
        let inner: NonNull<Inner<T>> = place.cast();
        // For `of`, which comes here from the value.
        inner.as_ptr().expose_provenance();
        // SAFETY: the place is new, nobody else's, and has room for an `Inner<T>` as that wants to lie.
        unsafe {
            (&raw mut (*inner.as_ptr()).counts).write(AtomicU64::new(STRONG));
            (&raw mut (*inner.as_ptr()).block).write(block);
            (&raw mut (*inner.as_ptr()).value).write(value());
        }
        Self { at: inner, owns: PhantomData }
    }

    /// One more owner of a value that is seen.
    ///
    /// # Safety
    ///
    /// The value was made by [`new`](Self::new) or [`build`](Self::build), and is still owned.
    pub(crate) unsafe fn of(value: &T) -> Self {
        let address = (&raw const *value).addr() - offset_of!(Inner<T>, value);
        let inner: *mut Inner<T> = ptr::with_exposed_provenance_mut(address);
        // SAFETY: by the caller's promise the value lies in an `Inner` that `build` has exposed, and that begins so far before it.
        let inner = unsafe { NonNull::new_unchecked(inner) };
        // SAFETY: by the caller's promise there is an owner; it stays one, for it is not dropped here.
        let owner = ManuallyDrop::new(Self { at: inner, owns: PhantomData });
        Self::clone(&owner)
    }
}

impl<T: ?Sized> Counted<T> {
    #[inline]
    fn inner(&self) -> &Inner<T> {
        // SAFETY: this owner counts, so the value is there.
        unsafe { self.at.as_ref() }
    }

    /// One that does not keep the value alive.
    pub(crate) fn downgrade(&self) -> Weak<T> {
        // ORDERING: Relaxed. Who counts already adds another; nothing is published.
        let before = self.inner().counts.fetch_add(WEAK, Relaxed);
        abort_if_too_many(before);
        Weak { at: self.at }
    }

    /// For [`unsize`], whose `widen` returns the same pointer.
    pub(crate) fn widen<U: ?Sized>(self, widen: impl FnOnce(*mut Inner<T>) -> *mut Inner<U>) -> Counted<U> {
        let owner = ManuallyDrop::new(self);
        Counted { at: widened(owner.at, widen), owns: PhantomData }
    }

    /// Drops the value; nobody else is an owner, or can become one.
    ///
    /// # Safety
    ///
    /// To be called once, by the last owner.
    #[inline]
    unsafe fn drop_value(&mut self) {
        // SAFETY: the value is there, for it is dropped here, once; and nobody else looks at it.
        unsafe { ptr::drop_in_place(&raw mut (*self.at.as_ptr()).value) };
    }

    /// The last owner goes, and others hold the value weakly.
    #[cold]
    fn leave_weak_ones(&mut self) {
        // SAFETY: by the caller, who has just counted the last owner out, and itself in as a weak one.
        unsafe { self.drop_value() };
        drop(Weak { at: self.at });
    }
}

impl<T: ?Sized> Clone for Counted<T> {
    #[inline]
    fn clone(&self) -> Self {
        // ORDERING: Relaxed. Who counts already adds another; nothing is published.
        let before = self.inner().counts.fetch_add(STRONG, Relaxed);
        abort_if_too_many(before);
        Self { at: self.at, owns: PhantomData }
    }
}

impl<T: ?Sized> Deref for Counted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: ?Sized> Drop for Counted<T> {
    #[inline]
    fn drop(&mut self) {
        let counts = &self.inner().counts;
        // ORDERING: Acquire pairs with the Release of all who let go before: what they did to the value comes before its end.
        let mut now = counts.load(Acquire);
        loop {
            if now == STRONG {
                // SAFETY: this is the only owner, and nobody is there who could become one, or could look at the memory.
                unsafe {
                    self.drop_value();
                    free(self.at);
                }
                return;
            }
            let last = now < 2 * STRONG;
            let then = if last { now - STRONG + WEAK } else { now - STRONG };
            // ORDERING: Release pairs with the Acquire of who comes last; Acquire for when that is this one.
            match counts.compare_exchange_weak(now, then, AcqRel, Acquire) {
                Ok(_) if last => return self.leave_weak_ones(),
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }
}

impl<T: ?Sized> Weak<T> {
    #[inline]
    fn counts(&self) -> &AtomicU64 {
        // SAFETY: this weak one counts, so the memory is there, and the counts are never dropped before it. No reference is made to the
        // value, which may be gone.
        unsafe { &(*self.at.as_ptr()).counts }
    }

    /// An owner, if there still is one.
    pub(crate) fn upgrade(&self) -> Option<Counted<T>> {
        let add = |now: u64| (now >= STRONG).then(|| now + STRONG);
        // ORDERING: Acquire, as for an `Arc`: who becomes an owner sees what was written to the value before it could be held weakly.
        let before = self.counts().fetch_update(Acquire, Relaxed, add).ok()?;
        abort_if_too_many(before);
        Some(Counted { at: self.at, owns: PhantomData })
    }

    /// For [`unsize`], whose `widen` returns the same pointer.
    pub(crate) fn widen<U: ?Sized>(self, widen: impl FnOnce(*mut Inner<T>) -> *mut Inner<U>) -> Weak<U> {
        let weak = ManuallyDrop::new(self);
        Weak { at: widened(weak.at, widen) }
    }
}

impl<T: ?Sized> Clone for Weak<T> {
    fn clone(&self) -> Self {
        // ORDERING: Relaxed. Who counts already adds another; nothing is published.
        let before = self.counts().fetch_add(WEAK, Relaxed);
        abort_if_too_many(before);
        Self { at: self.at }
    }
}

impl<T: ?Sized> Drop for Weak<T> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire of who comes last.
        let before = self.counts().fetch_sub(WEAK, Release);
        debug_assert!(!before.is_multiple_of(STRONG), "who is counted out was counted in");
        if before != WEAK {
            return;
        }
        // ORDERING: Acquire, as above, for this one is the last.
        fence(Acquire);
        // SAFETY: nobody is there any more, neither owner nor weak one, and so nobody can come.
        unsafe { free(self.at) };
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Counted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Weak)")
    }
}

fn widened<T: ?Sized, U: ?Sized>(
    inner: NonNull<Inner<T>>,
    widen: impl FnOnce(*mut Inner<T>) -> *mut Inner<U>,
) -> NonNull<Inner<U>> {
    let wide = widen(inner.as_ptr());
    assert!(ptr::addr_eq(wide, inner.as_ptr()), "a wider pointer points to the same");
    // SAFETY: it is where `inner` is, which is not null.
    unsafe { NonNull::new_unchecked(wide) }
}

/// Gives the memory back.
///
/// # Safety
///
/// The value was dropped, and nobody is there who holds it, or comes here again.
#[inline]
unsafe fn free<T: ?Sized>(inner: NonNull<Inner<T>>) {
    // SAFETY: the memory is still there; no reference is made to the value.
    let block = unsafe { (*inner.as_ptr()).block };
    // SAFETY: the block gave this memory, which is given back once.
    unsafe { Block::give_back(block) };
}

#[inline]
fn abort_if_too_many(before: u64) {
    if before / STRONG >= MOST || before % STRONG >= MOST {
        abort();
    }
}
