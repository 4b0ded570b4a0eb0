//! The same two batches, one that computes and one that waits, inline, on threads and on processes, with the times.
//!
//! ```text
//! cargo run --release --example cpu_and_io
//! ```
//!
//! Computing gains as many times as there are cores, waiting as many times as there are workers. In Rust threads compute as
//! fast as processes; processes are for what must be killed, or may crash.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::{
    thread,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use heavylift::{AnyExecutor, Executor, Inline, ProcessPool, TaskError, ThreadPool};

const JOBS: usize = 32;

/// Counts primes by trial division: some milliseconds of computing.
fn compute(limit: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..limit).filter(is_prime).count() as u64
}

/// Waits, as for a disk or a database.
fn wait(milliseconds: u64) -> u64 {
    thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Runs the batch, and returns how long it took.
async fn time<J>(executor: &AnyExecutor, job: J, input: u64) -> Result<Duration, TaskError>
where
    J: Fn(u64) -> u64 + Copy + Send + Sync + 'static,
{
    let start = Instant::now();
    let results: Vec<u64> = executor.map(job, [input; JOBS]).try_collect().await?;
    assert_eq!(results.len(), JOBS);
    Ok(start.elapsed())
}

#[tokio::main]
async fn main() -> Result<(), TaskError> {
    let executors: [(&str, AnyExecutor); 3] = [
        ("inline", Inline.into()),
        ("threads", ThreadPool::global().clone().into()),
        ("processes", ProcessPool::global().clone().into()),
    ];

    println!("{JOBS} jobs     workers{:>17}{:>17}", "computing", "waiting");
    let mut inline = None;
    for (name, executor) in executors {
        let times = (time(&executor, compute, 100_000).await?, time(&executor, wait, 10).await?);
        let (computing, waiting) = *inline.get_or_insert(times);
        let cell = |time: Duration, inline: Duration| {
            format!("{:.0} ms {:5.1} x", 1e3 * time.as_secs_f64(), inline.as_secs_f64() / time.as_secs_f64())
        };
        let workers = executor.metrics().workers;
        println!("{name:9}{workers:9}{:>17}{:>17}", cell(times.0, computing), cell(times.1, waiting));
    }
    Ok(())
}
