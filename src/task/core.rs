//! [`Core`]: the state word of one task, the job before it and the outcome after it.
//!
//! ```text
//!            claim              finish                 take
//!  QUEUED ───────────▶ HELD ────────────▶ FINISHING ─▶ FINISHED ──────▶ TAKEN
//!    │  ◀─────────────  │                     ▲           │  ▲
//!    │      put_back                          │           ▼  │ a late callback runs
//!    └────────────────────────────────────────┘         REVISITED
//!                 finish (cancelled, refused, timed out before it began)
//! ```
//!
//! 1. A task finishes exactly once: only the caller that moves the word from `QUEUED` or `HELD` to `FINISHING` writes the
//!    outcome; every other gets its outcome back.
//! 2. The job belongs to the core in `QUEUED`, and to whoever moved the word out of `QUEUED` from then on: a finisher
//!    that finds the task queued gets the job together with its victory, and drops it at once.
//! 3. The outcome belongs to whoever moved the word to `FINISHING`, `REVISITED` or `TAKEN`, as long as it stays there.
//! 4. Callbacks registered before `FINISHED` run before the waker is woken; the `CALLBACKS` bit says that the list is not
//!    empty, and nobody leaves `FINISHING` or `REVISITED` while it is set. Whoever adds one swaps itself in at the head of the list;
//!    whoever owns the outcome takes all of them at once.
//! 5. Whoever awaits leaves a waker first and sets the `AWAITED` bit then, and looks at the phase last. Whoever publishes
//!    FINISHED sees the bit, and wakes, or else is seen by that look. So a task that nobody awaits yet costs no wake.
//! 6. The waker's place belongs to whoever awaits, which is one at a time, while neither `AWAITED` nor `WOKEN` is set, or after it has cleared
//!    `AWAITED` itself. The publication that finds `AWAITED` turns it into `WOKEN`, for good: the place belongs to who has published
//!    then, who takes the waker out. Whoever awaits may look at a waker of its own that still lies there, for it is not changed in its
//!    place. After `WOKEN` it leaves none any more: that matters only where a late callback runs just then, and it comes again at once.
//! 7. Foreign code (callbacks, wakers, drops) runs under no lock and behind `catch_unwind`.
#![expect(unsafe_code, reason = "the job and the outcome are handed over by the state word")]

use std::{
    mem::MaybeUninit,
    ptr,
    task::{Context, Poll, Waker},
};

use crate::panic::{drop_shielded, shield};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicPtr, AtomicU32, UnsafeCell};

const QUEUED: u32 = 0;
const HELD: u32 = 1;
const FINISHING: u32 = 2;
const FINISHED: u32 = 3;
const REVISITED: u32 = 4;
const TAKEN: u32 = 5;
/// The bits of the word that hold one of the above.
const PHASE: u32 = 0b111;
/// The job was asked to stop.
const STOP: u32 = 1 << 3;
/// The list of callbacks is not empty.
const CALLBACKS: u32 = 1 << 4;
/// Nobody will take the outcome.
const DETACHED: u32 = 1 << 5;
/// A waker was left, and is there.
const AWAITED: u32 = 1 << 6;
/// The job is over and was left here, to be dropped with the task.
const KEPT: u32 = 1 << 7;
/// A waker was left, and who published the outcome has taken it.
const WOKEN: u32 = 1 << 8;

/// What is done with an outcome as soon as there is one.
pub(crate) type Callback<O> = Box<dyn FnOnce(&O) + Send>;

/// State, job and outcome of one task. See the module's documentation.
pub(crate) struct Core<J, O> {
    word: AtomicU32,
    /// There in `QUEUED`, and if `KEPT`; except that a claimer who puts it back or has it kept does that first.
    job: UnsafeCell<MaybeUninit<J>>,
    outcome: UnsafeCell<Option<O>>,
    /// There in `AWAITED`.
    waker: UnsafeCell<MaybeUninit<Waker>>,
    /// The callbacks not yet run, the last one first. Each was made by `Box::into_raw`, and is the list's own. One word, for few tasks
    /// have any.
    callbacks: AtomicPtr<Registered<O>>,
}

