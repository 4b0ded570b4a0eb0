//! The clock that parent and worker share.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::clock::Stamp;

/// CLOCK_MONOTONIC in nanoseconds: the same in every process of the machine.
pub(in crate::process) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The same clock for a thread that asks for it with every job: see [`Stamp`].
#[derive(Debug, Clone, Copy)]
pub(in crate::process) struct Clock {
    /// Of the clock when stamps began.
    first_ns: u64,
}

impl Clock {
    pub(in crate::process) fn new() -> Self {
        // In this order, so that no time is to come.
        let now_ns = monotonic_ns();
        Self { first_ns: now_ns.saturating_sub(Stamp::of(Instant::now()).nanos()) }
    }

    /// The time, or what it was less than a tenth of a microsecond ago. Never a time to come.
    pub(in crate::process) fn now_ns(self) -> u64 {
        self.first_ns + Stamp::now().nanos()
    }
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
