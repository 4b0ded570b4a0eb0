//! The clock that parent and worker share.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds: the same in every process of the machine.
pub(in crate::process) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// One moment, on this program's clock and on the one that its processes write into shared memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::process) struct Moment {
    pub(in crate::process) at: Instant,
    pub(in crate::process) ns: u64,
}

impl Moment {
    pub(in crate::process) fn now() -> Self {
        Self { at: Instant::now(), ns: monotonic_ns() }
    }
}
