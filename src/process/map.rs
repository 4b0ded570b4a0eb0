//! `map` on a process pool.

use std::{any::type_name, marker::PhantomData, panic::Location, time::Duration};

use futures_core::Stream;

use super::ProcessPool;
use crate::{
    Payload,
    map::{Chunks, Feed, FromStream, Inputs, Map, PoolFeed, Setup, Started},
    no_capture::assert_no_capture,
};
#[cfg(target_os = "linux")]
use crate::{
    error::{TaskLabel, TaskName},
    pool::{Place, Places},
    process::{
        call,
        parent::{ItemBatch, Items, Then},
        ring::INLINE,
    },
    task::Options,
    wire::Encoded,
};

/// What it costs to hand over a job of a map and its outcome, most of which is to wake keeper, worker and the map: so much less work was
/// done where measured, items of 10 µs to 100 µs on two processors, for each job. Jobs in quicker succession share their wake-ups.
pub(crate) const HAND_OFF: Duration = Duration::from_micros(20);

impl ProcessPool {
    /// Runs `job` over `inputs` in worker processes, and returns a stream of the results in the order of the inputs.
    ///
    /// See [`Map`] for laziness, bounds and errors.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use futures::TryStreamExt;
    /// use heavylift::ProcessPool;
    ///
    /// let squares: Vec<u64> = ProcessPool::global().map(|n: u64| n * n, 1..=4).try_collect().await?;
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map<F, I, R>(&self, job: F, inputs: I) -> Map<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Payload,
        F: Fn(I::Item) -> R + Copy + Send + 'static,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a process");
        Map::new(inputs.into_iter(), self.feed(job), type_name::<F>(), Location::caller())
    }

    /// Runs `job` over a stream of inputs in worker processes, so that one map can feed the next.
    #[track_caller]
    pub fn map_stream<F, S, R>(&self, job: F, inputs: S) -> Map<FromStream<S>, R>
    where
        S: Stream,
        S::Item: Payload,
        F: Fn(S::Item) -> R + Copy + Send + 'static,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a process");
        Map::new(FromStream::new(inputs), self.feed(job), type_name::<F>(), Location::caller())
    }

    pub(crate) fn feed<F, A, R>(&self, job: F) -> Box<dyn Feed<A, R> + Send>
    where
        A: Payload,
        F: Fn(A) -> R + Copy + Send + 'static,
        R: Payload,
    {
        let chunks = ProcessChunks { pool: self.clone(), call: PhantomData::<fn(F, A) -> R> };
        Box::new(PoolFeed::new(self.clone(), Self::max_workers_now, move |input: A| (job, input), chunks))
    }

    /// How many workers the pool may have at this moment.
    pub(crate) fn max_workers_now(&self) -> usize {
        self.shared().max_workers()
    }
}

/// Runs many items as one job of the pool, where that does not change what the pool was told.
struct ProcessChunks<C> {
    pool: ProcessPool,
    call: PhantomData<C>,
}

/// An item that takes more than this travels alone.
#[cfg(target_os = "linux")]
const LARGE: usize = INLINE / 8;
/// So many bytes of items travel together: with what else is in the slot, also where their results take as much.
#[cfg(target_os = "linux")]
const MOST: usize = INLINE - 8 - NOTE;
/// What is left for what the worker is told of the job's trace. Where it is told more it takes longer.
#[cfg(target_os = "linux")]
const NOTE: usize = if cfg!(feature = "opentelemetry") { 64 } else { 0 };

#[cfg(target_os = "linux")]
impl<F, A, R> Chunks<A, R> for ProcessChunks<fn(F, A) -> R>
where
    F: Fn(A) -> R + Copy + Send + 'static,
    A: Payload,
    R: Payload,
{
    fn take(&self, setup: &Setup) -> bool {
        let (options, config) = (&setup.options, self.pool.shared().config());
        let limits = [options.queue_timeout, options.run_timeout, config.queue_timeout, config.run_timeout];
        let is_counted = config.max_tasks_per_worker.is_some() || config.max_memory_per_worker.is_some();
        limits.iter().all(Option::is_none) && options.retry == 0 && !is_counted && !config.output.is_told()
    }

    fn hand_off(&self) -> Duration {
        HAND_OFF
    }

    fn start(&mut self, inputs: Inputs<A>, setup: &Setup) -> Vec<Started<R>> {
        let mut started = Vec::new();
        let Inputs { inputs, mut places } = inputs;
        let mut inputs = inputs.into_iter();
        let mut items = Items::default();
        loop {
            let then = items.fill(&mut inputs, LARGE, MOST);
            let together = std::mem::take(&mut items);
            if together.len() > 0 {
                let places = places.split_off(together.len());
                started.push(self.start_items(together, places, setup));
            }
            match then {
                Then::Nothing => return started,
                Then::Full(next) => items = next,
                Then::Apart(encoded) => {
                    let place = places.next().unwrap_or_default();
                    started.push(self.start_alone(encoded, place, setup));
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
impl<F, A, R> ProcessChunks<fn(F, A) -> R>
where
    F: Fn(A) -> R + Copy + Send + 'static,
    A: Payload,
    R: Payload,
{
    fn start_alone(&self, encoded: Result<Encoded, String>, place: Place, setup: &Setup) -> Started<R> {
        self.pool.shared().counters().argument(encoded.as_ref().map_or(0, Encoded::len), None);
        Started::One(self.pool.start_encoded::<F, A, R>(encoded, setup.ticket(place)))
    }

    fn start_items(&self, items: Items, places: Places, setup: &Setup) -> Started<R> {
        let mut options = Options { pace: Some(setup.pace.clone()), ..setup.options.clone() };
        let name = options.name.take().map_or(TaskName::OfFunction(setup.function), TaskName::given);
        let label = |id| TaskLabel { id, name, submitted_at: setup.at };
        let function = call::items::<F, A, R>();
        Started::Many(ItemBatch::start(self.pool.shared(), function, label, options, items, places))
    }
}

#[cfg(not(target_os = "linux"))]
impl<F, A, R> Chunks<A, R> for ProcessChunks<fn(F, A) -> R> {
    fn take(&self, _setup: &Setup) -> bool {
        let _ = &self.pool;
        false
    }

    fn hand_off(&self) -> Duration {
        HAND_OFF
    }

    fn start(&mut self, _inputs: Inputs<A>, _setup: &Setup) -> Vec<Started<R>> {
        unreachable!("it takes no chunks")
    }
}
