//! `map` on a cluster.

use std::{any::type_name, panic::Location};

use futures_core::Stream;

use super::ClusterPool;
use crate::{
    Payload,
    map::{Feed, FromStream, Map, PoolFeed, Singly},
    no_capture::assert_no_capture,
};

impl ClusterPool {
    /// Runs `job` over `inputs` on the nodes, and returns a stream of the results in the order of the inputs.
    ///
    /// Each item is a job of its own, and [`chunk_size`](Map::chunk_size) has no effect: what is too small for that (a millisecond is
    /// a lot less than the way there and back is worth) goes into one job by the hundred. See [`Map`] for laziness, bounds and errors.
    ///
    /// # Examples
    ///
    /// Needs a server and a node: see [`ClusterPool`].
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt;
    /// use heavylift::ClusterPool;
    ///
    /// #[heavylift::job]
    /// fn count_words(text: String) -> usize {
    ///     text.split_whitespace().count()
    /// }
    ///
    /// let pool = ClusterPool::builder().servers(["nats://127.0.0.1:4222"]).connect().await?;
    /// let texts = ["to be", "or not to be"].map(str::to_owned);
    /// let counts: Vec<usize> = pool.map(count_words, texts).try_collect().await?;
    /// assert_eq!(counts, [2, 4]);
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
        assert_no_capture!(F, "a job for a cluster");
        Map::new(inputs.into_iter(), self.feed(job), type_name::<F>(), Location::caller())
    }

    /// Runs `job` over a stream of inputs on the nodes, so that one map can feed the next.
    #[track_caller]
    pub fn map_stream<F, S, R>(&self, job: F, inputs: S) -> Map<FromStream<S>, R>
    where
        S: Stream,
        S::Item: Payload,
        F: Fn(S::Item) -> R + Copy + Send + 'static,
        R: Payload,
    {
        assert_no_capture!(F, "a job for a cluster");
        Map::new(FromStream::new(inputs), self.feed(job), type_name::<F>(), Location::caller())
    }

    pub(crate) fn feed<F, A, R>(&self, job: F) -> Box<dyn Feed<A, R> + Send>
    where
        A: Payload,
        F: Fn(A) -> R + Copy + Send + 'static,
        R: Payload,
    {
        Box::new(PoolFeed::new(self.clone(), Self::places, move |input: A| (job, input), Singly))
    }

    /// How many jobs may be under way.
    fn places(&self) -> usize {
        self.shared().setup.in_flight
    }
}
