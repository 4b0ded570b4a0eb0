//! [`ProcessPoolBuilder`]: how a process pool is to be.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Termination,
    time::Duration,
};

use super::{
    Output, ProcessPool, call,
    config::Config,
    message::SetupCall,
    parent::{Shared, depth},
};
use crate::{BuildError, Payload, no_capture::assert_no_capture, panic::catch, wire::encode};

/// The variable that overrides the default number of workers.
const PROCESSES: &str = "HEAVYLIFT_PROCESSES";

/// The smallest stack that a worker's main thread can live on.
const SMALLEST_STACK: u64 = 64 * 1024;

/// Builds a [`ProcessPool`].
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use heavylift::ProcessPool;
///
/// let pool = ProcessPool::builder()
///     .name("thumbs")
///     .max_workers(2)
///     .queue_limit(100)
///     .run_timeout(Duration::from_secs(10))
///     .build()?;
/// assert_eq!(pool.run(|n: u8| n + 1, 1).await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a pool exists once it is built"]
pub struct ProcessPoolBuilder {
    config: Config,
    max_workers: Option<usize>,
    /// The first thing that was wrong while a setter was called.
    error: Option<BuildError>,
}

/// Setters. Each carries its field's name.
impl ProcessPoolBuilder {
    pub(super) fn new() -> Self {
        let config = Config {
            name: "process".to_owned(),
            min_workers: 0,
            max_workers: 1,
            idle_timeout: None,
            queue_limit: None,
            queue_timeout: None,
            run_timeout: None,
            start_timeout: Duration::from_secs(10),
            kill_grace: Duration::ZERO,
            max_tasks_per_worker: None,
            max_age_per_worker: None,
            max_memory_per_worker: None,
            preload: None,
            initializer: None,
            env: Vec::new(),
            env_clear: false,
            current_dir: None,
            max_payload: 1 << 30,
            stack_size: 8 << 20,
            output: Output::default(),
            cgroup: None,
            address_space_limit: None,
        };
        Self { config, max_workers: None, error: None }
    }

