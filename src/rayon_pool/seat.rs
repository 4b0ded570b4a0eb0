//! [`RayonSeat`]: what a pool keeps in each of its tasks; [`RayonJob`]: a task as the queue and the threads see it.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{shared::Shared, stack, threads};
use crate::{
    Priority, TaskError, TaskId,
    clock::Stamp,
    counted::{Counted, unsize},
    error::TaskLabel,
    panic::{catch, drop_shielded},
    pool::{Place, queue::Queued},
    record::{Run, UNKNOWN},
    task::{self, Cell, Left, Seat, StopSignal, TaskCell, Whose},
};

/// How long a thread that waits for a task sleeps before it looks for parallel parts again: the first time, and at most.
const FIRST_NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// The seat of a job `F` that returns `R`.
pub(super) struct RayonSeat<F, R> {
    shared: Arc<Shared>,
    priority: Priority,
    /// The runtime that the job was submitted from, for `Handle::current()` in it.
    runtime: Option<Handle>,
    /// Which thread runs it, or `UNKNOWN`, and since when. Each is stored once, so that this costs a job two plain stores.
    ///
    /// ORDERING: Release of `worker` pairs with the Acquire in `spot`: who sees the thread sees the time.
    worker: AtomicU32,
    begun: AtomicU64,
    job: PhantomData<fn(F) -> R>,
}

/// A job with all that it takes along.
///
/// Dropped in this order, so that the job is gone when its place becomes free.
pub(super) struct Load<F> {
    pub(super) job: F,
    pub(super) place: Place,
}

/// A task, whatever its types.
///
/// None of the methods unwinds: foreign code in them is shielded. So nothing ever reaches rayon's panic handler.
pub(super) trait RayonJob: Queued + Send + Sync {
    fn label(&self) -> &TaskLabel;

    /// The number of the thread that runs it, and since when.
    fn spot(&self) -> Option<(u32, Stamp)>;

    /// Runs the job on this thread, unless its task has been finished meanwhile.
    fn run(&self);

    /// Whether the job waits to be run.
    fn is_queued(&self) -> bool;

    /// Finishes the task as cancelled. Says whether this call did it.
    fn cancel(&self) -> bool;

    /// Finishes the task as refused, because the pool named `pool` is closed.
    fn refuse(&self, pool: &str);

    /// Finishes the task as one that cannot be run.
    fn fail(&self, reason: &str);
}

impl<F, R> RayonSeat<F, R> {
    pub(super) fn new(shared: Arc<Shared>, priority: Priority) -> Self {
        Self {
            shared,
            priority,
            runtime: Handle::try_current().ok(),
            worker: AtomicU32::new(UNKNOWN),
            begun: AtomicU64::new(0),
            job: PhantomData,
        }
    }
}

impl<F, R> Seat for RayonSeat<F, R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Job = Load<F>;
    type Output = R;

    fn finished(&self, whose: Whose<'_>, outcome: &Result<R, TaskError>, left: Left) {
        self.shared.counters.finished(outcome, left);
        if left != Left::Hold {
            self.shared.counters.record_end(whose, outcome, left);
        }
        match left {
            Left::Queue => self.shared.entry_is_void(),
            Left::Hold => {}
            Left::Abandoned => self.shared.counters.abandoned(),
        }
    }

    /// A thread cannot be stopped: the job sees the flag that the cell has set.
    fn stop(&self, _task: TaskId) {}

    /// Runs the job here if it is queued, or else the parallel parts of whatever runs, until the task has finished.
    fn help(cell: &Counted<Cell<Self>>) {
        if stack::runs(cell.label().id) {
            let reason = "it waits for itself: whoever waits for it runs on top of it, on the same thread";
            cell.end(TaskError::unavailable(cell.label().clone(), reason));
            return;
        }
        let shared = &cell.seat().shared;
        if !shared.threads.are_here_for_certain() {
            return;
        }
        if cell.is_queued() {
            shared.run_here(unsize!(cell.clone() => dyn RayonJob));
        }
        lend_thread(cell);
    }
}

