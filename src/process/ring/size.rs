//! How large a ring is. The models compile the protocol against smaller numbers.

/// Slots of a ring: the most jobs that one worker can have been sent and not have finished.
///
/// With half as many the smallest jobs lose an eighth of their rate, for both sides then take turns twice as often. They are used in turn,
/// so a worker that has had so many jobs has half a megabyte of shared memory, and one that has had none has nothing of it.
pub(crate) const SLOTS: usize = 256;

/// Bytes of an argument or a result that travel inside the slot; a multiple of 8. Longer ones go into a
/// segment.
///
/// With the slot's head this makes 33 cache lines. An odd number spreads the heads over all sets of the
/// cache.
pub(crate) const INLINE: usize = 2048;

/// How many positions ahead a slot is prefetched.
pub(crate) const SOON: u64 = 2;

/// How many numbers a worker tells of what it has measured.
pub(crate) const FIGURES: usize = 9;

const _: () = assert!(size_of::<super::slot::Slot>() == 64 + INLINE, "a slot is one head line and its bytes");
