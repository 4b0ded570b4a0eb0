//! [`Queue`]: jobs that wait for a worker: in lanes, one for each priority, first in, first out in each.
//!
//! The seam behind which another queue can take the place of this one: plain data, with no lock and no thread in it. Its
//! owner, the dispatch of a pool, keeps it under its own lock.
//!
//! Between the lanes the heads are compared by when they are due, so that each job counts as submitted a fixed time later than
//! it was, and none waits for ever. As long as only the usual lane is used there is nothing to compare, and no job is looked at.

use std::{collections::VecDeque, time::Instant};

use crate::counted::Counted;

/// How many lanes there are.
pub(crate) const LANES: usize = 3;

/// The lane that nearly all jobs are in.
const USUAL: usize = 1;

/// A queue below this many cancelled entries is not worth compacting.
const FEW: usize = 64;

/// The kind of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The one that nearly all jobs are in.
    Usual,
    /// One of the others: from now on the order between lanes counts.
    Unusual,
}

/// What the queue asks of a job.
pub(crate) trait Queued {
    /// The lane that it waits in: less than [`LANES`], and always the same.
    fn lane(&self) -> usize {
        USUAL
    }

    /// When it counts as submitted, among those of other lanes.
    fn due(&self) -> Instant;

    /// When it was submitted, for a queue into which jobs of several threads come together: in nanoseconds since some time.
    fn submitted_nanos(&self) -> u64 {
        0
    }
}

impl<J: Queued + ?Sized> Queued for Counted<J> {
    fn lane(&self) -> usize {
        (**self).lane()
    }

    fn due(&self) -> Instant {
        (**self).due()
    }

    fn submitted_nanos(&self) -> u64 {
        (**self).submitted_nanos()
    }
}

/// Whether a job is in the lane that nearly all jobs are in.
pub(crate) fn is_usual(job: &impl Queued) -> bool {
    job.lane() == USUAL
}

/// The jobs that wait, and the entries of those that no longer do.
///
/// In this order in memory: what changes with each job comes first, so that it can be on the cache line of its owner's lock.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Queue<J> {
    usual: VecDeque<J>,
    /// Entries in the other lanes.
    unusual: usize,
    /// Cancellations since the last compaction: at least as many as there are void entries, because some of those have
    /// been popped since. That makes a compaction come too early at worst, and each is still paid for by as many
    /// cancellations as half the entries that it visits.
    cancelled: usize,
    /// The lanes before the usual one and behind it.
    others: [VecDeque<J>; LANES - 1],
}

impl<J> Queue<J> {
    pub(crate) fn new() -> Self {
        let others = [const { VecDeque::new() }; LANES - 1];
        Self { usual: VecDeque::new(), unusual: 0, cancelled: 0, others }
    }

    /// Entries, void ones included.
    pub(crate) fn len(&self) -> usize {
        self.usual.len() + self.unusual
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes everything out.
    pub(crate) fn take_all(&mut self) -> Vec<J> {
        self.cancelled = 0;
        self.unusual = 0;
        self.lanes_mut().into_iter().flat_map(std::mem::take).collect()
    }

    /// All lanes, the most urgent one first.
    fn lanes_mut(&mut self) -> [&mut VecDeque<J>; LANES] {
        let [before, behind] = &mut self.others;
        [before, &mut self.usual, behind]
    }

    fn lanes(&self) -> [&VecDeque<J>; LANES] {
        let [before, behind] = &self.others;
        [before, &self.usual, behind]
    }

    /// Takes note that the job of one entry was cancelled. Returns the void entries once they may make up half the
    /// queue: they hold memory, and the caller drops them where no lock is held.
    pub(crate) fn cancelled(&mut self, is_wanted: impl Fn(&J) -> bool) -> Vec<J> {
        self.cancelled += 1;
        if self.cancelled > FEW.max(self.len() / 2) { self.compact(is_wanted) } else { Vec::new() }
    }

    /// Takes the void entries out, at the price of a look at each entry.
    pub(crate) fn compact(&mut self, is_wanted: impl Fn(&J) -> bool) -> Vec<J> {
        let mut void = Vec::new();
        for lane in self.lanes_mut() {
            let mut wanted = VecDeque::new();
            for job in lane.drain(..) {
                if is_wanted(&job) { wanted.push_back(job) } else { void.push(job) }
            }
            *lane = wanted;
        }
        self.unusual = self.others.iter().map(VecDeque::len).sum();
        self.cancelled = 0;
        void
    }
}

impl<J: Queued> Queue<J> {
    /// Adds a job. Says which kind of lane it is in.
    pub(crate) fn push(&mut self, job: J) -> Lane {
        let lane = job.lane();
        if lane == USUAL {
            self.usual.push_back(job);
            return Lane::Usual;
        }
        self.unusual += 1;
        self.lanes_mut()[lane].push_back(job);
        Lane::Unusual
    }

    /// Adds jobs of the usual lane, in their order.
    pub(crate) fn push_usual(&mut self, jobs: impl Iterator<Item = J>) {
        self.usual.extend(jobs);
    }

    /// Adds `jobs` in their order. Says whether one of them is in an unusual lane.
    pub(crate) fn push_batch(&mut self, jobs: Vec<J>) -> Lane {
        jobs.into_iter().map(|job| self.push(job)).max().unwrap_or(Lane::Usual)
    }

