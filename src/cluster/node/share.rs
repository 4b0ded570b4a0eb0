//! [`share`]: how many jobs to ask of which queue.

use std::time::Duration;

/// How long a node waits for a queue that is its only one.
const PATIENT: Duration = Duration::from_secs(2);
/// How long it does for one of several, so that slots go to where the jobs are.
const SHORT: Duration = Duration::from_millis(250);
/// How long for one that seems empty, while one that is not gets nothing for that.
const GLANCE: Duration = Duration::from_millis(25);

/// A queue, as who asks sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// How many were asked for and have not come.
    pub(super) asked: usize,
    /// Whether the last that was heard of it was a job.
    pub(super) hot: bool,
}

/// What to ask of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// Which, by its place.
    pub(super) queue: usize,
    /// At least 1.
    pub(super) most: usize,
    pub(super) expires: Duration,
}

/// Decides what to ask for, with so many slots free. Pure, but for whose turn it is.
///
/// Each queue is asked for one at least, as far as that goes, in turns; the rest goes to the hot ones, or to all that are asked now if none is
/// hot. A queue that is not hot and was asked already gets no more: one job from it, and it is hot. So an idle node has one request for each of its
/// queues, not one for each slot.
pub(super) fn share(free: usize, lines: &[Line], turn: &mut usize) -> Vec<Ask> {
    let mut most = vec![0; lines.len()];
    let mut free = free;
    let unasked: Vec<usize> = (0..lines.len())
        .map(|n| (n + *turn) % lines.len())
        .filter(|&queue| lines[queue].asked == 0)
        .collect();
    let served = &unasked[..free.min(unasked.len())];
    for &queue in served {
        most[queue] = 1;
    }
    free -= served.len();
    // The next that is free is for the first that went without.
    if let Some(&next) = unasked.get(served.len()) {
        *turn = next;
    }
    let hot: Vec<usize> = (0..lines.len()).filter(|&queue| lines[queue].hot).collect();
    let takers = if hot.is_empty() { served } else { &hot[..] };
    for (n, &queue) in takers.iter().enumerate() {
        most[queue] += free / takers.len() + usize::from(n < free % takers.len());
    }
    let starves = |queue: usize| lines[queue].hot && lines[queue].asked == 0 && most[queue] == 0;
    let somebody_starves = (0..lines.len()).any(starves);
    let expires = |queue: usize| match lines.len() {
        1 => PATIENT,
        _ if somebody_starves && !lines[queue].hot => GLANCE,
        _ => SHORT,
    };
    let ask = |(queue, &most): (usize, &usize)| Ask { queue, most, expires: expires(queue) };
    most.iter().enumerate().filter(|(_, most)| **most > 0).map(ask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Line = Line { asked: 0, hot: false };
    const HOT: Line = Line { asked: 0, hot: true };

    fn asked(asked: usize, hot: bool) -> Line {
        Line { asked, hot }
    }

    /// Free slots, queues, whose turn; how many are asked of each, and how long.
    type Row<'a> = (usize, &'a [Line], usize, &'a [usize], &'a [Duration]);

    #[test]
    fn free_slots_go_to_where_the_jobs_are_and_every_queue_is_asked() {
        let table: &[Row<'_>] = &[
            (4, &[IDLE], 0, &[4], &[PATIENT]),
            (0, &[IDLE], 0, &[0], &[]),
            (0, &[HOT, IDLE], 0, &[0, 0], &[]),
            (3, &[asked(1, false)], 0, &[0], &[]),
            (3, &[asked(1, true)], 0, &[3], &[PATIENT]),
            (4, &[IDLE, IDLE], 0, &[2, 2], &[SHORT, SHORT]),
            (5, &[IDLE, IDLE], 1, &[2, 3], &[SHORT, SHORT]),
            (4, &[HOT, IDLE], 0, &[3, 1], &[SHORT, SHORT]),
            (4, &[HOT, HOT, IDLE], 0, &[2, 1, 1], &[SHORT, SHORT, SHORT]),
            (3, &[asked(2, true), asked(1, false)], 0, &[3, 0], &[SHORT]),
            (1, &[asked(1, false), IDLE], 0, &[0, 1], &[SHORT]),
            (1, &[IDLE, IDLE], 0, &[1, 0], &[SHORT]),
            (1, &[IDLE, IDLE], 1, &[0, 1], &[SHORT]),
            (1, &[HOT, IDLE], 0, &[1, 0], &[SHORT]),
            (1, &[HOT, IDLE], 1, &[0, 1], &[GLANCE]),
        ];
        for &(free, lines, turn, most, expires) in table {
            let asks = share(free, lines, &mut turn.clone());
            let mut found = vec![0; lines.len()];
            asks.iter().for_each(|ask| found[ask.queue] = ask.most);
            let times: Vec<Duration> = asks.iter().map(|ask| ask.expires).collect();
            assert_eq!((&found[..], &times[..]), (most, expires), "{free} free, {lines:?}, turn {turn}");
            assert!(found.iter().sum::<usize>() <= free);
        }
    }

    #[test]
    fn one_slot_goes_round_all_queues() {
        let (lines, mut turn) = ([IDLE; 3], 0);
        let order: Vec<usize> = (0..6).map(|_| share(1, &lines, &mut turn)[0].queue).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }
}
