//! [`Queue`]: deadlines in order, and the decision when to sweep out those that nobody wants any more.

use std::{cmp::Ordering, collections::BinaryHeap, time::Instant};

use super::Expire;
use crate::counted::Weak;

/// Below this many entries a sweep would cost more than the memory that it frees.
const SMALL: usize = 1024;

/// Deadlines in order.
///
/// Most limits belong to tasks that finish long before, so most entries are over before they are due. A sweep is asked
/// for when the queue holds twice what the last one left: each registration pays for the visit of two entries at most,
/// and at most half of the queue is over, give or take what arrives during a sweep.
///
/// Pure but for [`Entry::is_wanted`]: no clock, no thread.
pub(super) struct Queue {
    entries: BinaryHeap<Entry>,
    /// The length at which a sweep is due.
    sweep_at: usize,
}

/// One registration. Ordered so that the earliest deadline is the heap's greatest entry.
pub(super) struct Entry {
    pub(super) deadline: Instant,
    pub(super) target: Weak<dyn Expire>,
}

/// What the thread has to do.
pub(super) enum Due {
    /// Tell these.
    Targets(Vec<Weak<dyn Expire>>),
    /// Keep the entries that are wanted, and put them back. Handed out because asking a target is foreign code, which
    /// must not run under the lock.
    Sweep(BinaryHeap<Entry>),
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { entries: BinaryHeap::new(), sweep_at: SMALL }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries.peek().map(|entry| entry.deadline)
    }

    /// Adds an entry, and returns whether the thread must look: something is due earlier than it knows.
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        let is_earliest = self.next_deadline().is_none_or(|next| entry.deadline < next);
        self.entries.push(entry);
        is_earliest || self.entries.len() == self.sweep_at
    }

    /// Removes what has to be done at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        if self.next_deadline().is_some_and(|next| next <= now) {
            return Some(Due::Targets(self.take_expired(now)));
        }
        (self.entries.len() >= self.sweep_at).then(|| Due::Sweep(std::mem::take(&mut self.entries)))
    }

    fn take_expired(&mut self, now: Instant) -> Vec<Weak<dyn Expire>> {
        let mut targets = Vec::new();
        while self.next_deadline().is_some_and(|next| next <= now) {
            targets.extend(self.entries.pop().map(|entry| entry.target));
        }
        targets
    }

    /// Takes back what a sweep has left, and sets when the next one is due.
    pub(super) fn put_back(&mut self, mut kept: BinaryHeap<Entry>) {
        kept.append(&mut self.entries);
        self.entries = kept;
        self.sweep_at = SMALL.max(2 * self.entries.len());
        self.entries.shrink_to(self.sweep_at);
    }
}

impl Entry {
    /// Whether its target is alive and still waits for the deadline.
    pub(super) fn is_wanted(&self) -> bool {
        let mut is_wanted = false;
        crate::panic::shield(|| is_wanted = self.target.upgrade().is_some_and(|target| !target.is_over()));
        is_wanted
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.cmp(&self.deadline)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.deadline == other.deadline
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        time::Duration,
    };

    use super::*;
    use crate::counted::{Counted, unsize};

    #[derive(Default)]
    struct Limit {
        is_over: AtomicBool,
    }

    impl Expire for Limit {
        fn expired(&self) {}

        fn is_over(&self) -> bool {
            self.is_over.load(Relaxed)
        }
    }

    fn limit() -> Counted<Limit> {
        Counted::new(Limit::default())
    }

    fn entry(deadline: Instant, target: &Counted<Limit>) -> Entry {
        Entry { deadline, target: unsize!(target.downgrade() => dyn Expire) }
    }

    #[test]
    fn the_thread_is_only_told_of_an_earlier_deadline() {
        let (mut queue, limit, now) = (Queue::new(), limit(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(queue.push(entry(now + 2 * second, &limit)));
        assert!(!queue.push(entry(now + 3 * second, &limit)));
        assert!(queue.push(entry(now + second, &limit)));
    }

    #[test]
    fn what_is_due_comes_out_and_the_rest_stays() {
        let (mut queue, limit, now) = (Queue::new(), limit(), Instant::now());
        let second = Duration::from_secs(1);
        for after in [3, 0, 2, 1] {
            queue.push(entry(now + after * second, &limit));
        }
        let Some(Due::Targets(targets)) = queue.take_due(now + second) else { panic!("two are due") };
        assert_eq!(targets.len(), 2);
        assert_eq!(queue.next_deadline(), Some(now + 2 * second));
        assert!(queue.take_due(now + second).is_none());
    }

    /// A million tasks that finish long before their limits, some by a drop, with a thread that always keeps up.
    #[test]
    fn a_million_finished_tasks_are_not_held() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        let (deadline, mut longest, mut visited) = (now + Duration::from_secs(60), 0, 0);
        let lasting: Vec<_> = (0..1000).map(|_| limit()).collect();
        for limit in &lasting {
            queue.push(entry(deadline, limit));
        }
        for round in 0..1_000_000 {
            let limit = limit();
            let must_look = queue.push(entry(deadline, &limit));
            limit.is_over.store(round % 2 == 0, Relaxed);
            longest = longest.max(queue.len());
            if let (true, Some(Due::Sweep(mut entries))) = (must_look, queue.take_due(now)) {
                visited += entries.len();
                entries.retain(Entry::is_wanted);
                queue.put_back(entries);
            }
        }
        assert!(longest <= 2 * (lasting.len() + 1), "{longest} entries");
        assert!(visited <= 2 * 1_001_000, "{visited} visits");
        assert!(queue.len() >= lasting.len(), "a limit that is wanted was lost");
    }
}
