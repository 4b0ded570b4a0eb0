//! [`Ready`]: which children of a combinator have been woken; [`Links`]: the places of some of them in it.
//!
//! A stack of children, linked by their numbers. Whoever wakes a child pushes it; the owner takes the whole stack at once,
//! and goes through it from the oldest on.
//!
//! ```text
//!            push                       push
//!  EMPTY ───────────▶ number ─▶ … ◀──────────── WAITING     (whoever pushes onto WAITING wakes the owner)
//!   │ ▲                 │                        ▲  │
//!   │ └──── take_all ───┴── take_all ────────────┼──┘
//!   └────────────────── sleep ───────────────────┘
//! ```
//!
//! 1. A child is in the stack, or taken and not yet looked at, exactly while it is marked as *queued*. So it is there at most once.
//! 2. The owner unmarks a child before it polls it, so a wake that comes during the poll pushes it again.
//! 3. Between WAITING and the wake of the owner there is one push, which is the one that wakes: one wake for each sleep, however
//!    many children are woken.
//! 4. A number that comes back to the top of the stack is as good as when it was there before (no ABA): pushes only
//!    add on top, and the only removal takes everything.

use std::task::Waker;

use crate::sync::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::{AtomicU32, AtomicU64, AtomicWaker};

const EMPTY: u32 = u32::MAX;
const WAITING: u32 = u32::MAX - 1;
/// How many children there can be at once.
pub(super) const MOST: u32 = WAITING;

/// The children that were woken. See the module's documentation.
pub(super) struct Ready {
    top: AtomicU32,
    owner: AtomicWaker,
}

/// How many children share their marks.
pub(super) const GROUP: usize = 64;

/// What links the children of a group into the stack: five bytes for each, so that who wakes a hundred thousand has all of it in the
/// cache.
pub(super) struct Links {
    /// Which are queued: a bit for each.
    queued: AtomicU64,
    below: [AtomicU32; GROUP],
}

/// What links one child into the stack.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    queued: &'a AtomicU64,
    mark: u64,
    below: &'a AtomicU32,
}

impl Links {
    pub(super) fn new() -> Self {
        Self { queued: AtomicU64::new(0), below: std::array::from_fn(|_| AtomicU32::new(EMPTY)) }
    }

    /// That of the child at this place in the group.
    #[inline]
    pub(super) fn link(&self, at: usize) -> Link<'_> {
        Link { queued: &self.queued, mark: 1 << at, below: &self.below[at] }
    }
}

impl Link<'_> {
    /// Marks the child; says whether it was not before, so that the caller is to queue it.
    #[inline]
    fn mark(self) -> bool {
        // ORDERING: Release pairs with the Acquire in `unmark`: the poll after it sees what was done before the wake, also when
        // the child had been marked by somebody else. Acquire pairs with the Release there: the owner has read `below`.
        self.queued.fetch_or(self.mark, AcqRel) & self.mark == 0
    }

    /// Unmarks a child that is about to be polled.
    #[inline]
    pub(super) fn unmark(self) {
        // ORDERING: AcqRel, as in `mark`. All that is ever done to the marks of a group reads what was there before, so a sibling's
        // mark between the two does not part them.
        self.queued.fetch_and(!self.mark, AcqRel);
    }
}

impl Ready {
    pub(super) fn new() -> Self {
        Self { top: AtomicU32::new(EMPTY), owner: AtomicWaker::new() }
    }

    /// Puts child `number` on the stack unless it is queued already, and wakes the owner if it waits.
    pub(super) fn push(&self, number: u32, link: Link<'_>) {
        if !link.mark() {
            return;
        }
        let mut top = self.top.load(Relaxed);
        loop {
            link.below.store(if top == WAITING { EMPTY } else { top }, Relaxed);
            // ORDERING: Release pairs with the Acquire in `take_all`, which reads the link. Acquire orders the wake after
            // the owner's registration, which it made before it stored WAITING.
            match self.top.compare_exchange(top, number, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        if top == WAITING {
            self.owner.wake();
        }
    }

    /// Takes all children on the stack into `taken`, the oldest last. Only for the owner.
    #[inline]
    pub(super) fn take_all<'a>(&self, taken: &mut Vec<u32>, link: impl Fn(u32) -> Link<'a>) {
        // ORDERING: Acquire pairs with the Release in `push`.
        let mut number = self.top.swap(EMPTY, AcqRel);
        while number < MOST {
            taken.push(number);
            number = link(number).below.load(Relaxed);
        }
    }

    /// Arranges for `waker` to be woken by the next push; says whether that is so. Otherwise there is something to take. Only
    /// for the owner.
    pub(super) fn sleep(&self, waker: &Waker) -> bool {
        self.owner.register(waker);
        // ORDERING: Release publishes the registration to who pushes.
        match self.top.compare_exchange(EMPTY, WAITING, AcqRel, Acquire) {
            Ok(_) => true,
            Err(top) => top == WAITING,
        }
    }

    /// Wakes nobody any more.
    pub(super) fn forget_owner(&self) {
        drop(self.owner.take());
    }
}
