//! What pools cost that have nothing to do: CPU, and memory of a worker process.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::{thread, time::Duration};

use heavylift::{ProcessPool, ThreadPool, gather};
use support::{Flavour, Program, Race, Unit, os, row::Spread};
use tokio::runtime::Runtime;

fn main() {
    let mut program = Program::new("idle");
    let runtime = Flavour::Multi.runtime();
    let threads = ThreadPool::builder().max_workers(2).build().unwrap();
    let processes = ProcessPool::builder().min_workers(2).max_workers(2).build().unwrap();
    for _ in 0..20 {
        runtime.block_on(gather((0..1_000_u64).map(|n| threads.run(move || n))).into_future()).unwrap();
        runtime.block_on(gather((0..1_000_u64).map(|n| processes.run(|n: u64| n, n))).into_future()).unwrap();
    }
    thread::sleep(Duration::from_millis(500)); // whatever follows the last job is over
    ticks(&mut program);
    memory(&mut program, &runtime, &processes);
    program.finish();
}

fn ticks(program: &mut Program) {
    let length = Duration::from_secs(program.size(10, 1));
    let family = os::family();
    thread::sleep(length / 10); // looking for them was work, which is counted by the tick
    let mut race = Race::<1>::new();
    race.enter("program, zygote and workers", || {
        let before = os::ticks(&family);
        thread::sleep(length);
        [os::ticks(&family) - before]
    });
    let finish = race.run(program.effort_without_warm_up());
    program
        .add(finish.row(0, "idle.ticks", "idle: ticks of CPU in 10 s, both pools", Unit::Ticks).limit(0.0));
}

fn memory(program: &mut Program, runtime: &Runtime, processes: &ProcessPool) {
    let rest = Duration::from_secs(program.size(3, 1));
    let mut race = Race::<1>::new();
    race.attempt("idle worker, beyond a bare fork", || {
        Ok([worker_memory(os::grandchildren())? - os::memory_of_a_bare_fork()?])
    });
    race.attempt("a bare fork of this program", || os::memory_of_a_bare_fork().map(|bytes| [bytes]));
    let small = race.run(program.effort());

    let payload = |_| processes.run(|bytes: Vec<u8>| bytes.len(), vec![7; 64 << 20]);
    runtime.block_on(gather((0..8).map(payload)).into_future()).unwrap();
    thread::sleep(rest);
    let mut race = Race::<1>::new();
    race.attempt("idle worker, beyond a bare fork", || {
        Ok([worker_memory(os::grandchildren())? - os::memory_of_a_bare_fork()?])
    });
    let large = race.run(program.effort());

    let limit = f64::from(1 << 20);
    let claim = "idle worker process: private memory after 20 k small jobs";
    program.add(small.row(0, "idle.memory.small", claim, Unit::Bytes).limit(limit));
    let claim = format!("idle worker process: private memory {} s after 64 MiB payloads", rest.as_secs());
    program.add(large.row(0, "idle.memory.large", &claim, Unit::Bytes).limit(limit));
}

/// Of the worker that has most.
fn worker_memory(workers: Vec<u32>) -> Result<f64, String> {
    let all: Result<Vec<f64>, String> = workers.into_iter().map(os::private_memory).collect();
    let all = all?;
    if all.is_empty() { Err("no worker".to_owned()) } else { Ok(Spread::of(&all).most) }
}
