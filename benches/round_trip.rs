//! One no-op job at a time, started and awaited by a task: median and 99th percentile.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use heavylift::{ProcessPool, ThreadPool};
use support::{
    Flavour, Goal, PROCSPAWN, PYTHON, PYTHONS, Program, Race, SPAWN_BLOCKING, SPAWN_BLOCKING_STD,
    SpawnBlocking, TOKIO, Unit, handoff::median_and_p99, line_peer::LinePeer, os, python, round_trips,
    tokio_std,
};
use tokio_rayon::{AsyncThreadPool, rayon};

struct Peers<'a> {
    tokio: &'a SpawnBlocking,
    tokio_std: &'a Result<LinePeer, String>,
    python: &'a Result<LinePeer, String>,
}

fn main() {
    procspawn::init();
    let mut program = Program::new("round_trip");
    let (tokio, tokio_std, python) = (SpawnBlocking::new(), tokio_std(), python());
    let peers = Peers { tokio: &tokio, tokio_std: &tokio_std, python: &python };
    for flavour in Flavour::ALL {
        threads(&mut program, &peers, flavour);
    }
    for flavour in [Flavour::Main, Flavour::Multi] {
        processes(&mut program, &peers, flavour);
    }
    program.finish();
}

fn threads(program: &mut Program, peers: &Peers<'_>, flavour: Flavour) {
    let runtime = peers.tokio.runtime(flavour);
    let times = program.size(2_000, 500);
    let heavylift = ThreadPool::builder().max_workers(2).build().unwrap();
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let rayon: &'static rayon::ThreadPool = Box::leak(Box::new(rayon));
    let ask = format!("round_trip {} {times}", flavour.name());

    let mut race = Race::<2>::new();
    race.enter("heavylift threads", move || {
        let pool = heavylift.clone();
        round_trips(runtime, flavour, times as usize, move || pool.run(|| ()))
    });
    race.ask(SPAWN_BLOCKING, peers.tokio, ask.clone());
    race.ask(SPAWN_BLOCKING_STD, peers.tokio_std, ask);
    race.enter("tokio-rayon spawn_fifo", move || {
        round_trips(runtime, flavour, times as usize, move || rayon.spawn_fifo_async(|| ()))
    });
    race.enter("blocking::unblock, its own number of threads", move || {
        round_trips(runtime, flavour, times as usize, || blocking::unblock(|| ()))
    });
    race.ask("Python ThreadPoolExecutor", peers.python, format!("round_trip threads {}", times / 10));
    let finish = race.run(program.effort_of_many());
    for (nth, figure) in ["median", "99th percentile"].into_iter().enumerate() {
        let claim = format!("thread round trip, {figure}, {}", flavour.text());
        let id = format!("round_trip.threads.{}.{nth}", flavour.name());
        let row = finish.row(nth, &id, &claim, Unit::Seconds);
        program.add(row.goal(Goal::AtMost(0.7), TOKIO));
    }
}

fn processes(program: &mut Program, peers: &Peers<'_>, flavour: Flavour) {
    let runtime = peers.tokio.runtime(flavour);
    let times = program.size(1_000, 300) as usize;
    let heavylift = ProcessPool::builder().max_workers(2).build().unwrap();
    let procspawn = procspawn::Pool::new(2).unwrap();
    let ask = format!("round_trip {} {times}", flavour.name());

    let mut race = Race::<2>::new();
    race.enter("heavylift processes", move || {
        let pool = heavylift.clone();
        round_trips(runtime, flavour, times, move || pool.run(|()| (), ()))
    });
    race.ask(SPAWN_BLOCKING, peers.tokio, ask.clone());
    race.ask(SPAWN_BLOCKING_STD, peers.tokio_std, ask);
    race.enter(PROCSPAWN, move || {
        blocking_round_trips(times / 5, || procspawn.spawn((), |()| ()).join().unwrap())
    });
    race.ask(PYTHON, peers.python, format!("round_trip processes {}", times / 10));
    for pool in PYTHONS {
        race.ask(&format!("Python {pool}"), peers.python, format!("round_trip {pool} {}", times / 10));
    }
    race.attempt("floor: two processes on one cache line, spinning", move || {
        os::cache_line_round_trips(times)
    });
    let finish = race.run(program.effort_of_many());
    let row = |nth, figure| {
        let claim = format!("process round trip, {figure}, {}", flavour.text());
        finish.row(nth, &format!("round_trip.processes.{}.{nth}", flavour.name()), &claim, Unit::Seconds)
    };
    program.add(
        row(0, "median")
            .goal(Goal::AtMost(1.0), TOKIO)
            .goal(Goal::AtMost(0.2), &[PROCSPAWN])
            .goal(Goal::AtMost(0.1), &[PYTHON]),
    );
    program.add(row(1, "99th percentile"));
}

/// For pools that are waited for by a thread.
fn blocking_round_trips(times: usize, trip: impl Fn()) -> [f64; 2] {
    let time = |_| {
        let begun = std::time::Instant::now();
        trip();
        begun.elapsed().as_secs_f64()
    };
    median_and_p99((0..times).map(time).collect())
}
