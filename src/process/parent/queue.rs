//! [`Queue`]: the jobs of a process pool that wait, in the order in which they are to begin.
//!
//! 1. Jobs leave in the order of their [`Rank`], which a job keeps for its life: one that was taken back returns to its old
//!    place.
//! 2. A job may be promised to one worker. Until the promise ends no other worker gets it; others behind it do not wait.
//! 3. There is at most one promise for each worker, so that looking past promised jobs is short.
//! 4. Jobs come in order, most of them: those stand in a `line`, each behind all that came before it. One that is to stand before
//!    another (it was taken back, or is more urgent) is among the `others`. What leaves the line from its midst leaves a gap;
//!    the first and the last place of the line are none.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::Priority;

/// How long a promise holds: far more than a worker that has nothing to do needs to come for a job, and not worth mentioning if
/// it does not come.
const PROMISE: Duration = Duration::from_millis(10);

/// The place of a job among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::process) struct Rank {
    /// When it counts as submitted, by its priority.
    due: Instant,
    /// Its number in the order of submission.
    sequence: u64,
}

impl Rank {
    pub(super) fn new(priority: Priority, submitted: Instant, sequence: u64) -> Self {
        Self { due: priority.due(submitted), sequence }
    }
}

/// The jobs `J` that wait.
#[derive(Debug)]
pub(super) struct Queue<J> {
    line: VecDeque<(Rank, Option<J>)>,
    /// How many in the line are no gaps.
    in_line: usize,
    others: BTreeMap<Rank, J>,
    promises: Vec<Promise>,
}

/// One job is kept for one worker.
#[derive(Debug, Clone, Copy)]
struct Promise {
    rank: Rank,
    /// The worker's ticket.
    worker: u64,
    until: Instant,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self { line: VecDeque::new(), in_line: 0, others: BTreeMap::new(), promises: Vec::new() }
    }
}

impl<J> Queue<J> {
    pub(super) fn len(&self) -> usize {
        self.in_line + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &J> {
        self.line.iter().filter_map(|(_, job)| job.as_ref()).chain(self.others.values())
    }

    pub(super) fn push(&mut self, rank: Rank, job: J) {
        if self.line.back().is_none_or(|(last, _)| *last < rank) {
            self.line.push_back((rank, Some(job)));
            self.in_line += 1;
        } else {
            self.others.insert(rank, job);
        }
    }

    pub(super) fn remove(&mut self, rank: Rank) -> Option<J> {
        self.promises.retain(|promise| promise.rank != rank);
        self.take(rank)
    }

    /// Takes everything out, first ones first.
    pub(super) fn take_all(&mut self) -> Vec<J> {
        self.promises.clear();
        std::iter::from_fn(|| self.take(self.first()?)).collect()
    }

    fn take(&mut self, rank: Rank) -> Option<J> {
        let Some(place) = self.place_in_line(rank) else { return self.others.remove(&rank) };
        let job = self.line[place].1.take()?;
        self.in_line -= 1;
        self.drop_gaps_in_front();
        while self.line.back().is_some_and(|(_, job)| job.is_none()) {
            self.line.pop_back();
        }
        Some(job)
    }

    /// Takes the first one in the line.
    fn pop_line(&mut self) -> Option<(Rank, J)> {
        let (rank, job) = self.line.pop_front()?;
        self.in_line -= 1;
        self.drop_gaps_in_front();
        Some((rank, job?))
    }

    fn drop_gaps_in_front(&mut self) {
        while self.line.front().is_some_and(|(_, job)| job.is_none()) {
            self.line.pop_front();
        }
    }

    /// Where a job stands in the line, if it does: a gap of its rank may be one that it has left.
    fn place_in_line(&self, rank: Rank) -> Option<usize> {
        if self.line.front().is_some_and(|(first, _)| *first == rank) {
            return Some(0);
        }
        let place = self.line.binary_search_by_key(&rank, |(rank, _)| *rank).ok()?;
        self.line[place].1.is_some().then_some(place)
    }

    /// The rank of the first job.
    fn first(&self) -> Option<Rank> {
        let in_line = self.line.front().map(|(rank, _)| *rank);
        let other = self.others.first_key_value().map(|(rank, _)| *rank);
        in_line.into_iter().chain(other).min()
    }

    fn get(&self, rank: Rank) -> Option<&J> {
        match self.place_in_line(rank) {
            Some(place) => self.line[place].1.as_ref(),
            None => self.others.get(&rank),
        }
    }

    /// The ranks of all jobs, first ones first.
    fn ranks(&self) -> impl Iterator<Item = Rank> {
        let mut line = self.line.iter().filter(|(_, job)| job.is_some()).map(|(rank, _)| *rank).peekable();
        let mut others = self.others.keys().copied().peekable();
        std::iter::from_fn(move || match (line.peek(), others.peek()) {
            (Some(a), Some(b)) if b < a => others.next(),
            (None, _) => others.next(),
            _ => line.next(),
        })
    }

    /// Keeps a waiting job for a worker, for a while.
    pub(super) fn promise(&mut self, rank: Rank, worker: u64, now: Instant) {
        self.promises.push(Promise { rank, worker, until: now + PROMISE });
    }

    pub(super) fn has_promise_for(&self, worker: u64, now: Instant) -> bool {
        self.promises.iter().any(|promise| promise.worker == worker && now < promise.until)
    }

    /// Ends what was promised to a worker: it has found something else to do, or is no more.
    pub(super) fn release(&mut self, worker: u64) {
        self.promises.retain(|promise| promise.worker != worker);
    }

    /// How many jobs a worker may take.
    pub(super) fn open_to(&self, worker: u64, now: Instant) -> usize {
        self.len() - self.promises.iter().filter(|promise| promise.excludes(worker, now)).count()
    }

    /// Whether there is a job that anybody may take.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.len() > self.promises.iter().filter(|promise| now < promise.until).count()
    }

