//! [`Rest`]: how long a node asks for nothing whose pool cannot run jobs. Pure.

use std::time::{Duration, Instant};

/// How long, the first time; then twice as long, and so on.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The rests of a node. Its slots are free all the time, so that without them it would take the jobs that others could run.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
    /// How many there were since a job was run.
    rests: u32,
}

impl Rest {
    /// A job could not be run. Returns how long the rest is that begins; none if there is one: jobs that were asked for before still come.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        if self.is_on(now) {
            return None;
        }
        let time = FIRST.saturating_mul(1 << self.rests.min(8)).min(LONGEST);
        self.until = Some(now + time);
        self.rests = self.rests.saturating_add(1);
        Some(time)
    }

    /// A job was run: all is well. Says whether it was not.
    pub(super) fn worked(&mut self) -> bool {
        std::mem::take(self).until.is_some()
    }

    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_become_longer_until_a_job_is_run() {
        let (mut rest, mut now) = (Rest::default(), Instant::now());
        assert!(!rest.is_on(now) && !rest.worked());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(rest.failed(now), Some(Duration::from_secs(seconds)));
            assert_eq!(rest.failed(now), None, "it is one failure");
            let last = now + Duration::from_secs(seconds) - Duration::from_millis(1);
            assert!(rest.is_on(last));
            assert_eq!(rest.failed(last), None);
            now += Duration::from_secs(seconds);
            assert!(!rest.is_on(now));
        }
        assert!(rest.worked() && !rest.worked());
        assert_eq!(rest.failed(now), Some(FIRST));
    }
}
