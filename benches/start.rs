//! How long a process pool takes to start, to end, and to replace a worker that was killed.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::time::Instant;

use heavylift::{ProcessPool, Shutdown};
use support::{Flavour, Goal, PROCSPAWN, Program, Race, Unit, os, python, row::Spread};
use tokio::runtime::Runtime;

const FORK: &str = "floor: fork, exit, wait";
const PYTHON: &str = "Python ProcessPoolExecutor, fork";

fn main() {
    procspawn::init();
    let mut program = Program::new("start");
    let runtime = Flavour::Multi.runtime();
    start(&mut program, &runtime);
    restart(&mut program, &runtime);
    program.finish();
}

fn start(program: &mut Program, runtime: &Runtime) {
    let times = program.size(15, 3);
    let python = python();
    let mut race = Race::<1>::new();
    race.enter("heavylift processes", || [median(times, || life(runtime))]);
    race.ask(PYTHON, &python, format!("start fork {times}"));
    race.enter(PROCSPAWN, || {
        [median(times, || {
            let begun = Instant::now();
            let pool = procspawn::Pool::new(2).unwrap();
            assert_eq!(pool.spawn(1, |n: u64| n).join().unwrap(), 1);
            pool.shutdown();
            begun.elapsed().as_secs_f64()
        })]
    });
    race.attempt(FORK, || os::fork_exit_wait().map(|seconds| [seconds]));
    let finish = race.run(program.effort());
    let claim = "process pool started, first result, shut down";
    let row = finish.row(0, "start", claim, Unit::Seconds).goal(Goal::AtMost(0.5), &[PYTHON]);
    program.add_with_note(row, "Pools of two workers; medians of several lives in each round.");
}

fn life(runtime: &Runtime) -> f64 {
    let begun = Instant::now();
    runtime.block_on(async {
        let pool = ProcessPool::builder().max_workers(2).build().unwrap();
        assert_eq!(pool.run(|n: u64| n, 1).await.unwrap(), 1);
        pool.shutdown(Shutdown::Drain).await;
    });
    begun.elapsed().as_secs_f64()
}

fn restart(program: &mut Program, runtime: &Runtime) {
    let times = program.size(15, 3);
    let pool = ProcessPool::builder().max_workers(1).build().unwrap();
    runtime.block_on(pool.run(|n: u64| n, 1)).unwrap();
    let mut race = Race::<1>::new();
    race.attempt("heavylift processes", || {
        let seconds: Result<Vec<f64>, String> = (0..times).map(|_| killed(runtime, &pool)).collect();
        Ok([Spread::of(&seconds?).median])
    });
    race.attempt(FORK, || {
        let seconds: Result<Vec<f64>, String> = (0..times).map(|_| os::fork_exit_wait()).collect();
        Ok([Spread::of(&seconds?).median])
    });
    let finish = race.run(program.effort());
    let claim = "worker process killed until the next result";
    let row = finish.row(0, "restart", claim, Unit::Seconds).goal(Goal::AtMost(10.0), &[FORK]);
    program.add_with_note(
        row,
        "A pool of one worker, idle when it is killed; medians of several in each round.",
    );
}

fn killed(runtime: &Runtime, pool: &ProcessPool) -> Result<f64, String> {
    let pid = runtime.block_on(pool.run(|()| std::process::id(), ())).unwrap();
    let begun = Instant::now();
    os::kill(pid)?;
    let next = runtime.block_on(pool.job(|()| std::process::id(), ()).retry(3).run()).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert_ne!(pid, next);
    Ok(seconds)
}

fn median(times: u64, figure: impl Fn() -> f64) -> f64 {
    Spread::of(&(0..times).map(|_| figure()).collect::<Vec<_>>()).median
}
