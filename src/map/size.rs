//! How many items travel together: a pure rule over what is known of them.

use std::time::Duration;

/// Where items travel together, a hand-off is to cost one part in so many of the work that is handed over.
const WORTH: u32 = 50;
/// Where it costs less than one part in so many of an item, items travel alone: whatever waits behind one would wait long.
const ALONE: u32 = 10;
/// No less work, and no more, is handed over at a time.
const LEAST_WORK: Duration = Duration::from_micros(50);
const MOST_WORK: Duration = Duration::from_millis(1);
/// The most items that travel together: with more the hand-off does not count any more, however small they are.
const MOST_ITEMS: usize = 1024;

/// By default no less items are in flight, and for the sake of chunks no more.
const LEAST_IN_FLIGHT: usize = 64;
pub(crate) const MOST_IN_FLIGHT: usize = 16 * 1024;
/// For each worker one chunk runs, and another is there when it ends; as many again are being pulled or yielded.
const CHUNKS_PER_WORKER: usize = 4;

/// What is known of the items of a map when a chunk of them is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// How long an item takes whoever runs it or, if that is longer, whoever pulls it; `None` if that was not measured.
    pub(crate) per_item: Option<Duration>,
    /// How many items that is known of.
    pub(crate) measured: usize,
    /// What it costs to hand over a job, in the time of all who take part.
    pub(crate) hand_off: Duration,
    pub(crate) workers: usize,
    /// How many items are still to come; `None` if nobody can tell.
    pub(crate) remaining: Option<usize>,
    /// How many may be in flight.
    pub(crate) in_flight: usize,
}

/// How many of the next items should travel together. Pure.
///
/// As many as make the hand-off cheap beside the work ([`work`]), but
/// 1. one, if nothing is known or an item takes more than ten times as long as a hand-off;
/// 2. no more than have been measured, so that chunks grow as measurements confirm them;
/// 3. no more than leave two chunks in flight for each worker;
/// 4. towards the end no more than leave two chunks of what is to come for each worker (guided self-scheduling), except that less work
///    than a hand-off costs is not shared out.
pub(crate) fn chunk_for(known: &Known) -> usize {
    let long = known.hand_off.saturating_mul(ALONE);
    let Some(per_item) = known.per_item.filter(|time| *time <= long) else { return 1 };
    let shares = known.workers.saturating_mul(2).max(1);
    let least = items_in(known.hand_off, per_item);
    let last = known.remaining.map_or(usize::MAX, |remaining| remaining.div_ceil(shares).max(least));
    let most = [MOST_ITEMS, known.measured, known.in_flight / shares, last];
    most.into_iter().fold(items_in(work(known.hand_off), per_item), usize::min).max(1)
}

/// How much work should be handed over at a time: 50 times what that costs, between 50 µs and 1 ms.
fn work(hand_off: Duration) -> Duration {
    hand_off.saturating_mul(WORTH).clamp(LEAST_WORK, MOST_WORK)
}

/// How many items are done in `time`.
fn items_in(time: Duration, per_item: Duration) -> usize {
    usize::try_from(time.as_nanos() / per_item.as_nanos().max(1)).unwrap_or(usize::MAX)
}

/// How many items are in flight by default where chunks have a fixed size.
pub(crate) fn in_flight_for(workers: usize, chunk: usize) -> usize {
    chunks_in_flight(workers, chunk).max(LEAST_IN_FLIGHT)
}

/// The same where their size is automatic: beyond 16 384 items only as many as there must be to keep all workers busy.
pub(crate) fn automatic_in_flight_for(workers: usize, chunk: usize) -> usize {
    chunks_in_flight(workers, chunk).min(MOST_IN_FLIGHT).max(in_flight_for(workers, 1))
}