/// A callback in the list.
struct Registered<O> {
    callback: Callback<O>,
    before: *mut Registered<O>,
}

/// Where a task is, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits, with its job in the core.
    Queued,
    /// An executor has the job.
    Held,
    /// The outcome is known.
    Finished,
}

// SAFETY: the job and the outcome are only ever moved between threads, and shared with none: each is reached by the one
// thread that the state word names (invariants 2 and 3). So `Send` is enough for both. The callbacks are `Send`, too, and reached by the
// one thread that has swapped them out of the list. A waker is `Send` and `Sync`.
unsafe impl<J: Send, O: Send> Send for Core<J, O> {}
// SAFETY: as above. A callback sees `&O` only while its thread owns the outcome.
unsafe impl<J: Send, O: Send> Sync for Core<J, O> {}

impl<J, O> Core<J, O> {
    pub(crate) fn new(job: J) -> Self {
        Self {
            word: AtomicU32::new(QUEUED),
            job: UnsafeCell::new(MaybeUninit::new(job)),
            outcome: UnsafeCell::new(None),
            waker: UnsafeCell::new(MaybeUninit::uninit()),
            callbacks: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Takes the job of a queued task for an executor; `None` when the task is no longer queued.
    pub(crate) fn claim(&self) -> Option<J> {
        // ORDERING: Acquire pairs with the Release in `put_back` (and with the hand-over of the `Arc` for a new task).
        self.advance(|phase| (phase == QUEUED).then_some(HELD)).ok()?;
        // SAFETY: we moved the word out of QUEUED, so the job is there and ours (invariant 2).
        Some(unsafe { take_job(&self.job) })
    }

    /// Puts a claimed job back into a task that should wait again, or returns it when the task has been finished.
    ///
    /// Only the claimer may call it, with the job it got.
    pub(crate) fn put_back(&self, job: J) -> Result<(), J> {
        // SAFETY: between `claim` and this call the job's place belongs to the claimer (invariant 2).
        unsafe { fill(&self.job, job) };
        // ORDERING: Release (in `advance`) publishes the job to the next claimer.
        match self.advance(|phase| (phase == HELD).then_some(QUEUED)) {
            Ok(_) => Ok(()),
            // SAFETY: the word did not go back to QUEUED, so the place is still ours, with what we have just put there.
            Err(_) => Err(unsafe { take_job(&self.job) }),
        }
    }

    /// Keeps a claimed job that is over until the task is dropped, which is most often done by the thread that has made it.
    ///
    /// Only the claimer may call it, once, with the job it got, and does not put it back then.
    pub(crate) fn keep(&self, job: J) {
        // SAFETY: since `claim` the job's place belongs to the claimer (invariant 2), and nothing is there.
        unsafe { fill(&self.job, job) };
        // ORDERING: Release pairs with the Acquire in `drop`.
        self.word.fetch_or(KEPT, Release);
    }

    /// Finishes a task that is queued or held.
    ///
    /// If it was still queued its job is dropped. `counted` runs once it is clear that this outcome is the one, with the
    /// phase that ends, and before anybody can see the outcome.
    ///
    /// # Errors
    ///
    /// The outcome, if the task was finished before.
    pub(crate) fn finish(&self, outcome: O, counted: impl FnOnce(&O, Phase)) -> Result<(), O> {
        self.finish_from(HELD, outcome, counted)
    }

    /// Finishes a task only if it is queued.
    ///
    /// # Errors
    ///
    /// The outcome, if the task is held or was finished before.
    pub(crate) fn finish_queued(&self, outcome: O, counted: impl FnOnce(&O, Phase)) -> Result<(), O> {
        self.finish_from(QUEUED, outcome, counted)
    }

    /// Finishes a task whose phase is `last` or an earlier one.
    fn finish_from(&self, last: u32, outcome: O, counted: impl FnOnce(&O, Phase)) -> Result<(), O> {
        let Ok(before) = self.advance(|phase| (phase <= last).then_some(FINISHING)) else {
            return Err(outcome);
        };
        if before & PHASE == QUEUED {
            // SAFETY: we moved the word out of QUEUED, so the job is there and ours (invariant 2).
            drop_shielded(unsafe { take_job(&self.job) });
            counted(&outcome, Phase::Queued);
        } else {
            counted(&outcome, Phase::Held);
        }
        // SAFETY: we moved the word to FINISHING, so the outcome's place is ours (invariant 3).
        unsafe { set(&self.outcome, outcome) };
        self.leave(FINISHING);
        Ok(())
    }

    /// Goes on to FINISHED from a phase in which we own the outcome, running every callback there is, and wakes.
    fn leave(&self, phase: u32) {
        loop {
            self.run_callbacks();
            // Fails while a callback was added meanwhile (invariant 4).
            let published = self.advance_word(|word| {
                debug_assert_eq!(word & PHASE, phase);
                let woken = if word & AWAITED == 0 { 0 } else { WOKEN };
                (word & CALLBACKS == 0).then_some((word & !(PHASE | AWAITED)) | FINISHED | woken)
            });
            let Ok(before) = published else { continue };
            if before & DETACHED != 0 {
                self.discard_outcome();
            }
            if before & AWAITED != 0 {
                // SAFETY: we turned `AWAITED` into `WOKEN`, so the waker is there and ours (invariant 6).
                super::together::wake(unsafe { take_waker(&self.waker) });
            }
            return;
        }
    }

    /// Runs the callbacks in the list. The caller owns the outcome.
    fn run_callbacks(&self) {
        // ORDERING: Relaxed. A bit that is missed here makes the publication fail, and is looked for again.
        if self.word.load(Relaxed) & CALLBACKS == 0 {
            return;
        }
        // ORDERING: Acquire pairs with the AcqRel in `on_done`: whoever has set the bit is in the list that is taken now.
        self.word.fetch_and(!CALLBACKS, AcqRel);
        let callbacks = self.take_callbacks();
        self.outcome.with(|place| {
            // SAFETY: the caller owns the outcome (invariant 3), so nobody writes it during this borrow.
            let outcome = unsafe { (*place).as_ref() }.expect("an owned outcome has been set");
            for callback in callbacks {
                shield(|| callback(outcome));
            }
        });
    }

    /// Runs `callback` with the outcome: on the thread that finishes the task, or here and now if it has finished.
    ///
    /// Not run at all if the outcome has been taken or discarded.
    pub(crate) fn on_done(&self, callback: Callback<O>) {
        self.register(callback);
        // ORDERING: AcqRel. Release publishes the list to the finisher, Acquire the outcome to us if we revisit it.
        let before = self.word.fetch_or(CALLBACKS, AcqRel);
        // In QUEUED, HELD, FINISHING and REVISITED somebody else will see the bit (invariant 4).
        if before & PHASE == FINISHED
            && before & DETACHED == 0
            && self.advance(|phase| (phase == FINISHED).then_some(REVISITED)).is_ok()
        {
            self.leave(REVISITED);
        }
    }

    /// Returns the outcome if the task has finished, otherwise arranges for `cx` to be woken.
    ///
    /// Only one at a time may call it.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<O> {
        if let Some(outcome) = self.take() {
            return Poll::Ready(outcome);
        }
        self.leave_waker(cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Has `waker` be woken when the outcome is there, unless it is by now.
    fn leave_waker(&self, waker: &Waker) {
        // ORDERING: Relaxed. Only we set `AWAITED`, and what lies in the waker's place then was put there by us.
        let mut word = self.word.load(Relaxed);
        if word & AWAITED != 0 {
            // SAFETY: the waker was there, and whoever takes it out changes nothing in its place (invariant 6).
            if unsafe { is_same_waker(&self.waker, waker) } {
                return;
            }
        }
        let waker = waker.clone();
        if word & AWAITED != 0 {
            // ORDERING: Relaxed, as above.
            word = self.word.fetch_and(!AWAITED, Relaxed);
        }
        if word & WOKEN != 0 {
            return waker.wake();
        }
        if word & AWAITED != 0 {
            // SAFETY: we cleared `AWAITED`, so the waker is there and ours (invariant 6).
            drop_shielded(unsafe { take_waker(&self.waker) });
        }
        // SAFETY: neither `AWAITED` nor `WOKEN` is set, so the place is ours (invariant 6), and nothing is there.
        unsafe { fill(&self.waker, waker) };
        // ORDERING: AcqRel. Release publishes the waker to the finisher that sees the bit; if that came first, Acquire shows
        // its outcome to the look that follows (invariant 5).
        self.word.fetch_or(AWAITED, AcqRel);
    }

    /// Takes the outcome of a finished task.
    pub(crate) fn take(&self) -> Option<O> {
        // ORDERING: Acquire (in `advance`) pairs with the Release of `leave`: whoever sees FINISHED sees the outcome.
        self.advance(|phase| (phase == FINISHED).then_some(TAKEN)).ok()?;
        // SAFETY: we moved the word to TAKEN, so the outcome is ours (invariant 3).
        unsafe { take(&self.outcome) }
    }

    /// Declares that nobody will take the outcome: it is dropped as soon as it is known.
    pub(crate) fn detach(&self) {
        if self.word.fetch_or(DETACHED, AcqRel) & PHASE == FINISHED {
            self.discard_outcome();
        }
    }

    fn discard_outcome(&self) {
        if let Some(outcome) = self.take() {
            drop_shielded(outcome);
        }
    }

    /// Asks the job to stop. It sees it by [`is_stopped`](Self::is_stopped), if it looks.
    pub(crate) fn stop(&self) {
        // ORDERING: Relaxed. The bit is advice and publishes nothing.
        self.word.fetch_or(STOP, Relaxed);
    }

    /// Whether the job was asked to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        // ORDERING: Relaxed, as in `stop`.
        self.word.load(Relaxed) & STOP != 0
    }

    /// Where the task is at this moment.
    pub(crate) fn phase(&self) -> Phase {
        // ORDERING: Acquire, so that who sees a phase also sees what was done before it.
        match self.word.load(Acquire) & PHASE {
            QUEUED => Phase::Queued,
            HELD | FINISHING => Phase::Held,
            _ => Phase::Finished,
        }
    }

    /// Puts a callback at the head of the list.
    fn register(&self, callback: Callback<O>) {
        let new = Box::into_raw(Box::new(Registered { callback, before: ptr::null_mut() }));
        let mut head = self.callbacks.load(Relaxed);
        loop {
            // SAFETY: nobody else has `new` before it is in the list.
            unsafe { (*new).before = head };
            // ORDERING: Release pairs with the Acquire in `take_callbacks`, which reads what was written here. Only who takes the whole
            // list takes anything out, so a head that is still the same has the same list behind it.
            match self.callbacks.compare_exchange_weak(head, new, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Empties the list. Returns the callbacks in the order of their registration.
    fn take_callbacks(&self) -> Vec<Callback<O>> {
        if self.callbacks.load(Relaxed).is_null() {
            return Vec::new();
        }
        // ORDERING: Acquire pairs with the Release in `register`.
        let mut next = self.callbacks.swap(ptr::null_mut(), Acquire);
        let mut callbacks = Vec::new();
        while !next.is_null() {
            // SAFETY: by `Box::into_raw` in `register`, and nobody else's since it was swapped out of the list.
            let Registered { callback, before } = *unsafe { Box::from_raw(next) };
            callbacks.push(callback);
            next = before;
        }
        callbacks.reverse();
        callbacks
    }

    /// Moves the phase as `next` says, keeping the other bits. Returns the word before.
    fn advance(&self, next: impl Fn(u32) -> Option<u32>) -> Result<u32, u32> {
        self.advance_word(|word| next(word & PHASE).map(|phase| (word & !PHASE) | phase))
    }

    /// The one place that changes the phase.
    fn advance_word(&self, next: impl Fn(u32) -> Option<u32>) -> Result<u32, u32> {
        // ORDERING: AcqRel on every transition, so that each owner of job or outcome sees what the owner before it did.
        self.word.fetch_update(AcqRel, Acquire, next)
    }
}

impl<J, O> Drop for Core<J, O> {
    fn drop(&mut self) {
        // ORDERING: Acquire pairs with the Release in `keep`, as in `phase`.
        let word = self.word.load(Acquire);
        if word & PHASE == QUEUED || word & KEPT != 0 {
            // SAFETY: `&mut self`: nobody else is here; and in QUEUED the job is there (invariant 2), as it is if it was kept.
            drop_shielded(unsafe { take_job(&self.job) });
        }
        if word & AWAITED != 0 {
            // SAFETY: `&mut self`: nobody else is here; and the waker is there (invariant 6).
            drop_shielded(unsafe { take_waker(&self.waker) });
        }
        // SAFETY: `&mut self`: nobody else is here.
        unsafe { take(&self.outcome) }.into_iter().for_each(drop_shielded);
        self.take_callbacks().into_iter().for_each(drop_shielded);
    }
}

/// Moves the job out.
///
/// # Safety
///
/// It is there, and no other thread accesses `place` during the call. It is not there afterwards.
unsafe fn take_job<J>(place: &UnsafeCell<MaybeUninit<J>>) -> J {
    // SAFETY: there and exclusive by the caller's promise, and the pointer comes from the cell.
    place.with_mut(|job| unsafe { (*job).assume_init_read() })
}

/// Moves a value in; the place must be empty, or what is there is leaked.
///
/// # Safety
///
/// No other thread accesses `place` during the call.
unsafe fn fill<T>(place: &UnsafeCell<MaybeUninit<T>>, value: T) {
    place.with_mut(|place| {
        // SAFETY: exclusive by the caller's promise, and the pointer comes from the cell.
        unsafe { (*place).write(value) };
    });
}

/// Takes the waker out, and leaves its place as it is.
///
/// # Safety
///
/// It is there, and no other thread changes `place` during the call, or takes it out, too. It is not there afterwards.
unsafe fn take_waker(place: &UnsafeCell<MaybeUninit<Waker>>) -> Waker {
    // SAFETY: there and unchanged by the caller's promise, and the pointer comes from the cell.
    place.with(|waker| unsafe { (*waker).assume_init_read() })
}

/// Whether the waker wakes the same task as another.
///
/// # Safety
///
/// It is there, or was taken out and nothing put there since; and no other thread changes `place` during the call.
unsafe fn is_same_waker(place: &UnsafeCell<MaybeUninit<Waker>>, other: &Waker) -> bool {
    place.with(|waker| {
        // SAFETY: unchanged by the caller's promise, and the pointer comes from the cell. Two wakers are told from each other by their
        // two pointers, which are not followed: so it does not matter if it was taken out.
        unsafe { (*waker).assume_init_ref() }.will_wake(other)
    })
}

/// Moves the value out.
///
/// # Safety
///
/// No other thread accesses `place` during the call.
unsafe fn take<T>(place: &UnsafeCell<Option<T>>) -> Option<T> {
    // SAFETY: exclusive by the caller's promise, and the pointer comes from the cell.
    place.with_mut(|value| unsafe { (*value).take() })
}

/// Moves `value` in; the place must be empty, so that nothing foreign is dropped here.
///
/// # Safety
///
/// No other thread accesses `place` during the call.
unsafe fn set<T>(place: &UnsafeCell<Option<T>>, value: T) {
    place.with_mut(|slot| {
        // SAFETY: exclusive by the caller's promise, and the pointer comes from the cell.
        let slot = unsafe { &mut *slot };
        debug_assert!(slot.is_none());
        *slot = Some(value);
    });
}
