//! [`ParentRing`]: the parent's side, which sends jobs, takes them back and takes their results.

use std::ops::Deref;

use super::{
    arena::Arena,
    job::JobHeader,
    look::{Fate, Look},
    place::Place,
    reply::Reply,
    size::{FIGURES, INLINE, SLOTS, SOON},
    violation::Violation,
    word::State,
};

/// The ring has no room: the oldest position in flight still uses the slot that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The parent's side of one worker's ring, over memory `M`.
///
/// All bookkeeping is private; the shared memory is only ever asked how far a position has come. Invariants:
///
/// 1. `oldest ≤ next ≤ oldest + SLOTS`, and all positions in flight lie in `oldest..next`.
/// 2. `in_flight[p % SLOTS]` says for a position `p` of that range whether it is in flight; outside the range
///    no flag is set.
/// 3. `oldest` is in flight, or equal to `next`.
#[derive(Debug)]
pub(crate) struct ParentRing<M> {
    arena: M,
    oldest: u64,
    next: u64,
    in_flight: [bool; SLOTS],
    /// Buffers for results to come. What is in them is of no concern.
    spare: Vec<Vec<u8>>,
}

impl<M: Deref<Target = Arena>> ParentRing<M> {
    /// Returns the parent's side of a ring that nobody has used: `arena` must be all zero.
    ///
    /// Memory that a dead worker knew is not to be used again: a stray process may still write to it.
    pub(crate) fn new(arena: M) -> Self {
        Self { arena, oldest: 0, next: 0, in_flight: [false; SLOTS], spare: Vec::new() }
    }

    /// Returns whether `send` would succeed.
    pub(crate) fn has_room(&self) -> bool {
        self.next - self.oldest < SLOTS as u64
    }

    /// Sends a job and returns its position. The worker may need to be rung: see [`should_ring_worker`].
    ///
    /// # Errors
    ///
    /// [`Full`] until the oldest position in flight is consumed or taken back.
    ///
    /// # Panics
    ///
    /// If `argument` is inline and longer than [`INLINE`](super::size::INLINE).
    ///
    /// [`should_ring_worker`]: Self::should_ring_worker
    #[cfg(test)]
    pub(crate) fn send(&mut self, header: &JobHeader, argument: Place<&[u8]>) -> Result<u64, Full> {
        self.send_with_note(header, argument, &[])
    }

    /// As [`send`](Self::send), with a note for the worker, for which the argument leaves [room](fits_with_note).
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn send_with_note(
        &mut self,
        header: &JobHeader,
        argument: Place<&[u8]>,
        note: &[u8],
    ) -> Result<u64, Full> {
        if !self.has_room() {
            return Err(Full);
        }
        let position = self.next;
        let slot = self.arena.slot(position);
        slot.write_job(header, argument);
        if !note.is_empty() {
            slot.write_note(note);
        }
        slot.send(position);
        self.next += 1;
        self.in_flight[index(position)] = true;
        Ok(position)
    }

    /// Takes a job back that has not begun. After `true` it never begins and its position is gone.
    ///
    /// After `false` the position has begun, was not in flight, or its word is a violation:
    /// [`look`](Self::look) says which.
    pub(crate) fn take_back(&mut self, position: u64) -> bool {
        let taken = self.is_in_flight(position) && self.arena.slot(position).take_back(position);
        if taken {
            self.release(position);
        }
        taken
    }

    /// Takes back everything that has not begun and returns the positions, oldest first.
    pub(crate) fn take_back_all(&mut self) -> Vec<u64> {
        // Oldest first, because that is what the worker would begin next.
        (self.oldest..self.next).filter(|&position| self.take_back(position)).collect()
    }

    /// Returns how far `position` has come.
    pub(crate) fn look(&self, position: u64) -> Look {
        if !self.is_in_flight(position) {
            return Look::Gone;
        }
        let slot = self.arena.slot(position);
        match slot.word().state_of(position) {
            Some(State::Sent) => Look::Sent,
            Some(State::Claimed) => Look::Claimed { begun_ns: slot.begun() },
            Some(State::Done) => Look::Done,
            Some(State::Free | State::Taken) => {
                Look::Violation(Violation::new("a position in flight is free"))
            }
            None => Look::Violation(Violation::new("the word of a position in flight is foreign")),
        }
    }

    /// Takes the reply of the oldest position in flight; `None` if that has not finished.
    ///
    /// A worker finishes in order, so there is nothing behind it either.
    ///
    /// # Errors
    ///
    /// A [`Violation`] if the slot holds what cannot be. The position stays in flight: kill the worker, then
    /// [`drain`](Self::drain).
    pub(crate) fn take_reply(&mut self) -> Result<Option<Reply>, Violation> {
        self.take_reply_if(|_| true)
    }