    /// Names the pool, for errors, threads and `ps`. Default: `process`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How many workers are started early and kept. Default: 0.
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.config.min_workers = workers;
        self
    }

    /// How many workers there may be. Default: the environment variable `HEAVYLIFT_PROCESSES`, else the number of CPUs that the
    /// program may use ([`std::thread::available_parallelism`]); 1 inside a worker.
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.max_workers = Some(workers);
        self
    }

    /// How long a worker above `min_workers` may be idle before it ends. Default: for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::ProcessPool;
    ///
    /// let pool = ProcessPool::builder().max_workers(4).idle_timeout(Duration::from_millis(10)).build()?;
    /// pool.run(|n: u8| n, 1).blocking_wait()?;
    /// while pool.metrics().workers > 0 {
    ///     std::thread::sleep(Duration::from_millis(1));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.config.idle_timeout = Some(limit);
        self
    }

    /// How many jobs may wait, beside those that run. Default: no limit; services should set one.
    pub fn queue_limit(mut self, jobs: usize) -> Self {
        self.config.queue_limit = Some(jobs);
        self
    }

    /// How long a job may wait before it begins, unless the job has a limit of its own: see
    /// [`Job::queue_timeout`](crate::Job::queue_timeout). The wait for the first worker to start counts. Default: no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::ProcessPool;
    ///
    /// let pool = ProcessPool::builder().max_workers(1).queue_timeout(Duration::from_millis(50)).build()?;
    /// let nap = |millis: u64| std::thread::sleep(Duration::from_millis(millis));
    /// let running = pool.job(nap, 500).queue_timeout(Duration::MAX).run();
    /// assert!(pool.run(nap, 0).await.unwrap_err().is_timed_out());
    /// running.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.config.queue_timeout = Some(limit);
        self
    }

    /// How long a job may run before its worker is killed, unless the job has a limit of its own. Default: no limit.
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.config.run_timeout = Some(limit);
        self
    }

    /// How long the zygote (with `preload`) and each worker (with `initializer`) may take to start. Default: 10 s.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.config.start_timeout = limit;
        self
    }

    /// How long a job that is to be stopped may go on after it was asked (SIGTERM, and
    /// [`is_cancelled`](crate::is_cancelled) turns true) before SIGKILL follows. Default: 0, SIGKILL at once.
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.config.kill_grace = grace;
        self
    }

    /// After how many jobs a worker is replaced, for jobs that leave something behind. Default: never.
    ///
    /// Each worker has a limit of its own, up to a tenth below the one given, so that workers that started together do not all
    /// end together; below 10 it is exact. No worker ever gets more jobs than its limit: with 1 each job has a process of its
    /// own. The successor is started when the last job has been sent, beside the old worker, and gets its place when that has
    /// finished. Replacing is counted in [`Metrics::recycled`](crate::Metrics::recycled) and costs no job.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::ProcessPool;
    ///
    /// let pool = ProcessPool::builder().max_workers(1).max_tasks_per_worker(1).build()?;
    /// let first = pool.run(|()| std::process::id(), ()).blocking_wait()?;
    /// let second = pool.run(|()| std::process::id(), ()).blocking_wait()?;
    /// assert_ne!(first, second);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.config.max_tasks_per_worker = Some(tasks);
        self
    }

    /// At which age a worker is replaced. Default: never.
    ///
    /// Each worker has a limit of its own, up to a tenth below the one given. A job that runs is never cut off, and the worker
    /// takes jobs until its successor is ready, so a successor that does not come to start costs nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use heavylift::ProcessPool;
    ///
    /// let pool = ProcessPool::builder().max_workers(1).max_age_per_worker(Duration::from_millis(20)).build()?;
    /// let first = pool.run(|()| std::process::id(), ()).blocking_wait()?;
    /// while pool.run(|()| std::process::id(), ()).blocking_wait()? == first {}
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_age_per_worker(mut self, age: Duration) -> Self {
        self.config.max_age_per_worker = Some(age);
        self
    }

    /// How many bytes of memory a worker may have of its own. Default: no limit.
    ///
    /// Looked at after each job: a worker that has kept more gets no further job and is replaced, which is counted in
    /// [`Metrics::recycled`](crate::Metrics::recycled) and no error. Looked at also while a job runs, twice a second: then
    /// the worker is killed, and the job's error says so. A job may take more between two looks; [`cgroup`](Self::cgroup) makes
    /// the limit hard.
    ///
    /// Counted is what the worker has written since it was forked, its initializer included: what it shares with the zygote
    /// (`preload`) does not count, nor the shared memory in which arguments and results travel.
    ///
    /// So that each job finds a worker that was looked at, none is sent ahead: many jobs of a few microseconds get slower. With
    /// more preloaded than the limit allows, a look takes some milliseconds for each GiB, though only after jobs that have
    /// touched enough new memory to matter.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::ProcessPool;
    ///
    /// fn leak(bytes: usize) -> u32 {
    ///     std::mem::forget(std::hint::black_box(vec![1u8; bytes]));
    ///     std::process::id()
    /// }
    ///
    /// let pool = ProcessPool::builder().max_workers(1).max_memory_per_worker(64 << 20).build()?;
    /// let first = pool.run(leak, 100 << 20).blocking_wait()?;
    /// let second = pool.run(leak, 1).blocking_wait()?;
    /// assert_ne!(first, second);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_memory_per_worker(mut self, bytes: u64) -> Self {
        self.config.max_memory_per_worker = Some(bytes);
        self
    }

    /// Runs `job(arg)` once before any worker is forked: what it loads is shared by all workers, and paid for once, as long as
    /// they only read it. It does not count against `max_memory_per_worker`.
    ///
    /// It must not start threads or pools. Random generators that it seeds repeat in every worker: seed them in
    /// `initializer`. If it fails, panics, dies or takes longer than `start_timeout`, queued tasks finish as unavailable.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::OnceLock;
    /// use heavylift::ProcessPool;
    ///
    /// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// fn load(len: u64) {
    ///     TABLE.get_or_init(|| (0..len).map(|n| n * n).collect());
    /// }
    ///
    /// fn look_up(n: usize) -> Option<u64> {
    ///     TABLE.get()?.get(n).copied()
    /// }
    ///
    /// let pool = ProcessPool::builder().max_workers(2).preload(load, 1000).build()?;
    /// assert_eq!(pool.run(look_up, 12).blocking_wait()?, Some(144));
    /// # Ok(())
    /// # }
    /// ```
    pub fn preload<F, A, R>(mut self, job: F, arg: A) -> Self
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Termination + 'static,
    {
        assert_no_capture!(F, "a preload");
        self.config.preload = self.setup::<F, A, R>("preload", job, arg);
        self
    }

    /// Runs `job(arg)` in each worker before its first job.
    ///
    /// If it fails, panics, dies or takes longer than `start_timeout`, the worker does not start; after several failures in a
    /// row queued tasks finish as unavailable, with its error and the last of its standard error.
    pub fn initializer<F, A, R>(mut self, job: F, arg: A) -> Self
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Payload,
        R: Termination + 'static,
    {
        assert_no_capture!(F, "an initializer");
        self.config.initializer = self.setup::<F, A, R>("initializer", job, arg);
        self
    }

    /// Sets an environment variable for the workers.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value): (OsString, OsString) = (name.as_ref().into(), value.as_ref().into());
        let bytes = name.as_encoded_bytes();
        if bytes.is_empty()
            || bytes.contains(&b'=')
            || bytes.contains(&0)
            || value.as_encoded_bytes().contains(&0)
        {
            let error = BuildError::new("env", format!("{name:?}={value:?} is no environment variable"));
            self.error.get_or_insert(error);
        }
        self.config.env.push((name, value));
        self
    }

    /// Gives the workers none of the program's environment variables, only those set by [`env`](Self::env).
    pub fn env_clear(mut self) -> Self {
        self.config.env_clear = true;
        self
    }

    /// Starts the workers in this directory. Default: the program's when the zygote starts.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.config.current_dir = Some(directory.into());
        self
    }

    /// How many bytes an encoded argument or result may have. Default: 1 GiB.
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// How large the stack of a worker's main thread, on which jobs run, may grow, in bytes. Default: 8 MiB.
    pub fn stack_size(mut self, bytes: u64) -> Self {
        self.config.stack_size = bytes;
        self
    }

    /// What becomes of what the workers print. Default: [`Output::Inherit`], the program's own standard output and error.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tracing", doc = "```")]
    #[cfg_attr(not(feature = "tracing"), doc = "```ignore")]
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::{Output, ProcessPool, Shutdown};
    ///
    /// tracing_subscriber::fmt().init();
    /// let pool = ProcessPool::builder().max_workers(1).capture_output(Output::Tracing).build()?;
    /// // INFO heavylift::worker: 3 sheep pool="process" worker=0 pid=4711 task=1 task_name="count" stream="stdout" cut=false
    /// pool.job(|n: u32| println!("{n} sheep"), 3).name("count").run().await?;
    /// pool.shutdown(Shutdown::Drain).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn capture_output(mut self, output: Output) -> Self {
        self.config.output = output;
        self
    }

    /// Gives each worker a cgroup of its own, below this directory. Default: none.
    ///
    /// The directory must be a cgroup of version 2 that is delegated to the program: it can make directories in it. Nothing else
    /// in it is touched. With [`max_memory_per_worker`](Self::max_memory_per_worker) the memory controller must be available and
    /// no process may lie in the directory itself; then that limit is also the `memory.max` of each worker's cgroup, without
    /// swap. The kernel counts more than the pool does: the worker's children, files in its cache (which it gives back first)
    /// and the results that it writes into shared memory. A worker that cannot stay below is killed with all its children, and
    /// the job's error says that it was the memory limit.
    ///
    /// When a worker has ended, by itself or not, whatever is left in its cgroup is killed (Linux 5.14 or newer), also processes
    /// that have detached themselves, and also where the zygote was killed. Then the cgroup is removed. Only if the program and
    /// the zygote are both killed do empty cgroups stay.
    ///
    /// What is missing is an error of [`build`](Self::build) that names it. If the kernel does not let a worker enter its
    /// cgroup, tasks finish as unavailable with the reason: the program itself must lie in the delegated tree.
    ///
    /// # Examples
    ///
    /// ```
    /// use heavylift::ProcessPool;
    ///
    /// let outcome = ProcessPool::builder().cgroup("/tmp").max_memory_per_worker(1 << 30).build();
    /// assert_eq!(outcome.unwrap_err().to_string(), "cgroup: /tmp is no cgroup of version 2");
    /// ```
    pub fn cgroup(mut self, directory: impl Into<PathBuf>) -> Self {
        self.config.cgroup = Some(directory.into());
        self
    }

    /// How many bytes of addresses a worker, and each of its children, may map (`RLIMIT_AS`). Default: no limit.
    ///
    /// Counts everything that is mapped, used or not, shared or not, so it fits few programs: what is preloaded, libraries and
    /// reserved memory count in full. An allocation beyond it fails, which in Rust aborts the worker: the job's error then ends
    /// with what was written to standard error. For a limit of the memory really used see
    /// [`max_memory_per_worker`](Self::max_memory_per_worker) and [`cgroup`](Self::cgroup).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use heavylift::ProcessPool;
    ///
    /// let pool = ProcessPool::builder().max_workers(1).address_space_limit(4 << 30).build()?;
    /// let error = pool.run(|bytes: usize| vec![0u8; bytes].len(), 8 << 30).blocking_wait().unwrap_err();
    /// assert_eq!(error.worker().and_then(|worker| worker.signal()), Some(6)); // SIGABRT
    /// # Ok(())
    /// # }
    /// ```
    pub fn address_space_limit(mut self, bytes: u64) -> Self {
        self.config.address_space_limit = Some(bytes);
        self
    }

    fn setup<F, A, R>(&mut self, field: &'static str, _job: F, arg: A) -> Option<SetupCall>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Payload,
        R: Termination + 'static,
    {
        let encoded = catch(|| encode(arg)).map_err(|report| report.into_summary());
        match encoded.and_then(|encoded| encoded.map_err(|why| why.to_string())) {
            Ok(encoded) if !encoded.pieces().is_empty() => {
                let reason = "its argument holds shared memory, which crosses with jobs only";
                self.error.get_or_insert(BuildError::new(field, reason));
                None
            }
            Ok(encoded) => {
                Some(SetupCall { function: call::setup::<F, A, R>(), argument: encoded.as_bytes().to_vec() })
            }
            Err(why) => {
                self.error
                    .get_or_insert(BuildError::new(field, format!("its argument cannot be encoded: {why}")));
                None
            }
        }
    }
}

