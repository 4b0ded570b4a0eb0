//! [`Distribution`]: a summary of many durations.

use std::time::Duration;

/// A summary of many durations, each figure within 13 % of the true one; zero when there were none.
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
    /// All of them together.
    pub sum: Duration,
}

impl Distribution {
    /// Returns the mean; zero when there were none.
    pub fn mean(&self) -> Duration {
        match self.count {
            0 => Duration::ZERO,
            count => Duration::from_secs_f64(self.sum.as_secs_f64() / count as f64),
        }
    }
}
