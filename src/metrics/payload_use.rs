//! [`PayloadUse`]: what went to worker processes and came back.

use std::time::Duration;

/// Payloads of up to so many bytes are not counted: they cost less than to count them.
pub(crate) const LARGE: usize = 2048;

/// What went to worker processes and came back, in payloads of more than 2 KiB: smaller ones cost hardly more than a number.
///
/// All zero for threads, to which nothing is copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PayloadUse {
    /// Bytes of encoded arguments.
    pub argument_bytes: u64,
    /// Bytes of encoded results.
    pub result_bytes: u64,
    /// How long this program took to encode these arguments, to copy them, and to decode these results. The worker processes take
    /// about as long for the other half, which is part of the jobs' run time.
    pub time: Duration,
}
