//! [`Executor`]: one call site for any pool.
//!
//! The comments on the bounds of its methods are for users: rustc prints the line when a job captures what is not `Copy`.

mod any;
mod inline;

use std::{any::type_name, panic::Location, sync::Arc};

use futures_core::Stream;

pub use any::AnyExecutor;
pub use inline::Inline;

#[cfg(feature = "nats")]
use crate::ClusterPool;
#[cfg(feature = "rayon")]
use crate::RayonPool;
use crate::{
    Closing, Job, Metrics, Payload, ProcessPool, Shutdown, Task, ThreadPool,
    map::{FromStream, Map, Source},
    no_capture::assert_no_capture,
    pool::Start,
    task::Options,
};

/// Something that runs jobs: a [`ThreadPool`], a [`ProcessPool`], a `RayonPool` (feature `rayon`), a `ClusterPool` (feature `nats`),
/// [`Inline`](struct@crate::Inline), a reference to one, or [`AnyExecutor`].
///
/// For code that leaves the choice to its caller. The bounds are those of the strictest executor, and a job that captures
/// does not compile on any of them, so that exchanging the pool never breaks the build. Where the pool is fixed, its own
/// methods ask for less. Sealed: only this crate implements it.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{Executor, Inline, ProcessPool, TaskError, ThreadPool};
///
/// async fn hash(executor: &impl Executor, text: &str) -> Result<u64, TaskError> {
///     executor.execute(|text: String| text.bytes().fold(7, |h, b| h * 31 + u64::from(b)), text.to_owned()).await
/// }
///
/// let here = hash(&Inline::new(), "abc").await?;
/// assert_eq!(hash(ThreadPool::cpu(), "abc").await?, here);
/// assert_eq!(hash(ProcessPool::global(), "abc").await?, here);
/// # Ok(())
/// # }
/// ```
pub trait Executor: sealed::Sealed {
    /// Runs `job(arg)`, and returns a task of its result.
    #[track_caller]
    fn execute<F, A, R>(&self, job: F, arg: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static, // captures nothing: put values into the argument
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for an executor");
        self.to_any().run_with((job, arg), Options::default(), Location::caller())
    }

    /// Returns a builder that gives the job a name and time limits before it is started.
    fn job<F, A, R>(&self, job: F, arg: A) -> Job<AnyExecutor, (F, A)>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static, // captures nothing: put values into the argument
        A: Payload,
        R: Payload,
    {
        assert_no_capture!(F, "a job for an executor");
        Job::new(self.to_any(), (job, arg))
    }

    /// Runs `job` over `inputs`, and returns a stream of the results in the order of the inputs. See [`Map`].
    #[track_caller]
    fn map<F, I, R>(&self, job: F, inputs: I) -> Map<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Payload,
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static, // captures nothing: put values into the argument
        R: Payload,
    {
        assert_no_capture!(F, "a job for an executor");
        map_any(self.to_any(), job, inputs.into_iter(), Location::caller())
    }

    /// Runs `job` over a stream of inputs, so that one map can feed the next. See [`Map`].
    #[track_caller]
    fn map_stream<F, S, R>(&self, job: F, inputs: S) -> Map<FromStream<S>, R>
    where
        S: Stream,
        S::Item: Payload,
        F: Fn(S::Item) -> R + Copy + Send + Sync + 'static, // captures nothing: put values into the argument
        R: Payload,
    {
        assert_no_capture!(F, "a job for an executor");
        map_any(self.to_any(), job, FromStream::new(inputs), Location::caller())
    }

    /// Returns what the executor is doing and has done.
    fn metrics(&self) -> Metrics {
        self.to_any().metrics_now()
    }

    /// Closes the executor at once, and returns a future that resolves when it has come to its end.
    fn shutdown(&self, mode: Shutdown) -> Closing {
        self.to_any().close(mode)
    }
}

fn map_any<F, I, R>(executor: AnyExecutor, job: F, inputs: I, at: &'static Location<'static>) -> Map<I, R>
where
    I: Source,
    I::Item: Payload,
    F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
    R: Payload,
{
    Map::new(inputs, executor.feed(job), type_name::<F>(), at)
}

mod sealed {
    use super::AnyExecutor;

    pub trait Sealed {
        /// The executor as one of known type. Shares everything with it.
        #[doc(hidden)]
        fn to_any(&self) -> AnyExecutor;
    }
}

macro_rules! executor {
    ($($name:ty),*) => {$(
        impl Executor for $name {}

        impl sealed::Sealed for $name {
            fn to_any(&self) -> AnyExecutor {
                self.clone().into()
            }
        }
    )*};
}

executor!(ThreadPool, ProcessPool, Inline, AnyExecutor);
#[cfg(feature = "rayon")]
executor!(RayonPool);
#[cfg(feature = "nats")]
executor!(ClusterPool);

macro_rules! pointer {
    ($($pointer:ty),*) => {$(
        impl<E: Executor + ?Sized> Executor for $pointer {}

        impl<E: Executor + ?Sized> sealed::Sealed for $pointer {
            fn to_any(&self) -> AnyExecutor {
                (**self).to_any()
            }
        }
    )*};
}

pointer!(&E, Arc<E>, Box<E>);
