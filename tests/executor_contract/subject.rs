//! [`Subject`]: an executor under test, and the ways to give it jobs.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use futures::{future::BoxFuture, stream::BoxStream};
#[cfg(feature = "rayon")]
use heavylift::RayonPool;
use heavylift::{
    AnyExecutor, Closing, Executor, Inline, Job, Map, Metrics, Payload, Priority, ProcessPool, Refused,
    Shutdown, Task, TaskError, ThreadPool,
};
#[cfg(feature = "nats")]
use heavylift::{
    ClusterPool, Node,
    cluster::{Topology, ensure_topology},
};

#[cfg(feature = "nats")]
use crate::server::{self, Server};

/// How many workers a subject has, how much room, and which limits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    pub(crate) workers: usize,
    pub(crate) queue_limit: Option<usize>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
}

/// What a job's builder is told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) name: Option<&'static str>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) kill_grace: Option<Duration>,
    pub(crate) retry: u32,
    pub(crate) priority: Priority,
    pub(crate) affinity: Option<&'static str>,
}

/// A job that was refused and handed back.
pub(crate) struct Returned<R> {
    pub(crate) is_full: bool,
    pub(crate) is_closed: bool,
    pub(crate) message: String,
    pub(crate) job: Box<dyn FnOnce() -> R + Send>,
}

impl<R> fmt::Debug for Returned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned").field("message", &self.message).finish_non_exhaustive()
    }
}

/// The promises of `Executor`, however they are asked for.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    /// What [`Metrics`] and messages call the pool.
    const NAME: &'static str;
    /// Where jobs run.
    const PLACE: Place;
    /// Whether its workers come and go with it, or are there before it is used.
    const OWNS_WORKERS: bool = true;

    /// Whether it can be built on this machine; says so if it cannot.
    fn is_here() -> bool {
        true
    }

    fn build(shape: Shape) -> Self;

    #[track_caller]
    fn run<F, A, R>(&self, job: F, arg: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload;

    fn try_run<F, A, R>(&self, job: F, arg: A) -> Result<Task<R>, Returned<R>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload;

    fn submit<F, A, R>(&self, job: F, arg: A) -> BoxFuture<'static, Result<Task<R>, Returned<R>>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload;

    #[track_caller]
    fn run_within<F, A, R>(&self, limits: Limits, job: F, arg: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload;

    #[track_caller]
    fn map<F, I, R>(&self, job: F, inputs: I) -> Map<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Payload,
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        R: Payload;

    fn map_stream<F, S, R>(&self, job: F, inputs: S) -> BoxStream<'static, Result<R, TaskError>>
    where
        S: futures::Stream + Send + 'static,
        S::Item: Payload,
        F: Fn(S::Item) -> R + Copy + Send + Sync + 'static,
        R: Payload;

    fn metrics(&self) -> Metrics;

    fn shutdown(&self, mode: Shutdown) -> Closing;

    /// A subject with this many workers and no limit.
    fn with_workers(workers: usize) -> Self {
        Self::build(Shape { workers, ..Shape::default() })
    }

    /// A subject with room for one job that runs and one that waits.
    fn tiny() -> Self {
        Self::build(Shape { workers: 1, queue_limit: Some(1), ..Shape::default() })
    }
}

/// Where a subject runs its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Threads,
    Processes,
    Here,
}

impl<R> Returned<R> {
    fn new<J>(refused: Refused<J>, call: impl FnOnce(J) -> R + Send + 'static) -> Self
    where
        J: Send + 'static,
    {
        let (is_full, is_closed, message) = (refused.is_full(), refused.is_closed(), refused.to_string());
        let job = refused.into_inner();
        Self { is_full, is_closed, message, job: Box::new(move || call(job)) }
    }
}

/// Makes an executor of its own for one test.
pub(crate) trait Build: Sized {
    const NAME: &'static str;
    const PLACE: Place;
    const OWNS_WORKERS: bool = true;

    fn is_here() -> bool {
        true
    }

    fn build_pool(shape: Shape) -> Self;
}

impl Build for ThreadPool {
    const NAME: &'static str = "contract";
    const PLACE: Place = Place::Threads;

    fn build_pool(shape: Shape) -> Self {
        let mut builder = ThreadPool::builder().name(<Self as Build>::NAME).max_workers(shape.workers);
        if let Some(limit) = shape.queue_limit {
            builder = builder.queue_limit(limit);
        }
        if let Some(limit) = shape.queue_timeout {
            builder = builder.queue_timeout(limit);
        }
        if let Some(limit) = shape.run_timeout {
            builder = builder.run_timeout(limit);
        }
        builder.build().unwrap()
    }
}

impl Build for ProcessPool {
    const NAME: &'static str = "contract";
    const PLACE: Place = Place::Processes;

