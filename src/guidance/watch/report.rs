//! [`WatchReport`]: what a watch has noticed, as plain data.

use std::{fmt, time::Duration};

use super::Hold;
use crate::Distribution;

/// What a [`Watch`](super::Watch) has noticed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchReport {
    /// How often the watch has looked at the runtime.
    pub samples: u64,
    /// How often tasks blocked a worker for longer than the limit, those that still do included.
    pub blocked: u64,
    /// How often a worker was busy for longer than twice the limit, and it could not be told whether one task held it.
    pub busy: u64,
    /// The longest time that tasks blocked a worker, so far: at least.
    pub longest: Duration,
    /// For how long tasks blocked workers, without those that still do.
    pub held: Distribution,
    /// The workers that are held now, [busy](super::Verdict::Busy) ones included.
    pub ongoing: Vec<Hold>,
    /// The latest of all, as it was last seen.
    pub last: Option<Hold>,
}

impl fmt::Display for WatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, blocked, busy, longest, held, ongoing, last } = self;
        write!(f, "workers blocked {blocked} times, for up to {} ms", longest.as_millis())?;
        if held.count > 0 {
            write!(f, " (half of them for up to {} ms)", held.p50.as_millis())?;
        }
        write!(f, "; busy {busy} times; {} held now; looked {samples} times", ongoing.len())?;
        last.iter().try_for_each(|hold| write!(f, "\nlast: {hold}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_nothing_says_so() {
        let report = WatchReport { samples: 3, ..WatchReport::default() };
        assert_eq!(
            report.to_string(),
            "workers blocked 0 times, for up to 0 ms; busy 0 times; 0 held now; looked 3 times"
        );
    }
}
