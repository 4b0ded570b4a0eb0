//! [`Lap`]: how often the clock is read while the items of a chunk run, and what that says.

use std::time::{Duration, Instant};

/// How long items run that are measured together, as far as that is foreseen: to read the clock takes some 20 ns.
const LAP: Duration = Duration::from_micros(1);
/// The most items that are measured together.
const MOST: u64 = 64;
/// How long the rest of a chunk must take to be worth waking another worker for: twice as long as a chunk of automatic size.
const WORTH_HELP: Duration = Duration::from_micros(500);
/// How much work of one chunk the map is told of at a time: it is not to learn of each small item, nor at the end only of a slow one.
const TOLD: Duration = Duration::from_micros(50);

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

/// What one of these items took.
pub(super) fn mean([(items, each), (slow, longest)]: Times) -> Option<Duration> {
    let together = each.saturating_mul(items as u32).saturating_add(longest.saturating_mul(slow as u32));
    together.checked_div((items + slow) as u32)
}

/// What items took that nobody has been told of.
#[derive(Debug, Default)]
pub(super) struct Untold {
    items: u64,
    together: Duration,
}

impl Untold {
    /// Adds what items took. Returns how many they are and what they took together, if that is worth telling.
    pub(super) fn add(&mut self, times: Times) -> Option<(u64, Duration)> {
        for (items, each) in times {
            self.items += items;
            self.together = self.together.saturating_add(each.saturating_mul(items as u32));
        }
        if self.together >= TOLD { self.take() } else { None }
    }

    /// What is left to be told.
    pub(super) fn take(&mut self) -> Option<(u64, Duration)> {
        let Self { items, together } = std::mem::take(self);
        (items > 0).then_some((items, together))
    }
}

fn next_items(items: u64, each: Duration) -> u64 {
    let fit = LAP.as_nanos() / each.as_nanos().max(1);
    u64::try_from(fit).unwrap_or(MOST).clamp(1, (2 * items).min(MOST))
}

/// Whether so many items that take so long each, as far as is known, take long enough for another worker to take a part of them.
pub(super) fn is_worth_help(items: usize, each: Option<Duration>) -> bool {
    let all =
        each.map_or(Duration::MAX, |each| each.saturating_mul(u32::try_from(items).unwrap_or(u32::MAX)));
    items > 0 && all >= WORTH_HELP
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
    fn slow_items_are_told_one_by_one_and_small_ones_together() {
        let mut untold = Untold::default();
        let mut told = |times| untold.add(times).map(|(items, _)| items);
        let none = (0, Duration::ZERO);
        assert_eq!(told([(64, 700 * NS), none]), None);
        assert_eq!(told([(9, 700 * NS), (1, 50_000 * NS)]), Some(74));
        assert_eq!(told([(1, 50_000 * NS), none]), Some(1));
        assert_eq!(told([(3, 700 * NS), none]), None);
        assert_eq!([untold.take(), untold.take()], [Some((3, 2_100 * NS)), None]);
    }

    #[test]
    fn help_is_called_for_what_takes_long_or_is_unknown() {
        assert!(is_worth_help(1, None) && !is_worth_help(0, None));
        assert!(!is_worth_help(4999, Some(100 * NS)) && is_worth_help(5000, Some(100 * NS)));
        assert!(is_worth_help(2, Some(Duration::MAX)));
    }
}
