//! [`Tally`]: what histograms have counted up to some moment.

use super::{
    Distribution, Histogram,
    histogram::{BUCKETS, Buckets, distribution, upper_bound},
};

/// What histograms have counted up to some moment. What they count between two such moments is a distribution as well.
#[derive(Debug)]
pub(crate) struct Tally(Buckets);

impl Tally {
    /// Adds histograms up, as if they were one.
    pub(crate) fn of<'a>(all: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut counts = [0; BUCKETS];
        all.for_each(|histogram| histogram.add_to(&mut counts));
        Self(counts)
    }

    /// What has been counted since an earlier moment. Its `max` is that of a bucket.
    pub(crate) fn since(&self, earlier: &Self) -> Distribution {
        let mut counts = self.0;
        counts.iter_mut().zip(&earlier.0).for_each(|(now, then)| *now = now.saturating_sub(*then));
        let longest = counts.iter().rposition(|&count| count > 0);
        distribution(&counts, longest.map_or(0, upper_bound))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_counted_between_two_moments_is_a_distribution() {
        let histogram = Histogram::default();
        histogram.record_many(1000, Duration::from_secs(1));
        let before = Tally::of([&histogram].into_iter());
        assert_eq!(before.since(&before), Distribution::default());
        histogram.record_many(10, Duration::from_millis(1));
        let recent = Tally::of([&histogram].into_iter()).since(&before);
        assert_eq!(recent.count, 10);
        assert!(
            recent.p50 >= Duration::from_millis(1) && recent.max < Duration::from_micros(1125),
            "{recent:?}"
        );
    }
}
