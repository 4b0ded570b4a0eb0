//! `map` on a process pool.

use std::{any::type_name, panic::Location};

use futures_core::Stream;

use super::ProcessPool;
use crate::{
    Payload,
    map::{Feed, FromStream, Map, PoolFeed, Singly},
    no_capture::assert_no_capture,
};

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

    fn feed<F, A, R>(&self, job: F) -> Box<dyn Feed<A, R> + Send>
    where
        A: Payload,
        F: Fn(A) -> R + Copy + Send + 'static,
        R: Payload,
    {
        Box::new(PoolFeed::new(self.clone(), Self::max_workers_now, move |input: A| (job, input), Singly))
    }

    /// How many workers the pool may have at this moment.
    pub(crate) fn max_workers_now(&self) -> usize {
        self.shared().max_workers()
    }
}
