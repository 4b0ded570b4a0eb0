//! Many small jobs at once on two worker processes: numbers, and records of strings.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::time::Instant;

use heavylift::ProcessPool;
use support::{
    Flavour, Goal, PROCSPAWN, PYTHON, PYTHONS, Program, Race, Record, SPAWN_BLOCKING, SPAWN_BLOCKING_STD,
    SpawnBlocking, TOKIO, Unit, fan_out, line_peer::LinePeer, python, tokio_std,
};

struct Peers {
    tokio: SpawnBlocking,
    tokio_std: Result<LinePeer, String>,
    procspawn: procspawn::Pool,
    python: Result<LinePeer, String>,
}

fn main() {
    procspawn::init();
    let mut program = Program::new("process_fan_out");
    let peers = Peers {
        tokio: SpawnBlocking::new(),
        tokio_std: tokio_std(),
        procspawn: procspawn::Pool::new(2).unwrap(),
        python: python(),
    };
    let pool = ProcessPool::builder().max_workers(2).build().unwrap();
    numbers(&mut program, &pool, &peers);
    records(&mut program, &pool, &peers);
    program.finish();
}

/// Jobs of the peers that would take long: what counts is the rate.
const FEW: u64 = 5_000;

fn numbers(program: &mut Program, pool: &ProcessPool, peers: &Peers) {
    let runtime = peers.tokio.runtime(Flavour::Multi);
    let (jobs, few) = (program.size(200_000, 20_000), program.size(FEW, 500));
    let mut race = Race::<1>::new();
    race.enter("heavylift processes", move || {
        let pool = pool.clone();
        [fan_out(runtime, jobs, 1, move |n| pool.run(|n: u64| n, n), |value| value.unwrap())]
    });
    race.ask(SPAWN_BLOCKING, &peers.tokio, format!("fan_out multi {jobs} 1"));
    race.ask(SPAWN_BLOCKING_STD, &peers.tokio_std, format!("fan_out multi {jobs} 1"));
    race.enter(PROCSPAWN, || {
        let begun = Instant::now();
        let handles: Vec<_> = (0..few).map(|n| peers.procspawn.spawn(n, |n: u64| n)).collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n as u64);
        }
        [few as f64 / begun.elapsed().as_secs_f64()]
    });
    ask_python(&mut race, &peers.python, few, "numbers");
    let finish = race.run(program.effort());
    let row =
        finish.row(0, "process_fan_out.numbers", "process fan-out of 200 k numbers", Unit::JobsPerSecond);
    let row = row.goal(Goal::AtLeast(100.0), &[PROCSPAWN]).goal(Goal::AtLeast(1.5), TOKIO);
    program.add_with_note(row, "procspawn and Python: 5000 jobs, as a rate.");
}

fn records(program: &mut Program, pool: &ProcessPool, peers: &Peers) {
    let runtime = peers.tokio.runtime(Flavour::Multi);
    let (jobs, few) = (program.size(200_000, 20_000), program.size(FEW, 500));
    let mut race = Race::<1>::new();
    race.enter("heavylift processes", move || {
        let pool = pool.clone();
        let records: Vec<Record> = (0..jobs).map(|_| Record::new()).collect();
        let begun = Instant::now();
        let done = runtime.block_on(async {
            let start = |record| pool.run(|record: Record| record, record);
            let tasks: Vec<_> = records.into_iter().map(start).collect();
            let mut done = 0;
            for task in tasks {
                drop(task.await.unwrap());
                done += 1;
            }
            done
        });
        assert_eq!(done, jobs);
        [jobs as f64 / begun.elapsed().as_secs_f64()]
    });
    race.enter(PROCSPAWN, || {
        let records: Vec<Record> = (0..few).map(|_| Record::new()).collect();
        let begun = Instant::now();
        let start = |record| peers.procspawn.spawn(record, |record: Record| record);
        let handles: Vec<_> = records.into_iter().map(start).collect();
        handles.into_iter().for_each(|handle| drop(handle.join().unwrap()));
        [few as f64 / begun.elapsed().as_secs_f64()]
    });
    ask_python(&mut race, &peers.python, few, "records");
    let finish = race.run(program.effort());
    let claim = "process fan-out of 200 k records (200 bytes in 5 strings, each way)";
    let row = finish.row(0, "process_fan_out.records", claim, Unit::JobsPerSecond);
    program.add_with_note(
        row.goal(Goal::AtLeast(50.0), &[PROCSPAWN]),
        "procspawn and Python: 5000 jobs, as a rate.",
    );
}

fn ask_python<'a>(race: &mut Race<'a>, python: &'a Result<LinePeer, String>, jobs: u64, values: &str) {
    race.ask(PYTHON, python, format!("fan_out processes {jobs} {values}"));
    for pool in PYTHONS {
        let name = if pool == "multiprocessing" { "multiprocessing imap_unordered" } else { pool };
        race.ask(&format!("Python {name}"), python, format!("fan_out {pool} {jobs} {values}"));
    }
}
