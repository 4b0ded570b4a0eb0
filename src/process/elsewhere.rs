//! Process pools where there are none: everything compiles, `build()` is an error, and jobs of the global pool finish as
//! unavailable.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use super::{call::Function, config::Config};
use crate::{
    Metrics, Payload, Shutdown, ShutdownReport, TaskError, TaskId,
    counted::Counted,
    metrics::{Counters, Outcomes},
    pool::{Admission, Closable, Place},
    record::Lane,
    task::{Cell, Left, Options, Seat, Whose},
    trace::Note,
    wire::Encoded,
};

/// How deep this process is nested: nothing is ever nested here.
pub(super) fn depth() -> u32 {
    0
}

/// A pool that has no workers and never will.
pub(super) struct Shared {
    config: Config,
    reason: String,
    admission: Admission,
    counters: Counters,
    before: OnceLock<Outcomes>,
}

impl Shared {
    pub(super) fn new(config: Config) -> Arc<Self> {
        Self::broken(
            config,
            super::check_platform().map_or_else(|error| error.to_string(), |()| String::new()),
        )
    }

    pub(super) fn broken(config: Config, reason: String) -> Arc<Self> {
        Arc::new(Self {
            admission: Admission::new(config.queue_limit, config.max_workers),
            config,
            reason,
            counters: Counters::default(),
            before: OnceLock::new(),
        })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn push(&self, job: Counted<dyn ProcessJob>) {
        job.fail(&self.reason);
    }

    pub(super) fn start_early(&self) {}

    pub(super) fn metrics(&self) -> Metrics {
        Metrics { max_workers: self.config.max_workers, ..self.counters.snapshot() }
    }

    pub(super) fn max_workers(&self) -> usize {
        self.config.max_workers
    }

    pub(super) fn resize(&self, workers: usize) {
        self.admission.resize(self.config.max_workers, workers);
    }

    pub(super) fn add_handle(&self) {}

    pub(super) fn drop_handle(&self) {}

    pub(super) fn close(&self, _mode: Shutdown) {
        self.before.get_or_init(|| self.counters.outcomes());
        self.admission.close();
    }
}

impl Closable for Shared {
    fn poll_closed(&self, _cx: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn give_up(&self) -> u64 {
        0
    }

    fn report(&self) -> ShutdownReport {
        ShutdownReport::between(self.before.get().copied().unwrap_or_default(), self.counters.outcomes())
    }
}

impl Shared {
    pub(super) fn lanes(&self) -> Vec<Lane> {
        Vec::new()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool").field("name", &self.config.name).finish_non_exhaustive()
    }
}

/// A job that will not be sent.
pub(super) struct Call;

impl Call {
    pub(super) fn new(
        _function: Function,
        _argument: Encoded,
        _place: Place,
        _note: Note,
    ) -> Result<Self, &'static str> {
        Ok(Self)
    }
}

/// The seat of a task that cannot run.
pub(super) struct ProcessSeat<R> {
    shared: Arc<Shared>,
    result: PhantomData<fn() -> R>,
}

impl<R> ProcessSeat<R> {
    pub(super) fn new(shared: Arc<Shared>, _options: &Options, _call: &Call) -> Self {
        Self { shared, result: PhantomData }
    }
}

impl<R: Payload> Seat for ProcessSeat<R> {
    type Job = Call;
    type Output = R;

    fn finished(&self, _whose: Whose<'_>, outcome: &Result<R, TaskError>, left: Left) {
        self.shared.counters.finished(outcome, left);
    }

    fn stop(&self, _task: TaskId) {}
}

/// A task of a process pool, whatever its result.
pub(super) trait ProcessJob {
    fn fail(&self, reason: &str);
}

impl<R: Payload> ProcessJob for Cell<ProcessSeat<R>> {
    fn fail(&self, reason: &str) {
        self.end(TaskError::unavailable(self.label().clone(), reason));
    }
}
