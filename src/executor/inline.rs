//! [`Inline`](struct@crate::Inline): runs jobs at once, on the calling thread.

use std::{
    any::type_name,
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use crate::{
    Closing, Metrics, Payload, ShutdownReport, Task, TaskError, TaskId,
    metrics::{Counters, Outcomes},
    panic::catch,
    pool::{Admission, Closable, Takes, Ticket, open_span, sealed},
    task::{Cell, Left, Seat, Whose, enter},
};

/// Runs each job at once, on the thread that starts it, so that the task is finished when the call returns.
///
/// For tests, for debugging, and for jobs too small to be worth a hand-off (less than about 10 µs). A panic in the job is
/// caught as elsewhere. Time limits have no effect: nobody is there to watch them.
///
/// # When not to use this
///
/// On a thread that drives async tasks, for anything that takes longer: it holds up every other task of that thread.
///
/// # Examples
///
/// ```
/// use heavylift::{Executor, Inline};
///
/// let task = Inline::new().execute(|n: u32| n + 1, 1);
/// assert!(task.is_finished());
/// assert_eq!(task.blocking_wait().unwrap(), 2);
/// ```
#[derive(Default)]
pub struct Inline {
    state: OnceLock<Arc<State>>,
}

struct State {
    admission: Admission,
    counters: Counters,
    before: OnceLock<Outcomes>,
}

/// A new executor, so that `Inline` can be written as a value, too.
#[expect(non_upper_case_globals, reason = "a value of the type, by the type's name, as for a unit struct")]
#[expect(clippy::declare_interior_mutable_const, reason = "each use is meant to be an executor of its own")]
pub const Inline: Inline = Inline::new();

impl Inline {
    /// Makes an executor with counts of its own.
    pub const fn new() -> Self {
        Self { state: OnceLock::new() }
    }

    fn state(&self) -> &Arc<State> {
        self.state.get_or_init(|| {
            Arc::new(State {
                admission: Admission::new(None, 1),
                counters: Counters::default(),
                before: OnceLock::new(),
            })
        })
    }

    pub(super) fn metrics_now(&self) -> Metrics {
        self.state().counters.snapshot()
    }

    pub(super) fn close(&self) -> Closing {
        let state = self.state();
        state.before.get_or_init(|| state.counters.outcomes());
        state.admission.close();
        Closing::new(state.clone())
    }
}

impl Clone for Inline {
    /// Returns a handle of the same executor.
    fn clone(&self) -> Self {
        Self { state: OnceLock::from(self.state().clone()) }
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inline")
    }
}

impl Closable for State {
    fn poll_closed(&self, _cx: &Context<'_>) -> Poll<()> {
        // Every job had ended when its call returned.
        Poll::Ready(())
    }

    fn give_up(&self) -> u64 {
        0
    }

    fn report(&self) -> ShutdownReport {
        ShutdownReport::between(self.before.get().copied().unwrap_or_default(), self.counters.outcomes())
    }
}

impl sealed::Pool for Inline {
    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn admission(&self) -> &Admission {
        &self.state().admission
    }

    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn counters(&self) -> &Counters {
        &self.state().counters
    }

    fn name(&self) -> &str {
        "inline"
    }

    fn kind(&self) -> &'static str {
        "inline"
    }
}

impl<F, A, R> Takes<(F, A)> for Inline
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload,
    R: Payload,
{
    type Output = R;

    fn start(&self, (job, arg): (F, A), ticket: Ticket) -> Task<R> {
        let Ticket { label, options, place } = ticket;
        let counters = &self.state().counters;
        counters.submitted();
        let seat = InlineSeat::<R>::new(self.state().clone());
        let span = open_span(self, &label);
        let cell = Cell::new(label.clone(), &options, seat, (), span.clone());
        let task = Task::new(cell.clone());
        // Nobody else has seen the task, so it is still queued.
        let _ = cell.claim();
        let begun = Instant::now();
        counters.begun(begun.saturating_duration_since(cell.submitted()));
        span.begins(|| None);
        let outcome = span.inside(|| enter(&*cell, || catch(|| job(arg))));
        counters.ran(begun.elapsed());
        drop(place);
        // It can only have been finished by the job itself, which has no handle of it.
        let _ = cell.complete(outcome.map_err(|report| TaskError::panicked(label, report)));
        task
    }

    fn default_name() -> &'static str {
        type_name::<F>()
    }
}

/// What an inline task keeps.
struct InlineSeat<R> {
    state: Arc<State>,
    result: PhantomData<fn() -> R>,
}

impl<R> InlineSeat<R> {
    fn new(state: Arc<State>) -> Self {
        Self { state, result: PhantomData }
    }
}

impl<R: Send + 'static> Seat for InlineSeat<R> {
    type Job = ();
    type Output = R;

    fn finished(&self, _whose: Whose<'_>, outcome: &Result<R, TaskError>, left: Left) {
        self.state.counters.finished(outcome, left);
    }

    fn stop(&self, _task: TaskId) {}
}
