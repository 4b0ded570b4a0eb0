//! [`ThreadSeat`]: what a thread pool keeps in each of its tasks; [`ThreadJob`]: a task as the queue and the workers see it.

use std::{
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::{Handle, Id};

use super::{grip::Grip, queue::Queued, shared::Shared, worker};
use crate::{
    TaskError, TaskId,
    clock::Stamp,
    counted::Counted,
    error::TaskLabel,
    metrics::{Counters, Pace},
    panic::{catch, drop_shielded},
    pool::Place,
    record::{Run, Spot},
    task::{self, Cell, Left, Options, Seat, StopSignal, Whose},
};

/// The seat of a job `F` that returns `R`.
pub(crate) struct ThreadSeat<F, R> {
    /// The pool, and the runtime that the job was submitted from. It stays here until the task is dropped, which
    /// happens most often in that runtime: a count that two threads change in turn costs more than the rest of a hand-over.
    grip: Grip,
    job: PhantomData<fn(F) -> R>,
}

/// A job with all that it takes along.
///
/// Dropped in this order, so that the job is gone when its place becomes free.
pub(crate) struct Load<F> {
    pub(crate) job: F,
    pub(crate) place: Place,
}

/// A task, whatever its types.
///
/// None of the methods unwinds: foreign code in them is shielded.
pub(crate) trait ThreadJob: Queued + Send + Sync {
    /// Runs the job on this thread, whose `spot` that is and which has entered its runtime, unless its task has been finished
    /// meanwhile.
    fn run(&self, spot: &Spot);

    /// The runtime in which it is to be run.
    fn runtime(&self) -> Option<Handle>;

    /// Which one that is.
    fn runtime_id(&self) -> Option<Id>;

    /// Which task it is; of a chunk the first one.
    fn label(&self) -> &TaskLabel;

    /// Whether the job waits to be run.
    fn is_queued(&self) -> bool;

    /// Finishes the task as cancelled. Returns how many tasks this call has finished: a chunk is several.
    fn cancel(&self) -> u64;

    /// Cancels what has not begun, although the job runs. Returns how many tasks that were.
    fn cancel_waiting(&self) -> u64 {
        0
    }

    /// Adds to the pool's counts what the job has not counted yet.
    fn settle_counts(&self) {}

    /// Finishes the task as refused, because the pool named `pool` is closed.
    fn refuse(&self, pool: &str);

    /// Finishes the task as one that cannot be run.
    fn fail(&self, reason: &str);
}

impl<F, R> ThreadSeat<F, R> {
    pub(super) fn new(grip: Grip) -> Self {
        Self { grip, job: PhantomData }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.grip.shared()
    }
}

impl<F, R> Seat for ThreadSeat<F, R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Job = Load<F>;
    type Output = R;

    fn pace(options: &Options) -> Option<Arc<Pace>> {
        options.pace.clone()
    }

    fn finished(&self, whose: Whose<'_>, outcome: &Result<R, TaskError>, left: Left) {
        self.shared().counters.finished(outcome, left);
        if left != Left::Hold {
            self.shared().counters.record_end(whose, outcome, left);
        }
        match left {
            Left::Queue => self.shared().entry_is_void(),
            Left::Hold => {}
            Left::Abandoned => self.shared().counters.abandoned(),
        }
    }

    fn answers_within(&self) -> Option<Duration> {
        let few = self.shared().dispatch().has_few_entries();
        if few { self.shared().soon.worth_waiting() } else { None }
    }

    fn has_answered(&self, within: Duration, answered: bool) {
        let soon = &self.shared().soon;
        if answered { soon.waited_well() } else { soon.waited_in_vain(within) }
    }

    /// A thread cannot be stopped: the job sees the flag that the cell has set.
    fn stop(&self, _task: TaskId) {}

    fn help(cell: &Counted<Cell<Self>>) {
        if cell.is_queued() && worker::run_here(cell.seat().shared(), cell) {
            cell.seat().shared().entry_is_void();
        }
    }
}

impl<F, R> Queued for Cell<ThreadSeat<F, R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    fn lane(&self) -> usize {
        self.priority().lane()
    }

    fn due(&self) -> Instant {
        self.priority().due(self.submitted())
    }

    fn submitted_nanos(&self) -> u64 {
        self.submitted_at().nanos()
    }
}

impl<F, R> ThreadJob for Cell<ThreadSeat<F, R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    fn run(&self, spot: &Spot) {
        let Some(load) = self.claim() else { return };
        let counters = &self.seat().shared().counters;
        let begun = Stamp::now();
        counters.begun(begun.since(self.submitted_at()));
        self.watch_run(begun);
        let outer = spot.begin(begun);
        Counters::computes_from(begun);
        let span = self.span();
        span.begins(worker::number_here);
        let (outcome, place) = span.inside(|| call(self, load));
        // All that belongs to the job is settled before anybody can see its outcome.
        let ended = Stamp::now();
        let took = ended.since(begun);
        counters.ran(took);
        counters.computed_until(ended, 1, took);
        self.seat().shared().soon.took(took);
        if let Some(pace) = self.pace() {
            pace.note(1, took);
        }
        drop_shielded(place);
        // Who stopped it is about to finish the task: a job that obeys at once must not be quicker.
        let is_stopped = StopSignal::is_stopped(self);
        spot.begin(outer);
        let run = Run {
            label: Cell::label(self),
            submitted: self.submitted_at(),
            begun,
            ended,
            worker: spot.number,
            items: 1,
        };
        counters.record_run(run, (!is_stopped).then_some(&outcome));
        let outcome = if is_stopped { Err(outcome) } else { self.complete(outcome) };
        if let Err(abandoned) = outcome {
            drop_shielded(abandoned);
            counters.abandoned_ended();
        }
    }

    fn runtime(&self) -> Option<Handle> {
        self.seat().grip.runtime()
    }

    fn runtime_id(&self) -> Option<Id> {
        self.seat().grip.runtime_id()
    }

    fn label(&self) -> &TaskLabel {
        Cell::label(self)
    }

    fn is_queued(&self) -> bool {
        Cell::is_queued(self)
    }

    fn cancel(&self) -> u64 {
        self.end(TaskError::cancelled(self.label().clone())).into()
    }

    fn refuse(&self, pool: &str) {
        self.end(TaskError::closed(self.label().clone(), pool));
    }

    fn fail(&self, reason: &str) {
        self.end(TaskError::unavailable(self.label().clone(), reason));
    }
}

/// Calls the job as itself: with its stop signal.
fn call<F, R>(cell: &Cell<ThreadSeat<F, R>>, load: Load<F>) -> (Result<R, TaskError>, Place)
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let Load { job, place } = load;
    let outcome = task::enter(cell, || catch(job));
    (outcome.map_err(|report| TaskError::panicked(cell.label().clone(), report)), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One more word, and each task takes sixteen bytes more of the heap; a batch of small jobs pays for all of them in page faults.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_task_takes_as_many_words_as_it_needs() {
        fn size_of_task<F: FnOnce() -> R + Send + 'static, R: Send + 'static>(_job: F) -> usize {
            size_of::<Cell<ThreadSeat<F, R>>>()
        }
        let number = 7_u64;
        assert_eq!(size_of_task(move || number), 17 * size_of::<usize>());
    }
}
