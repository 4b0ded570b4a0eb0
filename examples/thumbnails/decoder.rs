//! [`Decoder`]: where pictures are decoded, and within which limits.

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism, time::Duration};

use bytes::Bytes;
use heavylift::{BuildError, ProcessPool, Shutdown, TaskError};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::{
    args::Place,
    failure::Failure,
    log::complain,
    picture::{self, Thumbnail},
};

/// How many pictures may wait for a worker. The next one is refused: better at once than after its sender has gone.
const QUEUE: usize = 16;

/// How much memory a worker may have. Looked at twice a second, and after each picture.
const MEMORY: u64 = 400 << 20;

/// How much a worker may map: what it takes between two looks. The program's own code and what jobs travel in count as well.
const ADDRESS_SPACE: u64 = 1 << 30;

/// After how many pictures a worker is replaced, should a decoder leak or a picture have changed something in it.
const TASKS_PER_WORKER: u64 = 1000;

/// Decodes pictures. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Decoder {
    /// In child processes: what a picture does there ends there.
    Processes(ProcessPool),
    /// In this process, as a service does without such a pool: for comparison. How many pictures there may be at a time, and how
    /// long each may take.
    SpawnBlocking(Arc<Semaphore>, Duration),
}

impl Decoder {
    /// At most `workers` pictures at a time, each for at most `run_timeout`.
    pub(crate) fn new(
        place: Place,
        workers: Option<NonZeroUsize>,
        run_timeout: Duration,
    ) -> Result<Self, BuildError> {
        // Two per CPU, so that a picture that takes its time does not hold up half of the others.
        let default = || 2 * available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = workers.map_or_else(default, NonZeroUsize::get);
        match place {
            Place::Processes => Ok(Self::Processes(pool(workers, run_timeout)?)),
            Place::SpawnBlocking => {
                Ok(Self::SpawnBlocking(Arc::new(Semaphore::new(workers + QUEUE)), run_timeout))
            }
        }
    }

    /// Makes a thumbnail.
    ///
    /// Dropping the future kills the worker that is at it. So does hyper, which drops it when who asked has gone.
    pub(crate) async fn thumbnail(&self, picture: Bytes, width: u32) -> Result<Thumbnail, Failure> {
        let outcome = match self {
            Self::Processes(pool) => {
                let job = pool.job(picture::thumbnail, (picture, width)).name("thumbnail");
                job.try_run().map_err(TaskError::from)?.await?
            }
            Self::SpawnBlocking(places, run_timeout) => {
                let _place = places.try_acquire().map_err(|_| Failure::busy())?;
                let task = spawn_blocking(move || picture::thumbnail((picture, width)));
                // This ends the waiting. Nothing ends the work.
                let task = timeout(*run_timeout, task).await.map_err(|_| Failure::out_of_time())?;
                task.map_err(|error| {
                    complain(error);
                    Failure::crashed()
                })?
            }
        };
        Ok(outcome?)
    }

    /// How many pictures are in work, and how many wait.
    pub(crate) fn busy(&self) -> (u64, u64) {
        match self {
            Self::Processes(pool) => {
                let metrics = pool.metrics();
                (metrics.running as u64, metrics.queued as u64)
            }
            Self::SpawnBlocking(..) => (0, 0),
        }
    }

    /// Ends the workers, and what they are at.
    pub(crate) async fn end(&self, limit: Duration) {
        if let Self::Processes(pool) = self {
            pool.shutdown(Shutdown::Kill).timeout(limit).await;
        }
    }
}

fn pool(workers: usize, run_timeout: Duration) -> Result<ProcessPool, BuildError> {
    ProcessPool::builder()
        .name("decode")
        .max_workers(workers)
        .queue_limit(QUEUE)
        .run_timeout(run_timeout)
        .max_memory_per_worker(MEMORY)
        .address_space_limit(ADDRESS_SPACE)
        .max_tasks_per_worker(TASKS_PER_WORKER)
        // Whoever takes a worker over finds nothing in its environment.
        .env_clear()
        .initializer(|()| step_back(), ())
        .build()
}

/// Runs in each worker before its first picture.
#[cfg(target_os = "linux")]
fn step_back() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};

    // Pictures yield to requests: the service answers while all processors are at work.
    setpriority_process(None, 10)?;
    // Crashes are expected, and are not to fill the disk.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}
