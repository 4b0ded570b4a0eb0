//! 64 MiB in shared memory to a job that reads one byte, beside a round trip with nothing.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use heavylift::{ProcessPool, SharedBytes};
use support::{Flavour, Goal, Program, Race, Unit, round_trips};

const NOTHING: &str = "round trip with a number";

fn main() {
    let mut program = Program::new("shared_bytes");
    let times = program.size(500, 200) as usize;
    let runtime = Flavour::Multi.runtime();
    let pool = ProcessPool::builder().max_workers(1).build().unwrap();
    let bytes = SharedBytes::copy_from_slice(&vec![7; 64 << 20]).unwrap();
    // The first use maps it into the worker.
    let first = |bytes: SharedBytes| bytes[1 << 20];
    assert_eq!(runtime.block_on(pool.run(first, bytes.clone())).unwrap(), 7);

    let mut race = Race::<2>::new();
    race.enter("heavylift processes, SharedBytes", || {
        let (pool, bytes) = (pool.clone(), bytes.clone());
        round_trips(&runtime, Flavour::Main, times, move || pool.run(first, bytes.clone()))
    });
    race.enter(NOTHING, || {
        let pool = pool.clone();
        round_trips(&runtime, Flavour::Main, times, move || pool.run(|n: u64| n, 7))
    });
    let finish = race.run(program.effort_of_many());
    let claim = "SharedBytes of 64 MiB, second use on: a job reads one byte";
    let row = finish.row(0, "shared_bytes", claim, Unit::Seconds);
    program.add(row.goal(Goal::AtMost(1.5), &[NOTHING]));
    program.finish();
}
