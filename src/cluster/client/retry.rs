//! [`Retry`]: how often, and for how long, something is tried again.

use std::time::{Duration, Instant};

use super::super::seat::ClusterJob;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Short, for a server that was away for a second should not be kept waiting for another.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Pauses between tries, which become longer.
#[derive(Debug)]
pub(super) struct Retry {
    pause: Duration,
    until: Instant,
    /// How many tries are left once nobody wants the job any more.
    last_tries: u32,
}

impl Retry {
    /// Until then, and for a job that nobody wants any more a few times.
    pub(super) fn until(until: Instant) -> Self {
        Self { pause: FIRST_PAUSE, until, last_tries: 3 }
    }

    /// For so long from now on.
    pub(super) fn within(limit: Duration) -> Self {
        Self::until(Instant::now() + limit)
    }

    /// Whether to try again, at `now`.
    pub(super) fn goes_on(&mut self, now: Instant, job: Option<&dyn ClusterJob>) -> bool {
        if job.is_some_and(ClusterJob::is_over) {
            let left = self.last_tries;
            self.last_tries = left.saturating_sub(1);
            return left > 0;
        }
        now + self.pause < self.until
    }

    /// Waits until it is time for the next try.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_until_the_time_is_over() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut retry = Retry::until(now + second);
        let table = [(now, true), (now + second / 2, true), (now + second - FIRST_PAUSE, false)];
        for (at, goes_on) in table {
            assert_eq!(retry.goes_on(at, None), goes_on);
        }
    }
}
