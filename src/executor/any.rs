//! [`AnyExecutor`]: an executor that is chosen at run time.

use std::any::type_name;

use super::Inline;
#[cfg(feature = "nats")]
use crate::ClusterPool;
#[cfg(feature = "rayon")]
use crate::RayonPool;
use crate::{
    Closing, Metrics, Payload, ProcessPool, Shutdown, Task, ThreadPool,
    map::{Feed, PoolFeed, Singly},
    metrics::Counters,
    pool::{Admission, Takes, Ticket, sealed},
};

/// An executor that is chosen at run time: a handle of a [`ThreadPool`], of a [`ProcessPool`], of a `RayonPool` (feature `rayon`), of a
/// `ClusterPool` (feature `nats`), or [`Inline`](struct@crate::Inline).
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{AnyExecutor, Executor, Inline, ThreadPool};
///
/// let executor: AnyExecutor = match std::env::var("THREADS") {
///     Ok(_) => ThreadPool::cpu().into(),
///     Err(_) => Inline::new().into(),
/// };
/// assert_eq!(executor.execute(|n: u32| n + 1, 1).await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AnyExecutor(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Threads(ThreadPool),
    Processes(ProcessPool),
    Inline(Inline),
    #[cfg(feature = "rayon")]
    Rayon(RayonPool),
    #[cfg(feature = "nats")]
    Cluster(ClusterPool),
}

macro_rules! from_executor {
    ($($kind:ident($executor:ty)),*) => {$(
        impl From<$executor> for AnyExecutor {
            fn from(executor: $executor) -> Self {
                Self(Kind::$kind(executor))
            }
        }

        /// Another handle of the same executor.
        impl From<&$executor> for AnyExecutor {
            fn from(executor: &$executor) -> Self {
                executor.clone().into()
            }
        }
    )*};
}

from_executor!(Threads(ThreadPool), Processes(ProcessPool), Inline(Inline));
#[cfg(feature = "rayon")]
from_executor!(Rayon(RayonPool));
#[cfg(feature = "nats")]
from_executor!(Cluster(ClusterPool));

impl AnyExecutor {
    pub(super) fn metrics_now(&self) -> Metrics {
        match &self.0 {
            Kind::Threads(pool) => pool.metrics(),
            Kind::Processes(pool) => pool.metrics(),
            Kind::Inline(inline) => inline.metrics_now(),
            #[cfg(feature = "rayon")]
            Kind::Rayon(pool) => pool.metrics(),
            #[cfg(feature = "nats")]
            Kind::Cluster(pool) => pool.metrics(),
        }
    }

    pub(super) fn close(&self, mode: Shutdown) -> Closing {
        match &self.0 {
            Kind::Threads(pool) => pool.shutdown(mode),
            Kind::Processes(pool) => pool.shutdown(mode),
            Kind::Inline(inline) => inline.close(),
            #[cfg(feature = "rayon")]
            Kind::Rayon(pool) => pool.shutdown(mode),
            #[cfg(feature = "nats")]
            Kind::Cluster(pool) => pool.shutdown(mode),
        }
    }

    /// What starts the jobs of a map there, in chunks where the pool has them.
    pub(super) fn feed<F, A, R>(&self, job: F) -> Box<dyn Feed<A, R> + Send>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        match &self.0 {
            Kind::Threads(pool) => pool.feed(job),
            Kind::Processes(pool) => pool.feed(job),
            Kind::Inline(inline) => {
                // No workers: each job runs on the polling thread when it is started.
                let feed = PoolFeed::new(inline.clone(), |_| 0, move |input: A| (job, input), Singly);
                Box::new(feed)
            }
            #[cfg(feature = "rayon")]
            Kind::Rayon(pool) => pool.feed(job),
            #[cfg(feature = "nats")]
            Kind::Cluster(pool) => pool.feed(job),
        }
    }

    fn pool(&self) -> &dyn sealed::Pool {
        match &self.0 {
            Kind::Threads(pool) => pool,
            Kind::Processes(pool) => pool,
            Kind::Inline(inline) => inline,
            #[cfg(feature = "rayon")]
            Kind::Rayon(pool) => pool,
            #[cfg(feature = "nats")]
            Kind::Cluster(pool) => pool,
        }
    }
}

impl sealed::Pool for AnyExecutor {
    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn admission(&self) -> &Admission {
        self.pool().admission()
    }

    #[expect(private_interfaces, reason = "the trait is sealed: nobody outside can name or call this")]
    fn counters(&self) -> &Counters {
        self.pool().counters()
    }

    fn name(&self) -> &str {
        self.pool().name()
    }

    fn kind(&self) -> &'static str {
        self.pool().kind()
    }
}

impl<F, A, R> Takes<(F, A)> for AnyExecutor
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Payload,
    R: Payload,
{
    type Output = R;

    fn start(&self, (job, arg): (F, A), ticket: Ticket) -> Task<R> {
        match &self.0 {
            Kind::Threads(pool) => pool.start(move || job(arg), ticket),
            Kind::Processes(pool) => pool.start((job, arg), ticket),
            Kind::Inline(inline) => inline.start((job, arg), ticket),
            #[cfg(feature = "rayon")]
            Kind::Rayon(pool) => pool.start(move || job(arg), ticket),
            #[cfg(feature = "nats")]
            Kind::Cluster(pool) => pool.start((job, arg), ticket),
        }
    }

    fn default_name() -> &'static str {
        type_name::<F>()
    }
}