    fn build_pool(shape: Shape) -> Self {
        let mut builder = ProcessPool::builder().name(<Self as Build>::NAME).max_workers(shape.workers);
        if let Some(limit) = shape.queue_limit {
            builder = builder.queue_limit(limit);
        }
        if let Some(limit) = shape.queue_timeout {
            builder = builder.queue_timeout(limit);
        }
        if let Some(limit) = shape.run_timeout {
            builder = builder.run_timeout(limit);
        }
        builder.build().unwrap()
    }
}

#[cfg(feature = "rayon")]
impl Build for RayonPool {
    const NAME: &'static str = "contract";
    const PLACE: Place = Place::Threads;
    const OWNS_WORKERS: bool = false;

    fn build_pool(shape: Shape) -> Self {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(shape.workers).build().unwrap();
        let mut builder = RayonPool::builder().threads(Arc::new(threads)).name(<Self as Build>::NAME);
        if let Some(limit) = shape.queue_limit {
            builder = builder.queue_limit(limit);
        }
        if let Some(limit) = shape.queue_timeout {
            builder = builder.queue_timeout(limit);
        }
        if let Some(limit) = shape.run_timeout {
            builder = builder.run_timeout(limit);
        }
        builder.build().unwrap()
    }
}

#[cfg(feature = "nats")]
thread_local! {
    /// The nodes and servers of the pools that the test of this thread has built. They outlive its handles, and end with its thread.
    static CLUSTERS: std::cell::RefCell<Vec<(Node, Server)>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[cfg(feature = "nats")]
impl Build for ClusterPool {
    const NAME: &'static str = "contract";
    const PLACE: Place = Place::Processes;
    const OWNS_WORKERS: bool = false;

    fn is_here() -> bool {
        let is_here = server::newest().is_some();
        if !is_here {
            server::skipped("executor_contract", "no nats-server is installed");
        }
        is_here
    }

    /// With a server and a node of its own, which has as many workers as the pool has places.
    fn build_pool(shape: Shape) -> Self {
        let server = Server::start(&server::newest().unwrap());
        let workers = ProcessPool::builder().max_workers(shape.workers).build().unwrap();
        let node = Node::builder().servers([server.url()]).slots(shape.workers).pool(workers);
        let mut builder = ClusterPool::builder().servers([server.url()]).name(<Self as Build>::NAME);
        builder = builder.in_flight(shape.workers);
        if let Some(limit) = shape.queue_limit {
            builder = builder.queue_limit(limit);
        }
        if let Some(limit) = shape.queue_timeout {
            builder = builder.queue_timeout(limit);
        }
        if let Some(limit) = shape.run_timeout {
            builder = builder.run_timeout(limit);
        }
        let (node, pool) = futures::executor::block_on(async {
            ensure_topology(&Topology::new([server.url()])).await.unwrap();
            (node.start().await.unwrap(), builder.connect().await.unwrap())
        });
        CLUSTERS.with_borrow_mut(|clusters| clusters.push((node, server)));
        pool
    }
}

impl Build for Inline {
    const NAME: &'static str = "inline";
    const PLACE: Place = Place::Here;

    fn build_pool(_shape: Shape) -> Self {
        Inline::new()
    }
}

/// An executor made of a pool: what a function over `impl Executor` may be called with.
pub(crate) trait Made<P>: Executor + Clone + Send + Sync + 'static {
    fn made(pool: P) -> Self;
}

impl<P: Into<AnyExecutor>> Made<P> for AnyExecutor {
    fn made(pool: P) -> Self {
        pool.into()
    }
}

impl<P: Executor + Send + Sync> Made<P> for &'static P {
    fn made(pool: P) -> Self {
        Box::leak(Box::new(pool))
    }
}

impl<P: Executor + Send + Sync + 'static> Made<P> for Arc<P> {
    fn made(pool: P) -> Self {
        Arc::new(pool)
    }
}

impl<P: Executor + Clone + Send + Sync + 'static> Made<P> for Box<P> {
    fn made(pool: P) -> Self {
        Box::new(pool)
    }
}

impl Made<Inline> for Inline {
    fn made(pool: Inline) -> Self {
        pool
    }
}

/// The executor `E`, made of the pool `P`, by the methods of the trait.
pub(crate) struct Via<P, E>(E, PhantomData<fn() -> P>);

impl<P, E: Clone> Clone for Via<P, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<P: Build + 'static, E: Made<P>> Subject for Via<P, E> {
    const NAME: &'static str = P::NAME;
    const PLACE: Place = P::PLACE;
    const OWNS_WORKERS: bool = P::OWNS_WORKERS;

    fn is_here() -> bool {
        P::is_here()
    }

    fn build(shape: Shape) -> Self {
        Self(E::made(P::build_pool(shape)), PhantomData)
    }

    #[track_caller]
    fn run<F, A, R>(&self, job: F, arg: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        self.0.execute(job, arg)
    }

    fn try_run<F, A, R>(&self, job: F, arg: A) -> Result<Task<R>, Returned<R>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        let tried = Executor::job(&self.0, job, arg).try_run();
        tried.map_err(|refused| Returned::new(refused, |(job, arg)| job(arg)))
    }

    fn submit<F, A, R>(&self, job: F, arg: A) -> BoxFuture<'static, Result<Task<R>, Returned<R>>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        let submit = Executor::job(&self.0, job, arg).submit();
        Box::pin(async { submit.await.map_err(|refused| Returned::new(refused, |(job, arg)| job(arg))) })
    }

    #[track_caller]
    fn run_within<F, A, R>(&self, limits: Limits, job: F, arg: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        within(Executor::job(&self.0, job, arg), limits).run()
    }

    #[track_caller]
    fn map<F, I, R>(&self, job: F, inputs: I) -> Map<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Payload,
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        R: Payload,
    {
        Executor::map(&self.0, job, inputs)
    }

    fn map_stream<F, S, R>(&self, job: F, inputs: S) -> BoxStream<'static, Result<R, TaskError>>
    where
        S: futures::Stream + Send + 'static,
        S::Item: Payload,
        F: Fn(S::Item) -> R + Copy + Send + Sync + 'static,
        R: Payload,
    {
        Box::pin(Executor::map_stream(&self.0, job, inputs))
    }

    fn metrics(&self) -> Metrics {
        Executor::metrics(&self.0)
    }

    fn shutdown(&self, mode: Shutdown) -> Closing {
        Executor::shutdown(&self.0, mode)
    }
}

