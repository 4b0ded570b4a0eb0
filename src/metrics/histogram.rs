//! [`Histogram`]: counts durations in buckets whose width grows with their value.

use std::time::Duration;

use super::Distribution;
use crate::shards::Count;

/// Buckets per doubling: the width of a bucket is an eighth of its value.
const STEPS: u64 = 8;
/// Up to 2^43 ns, which is two hours and a half; longer ones count as that long, except in `max`.
pub(super) const BUCKETS: usize = 8 * 42;

/// How many durations fell into each bucket.
pub(super) type Buckets = [u64; BUCKETS];

/// Counts of durations, which any thread may add to.
///
/// ORDERING: Relaxed throughout. Each count stands for itself, and a summary is a snapshot by nature.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [Count; BUCKETS],
    max_nanos: Count,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { Count::new() }; BUCKETS], max_nanos: Count::new() }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        self.record_many(1, duration);
    }

    /// Counts so many of the same duration.
    pub(crate) fn record_many(&self, count: u64, duration: Duration) {
        if count == 0 {
            return;
        }
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)].add(count);
        self.max_nanos.raise(nanos);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(Count::get).sum()
    }

    /// Adds the counts to others.
    pub(super) fn add_to(&self, sums: &mut Buckets) {
        sums.iter_mut().zip(&self.counts).for_each(|(sum, count)| *sum += count.get());
    }

    /// Summarizes several histograms as if they were one.
    pub(crate) fn summary<'a>(all: impl Iterator<Item = &'a Self>) -> Distribution {
        let mut counts = [0; BUCKETS];
        let mut max = 0;
        for histogram in all {
            histogram.add_to(&mut counts);
            max = max.max(histogram.max_nanos.get());
        }
        distribution(&counts, max)
    }
}

/// The distribution of what fell into these buckets, of which the longest was this long.
pub(super) fn distribution(counts: &Buckets, max: u64) -> Distribution {
    let count = counts.iter().sum();
    let sum =
        counts.iter().enumerate().map(|(bucket, &n)| u128::from(n) * u128::from(middle(bucket).min(max)));
    let sum = duration(sum.sum());
    let at = |percent| Duration::from_nanos(percentile(counts, count, percent).min(max));
    Distribution { count, p50: at(50), p90: at(90), p99: at(99), max: Duration::from_nanos(max), sum }
}

/// The bucket that a duration falls into.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let doubling = u64::from(nanos.ilog2()) - 3;
    let step = (nanos >> doubling) - STEPS;
    ((doubling + 1) * STEPS + step).min(BUCKETS as u64 - 1) as usize
}

/// The largest duration that falls into a bucket.
pub(super) fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let doubling = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS + 1) << doubling) - 1
}

/// What a duration of a bucket is taken for where they are added up: so nobody has to count their sum.
pub(super) fn middle(bucket: usize) -> u64 {
    let least = bucket.checked_sub(1).map_or(0, |before| upper_bound(before) + 1);
    least.midpoint(upper_bound(bucket))
}

fn duration(nanos: u128) -> Duration {
    let nanos_of_second = (nanos % 1_000_000_000) as u32;
    Duration::new(u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX), nanos_of_second)
}

fn percentile(counts: &[u64], count: u64, percent: u64) -> u64 {
    let rank = (count * percent).div_ceil(100);
    let mut seen = 0;
    for (bucket, n) in counts.iter().enumerate() {
        seen += n;
        if seen >= rank && *n > 0 {
            return upper_bound(bucket);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_a_bucket_at_most_an_eighth_too_long() {
        for nanos in (0..64).flat_map(|shift| [1u64 << shift, (1 << shift) + (1 << shift) / 3]) {
            let bound = upper_bound(bucket(nanos));
            if bucket(nanos) < BUCKETS - 1 {
                assert!(bound >= nanos && bound - nanos <= nanos / 8, "{nanos} counted as {bound}");
            }
        }
    }

    #[test]
    fn percentiles_of_a_known_distribution() {
        let histograms = [Histogram::default(), Histogram::default()];
        assert_eq!(Histogram::summary(histograms.iter()), Distribution::default());
        (1..=100).for_each(|ms| histograms[ms as usize % 2].record(Duration::from_millis(ms)));
        let summary = Histogram::summary(histograms.iter());
        let near = |found: Duration, ms: u64| {
            let exact = Duration::from_millis(ms);
            found >= exact && found <= exact + exact / 8
        };
        assert!(near(summary.p50, 50) && near(summary.p90, 90) && near(summary.p99, 99), "{summary:?}");
        assert_eq!((summary.count, summary.max), (100, Duration::from_millis(100)));
        assert!(summary.sum.abs_diff(Duration::from_millis(5050)) < Duration::from_millis(5050 / 16));
        assert!(summary.mean().abs_diff(summary.sum / 100) < Duration::from_micros(1));
    }

    #[test]
    fn the_sum_is_right_to_a_sixteenth_whatever_the_durations() {
        for nanos in (3..42).flat_map(|shift| [1u64 << shift, (1 << shift) + (1 << shift) / 3]) {
            let histogram = Histogram::default();
            histogram.record_many(1000, Duration::from_nanos(nanos));
            let (sum, exact) =
                (Histogram::summary([&histogram].into_iter()).sum, Duration::from_nanos(nanos) * 1000);
            assert!(sum.abs_diff(exact) <= exact / 16, "{nanos}: {sum:?}");
        }
    }
}
