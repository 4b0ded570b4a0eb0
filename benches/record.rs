//! What it costs to record a pool: jobs of 10 µs on two workers while a timeline is recorded, against the same pool while nobody looks.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::time::Duration;

use heavylift::{ProcessPool, Recording, ThreadPool};
use support::{Flavour, Goal, Program, Race, Spin, Unit, fan_out, spin};

const RECORDED: &str = "recorded";
const UNSEEN: &str = "not recorded";

/// How long a job computes.
const JOB: Duration = Duration::from_micros(10);

fn main() {
    let mut program = Program::new("record");
    let runtime = Flavour::Multi.runtime();
    let steps = Spin::calibrate().steps(JOB);

    let threads = ThreadPool::builder().min_workers(2).max_workers(2).build().unwrap();
    let rate = |jobs| {
        let pool = threads.clone();
        let job = move |n| {
            spin(steps);
            n
        };
        fan_out(&runtime, jobs, 1, move |n| pool.run(move || job(n)), |value| value.unwrap())
    };
    report(&mut program, "threads", || threads.record(), rate);

    let processes = ProcessPool::builder().min_workers(2).max_workers(2).build().unwrap();
    let rate = |jobs| {
        let pool = processes.clone();
        fan_out(&runtime, jobs, 1, move |n| pool.run(spin_and_return, (steps, n)), |value| value.unwrap())
    };
    report(&mut program, "processes", || processes.record(), rate);
    program.finish();
}

fn spin_and_return((steps, n): (u64, u64)) -> u64 {
    spin(steps);
    n
}

fn report(program: &mut Program, kind: &str, record: impl Fn() -> Recording, rate: impl Fn(u64) -> f64) {
    let jobs = program.size(20_000, 2_000);
    let mut race = Race::<1>::new();
    race.enter(RECORDED, || {
        let recording = record();
        let rate = rate(jobs);
        let jobs_seen = recording.stop().jobs().len() as u64;
        assert_eq!(jobs_seen, jobs);
        [rate]
    });
    race.enter(UNSEEN, || [rate(jobs)]);
    let finish = race.run(program.effort_of_many());
    let claim = format!("{kind}: jobs of 10 µs while the pool is recorded, against the same while it is not");
    let row = finish.row(0, &format!("record.{kind}"), &claim, Unit::JobsPerSecond);
    program.add(row.goal(Goal::AtLeast(0.98), &[UNSEEN]));
}