/// A pool by its own methods, which take a function and its argument as `given` stands here; `back` is such a job as it was handed back, and
/// `run` runs it.
macro_rules! subject_of_pool {
    ($pool:ident, given |$job:ident, $arg:ident| ($($given:expr),+), back |$back:pat_param| $run:expr) => {
        impl Subject for $pool {
            const NAME: &'static str = <Self as Build>::NAME;
            const PLACE: Place = <Self as Build>::PLACE;
            const OWNS_WORKERS: bool = <Self as Build>::OWNS_WORKERS;

            fn is_here() -> bool {
                <Self as Build>::is_here()
            }

            fn build(shape: Shape) -> Self {
                Self::build_pool(shape)
            }

            #[track_caller]
            fn run<F, A, R>(&self, $job: F, $arg: A) -> Task<R>
            where
                F: Fn(A) -> R + Copy + Send + Sync + 'static,
                A: Payload,
                R: Payload,
            {
                $pool::run(self, $($given),+)
            }

            fn try_run<F, A, R>(&self, $job: F, $arg: A) -> Result<Task<R>, Returned<R>>
            where
                F: Fn(A) -> R + Copy + Send + Sync + 'static,
                A: Payload,
                R: Payload,
            {
                let tried = $pool::try_run(self, $($given),+);
                tried.map_err(|refused| Returned::new(refused, |$back| $run))
            }

            fn submit<F, A, R>(&self, $job: F, $arg: A) -> BoxFuture<'static, Result<Task<R>, Returned<R>>>
            where
                F: Fn(A) -> R + Copy + Send + Sync + 'static,
                A: Payload,
                R: Payload,
            {
                let submit = $pool::submit(self, $($given),+);
                Box::pin(async {
                    submit.await.map_err(|refused| Returned::new(refused, |$back| $run))
                })
            }

            #[track_caller]
            fn run_within<F, A, R>(&self, limits: Limits, $job: F, $arg: A) -> Task<R>
            where
                F: Fn(A) -> R + Copy + Send + Sync + 'static,
                A: Payload,
                R: Payload,
            {
                within($pool::job(self, $($given),+), limits).run()
            }

            #[track_caller]
            fn map<F, I, R>(&self, job: F, inputs: I) -> Map<I::IntoIter, R>
            where
                I: IntoIterator,
                I::Item: Payload,
                F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
                R: Payload,
            {
                $pool::map(self, job, inputs)
            }

            fn map_stream<F, S, R>(&self, job: F, inputs: S) -> BoxStream<'static, Result<R, TaskError>>
            where
                S: futures::Stream + Send + 'static,
                S::Item: Payload,
                F: Fn(S::Item) -> R + Copy + Send + Sync + 'static,
                R: Payload,
            {
                Box::pin($pool::map_stream(self, job, inputs))
            }

            fn metrics(&self) -> Metrics {
                $pool::metrics(self)
            }

            fn shutdown(&self, mode: Shutdown) -> Closing {
                $pool::shutdown(self, mode)
            }
        }
    };
}

subject_of_pool!(ProcessPool, given | job, arg | (job, arg), back | (job, arg) | job(arg));
#[cfg(feature = "nats")]
subject_of_pool!(ClusterPool, given | job, arg | (job, arg), back | (job, arg) | job(arg));
subject_of_pool!(ThreadPool, given | job, arg | (move || job(arg)), back | job | job());
#[cfg(feature = "rayon")]
subject_of_pool!(RayonPool, given | job, arg | (move || job(arg)), back | job | job());

fn within<P, J>(mut job: Job<P, J>, limits: Limits) -> Job<P, J> {
    if let Some(name) = limits.name {
        job = job.name(name);
    }
    if let Some(limit) = limits.queue_timeout {
        job = job.queue_timeout(limit);
    }
    if let Some(limit) = limits.run_timeout {
        job = job.run_timeout(limit);
    }
    if let Some(grace) = limits.kill_grace {
        job = job.kill_grace(grace);
    }
    if let Some(key) = limits.affinity {
        job = job.affinity(key);
    }
    job.retry(limits.retry).priority(limits.priority)
}