fn chunks_in_flight(workers: usize, chunk: usize) -> usize {
    workers.saturating_mul(chunk).saturating_mul(CHUNKS_PER_WORKER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Duration = Duration::from_nanos(1);
    const US: Duration = Duration::from_micros(1);

    /// Two workers, a hand-off of 5 µs, much of everything.
    fn known(per_item: Duration) -> Known {
        Known {
            per_item: Some(per_item),
            measured: 4096,
            hand_off: 5 * US,
            workers: 2,
            remaining: None,
            in_flight: MOST_IN_FLIGHT,
        }
    }

    #[test]
    fn a_chunk_is_as_much_work_as_makes_its_hand_off_cheap() {
        let table = [
            (Duration::ZERO, 1024),
            (20 * NS, 1024),
            (250 * NS, 1000),
            (US, 250),
            (10 * US, 25),
            (33 * US, 7),
            (50 * US, 5),
            (51 * US, 1),
            (5_000 * US, 1),
            (Duration::MAX, 1),
        ];
        for (per_item, items) in table {
            assert_eq!(chunk_for(&known(per_item)), items, "{per_item:?}");
        }
        let of = |hand_off| chunk_for(&Known { hand_off, ..known(10 * US) });
        assert_eq!([Duration::ZERO, US, 2 * US, 20 * US, Duration::MAX].map(of), [1, 5, 10, 100, 100]);
    }

    #[test]
    fn what_is_not_known_travels_alone_and_chunks_grow_with_what_is_measured() {
        assert_eq!(chunk_for(&Known { per_item: None, ..known(NS) }), 1);
        let of = |measured| chunk_for(&Known { measured, ..known(US) });
        assert_eq!([0, 1, 2, 64, 249, 250, 4096].map(of), [1, 1, 2, 64, 249, 250, 250]);
    }

    #[test]
    fn a_chunk_leaves_two_in_flight_for_each_worker() {
        let table =
            [((1, 1), 1), ((2, 1), 1), ((3, 1), 1), ((8, 1), 4), ((8, 4), 1), ((800, 4), 100), ((0, 0), 1)];
        for ((in_flight, workers), items) in table {
            let known = Known { in_flight, workers, ..known(US) };
            assert_eq!(chunk_for(&known), items, "{in_flight} in flight, {workers} workers");
        }
        assert_eq!(chunk_for(&Known { workers: usize::MAX, ..known(US) }), 1);
        assert_eq!(chunk_for(&Known { workers: 32, ..known(NS) }), 256);
    }

    #[test]
    fn towards_the_end_chunks_become_small_but_not_below_what_a_hand_off_costs() {
        let of = |remaining| chunk_for(&Known { remaining: Some(remaining), ..known(US) });
        assert_eq!([10_000, 1000, 996, 200, 41, 20, 4, 1, 0].map(of), [250, 250, 249, 50, 11, 5, 5, 5, 5]);
        // One by one, where each takes longer than a hand-off.
        let of = |remaining| chunk_for(&Known { remaining: Some(remaining), ..known(10 * US) });
        assert_eq!([100, 96, 20, 9, 4, 1, 0].map(of), [25, 24, 5, 3, 1, 1, 1]);
    }

    #[test]
    fn what_is_in_flight_follows_the_chunk_up_to_a_bound() {
        let table = [
            ((1, 1), 64, 64),
            ((20, 1), 80, 80),
            ((2, 10), 80, 80),
            ((2, 1024), 8192, 8192),
            ((32, 256), 32_768, 16_384),
            ((8192, 1024), 33_554_432, 32_768),
        ];
        for ((workers, chunk), fixed, automatic) in table {
            assert_eq!(in_flight_for(workers, chunk), fixed, "{workers} workers, chunks of {chunk}");
            assert_eq!(
                automatic_in_flight_for(workers, chunk),
                automatic,
                "{workers} workers, chunks of {chunk}"
            );
        }
        assert_eq!(automatic_in_flight_for(usize::MAX, usize::MAX), usize::MAX);
    }
}
