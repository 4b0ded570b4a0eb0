//! `map` on processes: a million numbers, beside Python's `map` in chunks.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::time::Instant;

use futures::StreamExt;
use heavylift::ProcessPool;
use support::{Flavour, Goal, PYTHON, Program, Race, Unit, python};
use tokio::runtime::Runtime;

const DEFAULT: &str = "heavylift, default chunks";
const CHUNKS: &str = "heavylift, chunk_size(1000)";

fn main() {
    let mut program = Program::new("process_map");
    let jobs = program.size(1_000_000, 50_000);
    let runtime = Flavour::Multi.runtime();
    let pool = ProcessPool::builder().max_workers(2).build().unwrap();
    let python = python();

    let mut race = Race::<1>::new();
    race.enter(CHUNKS, || [map(&runtime, &pool, jobs, Some(1000))]);
    race.enter(DEFAULT, || [map(&runtime, &pool, jobs, None)]);
    race.ask(PYTHON, &python, format!("map processes {jobs} 1000"));
    let finish = race.run(program.effort());
    let row = finish.row(0, "process_map", "process map of 1 M numbers", Unit::JobsPerSecond);
    let row =
        row.goal_of(CHUNKS, Goal::AtLeast(10.0), &[PYTHON]).goal_of(DEFAULT, Goal::AtLeast(10.0), &[PYTHON]);
    program.add_with_note(row, "Python: `map(f, range(n), chunksize=1000)`.");
    program.finish();
}

fn map(runtime: &Runtime, pool: &ProcessPool, jobs: u64, chunk: Option<usize>) -> f64 {
    let begun = Instant::now();
    let map = pool.map(|n: u64| n, 0..jobs);
    let mut results = match chunk {
        Some(items) => map.chunk_size(items),
        None => map,
    };
    runtime.block_on(async {
        for n in 0..jobs {
            assert_eq!(results.next().await.unwrap().unwrap(), n);
        }
    });
    jobs as f64 / begun.elapsed().as_secs_f64()
}
