//! What it costs to hand a job over: heavylift's pools beside tokio's `spawn_blocking`, in one run.
//!
//! `cargo bench --bench handoff`. The candidates take turns in each round, so that they meet the same noise; the table shows
//! medians, the spread, and the ratio to `spawn_blocking`. Two workers each, no-op jobs.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

use std::{
    future::Future,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, ThreadPool};
use tokio::runtime::{Builder, Runtime};

const ROUNDS: usize = 7;
const FAN_OUT: u64 = 200_000;
const ROUND_TRIPS: usize = 2_000;

fn main() {
    let threads = ThreadPool::builder().max_workers(2).build().unwrap();
    let processes = ProcessPool::builder().max_workers(2).build().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).build().unwrap();
    warm_up(&runtime, &threads, &processes);

    println!("fan-out: {FAN_OUT} jobs started by one task, all awaited (jobs per second)");
    let rates = rounds(|| {
        [
            rate(runtime.block_on(fan_out(|n| tokio::task::spawn_blocking(move || n)))),
            rate(runtime.block_on(fan_out(|n| threads.run(move || n)))),
            rate(runtime.block_on(fan_out(|n| processes.run(|n: u64| n, n)))),
        ]
    });
    report(&rates, |rate| format!("{:.2} M/s", rate / 1e6));

    println!("\nround trip: one job at a time, started and awaited by a task (median of a round)");
    let trips = rounds(|| {
        [
            runtime.block_on(round_trip(|| tokio::task::spawn_blocking(|| ()))),
            runtime.block_on(round_trip(|| threads.run(|| ()))),
            runtime.block_on(round_trip(|| processes.run(|()| (), ()))),
        ]
        .map(|time| time.as_secs_f64())
    });
    report(&trips, |seconds| format!("{:.1} µs", seconds * 1e6));
}

const NAMES: [&str; 3] = ["tokio spawn_blocking", "heavylift threads", "heavylift processes"];

fn warm_up(runtime: &Runtime, threads: &ThreadPool, processes: &ProcessPool) {
    runtime.block_on(async {
        let threads: Vec<_> = (0..1000).map(|n| threads.run(move || n)).collect();
        let processes: Vec<_> = (0..1000u64).map(|n| processes.run(|n: u64| n, n)).collect();
        heavylift::gather(threads).await.unwrap();
        heavylift::gather(processes).await.unwrap();
    });
}

async fn fan_out<T, E: std::fmt::Debug>(start: impl Fn(u64) -> T) -> Duration
where
    T: Future<Output = Result<u64, E>>,
{
    let begun = Instant::now();
    let tasks: Vec<T> = (0..FAN_OUT).map(start).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), n as u64);
    }
    begun.elapsed()
}

async fn round_trip<T, E: std::fmt::Debug>(start: impl Fn() -> T) -> Duration
where
    T: Future<Output = Result<(), E>>,
{
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        start().await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    times[ROUND_TRIPS / 2]
}

fn rate(time: Duration) -> f64 {
    FAN_OUT as f64 / time.as_secs_f64()
}

/// The figures of each candidate, sorted.
fn rounds(mut round: impl FnMut() -> [f64; 3]) -> [Vec<f64>; 3] {
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (all, figure) in figures.iter_mut().zip(round()) {
            all.push(figure);
        }
    }
    figures.each_mut().map(|all| {
        all.sort_by(f64::total_cmp);
        std::mem::take(all)
    })
}

fn report(figures: &[Vec<f64>; 3], show: impl Fn(f64) -> String) {
    let peer = figures[0][ROUNDS / 2];
    println!("| | median | least – most | × spawn_blocking |\n|---|---|---|---|");
    for (name, all) in NAMES.iter().zip(figures) {
        let (least, median, most) = (all[0], all[ROUNDS / 2], all[ROUNDS - 1]);
        println!("| {name} | {} | {} – {} | {:.2} |", show(median), show(least), show(most), median / peer);
    }
}
