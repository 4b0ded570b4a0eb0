//! When a worker is to be replaced, and who gets its place: [`Term`] and [`Succession`]. Decides only, over plain data.

use std::time::Duration;

/// How far a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// It takes jobs.
    Serves,
    /// It is to be replaced, and takes jobs until its successor is ready.
    Due,
    /// It is to be replaced, and takes no more jobs: another one would break a limit.
    Over,
}

/// What the term of a worker depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenure {
    /// Jobs that it has finished or has in flight, and how many it may get.
    pub(super) tasks: u64,
    pub(super) most: Option<u64>,
    pub(super) age: Duration,
    pub(super) oldest: Option<Duration>,
    /// It holds more memory than it may.
    pub(super) bloated: bool,
    /// Its successor has been ordered, for whatever reason: there is no way back.
    pub(super) ordered: bool,
}

impl Tenure {
    pub(super) fn term(self) -> Term {
        if self.bloated || self.most.is_some_and(|most| self.tasks >= most) {
            Term::Over
        } else if self.ordered || self.oldest.is_some_and(|oldest| self.age >= oldest) {
            Term::Due
        } else {
            Term::Serves
        }
    }
}

/// A worker's own limit of jobs: up to a tenth below the one that was asked for, never above. `draw` is from 0 to 1.
pub(super) fn own_tasks(limit: u64, draw: f64) -> u64 {
    let spread = limit / 10;
    limit - ((spread + 1) as f64 * draw) as u64 % (spread + 1)
}

/// A worker's own limit of age: up to a tenth below the one that was asked for, never above. `draw` is from 0 to 1.
pub(super) fn own_age(limit: Duration, draw: f64) -> Duration {
    limit - (limit / 10).mul_f64(draw.clamp(0.0, 1.0))
}

/// Which workers are to be replaced, and who stands by to take their places. Knows them by their tickets.
///
/// 1. A worker is due from its last term on until it is gone, and a successor stands by from its fork on until it gets a place.
/// 2. Successors belong to nobody: the next due worker that goes is followed by one that is ready, if there is any.
/// 3. The `n` oldest due workers are relieved while `n` successors are ready.
#[derive(Debug, Default)]
pub(super) struct Succession {
    due: Vec<u64>,
    standing_by: Vec<Successor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Successor {
    ticket: u64,
    ready: bool,
}

impl Succession {
    /// A worker is to be replaced.
    pub(super) fn order(&mut self, ticket: u64) {
        if !self.due.contains(&ticket) {
            self.due.push(ticket);
        }
    }

    /// How many successors are still to be started, where `surplus` workers are not to be replaced at all.
    pub(super) fn to_start(&self, surplus: usize) -> usize {
        self.due.len().saturating_sub(surplus + self.standing_by.len())
    }

    /// Whether more successors stand by than there are workers to be replaced.
    pub(super) fn has_needless(&self, surplus: usize) -> bool {
        self.standing_by.len() > self.due.len().saturating_sub(surplus)
    }

    /// A successor has been forked.
    pub(super) fn stand_by(&mut self, ticket: u64) {
        self.standing_by.push(Successor { ticket, ready: false });
    }

    /// A worker says that it is ready; nothing to note if it is no successor, or no longer one.
    pub(super) fn ready(&mut self, ticket: u64) {
        if let Some(successor) = self.standing_by.iter_mut().find(|it| it.ticket == ticket) {
            successor.ready = true;
        }
    }

    pub(super) fn stands_by(&self, ticket: u64) -> bool {
        self.standing_by.iter().any(|it| it.ticket == ticket)
    }

    /// Whether a due worker need not serve on.
    pub(super) fn is_relieved(&self, ticket: u64) -> bool {
        let ready = self.standing_by.iter().filter(|it| it.ready).count();
        self.due.iter().take(ready).any(|&due| due == ticket)
    }

    /// A worker, or a successor, is no more.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.due.retain(|&due| due != ticket);
        self.standing_by.retain(|it| it.ticket != ticket);
    }

    /// Whose place it is now: a ready successor's, else the oldest one's.
    pub(super) fn next(&mut self) -> Option<u64> {
        let ready = self.standing_by.iter().position(|it| it.ready);
        let index = ready.or((!self.standing_by.is_empty()).then_some(0))?;
        Some(self.standing_by.remove(index).ticket)
    }

