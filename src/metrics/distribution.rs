//! [`Distribution`]: a summary of many durations.

use std::time::Duration;

/// A summary of many durations, each within 13 % of the true value; zero when there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distribution {
    /// How many durations there were.
    pub count: u64,
    /// Half of them were at most this long.
    pub p50: Duration,
    /// Nine in ten were at most this long.
    pub p90: Duration,
    /// Ninety-nine in a hundred were at most this long.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}
