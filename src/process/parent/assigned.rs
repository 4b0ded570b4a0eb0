//! [`Assigned`]: which worker a job was sent to, for whoever stops its task.
//!
//! Sending and stopping meet without a lock that both take, for the lock of the worker is not known before:
//!
//! ```text
//! sender, under the worker's link: store ticket │ SeqCst fence (once for many jobs) │ read STOP: set: do not send
//! stopper:                         set STOP     │ SeqCst fence                      │ read ticket: take the link of that worker
//! ```
//!
//! The two fences are ordered one way or the other. If the sender's is first, the stopper finds the worker, and waits for its link
//! until the job has been sent; if the stopper's is first, the sender sees STOP.

use crate::sync::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};

/// The ticket of the worker that a job was last sent to.
#[derive(Debug)]
pub(crate) struct Assigned(AtomicU64);

impl Default for Assigned {
    fn default() -> Self {
        Self(AtomicU64::new(NOBODY))
    }
}

const NOBODY: u64 = u64::MAX;

impl Assigned {
    /// The job is about to be sent to this worker, whose link the caller holds. Before it looks whether the task was stopped it
    /// must [`settle`](Self::settle).
    pub(crate) fn set(&self, ticket: u64) {
        // ORDERING: Relaxed. The fence in `settle` orders it.
        self.0.store(ticket, Relaxed);
    }

    /// Orders every `set` of this thread before what it reads from now on.
    pub(crate) fn settle() {
        // ORDERING: pairs with the fence in `ticket`: see the module's page.
        fence(SeqCst);
    }

    /// The worker, if the job was sent to one; to be asked after the task was stopped.
    pub(crate) fn ticket(&self) -> Option<u64> {
        // ORDERING: pairs with the fence in `settle`.
        fence(SeqCst);
        // ORDERING: Relaxed, ordered by the fence.
        Some(self.0.load(Relaxed)).filter(|&ticket| ticket != NOBODY)
    }
}
