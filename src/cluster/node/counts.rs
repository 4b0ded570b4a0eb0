//! [`NodeMetrics`] and [`NodeReport`]: what a node has done.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What a node is doing and has done. Plain data.
///
/// How its jobs fare on the machine (times, panics, deaths of workers) is in the metrics of its local pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeMetrics {
    /// How many jobs it may have at a time.
    pub slots: u64,
    /// Jobs that it has at this moment.
    pub running: u64,
    /// Deliveries that came.
    pub taken: u64,
    /// Those of them that had been delivered before, to this node or another.
    pub redelivered: u64,
    /// Copies of jobs that ran here at that time: ignored.
    pub duplicates: u64,
    /// Jobs whose outcome it has published, whatever it was.
    pub answered: u64,
    /// Deliveries that it could not run, because it has no such function.
    pub refused: u64,
    /// Deliveries that went back to be run again: after the death of a worker, when the node ended, when its pool was full
    /// or could start no worker.
    pub given_back: u64,
    /// Jobs that it has put among the dead letters.
    pub dead_letters: u64,
    /// Calls of the fast mode that it has run.
    pub calls: u64,
    /// Calls that came when no slot was free.
    pub calls_refused: u64,
    /// Why the last request to the servers failed. `None` while all is well.
    pub trouble: Option<String>,
}

/// What a node had done when it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeReport {
    /// The node's name.
    pub name: String,
    /// From when it was connected to its end.
    pub served: Duration,
    /// Everything that it has done. Jobs that still run here were not given back in time: they run again elsewhere once their lease is over.
    pub metrics: NodeMetrics,
}

impl fmt::Display for NodeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeMetrics { answered, given_back, refused, dead_letters, running, .. } = self.metrics;
        write!(
            f,
            "{answered} answered, {given_back} given back, {refused} refused, {dead_letters} dead letters, {running} left"
        )
    }
}

/// The counts behind them. Written on the node's thread, read on any.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) slots: Count,
    pub(super) running: Count,
    pub(super) taken: Count,
    pub(super) redelivered: Count,
    pub(super) duplicates: Count,
    pub(super) answered: Count,
    pub(super) refused: Count,
    pub(super) given_back: Count,
    pub(super) dead_letters: Count,
    pub(super) calls: Count,
    pub(super) calls_refused: Count,
    /// Taken alone.
    trouble: Mutex<Option<String>>,
}

/// A number. ORDERING: Relaxed everywhere: nothing else is read because of it.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn set(&self, number: usize) {
        self.0.store(number as u64, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counts {
    /// Takes note of what does not work, or that all is well.
    pub(super) fn trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(super) fn metrics(&self) -> NodeMetrics {
        NodeMetrics {
            slots: self.slots.get(),
            running: self.running.get(),
            taken: self.taken.get(),
            redelivered: self.redelivered.get(),
            duplicates: self.duplicates.get(),
            answered: self.answered.get(),
            refused: self.refused.get(),
            given_back: self.given_back.get(),
            dead_letters: self.dead_letters.get(),
            calls: self.calls.get(),
            calls_refused: self.calls_refused.get(),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
