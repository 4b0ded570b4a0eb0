//! [`Machine::measure`]: finds out what hand-offs cost here.

use std::{
    convert::Infallible,
    future::poll_fn,
    hint::black_box,
    pin::Pin,
    time::{Duration, Instant},
};

use futures_core::Stream;

use super::{HandOff, Machine};
use crate::{
    Executor, Inline, ProcessPool, Shutdown, Task, TaskError, ThreadPool,
    task::{assert_may_block, block_on},
};

/// So many trips one after the other, of which the median counts.
const TRIPS: usize = 201;
/// So many trips after a pause that puts everybody to sleep.
const PAUSES: usize = 7;
const PAUSE: Duration = Duration::from_millis(2);
/// So many jobs at once; then so many items in chunks.
const JOBS: u64 = 4_000;
const ITEMS: u64 = 40_000;
const CHUNK: usize = 1_000;
/// So many times; the median counts.
const TIMES: usize = 5;
const MIB: usize = 1 << 20;
const LARGE: usize = 4 * MIB;
/// So long may each pool take, processes twice that, before everything is done once only: together less than 300 ms.
const SHARE: Duration = Duration::from_millis(50);
/// A worker process that needs longer to start is not waited for.
const PATIENCE: Duration = Duration::from_millis(100);

impl Machine {
    /// Measures this machine in less than 300 ms, most of it on pools of its own, which are gone afterwards.
    ///
    /// Best while nothing else runs: under load it takes longer, and what it finds is too dear. Where process pools are not available,
    /// `processes` is `None`. A pool that does not answer in time has the costs of [`typical`](Self::typical), and
    /// [`is_measured`](Self::is_measured) stays `false`.
    ///
    /// Blocks: on a runtime, call it inside a job of a thread pool.
    ///
    /// # Panics
    ///
    /// On a thread that drives async tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use heavylift::{Machine, run_in_thread_pool};
    ///
    /// let machine = run_in_thread_pool(Machine::measure).await?;
    /// println!("a hand-off to a thread costs {:?}, to a process {:?}", machine.cpu, machine.processes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn measure() -> Self {
        assert_may_block();
        let typical = Self::typical();
        let threads = |workers| {
            let pool = ThreadPool::builder().name("calibration").max_workers(workers).build();
            of_threads(&pool.expect("a pool with a name and workers, not yet started, is valid"))
        };
        let (elastic, cpu) = (threads(typical.max_threads), threads(typical.cores));
        let processes = typical.processes.and_then(|_| of_processes(typical.cores));
        let is_measured = elastic.is_ok() && cpu.is_ok() && !matches!(processes, Some(Err(_)));
        // Those that are there and did not answer in time cost at least what is typical.
        let answer = |found: Result<_, TaskError>| {
            found.ok().or_else(|| Some((typical.processes?, typical.process_per_mib)))
        };
        let processes = processes.and_then(answer);
        Self {
            inline: inline(),
            threads: elastic.unwrap_or(typical.threads),
            cpu: cpu.unwrap_or(typical.cpu),
            rayon: rayon(typical.cores),
            processes: processes.map(|(hand_off, _)| hand_off),
            process_per_mib: processes.map_or(typical.process_per_mib, |(_, per_mib)| per_mib),
            memory_bandwidth: memory_bandwidth(),
            is_measured,
            ..typical
        }
    }
}

fn same(n: u64) -> u64 {
    n
}

fn of_threads(pool: &ThreadPool) -> Result<HandOff, TaskError> {
    let deadline = Instant::now() + SHARE;
    let map = || pool.map(same, 0..ITEMS).chunk_size(CHUNK);
    let found = hand_off(|n| pool.run(move || same(n)), map, ITEMS, deadline);
    pool.shutdown(Shutdown::Drain).timeout(PATIENCE).blocking_wait();
    found
}

/// On threads of its own: rayon's global pool is the program's to configure, and may be busy.
#[cfg(feature = "rayon")]
fn rayon(cores: usize) -> Option<HandOff> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(cores).build().ok()?;
    let pool = crate::RayonPool::builder().threads(threads.into()).name("calibration").build().ok()?;
    let deadline = Instant::now() + SHARE;
    let found = hand_off(|n| pool.run(move || same(n)), || pool.map(same, 0..JOBS), JOBS, deadline);
    pool.shutdown(Shutdown::Drain).timeout(PATIENCE).blocking_wait();
    found.ok()
}

#[cfg(not(feature = "rayon"))]
fn rayon(_cores: usize) -> Option<HandOff> {
    None
}

