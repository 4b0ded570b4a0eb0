//! [`Waiting`]: how many jobs of each priority have not begun.
//!
//! What decides whether a job may be sent ahead: while a more urgent one waits it might begin before that, where it was sent.

use crate::{
    Priority,
    shards::{Count, Shards},
};

/// Counts of jobs that have not begun, as far as is known: in the queue, in a keeper's hand, sent ahead.
///
/// Each is the sum of what several threads have counted: who submits adds, a keeper removes, and neither is to wait for the
/// other's cache.
///
/// The counts order nothing. That a job is counted before its keeper can see it is ensured by the schedule's lock, through which it
/// goes; that one is counted a moment too long only makes a keeper careful.
#[derive(Debug)]
pub(super) struct Waiting([Shards<Count>; Priority::COUNT]);

impl Default for Waiting {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Shards::new(Count::new)))
    }
}

impl Waiting {
    pub(super) fn add(&self, priority: Priority) {
        self.0[priority.lane()].here().add(1);
    }

    pub(super) fn remove(&self, priority: Priority) {
        self.0[priority.lane()].here().subtract(1);
    }

    /// Whether jobs wait that are more urgent.
    pub(super) fn has_more_urgent(&self, than: Priority) -> bool {
        self.0[..than.lane()].iter().any(has_some)
    }

    /// Whether jobs wait that are less urgent.
    pub(super) fn has_less_urgent(&self, than: Priority) -> bool {
        self.0[than.lane() + 1..].iter().any(has_some)
    }
}

fn has_some(count: &Shards<Count>) -> bool {
    // What was added in one part may have been removed in another.
    count.iter().fold(0, |sum: u64, part| sum.wrapping_add(part.get())).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{High, Low, Normal};

    #[test]
    fn it_knows_whether_something_more_or_less_urgent_waits() {
        let table: [(&[Priority], [bool; 3], [bool; 3]); 5] = [
            // waiting => whether something is more urgent than high, normal, low, and whether something is less
            (&[], [false; 3], [false; 3]),
            (&[Normal, Normal], [false, false, true], [true, false, false]),
            (&[High], [false, true, true], [false; 3]),
            (&[High, Low], [false, true, true], [true, true, false]),
            (&[Low], [false; 3], [true, true, false]),
        ];
        for (jobs, more, less) in table {
            let waiting = Waiting::default();
            jobs.iter().for_each(|&job| waiting.add(job));
            assert_eq!([High, Normal, Low].map(|than| waiting.has_more_urgent(than)), more, "{jobs:?}");
            assert_eq!([High, Normal, Low].map(|than| waiting.has_less_urgent(than)), less, "{jobs:?}");
            jobs.iter().for_each(|&job| waiting.remove(job));
            assert!(!waiting.has_less_urgent(High) && !waiting.has_more_urgent(Low));
        }
    }
}
