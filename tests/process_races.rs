//! Races on a process pool: random jobs and ends of jobs, while workers and the zygote are killed, stopped and continued.
//!
//! Runs for `RACE_SECONDS` (2 by default).

mod processes;

use std::{
    collections::VecDeque,
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, Shutdown, Task, TaskError};
use processes::*;
use rustix::process::Signal;

fn seconds() -> Duration {
    let seconds = env::var("RACE_SECONDS").ok().and_then(|value| value.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// A generator of numbers that repeats for a seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn job((kind, n, size): (u64, u64, usize)) -> (u64, Vec<u8>) {
    match kind {
        0 => panic!("job {n}"),
        1 => std::process::abort(),
        2 => std::process::exit(3),
        3 => loop {
            std::hint::spin_loop();
        },
        _ => (n, vec![n as u8; size]),
    }
}

/// A task with what may become of it.
struct Expected {
    task: Task<(u64, Vec<u8>)>,
    kind: u64,
    n: u64,
    size: usize,
    done: Arc<AtomicU64>,
}

fn start(pool: &ProcessPool, n: u64, dice: &mut Dice) -> Expected {
    // Mostly jobs that end well, of all sizes.
    let kind = dice.throw(40);
    let size = [0, 10, 2000, 2100, 70_000, 300_000][dice.throw(6) as usize];
    let job = pool.job(job, (kind, n, size));
    let job = if dice.throw(8) == 0 { job.queue_timeout(Duration::from_millis(dice.throw(50))) } else { job };
    let limit = match kind {
        3 => Some(dice.throw(30)),
        _ => (dice.throw(8) == 0).then(|| 1 + dice.throw(30)),
    };
    let job = if let Some(limit) = limit { job.run_timeout(Duration::from_millis(limit)) } else { job };
    let task = job.run();
    let done = Arc::new(AtomicU64::new(0));
    let count = done.clone();
    task.on_done(move |_| {
        count.fetch_add(1, Relaxed);
    });
    Expected { task, kind, n, size, done }
}

/// Ends a task in one of the ways there are.
fn finish(expected: Expected, dice: &mut Dice) {
    let Expected { mut task, kind, n, size, done } = expected;
    match dice.throw(10) {
        0 => {
            drop(task);
            // Who finishes it at this very moment, on another thread, may not have called back yet.
            until("a dropped task is finished", || done.load(Relaxed) > 0);
        }
        1 => {
            task.cancel();
            check(task.blocking_wait_timeout(LONG).expect("a cancelled task finishes"), kind, n, size);
        }
        _ => check(task.blocking_wait_timeout(LONG).expect("every task finishes"), kind, n, size),
    }
    assert_eq!(done.load(Relaxed), 1, "a task finishes exactly once");
}

fn check(outcome: Result<(u64, Vec<u8>), TaskError>, kind: u64, n: u64, size: usize) {
    match outcome {
        Ok(value) => assert_eq!(value, (n, vec![n as u8; size])),
        Err(error) if error.is_panicked() => {
            assert_eq!((kind, error.panic_message()), (0, Some(&*format!("job {n}"))))
        }
        // Workers are killed from outside, so that any job may lose its own.
        Err(error) => assert!(
            error.is_worker_died() || error.is_timed_out() || error.is_cancelled(),
            "nothing else was done to it: {error}"
        ),
    }
}

/// Stops who looks at it, also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn torment(stop: &AtomicBool) {
    let mut dice = Dice(0x5eed_5eed);
    let mut stopped = VecDeque::new();
    while !stop.load(Relaxed) {
        thread::sleep(Duration::from_millis(dice.throw(20)));
        let victims = descendants();
        let Some(&victim) = victims.get(dice.throw(victims.len().max(1) as u64) as usize) else { continue };
        let is_zygote = victims.first() == Some(&victim);
        match dice.throw(if is_zygote { 12 } else { 3 }) {
            0 => signal(victim, Signal::KILL),
            1 => {
                signal(victim, Signal::STOP);
                stopped.push_back(victim);
            }
            _ => {}
        }
        if stopped.len() > 1 || dice.throw(3) == 0 {
            stopped.drain(..).for_each(|pid| signal(pid, Signal::CONT));
        }
    }
    stopped.into_iter().for_each(|pid| signal(pid, Signal::CONT));
}

#[test]
fn every_task_finishes_once_and_rightly_whatever_dies_and_whenever() {
    // The timer's thread and the like, which stay.
    let warm = builder(1).build().expect("a pool");
    let task = warm.job(double, 1).queue_timeout(LONG).run();
    task.blocking_wait().expect("a value");
    warm.shutdown(Shutdown::Drain).blocking_wait();
    drop(warm);
    until("the first pool is gone", || threads() <= 3);
    let before = (open_descriptors(), threads());

    let (begun, mut dice, mut n) = (Instant::now(), Dice(0x00c0_ffee), 0);
    while begun.elapsed() < seconds() {
        let grace = Duration::from_millis([0, 5][dice.throw(2) as usize]);
        let pool = builder(3).kill_grace(grace).build().expect("a pool");
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| torment(&stop));
            let _stop = Stop(&stop);
            let mut waiting = VecDeque::new();
            let round = Instant::now();
            while round.elapsed() < Duration::from_millis(900) {
                n += 1;
                waiting.push_back(start(&pool, n, &mut dice));
                if waiting.len() > 60 {
                    waiting.drain(..30).for_each(|expected| finish(expected, &mut dice));
                }
            }
            if dice.throw(2) == 0 {
                waiting.drain(..).for_each(|expected| finish(expected, &mut dice));
            }
            let mode = [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill][dice.throw(3) as usize];
            let report = pool.shutdown(mode).timeout(LONG).blocking_wait();
            assert!(report.is_complete(), "{mode:?}: {report}");
            waiting.into_iter().for_each(|expected| finish(expected, &mut dice));
        });
        let metrics = pool.metrics();
        assert_eq!((metrics.workers, metrics.queued, metrics.running), (0, 0, 0), "{metrics:?}");
    }
    println!("{n} jobs in {:?}", begun.elapsed());
    until("no process is left", || descendants().is_empty());
    let after = || (open_descriptors(), threads());
    let no_more = || after().0 <= before.0 && after().1 <= before.1;
    assert!(holds_within(Duration::from_secs(10), no_more), "{before:?} became {:?}", after());
}
