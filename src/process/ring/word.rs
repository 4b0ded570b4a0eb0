//! The word of a slot: which position uses the slot, and how far that position has come.

const STATE_BITS: u32 = 3;

/// How far a position has come. The diagram is in the [module's page](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Only in memory that was never written.
    Free = 0,
    Sent = 1,
    Claimed = 2,
    Done = 3,
    Taken = 4,
}

/// A position and its state in 64 bits. At ten million jobs a second positions last for seven thousand years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    pub(super) const fn new(position: u64, state: State) -> Self {
        Self(position << STATE_BITS | state as u64)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn position(self) -> u64 {
        self.0 >> STATE_BITS
    }

    /// Returns the state, unless it is none that we write.
    pub(super) const fn state(self) -> Option<State> {
        match self.0 & ((1 << STATE_BITS) - 1) {
            0 => Some(State::Free),
            1 => Some(State::Sent),
            2 => Some(State::Claimed),
            3 => Some(State::Done),
            4 => Some(State::Taken),
            _ => None,
        }
    }

    /// Returns the state of `position`, unless the word is of another position.
    pub(super) fn state_of(self, position: u64) -> Option<State> {
        if self.position() == position { self.state() } else { None }
    }
}