    /// The rank of the first job that a worker may take.
    pub(super) fn first_for(&self, worker: u64, now: Instant) -> Option<Rank> {
        if self.promises.is_empty() {
            return self.first();
        }
        let is_kept = |rank: &Rank| {
            self.promises.iter().any(|promise| promise.rank == *rank && promise.excludes(worker, now))
        };
        self.ranks().find(|rank| !is_kept(rank))
    }

    /// Takes the first job that a worker may take, if it `is_wanted`. Returns it with its rank.
    pub(super) fn pop_for(
        &mut self,
        worker: u64,
        now: Instant,
        is_wanted: impl FnOnce(&J) -> bool,
    ) -> Option<(Rank, J)> {
        if self.promises.is_empty() && self.others.is_empty() {
            // Most often: then this is a few instructions, which counts where a hundred are taken under a lock.
            let (_, first) = self.line.front()?;
            let is_wanted = first.as_ref().is_some_and(is_wanted);
            return if is_wanted { self.pop_line() } else { None };
        }
        let first = self.first_for(worker, now)?;
        if !is_wanted(self.get(first)?) {
            return None;
        }
        Some((first, self.remove(first)?))
    }

    /// From when on there is a job that a worker may take; `None` while none waits.
    pub(super) fn opens_at(&self, worker: u64, now: Instant) -> Option<Instant> {
        if self.open_to(worker, now) > 0 {
            return Some(now);
        }
        self.promises.iter().map(|promise| promise.until).min()
    }
}

impl Promise {
    fn excludes(&self, worker: u64, now: Instant) -> bool {
        self.worker != worker && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use Priority::{High, Low, Normal};

    const SECOND: Duration = Duration::from_secs(1);

    /// A queue of numbers, each with its rank.
    fn queue(start: Instant, jobs: &[(Priority, u32)]) -> (Queue<usize>, Vec<Rank>) {
        let mut queue = Queue::default();
        let ranks = jobs.iter().enumerate().map(|(number, &(priority, seconds))| {
            let rank = Rank::new(priority, start + SECOND * seconds, number as u64);
            queue.push(rank, number);
            rank
        });
        let ranks = ranks.collect();
        (queue, ranks)
    }

    fn popped(queue: &mut Queue<usize>, worker: u64, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop_for(worker, now, |_| true)).map(|(_, job)| job).collect()
    }

    #[test]
    fn jobs_leave_by_submission_and_priority_and_an_old_one_is_not_overtaken() {
        let start = Instant::now();
        type Row = (&'static [(Priority, u32)], &'static [usize]);
        let table: [Row; 5] = [
            (&[(Normal, 0), (Normal, 0), (Normal, 1)], &[0, 1, 2]),
            (&[(Low, 0), (Normal, 0), (High, 0)], &[2, 1, 0]),
            (&[(Normal, 0), (High, 2)], &[0, 1]),
            (&[(Low, 0), (Normal, 8), (Normal, 10), (High, 9), (High, 11)], &[1, 3, 0, 2, 4]),
            (&[(High, 3), (High, 2)], &[1, 0]),
        ];
        for (jobs, order) in table {
            assert_eq!(popped(&mut queue(start, jobs).0, 1, start), order, "{jobs:?}");
        }
    }

