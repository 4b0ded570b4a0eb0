//! How late an unrelated timer of the runtime fires while pools are saturated by its tasks.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and fails loudly"
)]

mod support;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, ThreadPool};
use support::{Goal, Program, Race, Spin, Unit, handoff::median_and_p99, spin};
use tokio::{
    runtime::{Builder, Runtime},
    task::spawn_blocking,
};

const BLOCKING_2: &str = "spawn_blocking, 2 threads";
const BLOCKING_4: &str = "spawn_blocking, 4 threads";
const THREADS: &str = "heavylift threads, 2 workers";
const PROCESSES: &str = "heavylift processes, 2 workers";
const BOTH: &str = "heavylift threads 2 + processes 2";
/// What one must know about the figures.
const NOTE: &str = "A timer of 1 ms on the runtime whose tasks keep jobs of 20 µs in flight. tokio's timers have a grain of 1 ms: that much \
     of the lateness is theirs.";
/// Tasks that each have one job in flight, per pool.
const IN_FLIGHT: usize = 64;

fn main() {
    let mut program = Program::new("timer");
    let length = Duration::from_millis(program.size(1_000, 200));
    let steps = Spin::calibrate().steps(Duration::from_micros(20));
    let threads = ThreadPool::builder().max_workers(2).build().unwrap();
    let processes = ProcessPool::builder().max_workers(2).build().unwrap();
    let (two, four) = (runtime(2), runtime(4));

    let mut race = Race::<2>::new();
    race.enter(BOTH, || {
        let (threads, processes) = (threads.clone(), processes.clone());
        let load = Load::new();
        load.keep_up(&two, move || threads.run(move || spin(steps)));
        load.keep_up(&two, move || processes.run(spin, steps));
        load.lateness(&two, length)
    });
    race.enter(BLOCKING_4, || {
        let load = Load::new();
        (0..2).for_each(|_| load.keep_up(&four, move || spawn_blocking(move || spin(steps))));
        load.lateness(&four, length)
    });
    race.enter(THREADS, || {
        let pool = threads.clone();
        let load = Load::new();
        load.keep_up(&two, move || pool.run(move || spin(steps)));
        load.lateness(&two, length)
    });
    race.enter(PROCESSES, || {
        let pool = processes.clone();
        let load = Load::new();
        load.keep_up(&two, move || pool.run(spin, steps));
        load.lateness(&two, length)
    });
    race.enter(BLOCKING_2, || {
        let load = Load::new();
        load.keep_up(&two, move || spawn_blocking(move || spin(steps)));
        load.lateness(&two, length)
    });
    race.enter("floor: nothing else to do", || Load::new().lateness(&two, length));
    let finish = race.run(program.effort());
    for (nth, figure) in ["median", "99th percentile"].into_iter().enumerate() {
        let claim = format!("lateness of a timer while pools are saturated, {figure}");
        let row = finish.row(nth, &format!("timer.{nth}"), &claim, Unit::Seconds);
        // No more than under `spawn_blocking`, give or take what two runs of the same thing differ by.
        let goal = Goal::AtMost(1.05);
        let row = row.goal_of(BOTH, goal, &[BLOCKING_4]).goal_of(THREADS, goal, &[BLOCKING_2]).goal_of(
            PROCESSES,
            goal,
            &[BLOCKING_2],
        );
        program.add_with_note(row, NOTE);
    }
    program.finish();
}

fn runtime(blocking: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(blocking)
        .enable_time()
        .build()
        .unwrap()
}

/// Tasks that keep a pool busy until the load is taken away.
struct Load {
    goes_on: Arc<AtomicBool>,
}

impl Load {
    fn new() -> Self {
        Self { goes_on: Arc::new(AtomicBool::new(true)) }
    }

    /// Starts tasks each of which starts a job when its last one has ended.
    fn keep_up<T>(&self, runtime: &Runtime, start: impl Fn() -> T + Clone + Send + Sync + 'static)
    where
        T: Future + Send + 'static,
    {
        for _ in 0..IN_FLIGHT {
            let (start, goes_on) = (start.clone(), Arc::clone(&self.goes_on));
            runtime.spawn(async move {
                while goes_on.load(Ordering::Relaxed) {
                    start().await;
                }
            });
        }
    }

    /// Median and 99th percentile, in seconds, of how late a timer of a millisecond fires.
    fn lateness(self, runtime: &Runtime, length: Duration) -> [f64; 2] {
        let timer = async move {
            let (begun, mut all) = (Instant::now(), Vec::new());
            while begun.elapsed() < length {
                let due = Instant::now() + Duration::from_millis(1);
                tokio::time::sleep_until(due.into()).await;
                all.push(due.elapsed().as_secs_f64());
            }
            all
        };
        let all = runtime.block_on(async { tokio::spawn(timer).await.unwrap() });
        self.goes_on.store(false, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20)); // the last jobs leave before the next load comes
        median_and_p99(all)
    }
}