impl ProcessPoolBuilder {
    /// Builds the pool. Starts no process, unless `min_workers` says so.
    ///
    /// # Errors
    ///
    /// [`BuildError`], which names the field and what is allowed; also where the platform has no process pool.
    pub fn build(self) -> Result<ProcessPool, BuildError> {
        let config = self.check()?;
        let shared = Shared::new(config);
        if shared.config().min_workers > 0 {
            shared.start_early();
        }
        Ok(ProcessPool::new(shared))
    }

    /// Builds the pool, and makes it the one that [`ProcessPool::global`] returns.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and when the global pool has started already.
    pub fn install_global(self) -> Result<(), BuildError> {
        self.build()?.install_global()
    }

    /// Builds the global pool, on which a wrong setting shows when it is used.
    pub(super) fn build_or_broken(self) -> ProcessPool {
        let fallback = self.config.clone();
        self.build().unwrap_or_else(|error| ProcessPool::new(Shared::broken(fallback, error.to_string())))
    }

    fn check(self) -> Result<Config, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        super::check_platform()?;
        let max_workers = match self.max_workers {
            Some(workers) => workers,
            None => default_workers(env::var_os(PROCESSES).as_deref())?.max(self.config.min_workers),
        };
        let config = Config { max_workers, ..self.config };
        check_workers(config.min_workers, config.max_workers)?;
        check_limits(&config)?;
        check_directory(&config)?;
        let config = Config { cgroup: super::check_machine(&config)?, ..config };
        if config.name.is_empty() || config.name.contains('\0') {
            return Err(BuildError::new("name", format!("{:?} is no name", config.name)));
        }
        Ok(config)
    }
}

