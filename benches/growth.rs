//! What a job costs when a million others are queued, and when there are 64 workers, beside a thousand and two.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::{path::PathBuf, time::Instant};

use heavylift::{ProcessPool, Task, ThreadPool};
use support::{Flavour, Goal, Program, Race, Unit, fan_out, os, row::Spread};
use tokio::runtime::Runtime;

fn main() {
    let mut program = Program::new("growth");
    let runtime = Flavour::Multi.runtime();
    queued(&mut program, &runtime);
    workers(&mut program, &runtime);
    program.finish();
}

const MANY: &str = "10⁶ queued jobs";
const FEW: &str = "10³ queued jobs";

fn queued(program: &mut Program, runtime: &Runtime) {
    let threads = ThreadPool::builder().max_workers(2).build().unwrap();
    let hold = |gate: PathBuf| threads.run(move || os::wait_at_gate(&gate).unwrap()).detach();
    let cost = |jobs| cost_of(runtime, jobs, hold, |n| threads.run(move || n));
    report_queued(program, "threads", cost);

    let processes = ProcessPool::builder().max_workers(2).build().unwrap();
    let hold = |gate| processes.run(|gate: PathBuf| os::wait_at_gate(&gate).unwrap(), gate).detach();
    let cost = |jobs| cost_of(runtime, jobs, hold, |n| processes.run(|n: u64| n, n));
    report_queued(program, "processes", cost);
}

fn report_queued(program: &mut Program, kind: &str, cost: impl Fn(u64) -> Result<f64, String>) {
    let (many, times) = (program.size(1_000_000, 100_000), program.size(100, 10));
    let mut race = Race::<1>::new();
    race.attempt(MANY, || Ok([cost(many)?]));
    race.attempt(FEW, || {
        let costs: Result<Vec<f64>, String> = (0..times).map(|_| cost(1_000)).collect();
        Ok([Spread::of(&costs?).median])
    });
    let finish = race.run(program.effort_of(5));
    let claim = format!("{kind}: time per job when 10⁶ are queued, against 10³");
    let row = finish.row(0, &format!("growth.queued.{kind}"), &claim, Unit::Seconds);
    let note =
        "Both workers are held while the jobs are queued; submitting, running and awaiting are counted.";
    program.add_with_note(row.goal(Goal::AtMost(2.0), &[FEW]), note);
}

/// Seconds per job, for so many that are all queued before the first one runs.
fn cost_of(
    runtime: &Runtime,
    jobs: u64,
    hold: impl Fn(PathBuf),
    start: impl Fn(u64) -> Task<u64>,
) -> Result<f64, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = directory.path().join("gate");
    let gate = os::shut_gate(&path)?;
    (0..2).for_each(|_| hold(path.clone()));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..jobs).map(start).collect();
    drop(gate);
    runtime.block_on(async {
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), n as u64);
        }
    });
    Ok(begun.elapsed().as_secs_f64() / jobs as f64)
}

const CROWD: &str = "64 workers";
const PAIR: &str = "2 workers";

fn workers(program: &mut Program, runtime: &Runtime) {
    let threads = |workers| {
        let pool = ThreadPool::builder().min_workers(workers).max_workers(workers).build().unwrap();
        move |jobs| {
            let pool = pool.clone();
            fan_out(runtime, jobs, 1, move |n| pool.run(move || n), |value| value.unwrap())
        }
    };
    report_workers(program, "threads", threads(64), threads(2));
    let processes = |workers| {
        let pool = ProcessPool::builder().min_workers(workers).max_workers(workers).build().unwrap();
        move |jobs| {
            let pool = pool.clone();
            fan_out(runtime, jobs, 1, move |n| pool.run(|n: u64| n, n), |value| value.unwrap())
        }
    };
    report_workers(program, "processes", processes(64), processes(2));
}

fn report_workers(program: &mut Program, kind: &str, crowd: impl Fn(u64) -> f64, pair: impl Fn(u64) -> f64) {
    let jobs = program.size(200_000, 20_000);
    let mut race = Race::<1>::new();
    race.enter(CROWD, || [1.0 / crowd(jobs)]);
    race.enter(PAIR, || [1.0 / pair(jobs)]);
    let finish = race.run(program.effort());
    let claim = format!("{kind}: time per job of a fan-out to 64 workers, against 2");
    let row = finish.row(0, &format!("growth.workers.{kind}"), &claim, Unit::Seconds);
    program.add(row.goal(Goal::AtMost(1.3), &[PAIR]));
}
