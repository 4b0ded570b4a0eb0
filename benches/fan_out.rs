//! Many no-op jobs at once on two threads: started by one task or by eight, all awaited.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use futures::{executor::ThreadPool as FuturesPool, task::SpawnExt};
use heavylift::ThreadPool;
use support::{
    Flavour, Goal, Program, Race, SPAWN_BLOCKING, SPAWN_BLOCKING_STD, SpawnBlocking, TOKIO, Unit, fan_out,
    python, tokio_std,
};
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_rayon::{AsyncThreadPool, rayon};

/// All pools, with two threads each. `blocking` has one pool per program, which grows by itself.
struct Pools {
    tokio: SpawnBlocking,
    heavylift: ThreadPool,
    rayon: &'static rayon::ThreadPool,
    futures: FuturesPool,
    threadpool: threadpool::ThreadPool,
}

fn main() {
    let mut program = Program::new("fan_out");
    let pools = Pools {
        tokio: SpawnBlocking::new(),
        heavylift: ThreadPool::builder().max_workers(2).build().unwrap(),
        rayon: Box::leak(Box::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap())),
        futures: FuturesPool::builder().pool_size(2).create().unwrap(),
        threadpool: threadpool::ThreadPool::new(2),
    };
    let (tokio_std, python) = (tokio_std(), python());
    for tasks in [1, 8] {
        for flavour in Flavour::MANY {
            let jobs = program.size(200_000, 20_000);
            let mut race = candidates(&pools, flavour, jobs, tasks);
            race.ask(SPAWN_BLOCKING_STD, &tokio_std, format!("fan_out {} {jobs} {tasks}", flavour.name()));
            race.ask("Python ThreadPoolExecutor", &python, format!("fan_out threads {}", jobs / 10));
            let who = if tasks == 1 { "one task" } else { "8 tasks" };
            let claim = format!("fan-out of 200 k no-op jobs from {who}, {}", flavour.text());
            let id = format!("fan_out.{}.{tasks}", flavour.name());
            let finish = race.run(program.effort());
            let row = finish.row(0, &id, &claim, Unit::JobsPerSecond).goal(Goal::AtLeast(4.0), TOKIO);
            program.add_with_note(row, "blocking and Python: a tenth of the jobs, as a rate.");
        }
    }
    program.finish();
}

fn candidates(pools: &Pools, flavour: Flavour, jobs: u64, tasks: u64) -> Race<'_> {
    let runtime = pools.tokio.runtime(flavour);
    let mut race = Race::new();
    race.enter("heavylift threads", move || {
        let pool = pools.heavylift.clone();
        [fan_out(runtime, jobs, tasks, move |n| pool.run(move || n), |value| value.unwrap())]
    });
    race.ask(SPAWN_BLOCKING, &pools.tokio, format!("fan_out {} {jobs} {tasks}", flavour.name()));
    race.enter("tokio-rayon spawn_fifo", move || {
        let pool = pools.rayon;
        [fan_out(runtime, jobs, tasks, move |n| pool.spawn_fifo_async(move || n), |value| value)]
    });
    race.enter("blocking::unblock, its own number of threads", move || {
        [fan_out(runtime, jobs / 10, tasks, |n| blocking::unblock(move || n), |value| value)]
    });
    race.enter("futures ThreadPool", move || {
        let pool = pools.futures.clone();
        let start = move |n| pool.spawn_with_handle(async move { n }).unwrap();
        [fan_out(runtime, jobs, tasks, start, |value| value)]
    });
    race.enter("threadpool, with a oneshot channel", move || [oneshots(pools, runtime, jobs, tasks)]);
    race
}

/// `threadpool` has no results: a channel per job brings them.
fn oneshots(pools: &Pools, runtime: &Runtime, jobs: u64, tasks: u64) -> f64 {
    let pool = pools.threadpool.clone();
    let start = move |n| {
        let (sender, receiver) = oneshot::channel();
        pool.execute(move || sender.send(n).unwrap());
        receiver
    };
    fan_out(runtime, jobs, tasks, start, |value| value.unwrap())
}