/// The hand-off, and what a MiB costs; `None` where there are no process pools.
fn of_processes(cores: usize) -> Option<Result<(HandOff, Duration), TaskError>> {
    let deadline = Instant::now() + SHARE;
    let pool = ProcessPool::builder().name("calibration").max_workers(cores).start_timeout(PATIENCE);
    let pool = pool.build().ok()?;
    let map = || pool.map(same, 0..ITEMS).chunk_size(CHUNK);
    let found = hand_off(|n| pool.run(same, n), map, ITEMS, deadline)
        .and_then(|hand_off| Ok((hand_off, per_mib(&pool)?)));
    pool.shutdown(Shutdown::Kill).timeout(PATIENCE).blocking_wait();
    Some(found)
}

/// What it costs to `run` a job, and each of so many `items` of a `map`. After the deadline everything is done once.
fn hand_off<M>(
    run: impl Fn(u64) -> Task<u64>,
    map: impl Fn() -> M,
    items: u64,
    deadline: Instant,
) -> Result<HandOff, TaskError>
where
    M: Stream<Item = Result<u64, TaskError>> + Unpin,
{
    // Workers start, and have been used.
    fan_out(&run, 64)?;
    let trip = || timed(|| run(1).blocking_wait());
    median(TRIPS, deadline, trip)?;
    let round_trip = median(TRIPS, deadline, trip)?;
    let after_pause = median(PAUSES, deadline, || {
        // What is measured is a hand-off to who sleeps.
        std::thread::sleep(PAUSE);
        trip()
    })?;
    let per_job = median(TIMES, deadline, || timed(|| fan_out(&run, JOBS)))? / JOBS as u32;
    let per_item = median(TIMES, deadline, || timed(|| drain(map())))? / items as u32;
    Ok(HandOff { round_trip, after_pause: after_pause.max(round_trip), per_job, per_item })
}

fn fan_out(run: &impl Fn(u64) -> Task<u64>, jobs: u64) -> Result<(), TaskError> {
    let tasks: Vec<_> = (0..jobs).map(run).collect();
    tasks.into_iter().try_for_each(|task| task.blocking_wait().map(drop))
}

fn drain(map: impl Stream<Item = Result<u64, TaskError>> + Unpin) -> Result<(), TaskError> {
    block_on(drained(map), None).expect("a wait without a deadline ends with a result")
}

/// Takes all results, or up to the first error.
pub(super) async fn drained<R>(
    mut map: impl Stream<Item = Result<R, TaskError>> + Unpin,
) -> Result<(), TaskError> {
    while let Some(result) = poll_fn(|cx| Pin::new(&mut map).poll_next(cx)).await {
        drop(result?);
    }
    Ok(())
}

/// What a MiB costs that crosses, either way.
fn per_mib(pool: &ProcessPool) -> Result<Duration, TaskError> {
    let there = |bytes: Vec<u8>| bytes.len() as u64;
    let back = |len: u64| vec![1u8; len as usize];
    let trips = || {
        let bytes = vec![1u8; LARGE];
        timed(|| {
            pool.run(there, bytes).blocking_wait()?;
            pool.run(back, LARGE as u64).blocking_wait()
        })
    };
    // The memory that they cross in is made by the first, and kept.
    trips()?;
    Ok(median(TIMES, Instant::now() + SHARE, trips)? / (2 * LARGE / MIB) as u32)
}

fn inline() -> Duration {
    let inline = Inline::new();
    let all = timed(|| (0..JOBS).try_for_each(|n| inline.execute(same, n).blocking_wait().map(drop)));
    all.unwrap_or_default() / JOBS as u32
}

/// Bytes per second from memory to memory, once both are mapped.
fn memory_bandwidth() -> f64 {
    let from = vec![1u8; 4 * LARGE];
    let mut to = vec![2u8; 4 * LARGE];
    let copy = || {
        let start = Instant::now();
        to.copy_from_slice(black_box(&from));
        black_box(&to);
        Ok(start.elapsed())
    };
    let time = median::<Infallible>(TIMES, Instant::now() + SHARE / 2, copy).unwrap_or_default();
    (4 * LARGE) as f64 / time.as_secs_f64().max(1e-9)
}

fn timed<T, E>(f: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed())
}

/// The median of so many times, or of those until the deadline; of one at least.
fn median<E>(
    times: usize,
    deadline: Instant,
    mut f: impl FnMut() -> Result<Duration, E>,
) -> Result<Duration, E> {
    let mut found = vec![f()?];
    while found.len() < times && Instant::now() < deadline {
        found.push(f()?);
    }
    found.sort_unstable();
    Ok(found[found.len() / 2])
}
