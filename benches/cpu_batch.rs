//! A batch of long jobs on two workers, beside the ideal: half of the serial time.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, ThreadPool, gather};
use support::{Flavour, Goal, Program, Race, Spin, Unit, spin};
use tokio::task::spawn_blocking;

const IDEAL: &str = "the ideal: serial time / 2";
const THREADS: &str = "heavylift threads";
const PROCESSES: &str = "heavylift processes";

fn main() {
    let mut program = Program::new("cpu_batch");
    let jobs = program.size(100, 10);
    let steps = Spin::calibrate().steps(Duration::from_millis(20));
    let runtime = Flavour::Current.runtime();
    let threads = ThreadPool::builder().max_workers(2).build().unwrap();
    let processes = ProcessPool::builder().max_workers(2).build().unwrap();

    let mut race = Race::<1>::new();
    race.enter(THREADS, || {
        per_second(|| {
            runtime
                .block_on(gather((0..jobs).map(|_| threads.run(move || spin(steps)))).into_future())
                .unwrap()
        })
    });
    race.enter(PROCESSES, || {
        per_second(|| {
            runtime.block_on(gather((0..jobs).map(|_| processes.run(spin, steps))).into_future()).unwrap()
        })
    });
    race.enter(IDEAL, || {
        let [serial] = per_second(|| (0..jobs).map(|_| spin(steps)).collect());
        [2.0 * serial]
    });
    race.enter("two plain threads with half of the jobs each", || {
        per_second(|| {
            let half = move || (0..jobs / 2).map(|_| spin(steps)).collect::<Vec<_>>();
            let (one, other) = (thread::spawn(half), thread::spawn(half));
            [one.join().unwrap(), other.join().unwrap()].concat()
        })
    });
    race.enter("spawn_blocking", || {
        per_second(|| {
            runtime.block_on(async {
                let jobs: Vec<_> = (0..jobs).map(|_| spawn_blocking(move || spin(steps))).collect();
                futures::future::try_join_all(jobs).await.unwrap()
            })
        })
    });
    let finish = race.run(program.effort_of(5));
    let claim = "batch of 100 CPU-bound jobs of 20 ms, two workers";
    let row = finish.row(0, "cpu_batch", claim, Unit::BatchesPerSecond);
    let goal = Goal::AtLeast(0.95);
    program.add(row.goal_of(THREADS, goal, &[IDEAL]).goal_of(PROCESSES, goal, &[IDEAL]));
    program.finish();
}

fn per_second(batch: impl FnOnce() -> Vec<u64>) -> [f64; 1] {
    let begun = Instant::now();
    assert!(!batch().is_empty());
    [1.0 / begun.elapsed().as_secs_f64()]
}
