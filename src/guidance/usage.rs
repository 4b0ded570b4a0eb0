//! [`Usage`]: what the calling thread has had of the processors.

use std::time::Duration;

/// What a thread has had of the processors since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Time in which it computed.
    pub(super) computing: Duration,
    /// How often it gave the processor away of itself, because it had to wait.
    pub(super) switches: u64,
}

/// What the calling thread has had so far; `None` where the platform does not tell.
#[cfg(target_os = "linux")]
pub(super) fn of_this_thread() -> Option<Usage> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    Some(Usage { computing: computing()?, switches: switches.trim().parse().ok()? })
}

/// As [`of_this_thread`], only the time, which costs a third of a microsecond.
#[cfg(target_os = "linux")]
pub(super) fn computing() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of_this_thread() -> Option<Usage> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn computing() -> Option<Duration> {
    None
}