pub(super) fn check_workers(min_workers: usize, max_workers: usize) -> Result<(), BuildError> {
    if max_workers == 0 {
        return Err(BuildError::new("max_workers", "0 workers cannot run anything: at least 1"));
    }
    if min_workers > max_workers {
        let reason = format!("{min_workers} is more than max_workers, which is {max_workers}");
        return Err(BuildError::new("min_workers", reason));
    }
    Ok(())
}

fn check_limits(config: &Config) -> Result<(), BuildError> {
    let zero_durations = [
        ("idle_timeout", config.idle_timeout),
        ("queue_timeout", config.queue_timeout),
        ("run_timeout", config.run_timeout),
        ("start_timeout", Some(config.start_timeout)),
        ("max_age_per_worker", config.max_age_per_worker),
    ];
    if let Some((field, _)) = zero_durations.into_iter().find(|(_, limit)| limit.is_some_and(|d| d.is_zero()))
    {
        return Err(BuildError::new(field, "a limit of no time at all: more than 0"));
    }
    let zero_counts = [
        ("queue_limit", config.queue_limit.map(|jobs| jobs as u64)),
        ("max_tasks_per_worker", config.max_tasks_per_worker),
        ("max_memory_per_worker", config.max_memory_per_worker),
        ("max_payload", Some(config.max_payload)),
        ("address_space_limit", config.address_space_limit),
    ];
    if let Some((field, _)) = zero_counts.into_iter().find(|(_, limit)| *limit == Some(0)) {
        return Err(BuildError::new(field, "a limit of 0: at least 1"));
    }
    if config.stack_size < SMALLEST_STACK {
        let reason = format!("{} bytes are not enough: at least {SMALLEST_STACK}", config.stack_size);
        return Err(BuildError::new("stack_size", reason));
    }
    Ok(())
}

