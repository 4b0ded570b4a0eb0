//! [`PoolRule`]: what may be found about a pool that works, by name.

use std::fmt;

/// What may be found about a pool that works. [`PoolAdvice`](super::PoolAdvice) explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolRule {
    /// Jobs are smaller than their hand-over.
    TooSmall,
    /// More jobs compute at a time than there are cores.
    Oversubscribed,
    /// Jobs wait longer than they run, and more workers would help.
    TooFewWorkers,
    /// Workers have nothing to do, and stay.
    TooManyWorkers,
    /// Arguments and results cost more than the jobs.
    Payload,
    /// Jobs that wait and jobs that compute hold each other up.
    Mixed,
    /// Jobs wait longer than they run, and more workers would not help.
    Saturated,
}

impl PoolRule {
    /// All rules, by number.
    pub const ALL: [Self; 7] = [
        Self::TooSmall,
        Self::Oversubscribed,
        Self::TooFewWorkers,
        Self::TooManyWorkers,
        Self::Payload,
        Self::Mixed,
        Self::Saturated,
    ];

    /// Returns the id by which the documentation explains it.
    pub fn id(self) -> &'static str {
        match self {
            Self::TooSmall => "L1-too-small",
            Self::Oversubscribed => "L2-oversubscribed",
            Self::TooFewWorkers => "L3-too-few-workers",
            Self::TooManyWorkers => "L4-too-many-workers",
            Self::Payload => "L5-payload",
            Self::Mixed => "L6-mixed",
            Self::Saturated => "L7-saturated",
        }
    }
}

impl fmt::Display for PoolRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}
