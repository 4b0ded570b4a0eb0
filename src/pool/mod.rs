//! What thread pools and process pools share: admission to a bounded queue, the job builder, `submit`, shutdown.
//!
//! A pool takes part by implementing [`Takes`]; the builder and the three ways to start a job are written once, on top.

mod admission;
mod closers;
mod closing;
mod job;
mod latch;
pub(crate) mod queue;
pub(crate) mod registry;
mod report;
mod submit;

use std::panic::Location;

pub(crate) use admission::{Admission, Entering, NoRoom, Place, Places, Turn};
pub(crate) use closers::Closers;
pub(crate) use closing::Closable;
pub use closing::{Closing, Shutdown};
pub use job::Job;
pub(crate) use latch::Latch;
pub use report::ShutdownReport;
pub use submit::Submit;

use crate::{
    Refused, Task, TaskError,
    clock::Stamp,
    error::TaskLabel,
    record::Stage,
    task::{Options, label},
    trace::JobSpan,
};

/// A pool that runs jobs given as `J`: a closure, or the pair of a function and its argument.
///
/// Sealed: only the pools of this crate implement it. It is public because it stands in the bounds of [`Job`] and
/// [`Submit`].
pub trait Takes<J>: sealed::Pool + Clone {
    /// What the job returns.
    type Output: Send + 'static;

    /// Puts an admitted job into the queue.
    #[doc(hidden)]
    fn start(&self, job: J, ticket: Ticket) -> Task<Self::Output>;

    /// What a job is called unless its builder says otherwise.
    #[doc(hidden)]
    fn default_name() -> &'static str {
        std::any::type_name::<J>()
    }
}

/// Everything that comes with an admitted job.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ticket {
    pub(crate) label: TaskLabel,
    pub(crate) options: Options,
    pub(crate) place: Place,
}

pub(crate) mod sealed {
    use super::Admission;
    use crate::metrics::Counters;

    /// What [`super::Takes`] needs of every pool, whatever its jobs.
    pub trait Pool {
        #[doc(hidden)]
        #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
        fn admission(&self) -> &Admission;

        #[doc(hidden)]
        #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
        fn counters(&self) -> &Counters;

        #[doc(hidden)]
        fn name(&self) -> &str;

        /// What the jobs run on, for spans.
        #[doc(hidden)]
        fn kind(&self) -> &'static str;
    }
}

/// Opens the span of a job, if anybody is interested.
#[inline]
pub(crate) fn open_span(pool: &impl sealed::Pool, label: &TaskLabel) -> JobSpan {
    JobSpan::open(pool.kind(), pool.name(), label)
}

/// The three ways to start a job, for every pool.
pub(crate) trait Start<J>: Takes<J> {
    fn run_with(&self, job: J, mut options: Options, at: &'static Location<'static>) -> Task<Self::Output> {
        let label = label(Self::default_name(), &mut options, at);
        match self.admission().try_enter() {
            Ok(place) => self.start(job, Ticket { label, options, place }),
            Err(why) => {
                let error = self.refusal(&label, why);
                self.counters().recorders().ended(Stage::NeverBegan, 1, Stamp::NEVER, &error);
                self.refuse(error, label)
            }
        }
    }

    fn try_run_with(
        &self,
        job: J,
        mut options: Options,
        at: &'static Location<'static>,
    ) -> Result<Task<Self::Output>, Refused<J>> {
        let label = label(Self::default_name(), &mut options, at);
        match self.admission().try_enter() {
            Ok(place) => Ok(self.start(job, Ticket { label, options, place })),
            // What is handed back was no task: nothing is recorded of it.
            Err(why) => Err(Refused::new(job, self.refusal(&label, why))),
        }
    }

    /// A task that is finished from the start.
    fn refuse(&self, error: TaskError, label: TaskLabel) -> Task<Self::Output> {
        let span = open_span(self, &label);
        Task::refused(error, label, span)
    }

    /// Counts a refusal, and says why.
    fn refusal(&self, label: &TaskLabel, why: NoRoom) -> TaskError {
        self.counters().refused();
        match why {
            NoRoom::Full { limit } => TaskError::overloaded(label.clone(), self.name(), limit),
            NoRoom::Closed => TaskError::closed(label.clone(), self.name()),
        }
    }
}

impl<J, P: Takes<J>> Start<J> for P {}
