//! [`Workload`], and [`run`], which sends a job where its workload belongs.

use std::{any::type_name, panic::Location};

use super::Choice;
use crate::{
    AnyExecutor, Inline, Payload, ProcessPool, Task, ThreadPool, no_capture::assert_no_capture, pool::Start,
    task::Options,
};

/// What kind of work a job is.
///
/// | workload | goes to | why |
/// |---|---|---|
/// | [`AsyncIo`](Self::AsyncIo) | `.await`, `tokio::spawn` | needs no hand-off |
/// | [`BlockingIo`](Self::BlockingIo) | [`ThreadPool::global`] | waiting needs threads, not cores |
/// | [`CpuBound`](Self::CpuBound) | [`ThreadPool::cpu`] | more threads than cores only get into each other's way |
/// | [`DataParallel`](Self::DataParallel) | rayon | one job over all cores, by work stealing over its data |
/// | [`Isolated`](Self::Isolated) | [`ProcessPool::global`] | a thread can be neither stopped nor isolated |
/// | [`Tiny`](Self::Tiny) | inline | a hand-off costs more |
/// | [`LongRunning`](Self::LongRunning) | a thread of its own | would occupy a worker for good |
/// | [`Mixed`](Self::Mixed) | [`ThreadPool::global`] | while one waits another computes |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Workload {
    /// Waits with the help of an async library: HTTP by reqwest, a database by sqlx, a timer of tokio.
    ///
    /// It needs no executor: `.await` it, or `tokio::spawn` it. [`run`] takes plain functions, and sends one to
    /// [`ThreadPool::global`], where it may call `Handle::current().block_on(…)`.
    AsyncIo,
    /// Waits in a blocking call: `std::fs`, a database driver without async, name resolution by the C library.
    ///
    /// Goes to [`ThreadPool::global`]: a thread that waits needs no core, so many of them are fine.
    BlockingIo,
    /// Computes for 10 µs or more: hashing a password, compressing a response, laying out a page.
    ///
    /// Goes to [`ThreadPool::cpu`], which has as many threads as there are cores, so that the runtime keeps its share and nobody waits for a
    /// core that somebody else was given.
    CpuBound,
    /// One job that can be split over its own data: sorting a large vector, a sum over a table, a filter over an image.
    ///
    /// Goes to rayon (feature `rayon`), whose iterators and `join` spread it over all cores; without the feature to
    /// [`ThreadPool::cpu`], where the job may use rayon itself.
    DataParallel,
    /// Must be stopped, limited or kept apart: decoding a stranger's image, a C library with global state, a plug-in that may crash.
    ///
    /// Goes to [`ProcessPool::global`]: its death costs its own task, a kill really stops it, its memory goes with it.
    Isolated,
    /// Takes less than 10 µs: parsing a header, a look into a map, formatting a line.
    ///
    /// Goes nowhere: it runs on the calling thread, because a hand-off would take longer. Thousands of them are worth a `map`.
    Tiny,
    /// Ends with the program: a consumer of a queue, a watcher of files, a loop around a device.
    ///
    /// Goes to a thread of its own, named after the function. In a pool it would occupy a worker for good.
    LongRunning,
    /// Waits and computes by turns: reading a file and hashing it, a query and its report, a download and its decompression.
    ///
    /// Goes to [`ThreadPool::global`], which has more threads than cores: while some wait, others compute. Where both parts are
    /// long, two jobs are better, each on its own pool (`map_stream` joins them).
    Mixed,
}

impl Workload {
    /// Where it belongs. [`run`] sends it there, but for [`AsyncIo`](Self::AsyncIo), for which it has no future, and for
    /// [`DataParallel`](Self::DataParallel) without the feature `rayon`.
    pub fn executor(self) -> Choice {
        match self {
            Self::AsyncIo => Choice::Await,
            Self::BlockingIo | Self::Mixed => Choice::Threads,
            Self::CpuBound => Choice::Cpu,
            Self::DataParallel => Choice::Rayon,
            Self::Isolated => Choice::Processes,
            Self::Tiny => Choice::Inline,
            Self::LongRunning => Choice::Thread,
        }
    }

    /// The executor for a job of type `F`. For one that runs for ever it is one of its own.
    fn executor_of<F>(self) -> AnyExecutor {
        match self {
            Self::AsyncIo | Self::BlockingIo | Self::Mixed => ThreadPool::global().into(),
            Self::CpuBound => ThreadPool::cpu().into(),
            Self::DataParallel => data_parallel(),
            Self::Isolated => ProcessPool::global().into(),
            Self::Tiny => Inline::new().into(),
            Self::LongRunning => own_thread(name_of(type_name::<F>())).into(),
        }
    }
}

#[cfg(feature = "rayon")]
fn data_parallel() -> AnyExecutor {
    crate::RayonPool::global().into()
}

/// Without rayon here, the job may bring its own.
#[cfg(not(feature = "rayon"))]
fn data_parallel() -> AnyExecutor {
    ThreadPool::cpu().into()
}

/// A pool of one thread, which ends with its only job.
fn own_thread(name: &str) -> ThreadPool {
    let pool = ThreadPool::builder().name(name).max_workers(1).build();
    pool.expect("a pool with a name and one worker, not yet started, is valid")
}

/// The name of a function or of the function that a closure is in, without its path.
fn name_of(type_name: &str) -> &str {
    let path = type_name.split('<').next().unwrap_or(type_name);
    path.split("::").filter(|part| *part != "{{closure}}").last().unwrap_or("long-running")
}

/// Runs `job(arg)` where its workload belongs, and returns a task of its result.
///
/// One signature for all: the bounds are those of a process pool, and a job that captures does not compile, so that another workload
/// is only another word. [`Workload`] says where each goes; a [`Profile`](super::Profile) and [`advise`](super::advise) say which one
/// a job is.
///
/// # Errors
///
/// The task's own: those of the executor that it goes to.
///
/// # Panics
///
/// Never: a panic of the job is its task's error.
///
/// # Cancel safety
///
/// Dropping the task cancels the job, as on the executor that it runs on.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{Workload, run};
///
/// let length = run(Workload::BlockingIo, |path: String| std::fs::read(path).map_or(0, |text| text.len()), "Cargo.toml".to_owned());
/// let sum = run(Workload::CpuBound, |n: u64| (0..n).sum::<u64>(), 1_000_000);
/// assert!(length.await? > 0);
/// assert_eq!(sum.await?, 499_999_500_000);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn run<F, A, R>(workload: Workload, job: F, arg: A) -> Task<R>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static, // captures nothing: put values into the argument
    A: Payload,
    R: Payload,
{
    assert_no_capture!(F, "a job for an executor");
    workload.executor_of::<F>().run_with((job, arg), Options::default(), Location::caller())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_named_after_its_function() {
        let names = ["app::watch", "app::start::{{closure}}", "a::pull<alloc::vec::Vec<u8>>", "{{closure}}"]
            .map(name_of);
        assert_eq!(names, ["watch", "start", "pull", "long-running"]);
    }
}
