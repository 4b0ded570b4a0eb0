//! `map` on a thread pool.

use std::{any::type_name, panic::Location, sync::Arc, time::Duration};

use futures_core::Stream;

use super::{ThreadPool, chunk::Chunk};
use crate::map::{Chunks, Feed, FromStream, Inputs, Map, PoolFeed, Setup, Started};

/// What it costs to hand over a job of a map and its outcome, most of which is to wake a worker and the map: so much less work was done
/// where measured, items of 10 µs to 100 µs on two processors, for each job. Jobs in quicker succession share their wake-ups.
pub(crate) const HAND_OFF: Duration = Duration::from_micros(5);

impl ThreadPool {
    /// Runs `job` over `inputs`, and returns a stream of the results in the order of the inputs.
    ///
    /// The job may capture what it likes; it is shared by all items. See [`Map`] for laziness, bounds and errors.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use futures::TryStreamExt;
    /// use heavylift::ThreadPool;
    ///
    /// let lengths: Vec<usize> =
    ///     ThreadPool::cpu().map(|word: &str| word.len(), ["to", "be", "or", "not"]).try_collect().await?;
    /// assert_eq!(lengths, [2, 2, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map<F, I, R>(&self, job: F, inputs: I) -> Map<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        Map::new(inputs.into_iter(), self.feed(job), type_name::<F>(), Location::caller())
    }

    /// Runs `job` over a stream of inputs, so that one map can feed the next.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use futures::TryStreamExt;
    /// use heavylift::ThreadPool;
    ///
    /// let pool = ThreadPool::cpu();
    /// let squares = pool.map(|n: u64| n * n, 1..=3);
    /// let sums: Vec<u64> = pool.map_stream(|n: Result<u64, _>| n.unwrap_or(0) + 1, squares).try_collect().await?;
    /// assert_eq!(sums, [2, 5, 10]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map_stream<F, S, R>(&self, job: F, inputs: S) -> Map<FromStream<S>, R>
    where
        S: Stream,
        S::Item: Send + 'static,
        F: Fn(S::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        Map::new(FromStream::new(inputs), self.feed(job), type_name::<F>(), Location::caller())
    }

    pub(crate) fn feed<F, A, R>(&self, job: F) -> Box<dyn Feed<A, R> + Send>
    where
        A: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        let job = Arc::new(job);
        let chunks = ThreadChunks { pool: self.clone(), job: job.clone() };
        let make = move |input: A| {
            let job = job.clone();
            move || job(input)
        };
        Box::new(PoolFeed::new(self.clone(), Self::max_workers_now, make, chunks))
    }

    /// How many workers the pool may have at this moment.
    pub(crate) fn max_workers_now(&self) -> usize {
        self.shared().max_workers()
    }
}

/// Runs many items as one job of the pool.
pub(crate) struct ThreadChunks<F> {
    pool: ThreadPool,
    job: Arc<F>,
}

impl<F, A, R> Chunks<A, R> for ThreadChunks<F>
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: Send + 'static,
    R: Send + 'static,
{
    fn take(&self, setup: &Setup) -> bool {
        let mut limits = setup.options.clone();
        self.pool.shared().setup.complete(&mut limits);
        limits.queue_timeout.is_none() && limits.run_timeout.is_none()
    }

    fn hand_off(&self) -> Duration {
        HAND_OFF
    }

    fn start(&mut self, inputs: Inputs<A>, setup: &Setup) -> Vec<Started<R>> {
        vec![Started::Many(Chunk::start(self.pool.shared(), self.job.clone(), inputs, setup))]
    }
}
