//! [`JobHeader`] and [`Claim`]: a job as it travels, and as the worker receives it.

use super::{copied::Copied, place::Place};

/// What the worker is to run. The ring carries it and looks at none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobHeader {
    /// Address of the trampoline, in bytes from the anchor.
    pub(crate) trampoline: i64,
    /// Hash of the types that the trampoline checks before it decodes.
    pub(crate) type_hash: u64,
    /// Number of the task, for logs and messages.
    pub(crate) task: u64,
    /// Opaque to the ring.
    pub(crate) flags: u32,
}

/// A job that has begun: the parent can no longer take it back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) position: u64,
    pub(crate) header: JobHeader,
    pub(crate) argument: Place<Copied>,
}
