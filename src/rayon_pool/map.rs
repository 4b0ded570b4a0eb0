//! `map` on a rayon pool.

use std::{any::type_name, panic::Location, sync::Arc};

use futures_core::Stream;

use super::RayonPool;
use crate::map::{Feed, FromStream, Map, PoolFeed, Singly};

impl RayonPool {
    /// Runs `job` over `inputs`, and returns a stream of the results in the order of the inputs.
    ///
    /// The job may capture what it likes; it is shared by all items. Each item is a job of its own, which may use all threads, and
    /// [`chunk_size`](Map::chunk_size) has no effect. For many small items use `par_iter` inside one job. See [`Map`] for
    /// laziness, bounds and errors.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use futures::TryStreamExt;
    /// use heavylift::RayonPool;
    /// use rayon::prelude::*;
    ///
    /// let sum = |column: Vec<u64>| column.par_iter().sum::<u64>();
    /// let sums: Vec<u64> = RayonPool::global().map(sum, [vec![1, 2], vec![3, 4]]).try_collect().await?;
    /// assert_eq!(sums, [3, 7]);
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
    /// use heavylift::{RayonPool, ThreadPool};
    /// use rayon::prelude::*;
    ///
    /// let columns = ThreadPool::global().map(|n: u64| (0..n).collect::<Vec<_>>(), [3, 4]);
    /// let sum = |column: Result<Vec<u64>, _>| column.unwrap_or_default().par_iter().sum::<u64>();
    /// let sums: Vec<u64> = RayonPool::global().map_stream(sum, columns).try_collect().await?;
    /// assert_eq!(sums, [3, 6]);
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
        let make = move |input: A| {
            let job = job.clone();
            move || job(input)
        };
        Box::new(PoolFeed::new(self.clone(), Self::max_workers_now, make, Singly))
    }

    /// How many threads the pool has.
    pub(crate) fn max_workers_now(&self) -> usize {
        self.shared.threads.count()
    }
}
