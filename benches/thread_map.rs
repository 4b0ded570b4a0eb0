//! `map` on threads: a million jobs of 20 ns, beside a `JoinSet` of blocking jobs.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use heavylift::ThreadPool;
use support::{
    Flavour, Goal, Program, Race, SPAWN_BLOCKING, SPAWN_BLOCKING_STD, SpawnBlocking, Spin, TOKIO, Unit, spin,
    tokio_std,
};
use tokio::runtime::Runtime;

const DEFAULT: &str = "heavylift, default chunks";
const CHUNKS: &str = "heavylift, chunk_size(1000)";

fn main() {
    let mut program = Program::new("thread_map");
    let jobs = program.size(1_000_000, 50_000);
    let steps = Spin::calibrate().steps(Duration::from_nanos(20));
    let (tokio, tokio_std) = (SpawnBlocking::new(), tokio_std());
    let runtime = tokio.runtime(Flavour::Multi);
    let pool = ThreadPool::builder().max_workers(2).build().unwrap();

    let mut race = Race::<1>::new();
    race.enter(CHUNKS, || [map(runtime, &pool, jobs, steps, Some(1000))]);
    race.enter(DEFAULT, || [map(runtime, &pool, jobs, steps, None)]);
    race.ask(SPAWN_BLOCKING, &tokio, format!("map {jobs} {steps}"));
    race.ask(SPAWN_BLOCKING_STD, &tokio_std, format!("map {jobs} {steps}"));
    race.enter("floor: the same work in a loop, no hand-off", || {
        let begun = Instant::now();
        let _last = (0..jobs).fold(0, |_, _| spin(steps));
        [jobs as f64 / begun.elapsed().as_secs_f64()]
    });
    let finish = race.run(program.effort());
    let row = finish.row(0, "thread_map", "thread map of 1 M jobs of 20 ns", Unit::JobsPerSecond);
    let row = row.goal_of(CHUNKS, Goal::AtLeast(20.0), TOKIO).goal_of(DEFAULT, Goal::AtLeast(20.0), TOKIO);
    let note =
        format!("A job is {steps} dependent steps of xorshift. The peer is a `JoinSet` of `spawn_blocking`.");
    program.add_with_note(row, note);
    program.finish();
}

fn map(runtime: &Runtime, pool: &ThreadPool, jobs: u64, steps: u64, chunk: Option<usize>) -> f64 {
    let begun = Instant::now();
    let map = pool.map(move |_| spin(steps), 0..jobs);
    let mut results = match chunk {
        Some(items) => map.chunk_size(items),
        None => map,
    };
    let done = runtime.block_on(async {
        let mut done = 0;
        while let Some(result) = results.next().await {
            result.unwrap();
            done += 1;
        }
        done
    });
    assert_eq!(done, jobs);
    jobs as f64 / begun.elapsed().as_secs_f64()
}