/// Lends this thread to rayon until the task has finished.
///
/// Its job may have parallel parts for it, and `broadcast`, which needs every thread, may be among them.
fn lend_thread<S: Seat>(cell: &Cell<S>) {
    let finished = Arc::new(AtomicBool::new(false));
    let (told, sleeper) = (finished.clone(), thread::current());
    cell.on_done(Box::new(move |_| {
        // ORDERING: Release pairs with the Acquire below, though all that counts is that the task is finished soon.
        told.store(true, Ordering::Release);
        sleeper.unpark();
    }));
    let mut nap = FIRST_NAP;
    while !finished.load(Ordering::Acquire) {
        // What runs meanwhile are parts of other jobs, which must not see the flag of this one.
        if task::outside(rayon::yield_now) == Some(rayon::Yield::Executed) {
            nap = FIRST_NAP;
        } else {
            thread::park_timeout(nap);
            nap = (2 * nap).min(LONGEST_NAP);
        }
    }
}

impl<F, R> Queued for Cell<RayonSeat<F, R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    fn lane(&self) -> usize {
        self.seat().priority.lane()
    }

    fn due(&self) -> Instant {
        self.seat().priority.due(self.submitted())
    }
}

impl<F, R> RayonJob for Cell<RayonSeat<F, R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    fn label(&self) -> &TaskLabel {
        Cell::label(self)
    }

    fn spot(&self) -> Option<(u32, Stamp)> {
        let seat = self.seat();
        let worker = Some(seat.worker.load(Ordering::Acquire)).filter(|&worker| worker != UNKNOWN)?;
        Some((worker, Stamp::from_nanos(seat.begun.load(Ordering::Relaxed))))
    }

    fn run(&self) {
        let Some(load) = self.claim() else { return };
        let counters = &self.seat().shared.counters;
        let begun = Stamp::now();
        counters.begun(begun.since(self.submitted_at()));
        self.watch_run(begun);
        let worker = threads::number_here();
        self.seat().begun.store(begun.nanos(), Ordering::Relaxed);
        self.seat().worker.store(worker, Ordering::Release);
        let Load { job, place } = load;
        let inside = self.seat().runtime.as_ref().map(Handle::enter);
        let span = self.span();
        span.begins(rayon::current_thread_index);
        let outcome = span.inside(|| task::enter(self, || catch(job)));
        drop(inside);
        // All that belongs to the job is settled before anybody can see its outcome.
        let ended = Stamp::now();
        counters.ran(ended.since(begun));
        drop_shielded(place);
        let outcome = outcome.map_err(|report| TaskError::panicked(Cell::label(self).clone(), report));
        // Who stopped it is about to finish the task: a job that obeys at once must not be quicker.
        let is_stopped = StopSignal::is_stopped(self);
        let label = Cell::label(self);
        let run = Run { label, submitted: self.submitted_at(), begun, ended, worker, items: 1 };
        counters.record_run(run, (!is_stopped).then_some(&outcome));
        let outcome = if is_stopped { Err(outcome) } else { self.complete(outcome) };
        if let Err(abandoned) = outcome {
            drop_shielded(abandoned);
            counters.abandoned_ended();
        }
    }

    fn is_queued(&self) -> bool {
        Cell::is_queued(self)
    }

    fn cancel(&self) -> bool {
        self.end(TaskError::cancelled(Cell::label(self).clone()))
    }

    fn refuse(&self, pool: &str) {
        self.end(TaskError::closed(Cell::label(self).clone(), pool));
    }

    fn fail(&self, reason: &str) {
        self.end(TaskError::unavailable(Cell::label(self).clone(), reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_task_takes_as_many_words_as_it_needs() {
        assert_eq!(size_of::<RayonSeat<fn(), ()>>(), 5 * size_of::<usize>());
    }
}