    /// Whether a worker has anything to do with a change among the others.
    pub(super) fn concerns(&self, ticket: u64) -> bool {
        self.due.contains(&ticket) || self.stands_by(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_at_the_first_limit_that_is_reached() {
        let (young, old) = (Duration::from_secs(1), Duration::from_secs(9));
        let table = [
            // tasks, most, age, oldest, bloated, ordered => term
            ((5, None, old, None, false, false), Term::Serves),
            ((2, Some(3), old, None, false, false), Term::Serves),
            ((3, Some(3), young, None, false, false), Term::Over),
            ((2, Some(3), young, None, false, true), Term::Due),
            ((0, None, young, Some(old), false, false), Term::Serves),
            ((0, None, old, Some(old), false, false), Term::Due),
            ((3, Some(3), old, Some(old), false, true), Term::Over),
            ((0, None, young, None, true, false), Term::Over),
            ((0, None, old, Some(young), true, true), Term::Over),
        ];
        for ((tasks, most, age, oldest, bloated, ordered), term) in table {
            let tenure = Tenure { tasks, most, age, oldest, bloated, ordered };
            assert_eq!(tenure.term(), term, "{tenure:?}");
        }
    }

    #[test]
    fn own_limits_lie_up_to_a_tenth_below_and_never_above() {
        let table = [
            ((1, 0.999), 1),
            ((9, 0.999), 9),
            ((10, 0.0), 10),
            ((10, 0.49), 10),
            ((10, 0.5), 9),
            ((10, 1.0), 10),
            ((1000, 0.0), 1000),
            ((1000, 0.5), 950),
            ((1000, 0.999), 900),
        ];
        for ((limit, draw), own) in table {
            assert_eq!(own_tasks(limit, draw), own, "{limit} {draw}");
        }
        let hour = Duration::from_secs(3600);
        assert_eq!(own_age(hour, 0.0), hour);
        assert_eq!(own_age(hour, 1.0), hour * 9 / 10);
        assert!((0..100).all(|n| (9 * hour / 10..=hour).contains(&own_age(hour, f64::from(n) / 99.0))));
    }

    /// A story of tickets: 1, 2, … are workers, 11, 12, … their successors.
    fn due(tickets: &[u64]) -> Succession {
        let mut succession = Succession::default();
        tickets.iter().for_each(|&ticket| succession.order(ticket));
        succession
    }

    #[test]
    fn a_due_worker_is_relieved_once_its_successor_is_ready_and_is_followed_by_it() {
        let mut it = due(&[1, 1]);
        assert_eq!((it.to_start(0), it.is_relieved(1)), (1, false));
        it.stand_by(11);
        assert_eq!((it.to_start(0), it.is_relieved(1), it.stands_by(11)), (0, false, true));
        it.ready(11);
        assert!(it.is_relieved(1) && !it.is_relieved(2));
        it.leave(1);
        assert_eq!((it.next(), it.next()), (Some(11), None));
        assert_eq!((it.to_start(0), it.has_needless(0), it.stands_by(11)), (0, false, false));
    }

    #[test]
    fn a_ready_successor_comes_before_one_that_starts_and_the_oldest_before_the_younger() {
        let mut it = due(&[1, 2, 3]);
        [11, 12, 13].into_iter().for_each(|ticket| it.stand_by(ticket));
        it.ready(12);
        // Two is over while one serves on: who goes first is followed by the one that is ready.
        it.leave(2);
        assert_eq!(it.next(), Some(12));
        assert!(!it.is_relieved(1), "nobody is ready any more");
        it.leave(1);
        it.leave(3);
        assert_eq!((it.next(), it.next(), it.next()), (Some(11), Some(13), None));
    }

    #[test]
    fn a_successor_that_dies_is_replaced_and_one_that_nobody_needs_says_so() {
        let mut it = due(&[1]);
        it.stand_by(11);
        it.ready(11);
        it.leave(11);
        assert_eq!((it.to_start(0), it.is_relieved(1)), (1, false));
        it.stand_by(12);
        it.leave(1);
        assert!(it.has_needless(0));
    }

    #[test]
    fn surplus_workers_are_not_replaced() {
        let mut it = due(&[1, 2]);
        assert_eq!((it.to_start(0), it.to_start(1), it.to_start(5)), (2, 1, 0));
        it.stand_by(11);
        assert_eq!((it.has_needless(0), it.has_needless(1), it.has_needless(2)), (false, false, true));
    }
}
