//! [`Lap`]: how often the clock is read while the items of a chunk run; [`Pace`]: how long the items of a map take.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How long items run that are measured together, as far as that is foreseen: to read the clock takes some 20 ns.
const LAP: Duration = Duration::from_micros(1);
/// The most items that are measured together.
const MOST: u64 = 64;
/// How long the rest of a chunk must take to be worth waking another worker for.
const WORTH_HELP: Duration = Duration::from_micros(100);

/// A few items, measured together.
#[derive(Debug)]
pub(super) struct Lap {
    since: Instant,
    /// How many items it is to have, and has.
    items: u64,
    done: u64,
    /// What an item took lately.
    typical: Duration,
}

/// So many items took so long each.
pub(super) type Times = [(u64, Duration); 2];

impl Lap {
    /// The first, of one item.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, items: 1, done: 0, typical: Duration::MAX }
    }

    /// When it began: the clock as it was last read.
    pub(super) fn began(&self) -> Instant {
        self.since
    }

    /// How many items are done.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// An item is done. Says whether the clock is to be read.
    pub(super) fn is_over_after_one_more(&mut self) -> bool {
        self.done += 1;
        self.done >= self.items
    }

    /// Whether items take so long that each is measured.
    pub(super) fn is_of_one(&self) -> bool {
        self.items == 1
    }

    /// Begins the next one, and returns what the items of this one took.
    pub(super) fn end(&mut self, now: Instant) -> Times {
        let time = now.saturating_duration_since(self.since);
        let times = times(self.done, time, self.typical);
        if self.done > 0 {
            self.typical = times[0].1;
            self.items = next_items(self.items, time / self.done as u32);
        }
        (self.since, self.done) = (now, 0);
        times
    }
}

/// Tells apart what items took that were measured together: if that was far more than was foreseen, one of them took it.
fn times(items: u64, together: Duration, typical: Duration) -> Times {
    if items == 0 {
        return [(0, Duration::ZERO); 2];
    }
    let foreseen = typical.saturating_mul(items as u32);
    if items == 1 || together <= foreseen.saturating_mul(2).saturating_add(LAP) {
        return [(items, together / items as u32), (0, Duration::ZERO)];
    }
    let others = typical * (items - 1) as u32;
    [(items - 1, typical), (1, together - others)]
}

fn next_items(items: u64, each: Duration) -> u64 {
    let fit = LAP.as_nanos() / each.as_nanos().max(1);
    u64::try_from(fit).unwrap_or(MOST).clamp(1, (2 * items).min(MOST))
}

/// How long an item of a map takes, as far as is known.
///
/// ORDERING: Relaxed. A hint.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Pace {
    /// Takes note of what items took.
    pub(super) fn note(&self, [(items, each), (slow, longest)]: Times) {
        if items > 0 {
            let nanos =
                (each.as_nanos() as u64).saturating_mul(items).saturating_add(longest.as_nanos() as u64);
            self.0.store(nanos / (items + slow), Relaxed);
        }
    }

    /// Whether so many items take long enough for another worker to take a part of them.
    pub(super) fn is_worth_help(&self, items: usize) -> bool {
        let worth = WORTH_HELP.as_nanos() as u64;
        items > 0 && self.0.load(Relaxed).saturating_mul(items as u64) >= worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Duration = Duration::from_nanos(1);

    #[test]
    fn small_items_are_measured_together_and_one_that_took_longer_is_told_apart() {
        let none = (0, Duration::ZERO);
        let table = [
            ((0, 5 * NS, NS), [none, none]),
            ((1, 5_000_000 * NS, NS), [(1, 5_000_000 * NS), none]),
            ((10, 200 * NS, Duration::MAX), [(10, 20 * NS), none]),
            ((10, 200 * NS, 20 * NS), [(10, 20 * NS), none]),
            ((10, 1_400 * NS, 20 * NS), [(10, 140 * NS), none]),
            ((10, 1_401 * NS, 20 * NS), [(9, 20 * NS), (1, 1_221 * NS)]),
        ];
        for ((items, together, typical), expected) in table {
            assert_eq!(times(items, together, typical), expected);
        }
    }

    #[test]
    fn laps_become_longer_step_by_step_and_short_at_once() {
        let table = [
            ((1, 20), 2),
            ((2, 20), 4),
            ((32, 20), 50),
            ((32, 1), 64),
            ((64, 400), 2),
            ((64, 5_000), 1),
            ((1, 0), 2),
        ];
        for ((items, each), next) in table {
            assert_eq!(next_items(items, each * NS), next, "{items} of {each} ns");
        }
        let start = Instant::now();
        let mut lap = Lap::new(start);
        assert!(lap.is_over_after_one_more());
        assert_eq!(lap.end(start + 20 * NS)[0], (1, 20 * NS));
        assert!(!lap.is_over_after_one_more() && lap.is_over_after_one_more());
        assert_eq!((lap.began(), lap.end(start + 60 * NS)[0]), (start + 20 * NS, (2, 20 * NS)));
    }

    #[test]
    fn help_is_called_for_what_takes_long_or_is_unknown() {
        let pace = Pace::default();
        assert!(pace.is_worth_help(1) && !pace.is_worth_help(0));
        pace.note([(9, 100 * NS), (1, 100 * NS)]);
        assert!(!pace.is_worth_help(999) && pace.is_worth_help(1000));
    }
}
