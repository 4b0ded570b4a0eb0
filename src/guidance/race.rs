//! Who has a chance yet in a trial, how long the next rounds are, and what all of them come to. Pure.

use std::time::Duration;

use super::Choice;

/// Who takes so many times as long in its best round as the best of all has no chance.
const FAR: f64 = 1.5;

/// Who has a chance to be chosen, of executors with what a call took in each of their rounds so far: who is not [`FAR`] behind; a process,
/// which shares next to nothing and is the same in every round, only if it is ahead.
pub(super) fn contenders(rounds: &[(Choice, &[Duration])]) -> Vec<bool> {
    let least = |rounds: &[Duration]| rounds.iter().min().copied().unwrap_or(Duration::MAX).as_secs_f64();
    let best = rounds.iter().map(|(_, rounds)| least(rounds)).fold(f64::INFINITY, f64::min);
    let far = |executor| if executor == Choice::Processes { 1.0 } else { FAR };
    rounds.iter().map(|&(executor, rounds)| least(rounds) <= best * far(executor)).collect()
}

/// What a call takes, given its rounds, the first of them first. Pools and their heaps grow warm: a third of the rounds is for that. Of the
/// others the middle half counts, and its mean: calls that meet in the allocator are fast in some rounds and slow in others, and many calls
/// are both.
pub(super) fn settled(rounds: &[Duration]) -> Option<Duration> {
    let mut later = rounds[rounds.len() / 3..].to_vec();
    later.sort_unstable();
    let middle = &later[later.len() / 4..later.len() - later.len() / 4];
    (!middle.is_empty()).then(|| middle.iter().sum::<Duration>() / middle.len() as u32)
}

/// How many calls the next round should have, after one of `calls` that took `took`, and `with_making` its arguments: as many as take the first of
/// `limits`, and with their arguments the second; from `few` to `most`, and a multiple of `few`.
pub(super) fn fitting(
    calls: usize,
    (took, with_making): (Duration, Duration),
    limits: (Duration, Duration),
    (few, most): (usize, usize),
) -> usize {
    let times = |limit: Duration, took: Duration| limit.as_secs_f64() / took.as_secs_f64().max(1e-9);
    let fit = calls as f64 * times(limits.0, took).min(times(limits.1, with_making));
    (fit as usize).clamp(few, most) / few * few
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros<const N: usize>(all: [u64; N]) -> [Duration; N] {
        all.map(Duration::from_micros)
    }

    #[test]
    fn who_is_far_behind_in_its_best_round_is_out_and_a_process_that_is_not_ahead() {
        let table = [
            ("far behind", [400, 200, 210, 900], [false, true, true, false]),
            ("half as long again", [300, 200, 301, 900], [true, true, false, false]),
            ("a process as fast", [400, 200, 201, 200], [false, true, true, true]),
            ("a process about as fast", [400, 200, 210, 201], [false, true, true, false]),
            ("a process ahead by far", [400, 300, 310, 100], [false, false, false, true]),
        ];
        for (name, least, expected) in table {
            let rounds = least.map(|least| micros([least * 3, least, least * 2]));
            let choices = [Choice::Inline, Choice::Threads, Choice::Cpu, Choice::Processes];
            let standing: Vec<_> =
                choices.into_iter().zip(&rounds).map(|(who, all)| (who, &all[..])).collect();
            assert_eq!(contenders(&standing), expected, "{name}");
        }
    }

    #[test]
    fn the_middle_of_the_later_rounds_counts() {
        let table: [(&str, &[u64], Option<u64>); 6] = [
            ("none", &[], None),
            ("one", &[7], Some(7)),
            ("two", &[8, 6], Some(7)),
            ("warming up", &[90, 50, 10, 10, 10, 10], Some(10)),
            ("now fast, now slow", &[10, 30, 10, 30, 10, 30, 10, 30, 10, 30, 10, 30], Some(20)),
            ("disturbed", &[10, 10, 10, 10, 900, 10], Some(10)),
        ];
        for (name, rounds, expected) in table {
            let rounds: Vec<Duration> = rounds.iter().copied().map(Duration::from_micros).collect();
            assert_eq!(settled(&rounds), expected.map(Duration::from_micros), "{name}");
        }
    }

    #[test]
    fn rounds_are_as_long_as_they_should_be_or_as_short_as_they_can() {
        let table = [
            ("as long", 100, [4, 8], (2, 1_000), 100),
            ("too short", 100, [1, 2], (2, 1_000), 400),
            ("too long", 100, [40, 44], (2, 1_000), 10),
            ("arguments take long", 100, [4, 100], (2, 1_000), 10),
            ("one for each core at least", 2, [40, 50], (2, 1_000), 2),
            ("no more than lie in memory", 100, [1, 2], (2, 201), 200),
            ("none left over", 100, [3, 6], (4, 1_000), 132),
        ];
        for (name, calls, [took, with_making], bounds, expected) in table {
            let ms = Duration::from_millis;
            let found = fitting(calls, (ms(took), ms(with_making)), (ms(4), ms(10)), bounds);
            assert_eq!(found, expected, "{name}");
        }
    }
}
