//! [`Pace`]: how long the items of one map take, as its workers measure it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A mean is one of the last items, of this many at most and of half as many at least.
const WINDOW: u64 = 4096;

/// A mean of what things took lately.
///
/// Each counts with its time, so that of a thing that takes long now and then the mean has its share. With every [`WINDOW`] of them
/// those before count half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    count: u64,
    nanos: u64,
}

impl Recent {
    /// Takes note of things that took so long together.
    pub(crate) fn note(&mut self, count: u64, together: Duration) {
        let nanos = u64::try_from(together.as_nanos()).unwrap_or(u64::MAX);
        (self.count, self.nanos) = (self.count.saturating_add(count), self.nanos.saturating_add(nanos));
        while self.count > WINDOW {
            (self.count, self.nanos) = (self.count / 2, self.nanos / 2);
        }
    }

    /// How many things the mean is of.
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// How long one took; `None` while none was measured.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.nanos.checked_div(self.count).map(Duration::from_nanos)
    }
}

/// How long the items of a map took lately. Shared by the map and by whatever runs its items.
#[derive(Debug)]
pub(crate) struct Pace {
    /// What an item took at the last look, in nanoseconds; `u64::MAX` before the first.
    ///
    /// ORDERING: Relaxed. A hint.
    latest: AtomicU64,
    /// Taken alone, for a few additions: once per job or per chunk, not once per item of a chunk.
    recent: Mutex<Recent>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { latest: AtomicU64::new(u64::MAX), recent: Mutex::default() }
    }
}

impl Pace {
    /// Takes note of what an item took just now. Costs next to nothing, and is not part of what is [`recent`](Self::recent).
    pub(crate) fn note_latest(&self, each: Duration) {
        self.latest.store(u64::try_from(each.as_nanos()).unwrap_or(u64::MAX - 1), Relaxed);
    }

    /// What an item took at the last look.
    pub(crate) fn latest(&self) -> Option<Duration> {
        let nanos = self.latest.load(Relaxed);
        (nanos != u64::MAX).then(|| Duration::from_nanos(nanos))
    }

    /// Takes note of items that ran so long together.
    pub(crate) fn note(&self, items: u64, together: Duration) {
        self.lock().note(items, together);
    }

    /// What is known by now.
    pub(crate) fn recent(&self) -> Recent {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn the_mean_follows_what_becomes_slow_or_quick_and_weighs_what_is_rare() {
        let mut recent = Recent::default();
        assert_eq!((recent.mean(), recent.count()), (None, 0));
        (0..100).for_each(|_| recent.note(1000, 1000 * US));
        assert_eq!(recent.mean(), Some(US));
        assert!((2048..=4096).contains(&recent.count()));

        // A few that take far longer are enough.
        (0..5).for_each(|_| recent.note(1, 10_000 * US));
        assert!(recent.mean() > Some(12 * US), "{recent:?}");
        (0..40).for_each(|_| recent.note(1000, 1000 * US));
        assert!(recent.mean() < Some(2 * US), "{recent:?}");

        // One in a thousand that takes a thousand times as long doubles the mean.
        (0..100).for_each(|_| recent.note(1000, 2000 * US));
        assert_eq!(recent.mean(), Some(2 * US));
    }

    #[test]
    fn what_takes_longer_than_can_be_counted_is_as_long_as_can_be() {
        let pace = Pace::default();
        assert_eq!(pace.latest(), None);
        pace.note_latest(Duration::MAX);
        assert!(pace.latest() > Some(Duration::from_secs(1 << 30)));
        pace.note(1, Duration::MAX);
        pace.note(1, Duration::MAX);
        assert!(pace.recent().mean() > Some(Duration::from_secs(1 << 30)));
        pace.note(u64::MAX, US);
        assert!(pace.recent().count() <= WINDOW as usize);
    }
}