    #[test]
    fn a_job_that_returns_has_its_old_place() {
        let start = Instant::now();
        let (mut queue, ranks) = queue(start, &[(Normal, 0), (Normal, 0), (Normal, 0)]);
        assert_eq!(queue.pop_for(1, start, |&job| job > 0), None, "only the first is asked about");
        let mut pop = || queue.pop_for(1, start, |_| true);
        assert_eq!((pop(), pop()), (Some((ranks[0], 0)), Some((ranks[1], 1))));
        queue.push(ranks[1], 1);
        queue.push(ranks[0], 0);
        assert_eq!(popped(&mut queue, 1, start), [0, 1, 2]);
    }

    #[test]
    fn a_promised_job_is_kept_for_its_worker_and_holds_up_no_other() {
        let start = Instant::now();
        let (mut queue, ranks) = queue(start, &[(Normal, 0), (Normal, 0)]);
        queue.promise(ranks[0], 7, start);
        assert!(queue.has_promise_for(7, start) && !queue.has_promise_for(1, start));
        assert_eq!((queue.open_to(1, start), queue.open_to(7, start)), (1, 2));
        assert_eq!((queue.first_for(1, start), queue.first_for(7, start)), (Some(ranks[1]), Some(ranks[0])));
        assert_eq!(popped(&mut queue, 1, start), [1]);
        assert!(!queue.is_open(start) && !queue.is_empty());
        assert_eq!(queue.opens_at(7, start), Some(start));
        assert_eq!(queue.opens_at(1, start), Some(start + PROMISE));
        assert_eq!(popped(&mut queue, 7, start), [0]);
        assert_eq!(queue.opens_at(1, start), None, "the promise went with its job");
    }

    #[test]
    fn a_promise_ends_with_its_time_and_with_its_worker() {
        let start = Instant::now();
        let (mut late, ranks) = queue(start, &[(Normal, 0)]);
        late.promise(ranks[0], 7, start);
        assert_eq!(popped(&mut late, 1, start + PROMISE), [0]);
        let (mut released, ranks) = queue(start, &[(Normal, 0)]);
        released.promise(ranks[0], 7, start);
        released.release(7);
        assert!(released.is_open(start));
        assert_eq!(popped(&mut released, 1, start), [0]);
    }
    #[test]
    fn a_gap_in_the_line_is_nobodys_place() {
        let start = Instant::now();
        let (mut queue, ranks) = queue(start, &[(Normal, 0), (Normal, 0), (Normal, 0), (Normal, 0)]);
        assert_eq!(queue.remove(ranks[1]), Some(1));
        assert_eq!((queue.remove(ranks[1]), queue.len()), (None, 3));
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [0, 2, 3]);
        // It returns: the gap stays one, and it is among the others.
        queue.push(ranks[1], 1);
        queue.promise(ranks[0], 7, start);
        assert_eq!(queue.first_for(1, start), Some(ranks[1]));
        assert_eq!((queue.remove(ranks[3]), queue.remove(ranks[0])), (Some(3), Some(0)));
        queue.push(ranks[3], 3);
        assert_eq!((queue.take_all(), queue.len()), (vec![1, 2, 3], 0));
        assert!(queue.is_empty() && queue.first_for(1, start).is_none());
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_map(steps in proptest::collection::vec((0..3u8, 0..12usize), 0..200)) {
            let start = Instant::now();
            let ranks: Vec<Rank> = (0..12).map(|n| Rank::new(Normal, start, n)).collect();
            let (mut queue, mut map) = (Queue::default(), BTreeMap::new());
            for (step, n) in steps {
                match step {
                    0 if !map.contains_key(&ranks[n]) => {
                        queue.push(ranks[n], n);
                        map.insert(ranks[n], n);
                    }
                    1 => prop_assert_eq!(queue.remove(ranks[n]), map.remove(&ranks[n])),
                    _ => prop_assert_eq!(queue.pop_for(1, start, |_| true), map.pop_first()),
                }
                prop_assert_eq!((queue.len(), queue.is_empty()), (map.len(), map.is_empty()));
            }
            prop_assert!(queue.ranks().eq(map.keys().copied()));
            prop_assert_eq!(queue.take_all(), map.into_values().collect::<Vec<_>>());
        }
    }
}
