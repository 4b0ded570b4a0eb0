//! [`Queue`]: jobs that wait for a worker, first in, first out.
//!
//! The seam behind which another queue can take the place of this one: plain data, with no lock and no thread in it. Its
//! owner is [`Dispatch`](super::dispatch::Dispatch), which keeps it under its own lock.

use std::collections::VecDeque;

/// A queue below this many cancelled entries is not worth compacting.
const FEW: usize = 64;

/// The jobs that wait, and the entries of those that no longer do.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    entries: VecDeque<J>,
    /// Cancellations since the last compaction: at least as many as there are void entries, because some of those have
    /// been popped since. That makes a compaction come too early at worst, and each is still paid for by as many
    /// cancellations as half the entries that it visits.
    cancelled: usize,
}

impl<J> Queue<J> {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), cancelled: 0 }
    }

    pub(crate) fn push(&mut self, job: J) {
        self.entries.push_back(job);
    }

    /// Adds `jobs` in their order.
    pub(crate) fn push_batch(&mut self, jobs: Vec<J>) {
        self.entries.extend(jobs);
    }

    pub(crate) fn pop(&mut self) -> Option<J> {
        self.entries.pop_front()
    }

    /// Entries, void ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes everything out.
    pub(crate) fn take_all(&mut self) -> Vec<J> {
        self.cancelled = 0;
        std::mem::take(&mut self.entries).into()
    }

    /// Takes note that the job of one entry was cancelled. Returns the void entries once they may make up half the
    /// queue: they hold memory, and the caller drops them where no lock is held.
    pub(crate) fn cancelled(&mut self, is_wanted: impl Fn(&J) -> bool) -> Vec<J> {
        self.cancelled += 1;
        if self.cancelled > FEW.max(self.entries.len() / 2) { self.compact(is_wanted) } else { Vec::new() }
    }

    fn compact(&mut self, is_wanted: impl Fn(&J) -> bool) -> Vec<J> {
        let (mut wanted, mut void) = (VecDeque::new(), Vec::new());
        for job in self.entries.drain(..) {
            if is_wanted(&job) { wanted.push_back(job) } else { void.push(job) }
        }
        self.entries = wanted;
        self.cancelled = 0;
        void
    }
}

#[cfg(test)]
mod tests {
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
