//! The ring: how jobs and their results travel between the parent and one worker process.
//!
//! Pure protocol over an [`Arena`] of shared memory. Nothing here maps memory, rings a doorbell, reads a
//! clock or notices a death: whoever owns the worker does. One slot carries a job and then that job's result,
//! so room for a job is room for its result, and a worker that has finished a job never waits to say so.
//!
//! # The slot word
//!
//! Every job sent has a *position*, counted from 0 and never used twice. Position *p* uses slot *p* mod
//! [`SLOTS`]. The word of a slot is (position, state), changed in one step:
//!
//! ```text
//! FREE, or an     send            claim (swap)                publish
//! older position ──────▶ SENT(p) ──────────────▶ CLAIMED(p) ──────────▶ DONE(p)
//!      ▲     ▲              │                                              │
//!      │     │              │ take_back (swap)                             │ take_reply: private to
//!      │     │              ▼                                              │ the parent, no store
//!      │     └─ send ─── TAKEN(p)                                          │
//!      └─────── send ──────────────────────────────────────────────────────┘
//!
//! parent: send, take_back, take_reply        worker: claim, publish        swap: compare-and-swap
//! ```
//!
//! All-zero memory reads as (0, FREE) in every slot: the empty ring. There is no shared tail, and no head:
//! the word at a position says by itself whether that position has been sent. Both would be one more cache
//! line to pass around, and one more number of the worker's to distrust.
//!
//! # Invariants
//!
//! 1. The parent sends positions in order, each once, and keeps in private memory which of them are *in
//!    flight*: sent, and neither taken back nor consumed. They span at most `SLOTS` positions, so no two of
//!    them share a slot.
//! 2. The parent writes a slot's job only while no position in flight uses the slot. The worker writes a
//!    slot's result only between its own CLAIMED(p) and DONE(p). So at most one side writes a slot at a time.
//! 3. From SENT(p) exactly one compare-and-swap succeeds: the worker's (here the job begins, once) or the
//!    parent's (the job is the parent's again and never begins).
//! 4. The worker takes positions in order, holds one claim at a time, and publishes it before it claims
//!    again. So at most one position is CLAIMED.
//! 5. When the worker is dead the words say exactly what became of each position in flight: DONE(p) is
//!    finished, CLAIMED(p) was begun and not finished, SENT(p) was never begun. This holds after every single
//!    step of the worker.
//! 6. Whatever the worker may have written is untrusted. The parent loads each field once into a local, checks
//!    the local, and decides from it. An impossible value is a `Violation`, never a panic and never an
//!    access outside the arena. The worst that a hostile worker achieves is to lose its own jobs or to answer
//!    them wrongly.
//!
//! # Why a slot is reused before the worker has passed it
//!
//! A job that was taken back frees its slot at once: the parent may write position *p* + N into it while the
//! worker still stands at *p*. No *passed* count is published, since the position in the word does its work:
//!
//! * The worker at *p* reads the slot's word. If it reads SENT(p), its compare-and-swap expects exactly
//!   SENT(p). Positions never repeat, so once the word has moved on it never returns to that value (no ABA)
//!   and the swap fails.
//! * The worker reads the job's fields only after its swap has succeeded. From then on the parent's swap
//!   fails, so *p* stays in flight and the slot is not rewritten (invariant 2). There is no moment at which
//!   the worker reads fields that the parent may write.
//! * Whatever else it reads tells it where it is: an older position means that *p* has not been sent,
//!   TAKEN(p) or a younger position means that *p* was taken back (only then could the slot be reused without
//!   its claim), so it moves on to *p* + 1. It meets the younger position again when it gets there.
//! * The begin time is written before the swap, hence perhaps for a position that is then lost. The field is
//!   the worker's alone and is read by the parent only beside CLAIMED or DONE, both of which the worker
//!   stores after its last write to it.
//!
//! A worker may have to pass many laps of taken-back positions, one load each. And room is counted in
//! positions, not in free slots: while position *p* runs, `SLOTS` − 1 more can be sent, whether or not they
//! are then taken back.
//!
//! # Jobs of several items
//!
//! Such a job publishes the result of each item before it begins the next, in a place beside the slots that the worker's
//! running job has for itself (`progress.rs`). The slots know nothing of it: the job is one position, with one reply in the end.
//! When the worker is dead and the position is CLAIMED, the place says which items were finished.
//!
//! # Sleep
//!
//! ```text
//! sleeper:   store asleep │ SeqCst fence │ read the ring again │ nothing there: wait for the doorbell
//! publisher: store word   │ SeqCst fence │ read asleep         │ set: clear it, then ring the doorbell
//! ```
//!
//! The two fences are ordered one way or the other. If the sleeper's is first, the publisher sees *asleep*
//! and rings; if the publisher's is first, the sleeper sees the word and does not wait. The publisher clears
//! the flag so that a sleeper that is slow to wake is rung once, not once per word. It clears before it
//! rings: whatever was cleared, a ring follows.
//!
//! # Memory
//!
//! Every field is an atomic, the inline bytes included (as 64-bit words: 2 KiB take about
//! 40 ns that way and 13 ns by `memcpy`, so there is little to gain). So a hostile peer that writes at the wrong time produces garbage,
//! which is checked, and no data race, which would be undefined: this module has no `unsafe`.
mod arena;
mod asleep;
mod copied;
mod job;
mod look;
mod parent;
mod place;
mod progress;
mod reply;
mod size;
mod slot;
mod violation;
mod word;
mod worker;

#[cfg(test)]
mod tests;

pub(crate) use arena::Arena;
pub(crate) use copied::Copied;
pub(crate) use job::{Claim, JobHeader};
pub(crate) use look::{Fate, Look};
pub(crate) use parent::{ParentRing, fits_with_note};
pub(crate) use place::Place;
pub(crate) use reply::Reply;
pub(crate) use size::{INLINE, SLOTS};
pub(crate) use worker::WorkerRing;
