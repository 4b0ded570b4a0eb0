//! [`WorkerRing`]: the worker's side, which claims jobs and publishes their results.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    ops::Deref,
};

use super::{
    arena::Arena,
    job::Claim,
    place::Place,
    size::{INLINE, SLOTS, SOON},
    violation::Violation,
    word::{State, Word},
};

/// The worker's side of its ring, over memory `M`.
///
/// The parent is trusted here. The memory is not quite: a job that writes through a wild pointer may have hit
/// it, and a worker that notices should end.
#[derive(Debug)]
pub(crate) struct WorkerRing<M> {
    arena: M,
    /// The position that is looked at next.
    next: u64,
    /// The position that is claimed and not published: always the one before `next`.
    running: Option<u64>,
}

/// What the word at the worker's next position means to it.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    NotSent,
    Sent,
    TakenBack,
}

impl<M: Deref<Target = Arena>> WorkerRing<M> {
    /// Returns the worker's side of a ring of which no position has been claimed.
    pub(crate) fn new(arena: M) -> Self {
        Self { arena, next: 0, running: None }
    }

    /// Begins the next job; `None` if none is waiting. `clock` is read right before: CLOCK_MONOTONIC in
    /// nanoseconds.
    ///
    /// # Errors
    ///
    /// A [`Violation`] if the memory is corrupt. The job, if any, counts as begun: the worker should end.
    ///
    /// # Panics
    ///
    /// If the last claim has not been published.
    pub(crate) fn claim(&mut self, clock: impl Fn() -> u64) -> Result<Option<Claim>, Violation> {
        assert!(self.running.is_none(), "a worker claims only after it has published");
        loop {
            let turn = self.turn()?;
            if turn == Turn::NotSent {
                return Ok(None);
            }
            let position = self.next;
            self.next += 1;
            self.arena.slot(position + SOON).prefetch();
            if turn == Turn::Sent && self.arena.slot(position).claim(position, clock()) {
                self.running = Some(position);
                return self.read_claim(position).map(Some);
            }
        }
    }

    /// The note that came with the running job, which the job says to be `len` bytes long.
    ///
    /// # Errors
    ///
    /// A [`Violation`] if that cannot be.
    ///
    /// # Panics
    ///
    /// If no job is running.
    #[cfg_attr(not(feature = "opentelemetry"), allow(dead_code, reason = "nobody else reads one"))]
    pub(crate) fn note(&self, len: usize) -> Result<Vec<u8>, Violation> {
        let position = self.running.expect("a claim comes before its note");
        if len > INLINE {
            return Err(Violation::new("a note is longer than the slot"));
        }
        Ok(self.arena.slot(position).read_note(len))
    }

    /// Notes how long the running job took, in nanoseconds: for its reply.
    ///
    /// # Panics
    ///
    /// If no job is running.
    pub(crate) fn note_took(&self, took_ns: u64) {
        let position = self.running.expect("a claim comes before its end");
        self.arena.slot(position).write_took(took_ns.try_into().unwrap_or(u32::MAX));
    }

    /// Publishes the result of the running job. The parent may need to be rung: see [`should_ring_parent`].
    ///
    /// # Panics
    ///
    /// If no job is running, or `result` is inline and longer than [`INLINE`](super::size::INLINE).
    ///
    /// [`should_ring_parent`]: Self::should_ring_parent
    pub(crate) fn publish(&mut self, kind: u8, result: Place<&[u8]>) {
        let position = self.running.take().expect("a claim comes before its reply");
        let slot = self.arena.slot(position);
        slot.write_result(kind, result);
        slot.publish(position);
    }

    /// Returns the position of the running job.
    #[cfg(test)]
    pub(crate) fn running(&self) -> Option<u64> {
        self.running
    }

    /// Returns whether the parent must be rung for what was published since the last call. After `true` the
    /// caller must ring.
    #[must_use = "the parent sleeps on unless it is rung"]
    pub(crate) fn should_ring_parent(&self) -> bool {
        self.arena.parent_asleep.take_ring()
    }

    /// Says that the worker is about to wait. Wait only if [`may_sleep`](Self::may_sleep) then agrees.
    pub(crate) fn fall_asleep(&self) {
        self.arena.worker_asleep.set();
    }

    /// Returns whether there is nothing for [`claim`](Self::claim) to look at. To be asked after
    /// [`fall_asleep`](Self::fall_asleep).
    pub(crate) fn may_sleep(&self) -> bool {
        self.turn() == Ok(Turn::NotSent)
    }

    /// Says that the worker is awake and need not be rung.
    pub(crate) fn wake_up(&self) {
        self.arena.worker_asleep.clear();
    }

    fn turn(&self) -> Result<Turn, Violation> {
        let word = self.arena.slot(self.next).peek();
        match (word.position().cmp(&self.next), word.state()) {
            (_, Some(State::Free)) if word != Word::new(0, State::Free) => {
                Err(Violation::new("a used slot is free"))
            }
            (Less, Some(_)) | (Equal, Some(State::Free)) => Ok(Turn::NotSent),
            (Equal, Some(State::Sent)) => Ok(Turn::Sent),
            (Equal, Some(State::Taken)) => Ok(Turn::TakenBack),
            // The parent alone writes positions ahead of the worker, and only of this slot.
            (Greater, Some(State::Sent | State::Taken)) if same_slot(word.position(), self.next) => {
                Ok(Turn::TakenBack)
            }
            _ => Err(Violation::new("the word of the next position is foreign")),
        }
    }

    fn read_claim(&self, position: u64) -> Result<Claim, Violation> {
        let slot = self.arena.slot(position);
        Ok(Claim { position, header: slot.read_job(), argument: slot.read_place(&mut Vec::new())? })
    }
}

fn same_slot(a: u64, b: u64) -> bool {
    a % SLOTS as u64 == b % SLOTS as u64
}
