//! [`Look`] and [`Fate`]: what the parent learns about a position, of a living and of a dead worker.

use super::{reply::Reply, violation::Violation};

/// How far a position has come, at the moment of looking. Only `Done` and `Gone` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not in flight: not sent yet, taken back, or consumed.
    Gone,
    /// Sent and not begun.
    Sent,
    /// Begun at `begun_ns` by the worker's clock (CLOCK_MONOTONIC, nanoseconds; to be clamped), and not
    /// finished.
    Claimed { begun_ns: u64 },
    /// Finished: the reply can be taken once the positions before it are gone.
    Done,
    /// The slot holds what cannot be.
    Violation(Violation),
}

/// What became of a position whose worker is dead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Never begun: it can run elsewhere.
    NotBegun,
    /// Begun and not finished: it died with the worker.
    Begun { begun_ns: u64 },
    /// Finished before the death.
    Finished(Reply),
    /// Nobody can tell. It may have begun, so it must not run again.
    Unknown(Violation),
}