fn check_directory(config: &Config) -> Result<(), BuildError> {
    match &config.current_dir {
        Some(directory) if !directory.is_dir() => {
            Err(BuildError::new("current_dir", format!("{} is no directory", directory.display())))
        }
        _ => Ok(()),
    }
}

/// The number of workers where the builder says nothing.
fn default_workers(variable: Option<&OsStr>) -> Result<usize, BuildError> {
    match variable {
        None if depth() > 0 => Ok(1),
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        Some(value) => match value.to_str().map(str::parse) {
            Some(Ok(workers)) if workers > 0 => Ok(workers),
            _ => Err(BuildError::new(
                PROCESSES,
                format!("{value:?} is no number of workers: a whole number from 1"),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(builder: ProcessPoolBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_is_an_error_that_names_the_field() {
        let new = ProcessPool::builder;
        let table = [
            (new().max_workers(0), "max_workers: 0 workers cannot run anything: at least 1"),
            (new().min_workers(3).max_workers(2), "min_workers: 3 is more than max_workers, which is 2"),
            (new().queue_limit(0), "queue_limit: a limit of 0: at least 1"),
            (new().queue_timeout(Duration::ZERO), "queue_timeout: a limit of no time at all: more than 0"),
            (new().run_timeout(Duration::ZERO), "run_timeout: a limit of no time at all: more than 0"),
            (new().start_timeout(Duration::ZERO), "start_timeout: a limit of no time at all: more than 0"),
            (new().max_payload(0), "max_payload: a limit of 0: at least 1"),
            (new().stack_size(1), "stack_size: 1 bytes are not enough: at least 65536"),
            (new().env("A=B", "x"), "env: \"A=B\"=\"x\" is no environment variable"),
            (new().current_dir("/nonexistent"), "current_dir: /nonexistent is no directory"),
            (new().name(""), "name: \"\" is no name"),
        ];
        for (builder, message) in table {
            assert_eq!(error(builder), message);
        }
    }

    #[test]
    fn the_variable_overrides_the_default_and_a_bad_value_is_named() {
        assert_eq!(default_workers(Some("3".as_ref())), Ok(3));
        for bad in ["0", "-1", "many", ""] {
            assert_eq!(default_workers(Some(bad.as_ref())).unwrap_err().field(), PROCESSES);
        }
    }
}
