//! [`Priority`]: which of several waiting jobs begins first.

use std::time::{Duration, Instant};

/// Which of several waiting jobs begins first. Set by [`Job::priority`](crate::Job::priority).
///
/// Waiting jobs begin in the order of their submission, where a [`Normal`](Self::Normal) one counts as submitted one second
/// later than it was, a [`Low`](Self::Low) one ten seconds later. So no job waits for ever behind more urgent ones: what is
/// submitted more than ten seconds after it, whatever its priority, begins after it.
///
/// | a waiting job | is overtaken only by |
/// |---|---|
/// | `High` | nothing |
/// | `Normal` | `High` submitted less than 1 s after it |
/// | `Low` | `Normal` submitted less than 9 s after it, `High` less than 10 s |
///
/// A job that runs is never interrupted for another.
///
/// # Examples
///
/// ```
/// use heavylift::Priority;
///
/// assert_eq!(Priority::default(), Priority::Normal);
/// assert!(Priority::High > Priority::Normal && Priority::Normal > Priority::Low);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// For work that nobody waits for.
    Low,
    /// For all the rest.
    #[default]
    Normal,
    /// For work that somebody waits for at this moment.
    High,
}

impl Priority {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    /// Its number, from 0 for the most urgent on.
    pub(crate) fn lane(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// When a job that was submitted at `submitted` counts as submitted: the earlier, the sooner it begins.
    pub(crate) fn due(self, submitted: Instant) -> Instant {
        submitted.checked_add(self.handicap()).unwrap_or(submitted)
    }

    fn handicap(self) -> Duration {
        match self {
            Self::High => Duration::ZERO,
            Self::Normal => Duration::from_secs(1),
            Self::Low => Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{High, Low, Normal};

    #[test]
    fn a_job_is_overtaken_only_by_more_urgent_ones_and_only_for_a_while() {
        let start = Instant::now();
        let table = [
            // the first, the second, so many milliseconds later => whether the second begins first
            ((Normal, High, 999), true),
            ((Normal, High, 1000), false),
            ((Low, Normal, 8_999), true),
            ((Low, Normal, 9_000), false),
            ((Low, High, 9_999), true),
            ((Low, High, 10_000), false),
            ((High, High, 1), false),
            ((High, Low, 1), false),
            ((Normal, Normal, 1), false),
            ((Low, Low, 1), false),
        ];
        for ((first, second, later), overtakes) in table {
            let second_due = second.due(start + Duration::from_millis(later));
            assert_eq!(second_due < first.due(start), overtakes, "{second:?} {later} ms after {first:?}");
        }
    }
}
