//! Where the time axis has its ticks, and what they say.

use std::fmt;

/// Ticks of a time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticks {
    /// In nanoseconds.
    step: u64,
    unit: Unit,
    pub(super) at: Vec<u64>,
}

/// In what the ticks of an axis are told: in one unit, after the end of the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// So many nanoseconds are one of it.
    Of(u64, &'static str),
    /// Minutes and seconds.
    Minutes,
    /// Hours and minutes.
    Hours,
}

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Steps above a second, at which a clock is read.
const CLOCK: [u64; 16] = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    20 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    12 * HOUR,
];

impl Ticks {
    /// At most so many ticks from one time to a later one.
    pub(super) fn between(from: u64, to: u64, most: u64) -> Self {
        let step = step((to - from).div_ceil(most.max(1)));
        let at = (from.div_ceil(step)..=to / step).map(|nth| nth * step).collect();
        Self { step, unit: unit(to), at }
    }

    /// What the tick at this time says.
    pub(super) fn label(&self, at: u64) -> Label<'_> {
        Label(self, at)
    }
}

/// The smallest nice step that is no shorter than this.
fn step(least: u64) -> u64 {
    if least <= SECOND / 2 {
        let decade = 10_u64.pow(least.max(1).ilog10());
        let nice = [1, 2, 5, 10].map(|times| times * decade);
        return nice.into_iter().find(|&step| step >= least).unwrap_or(10 * decade);
    }
    let days = || least.div_ceil(24 * HOUR) * 24 * HOUR;
    CLOCK.into_iter().find(|&step| step >= least).unwrap_or_else(days)
}

fn unit(to: u64) -> Unit {
    match to {
        0..1_000 => Unit::Of(1, "ns"),
        1_000..1_000_000 => Unit::Of(1_000, "µs"),
        1_000_000..SECOND => Unit::Of(1_000_000, "ms"),
        _ if to < 2 * MINUTE => Unit::Of(SECOND, "s"),
        _ if to < 2 * HOUR => Unit::Minutes,
        _ => Unit::Hours,
    }
}

/// What a tick says.
pub(super) struct Label<'a>(&'a Ticks, u64);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self(Ticks { step, unit, .. }, at) = self;
        match *unit {
            Unit::Of(one, name) => {
                let places =
                    (0..9).find(|&places| (step * 10_u64.pow(places)).is_multiple_of(one)).unwrap_or(9);
                let places = if at == 0 { 0 } else { places as usize };
                write!(f, "{:.places$} {name}", at as f64 / one as f64)
            }
            Unit::Minutes => write!(f, "{}:{:02} min", at / MINUTE, at % MINUTE / SECOND),
            Unit::Hours => write!(f, "{}:{:02} h", at / HOUR, at % HOUR / MINUTE),
        }
    }
}

/// A length of time with three digits, for people.
pub(super) struct Time(pub(super) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unit::Of(one, name) = unit(self.0) else {
            let clock = Ticks { step: SECOND, unit: unit(self.0), at: Vec::new() };
            return write!(f, "{}", clock.label(self.0));
        };
        let value = self.0 as f64 / one as f64;
        let places = if one == 1 || value >= 99.95 {
            0
        } else if value >= 9.995 {
            1
        } else {
            2
        };
        write!(f, "{value:.places$} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_at_round_times_and_say_them_in_one_unit() {
        let ms = SECOND / 1_000;
        let table: [(u64, u64, &[&str]); 9] = [
            (0, 7, &["0 ns", "1 ns", "2 ns", "3 ns", "4 ns", "5 ns", "6 ns", "7 ns"]),
            (0, 1_240 * ms, &["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1.0 s", "1.2 s"]),
            (0, 40 * ms, &["0 ms", "5 ms", "10 ms", "15 ms", "20 ms", "25 ms", "30 ms", "35 ms", "40 ms"]),
            (
                1_000_000_100,
                1_000_000_900,
                &[
                    "1.0000001 s",
                    "1.0000002 s",
                    "1.0000003 s",
                    "1.0000004 s",
                    "1.0000005 s",
                    "1.0000006 s",
                    "1.0000007 s",
                    "1.0000008 s",
                    "1.0000009 s",
                ],
            ),
            (0, 4 * SECOND, &["0 s", "0.5 s", "1.0 s", "1.5 s", "2.0 s", "2.5 s", "3.0 s", "3.5 s", "4.0 s"]),
            (0, 5 * MINUTE, &["0:00 min", "1:00 min", "2:00 min", "3:00 min", "4:00 min", "5:00 min"]),
            (
                0,
                150 * SECOND,
                &[
                    "0:00 min", "0:20 min", "0:40 min", "1:00 min", "1:20 min", "1:40 min", "2:00 min",
                    "2:20 min",
                ],
            ),
            (0, 10 * HOUR, &["0:00 h", "2:00 h", "4:00 h", "6:00 h", "8:00 h", "10:00 h"]),
            (0, 72 * HOUR, &["0:00 h", "12:00 h", "24:00 h", "36:00 h", "48:00 h", "60:00 h", "72:00 h"]),
        ];
        for (from, to, expected) in table {
            let ticks = Ticks::between(from, to, 8);
            let labels: Vec<String> = ticks.at.iter().map(|&at| ticks.label(at).to_string()).collect();
            assert_eq!(labels, expected);
        }
    }

    #[test]
    fn there_are_never_more_ticks_than_asked_for_and_one() {
        for shift in 1..62 {
            for to in [1 << shift, (1 << shift) + (1 << shift) / 3, 10_u64.pow(shift / 4)] {
                let ticks = Ticks::between(to / 7, to, 8);
                assert!((1..=9).contains(&ticks.at.len()) || to < 8, "{to}: {ticks:?}");
            }
        }
    }

    #[test]
    fn a_length_of_time_has_three_digits() {
        let table = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (123_456, "123 µs"),
            (9_999_999, "10.0 ms"),
            (1_500_000_000, "1.50 s"),
            (200 * SECOND, "3:20 min"),
        ];
        for (nanos, text) in table {
            assert_eq!(Time(nanos).to_string(), text);
        }
    }
}
