//! [`Reply`]: what the worker published for one job.

use super::{copied::Copied, place::Place};

/// The copy of a result, checked as far as the ring can: everything in it is still the worker's word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) position: u64,
    /// When the worker began the job, by its own clock (CLOCK_MONOTONIC, nanoseconds). To be clamped before
    /// use.
    pub(crate) begun_ns: u64,
    /// How long the job took, as the worker says, in nanoseconds; `u32::MAX` is as long or longer. A hint.
    pub(crate) took_ns: u32,
    /// Opaque to the ring: value, panic, encode error and the like.
    pub(crate) kind: u8,
    pub(crate) result: Place<Copied>,
}
