//! The jobs that run on this thread, one on top of the other.
//!
//! A job is below another where it waits for that one by `blocking_wait`, and has it run right there.

use std::{cell::RefCell, sync::Arc};

use crate::TaskId;

thread_local! {
    /// The innermost one comes last.
    static JOBS: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// A job that runs here.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// The address of what its pool shares.
    pool: usize,
    task: TaskId,
}

/// Whether a thread may begin a job that has not asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    /// No job runs on it.
    Free,
    /// A job waits on it, for its parallel parts or for a task.
    Occupied,
}

/// Takes a job off the stack.
pub(super) struct Leave(());

impl Drop for Leave {
    fn drop(&mut self) {
        JOBS.with_borrow_mut(|jobs| _ = jobs.pop());
    }
}

/// Puts a job on top, until what is returned is dropped.
pub(super) fn enter<P>(pool: &Arc<P>, task: TaskId) -> Leave {
    JOBS.with_borrow_mut(|jobs| jobs.push(Frame { pool: address(pool), task }));
    Leave(())
}

pub(super) fn here() -> Here {
    if count(|_| true) == 0 { Here::Free } else { Here::Occupied }
}

/// How many jobs of this pool run here.
pub(super) fn jobs_of<P>(pool: &Arc<P>) -> usize {
    count(|frame| frame.pool == address(pool))
}

/// Whether the job of this task runs here.
pub(super) fn runs(task: TaskId) -> bool {
    count(|frame| frame.task == task) > 0
}

fn count(which: impl Fn(&Frame) -> bool) -> usize {
    // None while the thread's own values are being dropped, when no job runs on it any more.
    JOBS.try_with(|jobs| jobs.borrow().iter().filter(|frame| which(frame)).count()).unwrap_or(0)
}

fn address<P>(pool: &Arc<P>) -> usize {
    Arc::as_ptr(pool).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_lie_on_top_of_each_other_until_they_end() {
        let (one, other) = (Arc::new(1), Arc::new(2));
        let (outer, inner) = (TaskId::next(), TaskId::next());
        assert_eq!(here(), Here::Free);
        let below = enter(&one, outer);
        let above = enter(&one, inner);
        assert_eq!((here(), jobs_of(&one), jobs_of(&other)), (Here::Occupied, 2, 0));
        drop(above);
        assert_eq!((runs(outer), runs(inner), jobs_of(&one)), (true, false, 1));
        drop(below);
        assert_eq!((here(), runs(outer)), (Here::Free, false));
    }
}
