//! [`Desk`]: what one worker has taken out of the queue: the job that it runs, and those that wait behind it.
//!
//! While jobs are short a worker takes several at a time, which costs the dispatch's lock once and not once per job. What
//! waits on a desk is not lost to the others:
//!
//! 1. Jobs are *stocked* on a desk, and taken away from it by anybody but its owner, only under the dispatch's lock. So who holds
//!    that lock knows where every waiting job is, except those that an owner is just beginning.
//! 2. The owner begins the next one under the desk's own lock, in the same step in which it ends the one before.
//! 3. A job that is run stays on the desk until it has ended, so that a shutdown finds it.

use std::{collections::VecDeque, sync::PoisonError};

use crate::sync::{Mutex, MutexGuard};

/// The jobs of one worker. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Desk<J> {
    /// Taken after the dispatch's lock, if both are needed; never while a job is run or dropped.
    jobs: Mutex<Jobs<J>>,
}

#[derive(Debug)]
struct Jobs<J> {
    /// Several where a job that waits runs another; the innermost comes last.
    running: Vec<J>,
    waiting: VecDeque<J>,
    /// Whether its owner has ever had a job.
    is_used: bool,
}

/// What happened on a desk when a job had ended.
#[derive(Debug)]
pub(crate) struct Turnover<J> {
    /// The job that has ended, to be dropped under no lock.
    pub(crate) ended: Option<J>,
    /// The job that is to be run now.
    pub(crate) next: Option<J>,
}

impl<J> Desk<J> {
    pub(crate) fn new() -> Self {
        Self { jobs: Mutex::new(Jobs { running: Vec::new(), waiting: VecDeque::new(), is_used: false }) }
    }

    /// Has jobs wait behind those that wait already. Under the dispatch's lock.
    pub(crate) fn stock(&self, jobs: impl IntoIterator<Item = J>) {
        self.lock().waiting.extend(jobs);
    }

    /// Has all of `jobs` wait here, in no more time than one: this desk, on which nothing waits, gives its buffer for theirs. Under
    /// the dispatch's lock.
    pub(crate) fn stock_all(&self, jobs: &mut VecDeque<J>) {
        let mut desk = self.lock();
        debug_assert!(desk.waiting.is_empty());
        std::mem::swap(&mut desk.waiting, jobs);
    }

    /// Takes the older half of what waits. Under the dispatch's lock.
    pub(crate) fn take_half(&self) -> VecDeque<J> {
        let mut jobs = self.lock();
        let kept = jobs.waiting.len() / 2;
        let taken = jobs.waiting.len() - kept;
        let kept = jobs.waiting.split_off(taken);
        std::mem::replace(&mut jobs.waiting, kept)
    }

    /// Takes all that waits. Under the dispatch's lock.
    pub(crate) fn take_waiting(&self) -> VecDeque<J> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Whether jobs wait.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Whether its owner has ever had a job.
    pub(crate) fn is_used(&self) -> bool {
        self.lock().is_used
    }

    /// Ends the innermost job that runs; begins none.
    pub(crate) fn end(&self) -> Option<J> {
        self.lock().running.pop()
    }

    fn lock(&self) -> MutexGuard<'_, Jobs<J>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> Desk<J> {
    /// Looks at the innermost job that runs. Foreign code is not to be called there.
    pub(crate) fn innermost<R>(&self, look: impl FnOnce(&J) -> R) -> Option<R> {
        self.lock().running.last().map(look)
    }
}

impl<J: Clone> Desk<J> {
    /// Takes note of a job that its owner begins.
    pub(crate) fn begin(&self, job: &J) {
        let job = job.clone();
        let mut jobs = self.lock();
        jobs.running.push(job);
        jobs.is_used = true;
    }

    /// Ends the innermost job that runs, and begins the next one that waits.
    pub(crate) fn turn_over(&self) -> Turnover<J> {
        let mut jobs = self.lock();
        let ended = jobs.running.pop();
        let next = jobs.waiting.pop_front();
        jobs.running.extend(next.clone());
        Turnover { ended, next }
    }

    /// The jobs that are being run.
    pub(crate) fn running(&self) -> Vec<J> {
        self.lock().running.clone()
    }
}
