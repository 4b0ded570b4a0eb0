//! [`RealJob`]: a function, its arguments, and the places where it can run.

use std::{
    cell::OnceCell,
    hint::black_box,
    time::{Duration, Instant},
};

use futures::StreamExt;
use heavylift::{
    Payload, ProcessPool, Profile, TaskError, ThreadPool,
    guidance::{Choice, MeasureError},
};
use tokio::runtime::Runtime;

use super::Yard;

/// Where a job can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A plain loop on the calling thread.
    Inline,
    /// `ThreadPool::global()`.
    Threads,
    /// `ThreadPool::cpu()`.
    Cpu,
    /// `ProcessPool::global()`.
    Processes,
    /// `RayonPool::global()`.
    #[cfg(feature = "rayon")]
    Rayon,
}

impl Place {
    pub(crate) const ALL: &[Self] = &[
        Self::Inline,
        Self::Threads,
        Self::Cpu,
        Self::Processes,
        #[cfg(feature = "rayon")]
        Self::Rayon,
    ];

    /// The executor as advice calls it.
    pub(crate) fn choice(self) -> Choice {
        match self {
            Self::Inline => Choice::Inline,
            Self::Threads => Choice::Threads,
            Self::Cpu => Choice::Cpu,
            Self::Processes => Choice::Processes,
            #[cfg(feature = "rayon")]
            Self::Rayon => Choice::Rayon,
        }
    }
}

/// How the items of a `map` travel. `None` is `map`'s own choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Travel {
    pub(crate) chunk_size: Option<usize>,
    pub(crate) in_flight: Option<usize>,
}

/// What jobs run in: their surroundings, and the runtime on whose main task their results are awaited.
pub(crate) struct Stage<'a> {
    pub(crate) yard: &'a Yard,
    pub(crate) runtime: &'a Runtime,
    /// Done before each run, by whoever has a heap to tidy, or looks at what is beside it.
    pub(crate) before: &'a dyn Fn(Place),
}

/// A job with its name.
pub(crate) struct RealJob {
    pub(crate) family: &'static str,
    pub(crate) name: &'static str,
    /// So many take some 50 to 300 ms, one after the other.
    pub(crate) calls: usize,
    work: Box<dyn Work>,
}

/// So many arguments of a job differ; more calls than that begin again with the first.
pub(crate) const DISTINCT: usize = 128;

impl RealJob {
    /// `argument(yard, n)` makes the argument of call `n`, of which there are up to [`DISTINCT`].
    pub(crate) fn new<F, A, R>(
        family: &'static str,
        name: &'static str,
        calls: usize,
        job: F,
        argument: fn(&Yard, usize) -> A,
    ) -> Self
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload + Clone,
        R: Payload,
    {
        let work = Box::new(Typed { job, argument, made: OnceCell::new() });
        Self { family, name, calls, work }
    }

    /// What measuring alone says of the job: some calls on this thread, and some by each executor, in half a second.
    pub(crate) fn profile(&self, yard: &Yard, calls: usize) -> Result<Profile, MeasureError> {
        Ok(self.work.profile(yard, calls)?.calls(calls as u64))
    }

    /// Runs `calls` calls, and returns how long that took. What they need is made before.
    pub(crate) fn time(
        &self,
        stage: &Stage<'_>,
        calls: usize,
        place: Place,
        travel: Travel,
    ) -> Result<Duration, TaskError> {
        match place {
            Place::Inline => Ok(self.work.inline(stage.yard, calls)),
            place => self.work.map(stage, calls, place, travel),
        }
    }
}

/// A job whose types are nobody's business.
trait Work {
    fn profile(&self, yard: &Yard, calls: usize) -> Result<Profile, MeasureError>;
    fn inline(&self, yard: &Yard, calls: usize) -> Duration;
    fn map(
        &self,
        stage: &Stage<'_>,
        calls: usize,
        place: Place,
        travel: Travel,
    ) -> Result<Duration, TaskError>;
}

struct Typed<F, A> {
    job: F,
    argument: fn(&Yard, usize) -> A,
    /// Arguments that are copied for each run: to make some of them takes longer than the job.
    made: OnceCell<Vec<A>>,
}

impl<F, A: Clone> Typed<F, A> {
    fn arguments(&self, yard: &Yard, calls: usize) -> impl Iterator<Item = A> {
        let make = || (0..calls.min(DISTINCT)).map(|n| (self.argument)(yard, n)).collect();
        self.made.get_or_init(make).iter().cycle().take(calls).cloned()
    }
}

impl<F, A, R> Work for Typed<F, A>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload + Clone,
    R: Payload,
{
    fn profile(&self, yard: &Yard, calls: usize) -> Result<Profile, MeasureError> {
        Profile::measure(self.job, self.arguments(yard, calls))
    }

    fn inline(&self, yard: &Yard, calls: usize) -> Duration {
        let mut arguments = self.arguments(yard, calls).collect::<Vec<_>>().into_iter();
        let begun = Instant::now();
        for argument in arguments.by_ref() {
            black_box((self.job)(argument));
        }
        begun.elapsed()
    }

    fn map(
        &self,
        Stage { yard, runtime, .. }: &Stage<'_>,
        calls: usize,
        place: Place,
        travel: Travel,
    ) -> Result<Duration, TaskError> {
        let arguments: Vec<A> = self.arguments(yard, calls).collect();
        let begun = Instant::now();
        let mut results = match place {
            Place::Inline => unreachable!("a plain loop is no map"),
            Place::Threads => ThreadPool::global().map(self.job, arguments),
            Place::Cpu => ThreadPool::cpu().map(self.job, arguments),
            Place::Processes => ProcessPool::global().map(self.job, arguments),
            #[cfg(feature = "rayon")]
            Place::Rayon => heavylift::RayonPool::global().map(self.job, arguments),
        };
        if let Some(items) = travel.chunk_size {
            results = results.chunk_size(items);
        }
        if let Some(items) = travel.in_flight {
            results = results.in_flight(items);
        }
        runtime.block_on(async {
            while let Some(result) = results.next().await {
                black_box(result?);
            }
            Ok(begun.elapsed())
        })
    }
}
