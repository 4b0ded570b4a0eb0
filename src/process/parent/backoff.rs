//! [`Backoff`]: decides what follows a failed start. Pure: no clock, no process.

use std::time::Duration;

/// After this many failed starts in a row, queued tasks are failed.
const GIVE_UP_AFTER: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Counts failed starts in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

/// What follows a failed start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// No start before this has passed.
    pub(super) pause: Duration,
    /// Whether the tasks that are queued now should fail.
    pub(super) give_up: bool,
}

impl Backoff {
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Decides about one more failure. `jitter` is between 0 and 1, and shortens the pause by up to a half.
    ///
    /// Once it has given up, each further failure gives up at once: who calls later learns of it promptly.
    pub(super) fn failed(&mut self, jitter: f64) -> Verdict {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        Verdict {
            pause: doubled.min(LONGEST_PAUSE).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0),
            give_up: self.failures >= GIVE_UP_AFTER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_second_and_the_fifth_failure_gives_up() {
        let mut backoff = Backoff::default();
        let verdicts: Vec<Verdict> = (0..9).map(|_| backoff.failed(0.0)).collect();
        let pauses: Vec<u128> = verdicts.iter().map(|verdict| verdict.pause.as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert!(verdicts.iter().take(4).all(|verdict| !verdict.give_up));
        assert!(verdicts.iter().skip(4).all(|verdict| verdict.give_up));
        backoff.succeeded();
        assert_eq!(backoff.failed(1.0), Verdict { pause: Duration::from_millis(5), give_up: false });
    }
}
