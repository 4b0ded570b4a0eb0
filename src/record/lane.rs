//! [`Lane`]: what one worker does at this moment; [`Spot`]: where a worker thread leaves a part of that.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{TaskId, clock::Stamp, error::TaskName};

/// One worker, as it was when somebody looked.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// See [`WorkerRecord`](super::WorkerRecord).
    pub(crate) worker: u32,
    pub(crate) number: u32,
    /// The process, if it is one.
    pub(crate) pid: Option<u32>,
    /// When it was started, where that is known.
    pub(crate) born: Option<Stamp>,
    #[allow(dead_code, reason = "for who shows workers live")]
    pub(crate) state: LaneState,
    /// What it runs; of jobs of which one waits for another on the same thread the innermost.
    pub(crate) running: Option<Running>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
pub(crate) enum LaneState {
    /// It is not ready for jobs yet.
    Starting,
    /// It is ready to take the place of another.
    StandingBy,
    Idle,
    Busy,
    /// It gets no more jobs, and is about to be gone.
    Leaving,
}

/// A job that runs.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// The task; of several items of a map the first one's.
    pub(crate) id: TaskId,
    pub(crate) name: TaskName,
    pub(crate) since: Stamp,
}

/// Where a worker thread says since when its job runs: its own, so that this costs a plain store.
///
/// ORDERING: Relaxed. It stands for itself: who reads it together with the job may have that of another one.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) number: u32,
    since: AtomicU64,
}

impl Spot {
    pub(crate) fn new(number: usize) -> Self {
        Self { number: u32::try_from(number).unwrap_or(u32::MAX), since: AtomicU64::new(0) }
    }

    /// A job begins. Returns since when the one runs that it interrupts.
    #[inline]
    pub(crate) fn begin(&self, now: Stamp) -> Stamp {
        let before = self.since();
        self.since.store(now.nanos(), Relaxed);
        before
    }

    pub(crate) fn since(&self) -> Stamp {
        Stamp::from_nanos(self.since.load(Relaxed))
    }
}