    /// Returns jobs that were taken from the usual lane, in their order, to where they were: in front.
    pub(crate) fn put_back(&mut self, jobs: VecDeque<J>) {
        jobs.into_iter().rev().for_each(|job| self.usual.push_front(job));
    }

    /// Takes so many jobs from the usual lane.
    pub(crate) fn pop_usual(&mut self, count: usize) -> impl Iterator<Item = J> {
        let count = count.min(self.usual.len());
        self.usual.drain(..count)
    }

    /// Has `take` swap all jobs of the usual lane for nothing.
    pub(crate) fn swap_usual(&mut self, take: impl FnOnce(&mut VecDeque<J>)) {
        take(&mut self.usual);
    }

    /// Whether jobs wait in unusual lanes.
    pub(crate) fn is_mixed(&self) -> bool {
        self.unusual > 0
    }

    /// Takes the job that is due first.
    pub(crate) fn pop(&mut self) -> Option<J> {
        if !self.is_mixed() {
            return self.usual.pop_front();
        }
        let lane = self.first();
        self.unusual -= usize::from(lane != USUAL);
        self.lanes_mut()[lane].pop_front()
    }

    /// The lane whose head is due first; the more urgent one of two that are due at the same time.
    fn first(&self) -> usize {
        let heads =
            self.lanes().into_iter().enumerate().filter_map(|(lane, jobs)| Some((jobs.front()?.due(), lane)));
        heads.min().map_or(USUAL, |(_, lane)| lane)
    }
}

/// Where the order between lanes is of no account.
#[cfg(test)]
macro_rules! queued_in_tests {
    ($($job:ty),*) => {$(
        impl Queued for $job {
            fn due(&self) -> Instant {
                unreachable!("only the usual lane is used")
            }

            /// They are submitted in the order of numbers.
            fn submitted_nanos(&self) -> u64 {
                *self as u64
            }
        }
    )*};
}

#[cfg(test)]
queued_in_tests!(i32, u32, bool);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn entries_leave_in_the_order_in_which_they_came() {
        let mut queue = Queue::new();
        queue.push(1);
        queue.push_batch(vec![2, 3]);
        assert_eq!((queue.len(), queue.pop()), (3, Some(1)));
        assert_eq!(queue.take_all(), [2, 3]);
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    /// A job in a lane, due so many seconds after the start.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Due(usize, u64, Instant);

    impl Queued for Due {
        fn lane(&self) -> usize {
            self.0
        }

        fn due(&self) -> Instant {
            self.2 + Duration::from_secs(self.1)
        }
    }

    #[test]
    fn between_lanes_the_one_that_is_due_first_leaves_first() {
        let start = Instant::now();
        type Jobs = &'static [(usize, u64)];
        let table: [(Jobs, Jobs); 5] = [
            (&[(1, 2), (1, 3)], &[(1, 2), (1, 3)]),
            (&[(2, 9), (1, 2), (0, 3)], &[(1, 2), (0, 3), (2, 9)]),
            (&[(1, 5), (0, 5), (2, 5)], &[(0, 5), (1, 5), (2, 5)]),
            (&[(2, 1), (0, 4), (0, 6), (1, 5)], &[(2, 1), (0, 4), (1, 5), (0, 6)]),
            // Within a lane nothing is compared.
            (&[(1, 5), (1, 4), (0, 6)], &[(1, 5), (1, 4), (0, 6)]),
        ];
        for (pushed, popped) in table {
            let mut queue = Queue::new();
            queue.push_batch(pushed.iter().map(|&(lane, due)| Due(lane, due, start)).collect());
            let found: Vec<_> =
                std::iter::from_fn(|| queue.pop()).map(|Due(lane, due, _)| (lane, due)).collect();
            assert_eq!(found, popped);
        }
    }

    #[test]
    fn all_lanes_are_counted_cleared_and_compacted() {
        let start = Instant::now();
        let mut queue = Queue::new();
        queue.push_batch((0..300).map(|n| Due(n % LANES, n as u64, start)).collect());
        let is_wanted = |job: &Due| job.1.is_multiple_of(2);
        let void: Vec<_> = (0..151).flat_map(|_| queue.cancelled(is_wanted)).collect();
        assert_eq!((void.len(), queue.len()), (150, 150));
        assert!(queue.take_all().iter().all(is_wanted) && queue.is_empty());
    }

    #[test]
    fn void_entries_are_removed_once_they_outnumber_the_others() {
        let mut queue = Queue::new();
        queue.push_batch((0..1000).collect());
        let is_even = |job: &i32| job % 2 == 0;
        assert!((0..500).all(|_| queue.cancelled(is_even).is_empty()));
        let void = queue.cancelled(is_even);
        assert_eq!((void.len(), queue.len()), (500, 500));
        assert!(queue.take_all().iter().all(is_even));
    }

    #[test]
    fn a_million_cancellations_are_held_only_in_small_number_and_cost_few_visits() {
        let (mut queue, mut visits) = (Queue::new(), 0);
        let count = std::cell::Cell::new(0);
        queue.push_batch(vec![true; 100]);
        for _ in 0..1_000_000 {
            queue.push(false);
            drop(queue.cancelled(|&wanted| {
                count.set(count.get() + 1);
                wanted
            }));
            visits = visits.max(queue.len());
        }
        assert!(visits <= 400, "{visits} entries");
        assert!(count.get() <= 3_000_000, "{} visits", count.get());
    }
}
