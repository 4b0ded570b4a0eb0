//! [`Staff`]: how many workers a pool has had, and for how long.

use std::time::{Duration, Instant};

/// How many workers there are, were at most, and how long they have been there, together.
#[derive(Debug, Default)]
pub(crate) struct Staff {
    now: usize,
    most: usize,
    /// The time of all workers up to `changed`.
    time: Duration,
    changed: Option<Instant>,
}

impl Staff {
    /// A worker has come.
    pub(crate) fn came(&mut self, at: Instant) {
        self.settle(at);
        self.now += 1;
        self.most = self.most.max(self.now);
    }

    /// A worker has gone.
    pub(crate) fn left(&mut self, at: Instant) {
        self.settle(at);
        self.now = self.now.saturating_sub(1);
    }

    /// The most workers that there were at a time.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How long all workers have been there, together.
    pub(crate) fn time(&self, at: Instant) -> Duration {
        let since = self.changed.map_or(Duration::ZERO, |changed| at.saturating_duration_since(changed));
        self.time.saturating_add(since.saturating_mul(u32::try_from(self.now).unwrap_or(u32::MAX)))
    }

    fn settle(&mut self, at: Instant) {
        self.time = self.time(at);
        self.changed = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_counts_from_its_coming_to_its_going() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut staff = Staff::default();
        assert_eq!((staff.most(), staff.time(at(9))), (0, Duration::ZERO));
        staff.came(at(0));
        staff.came(at(10));
        assert_eq!(staff.time(at(11)), Duration::from_secs(12));
        staff.left(at(20));
        staff.left(at(30));
        assert_eq!((staff.most(), staff.time(at(99))), (2, Duration::from_secs(40)));
    }
}