    /// As [`take_reply`](Self::take_reply), but leaves a reply that is not `wanted` where it is.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn take_reply_if(
        &mut self,
        wanted: impl FnOnce(&Reply) -> bool,
    ) -> Result<Option<Reply>, Violation> {
        let position = self.oldest;
        match self.look(position) {
            Look::Done => {}
            Look::Violation(violation) => return Err(violation),
            Look::Gone | Look::Sent | Look::Claimed { .. } => return Ok(None),
        }
        self.arena.slot(position + SOON).prefetch();
        // Decided by the copy: what the worker may write afterwards is not looked at.
        let reply = self.read_reply(position)?;
        if !wanted(&reply) {
            return Ok(None);
        }
        self.release(position);
        Ok(Some(reply))
    }

    /// Takes buffers that results were in, for results to come. Leaves none.
    pub(crate) fn reuse(&mut self, buffers: &mut Vec<Vec<u8>>) {
        self.spare.append(buffers);
    }

    /// Empties the ring of a dead worker: every position in flight, oldest first, with what became of it.
    ///
    /// Only after the pidfd has reported the exit: of a living worker a job that is just finishing would
    /// count as `Begun`.
    pub(crate) fn drain(&mut self) -> Vec<(u64, Fate)> {
        let positions: Vec<u64> = self.in_flight().collect();
        positions.into_iter().map(|position| (position, self.settle(position))).collect()
    }

    fn settle(&mut self, position: u64) -> Fate {
        // By swap even now: a process that the worker left behind may hold the memory, and what runs
        // elsewhere must not begin there.
        if self.take_back(position) {
            return Fate::NotBegun;
        }
        let fate = match self.look(position) {
            Look::Claimed { begun_ns } => Fate::Begun { begun_ns },
            Look::Done => self.read_reply(position).map_or_else(Fate::Unknown, Fate::Finished),
            Look::Violation(violation) => Fate::Unknown(violation),
            Look::Sent | Look::Gone => Fate::Unknown(Violation::new("a word went back to an earlier state")),
        };
        self.release(position);
        fate
    }

    /// Asks the job at `position` to stop: its `is_cancelled()` turns true. Nothing is woken or signalled.
    pub(crate) fn request_stop(&self, position: u64) {
        self.arena.request_stop(position);
    }

    /// Returns the results of the items of a job that runs, or that ran when the worker died: their number, and their bytes.
    ///
    /// # Errors
    ///
    /// A [`Violation`] if that cannot be.
    pub(crate) fn items(&self, position: u64) -> Result<(u32, Vec<u8>), Violation> {
        self.arena.items(position)
    }

    /// Returns the positions in flight, oldest first.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = u64> + '_ {
        (self.oldest..self.next).filter(|&position| self.is_in_flight(position))
    }

    /// Returns the oldest position in flight: the one that runs, or would run next.
    #[cfg(test)]
    pub(crate) fn oldest(&self) -> Option<u64> {
        (self.oldest < self.next).then_some(self.oldest)
    }

    /// Returns whether the worker must be rung for what was sent since the last call. After `true` the caller
    /// must ring.
    ///
    /// One call is enough after a batch of `send`s.
    #[must_use = "the worker sleeps on unless it is rung"]
    pub(crate) fn should_ring_worker(&self) -> bool {
        self.arena.worker_asleep.take_ring()
    }

    /// Returns whether the worker has said that it waits, so that it has nothing to do. A hint.
    pub(crate) fn worker_is_asleep(&self) -> bool {
        self.arena.worker_asleep.is_set()
    }

    /// Returns what the worker has measured of its jobs, added up: its own word.
    pub(crate) fn figures(&self) -> [u64; FIGURES] {
        self.arena.figures()
    }

    /// Says that the parent is about to wait. Wait only if [`may_sleep`](Self::may_sleep) then agrees.
    pub(crate) fn fall_asleep(&self) {
        self.arena.parent_asleep.set();
    }

    /// Returns whether there is nothing to take: no reply and no violation. To be asked after
    /// [`fall_asleep`](Self::fall_asleep).
    pub(crate) fn may_sleep(&self) -> bool {
        matches!(self.look(self.oldest), Look::Gone | Look::Sent | Look::Claimed { .. })
    }

    /// Says that the parent is awake and need not be rung.
    pub(crate) fn wake_up(&self) {
        self.arena.parent_asleep.clear();
    }

    /// Copies the reply out of a slot that was seen DONE, and checks the copy.
    fn read_reply(&mut self, position: u64) -> Result<Reply, Violation> {
        let slot = self.arena.slot(position);
        let (begun_ns, kind, result) = (slot.begun(), slot.read_kind()?, slot.read_place(&mut self.spare)?);
        Ok(Reply { position, begun_ns, took_ns: slot.read_took(), kind, result })
    }

    fn is_in_flight(&self, position: u64) -> bool {
        (self.oldest..self.next).contains(&position) && self.in_flight[index(position)]
    }

    fn release(&mut self, position: u64) {
        self.in_flight[index(position)] = false;
        while self.oldest < self.next && !self.in_flight[index(self.oldest)] {
            self.oldest += 1;
        }
    }
}

/// Whether an argument and a note both find room in a slot.
pub(crate) fn fits_with_note(argument: usize, note: usize) -> bool {
    argument.next_multiple_of(8) + note.next_multiple_of(8) <= INLINE
}

fn index(position: u64) -> usize {
    (position % SLOTS as u64) as usize
}
