//! Prints how soon a fault is known to whoever waits: the figures of docs/faults.md.
//!
//! `cargo test --release --test fault_latencies -- --ignored --nocapture`

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod processes;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, Shutdown, Task, TaskError};
use processes::*;
use rustix::process::Signal;

/// How often each is measured.
const TIMES: usize = 41;

/// Prints the median and the worst of what `measure` returns.
fn row(what: &str, mut measure: impl FnMut() -> Duration) {
    let mut took: Vec<Duration> = (0..TIMES).map(|_| measure()).collect();
    took.sort_unstable();
    println!("{what:62} median {:>10.2?}  worst {:>10.2?}", took[TIMES / 2], took[TIMES - 1]);
}

fn error<T: std::fmt::Debug>(mut task: Task<T>) -> TaskError {
    task.blocking_wait_timeout(LONG).expect("it ends").expect_err("an error")
}

fn ready(workers: usize) -> ProcessPool {
    let pool = builder(workers).min_workers(workers).build().expect("a pool");
    until("the workers are ready", || pool.metrics().idle_workers == workers);
    pool
}

/// From the start of the job to its error.
fn until_error<T: heavylift::Payload + std::fmt::Debug>(
    pool: &ProcessPool,
    start: impl FnOnce(&ProcessPool) -> Task<T>,
) -> Duration {
    until("a worker is idle", || pool.metrics().idle_workers > 0);
    let begun = Instant::now();
    let _ = error(start(pool));
    begun.elapsed()
}

/// A job that runs for ever, and its process.
fn spinning(pool: &ProcessPool) -> (Task<()>, u32) {
    let mark = Mark::new();
    let task = pool.run(|mark: String| -> () { spin(mark) }, mark.arg());
    let pid = mark.pid();
    (task, pid)
}

#[test]
#[ignore = "measures, and asserts nothing"]
fn latencies() {
    let pool = ready(2);
    row("a value (for comparison)", || {
        let begun = Instant::now();
        pool.run(double, 1).blocking_wait().expect("a value");
        begun.elapsed()
    });
    row("job panics: task is told", || {
        until_error(&pool, |pool| pool.run(|()| -> () { panic!("no luck") }, ()))
    });
    row("job exits: task is told", || {
        until_error(&pool, |pool| pool.run(|()| -> () { std::process::exit(3) }, ()))
    });
    row("job aborts: task is told", || {
        until_error(&pool, |pool| pool.run(|()| -> () { std::process::abort() }, ()))
    });
    row("job overflows its stack: task is told", || until_error(&pool, |pool| pool.run(overflow, 0)));
    row("worker is killed from outside: task is told", || {
        let (task, pid) = spinning(&pool);
        let begun = Instant::now();
        signal(pid, Signal::KILL);
        let _ = error(task);
        begun.elapsed()
    });
    row("task is cancelled: task is told", || {
        let (task, pid) = spinning(&pool);
        let begun = Instant::now();
        task.cancel();
        let took = begun.elapsed();
        gone(pid);
        took
    });
    row("task is dropped: process is gone", || {
        let (task, pid) = spinning(&pool);
        let begun = Instant::now();
        drop(task);
        gone(pid);
        begun.elapsed()
    });
    row("run_timeout of 20 ms: task is told, counted from the start", || {
        until_error(&pool, |pool| {
            pool.job(|()| -> () { std::thread::sleep(LONG) }, ()).run_timeout(Duration::from_millis(20)).run()
        })
    });
    row("worker dies: another stands in its place", || {
        until("both are idle", || pool.metrics().idle_workers == 2);
        let pid = pool.run(pid, ()).blocking_wait().expect("a pid");
        let deaths = pool.metrics().worker_deaths;
        let begun = Instant::now();
        signal(pid, Signal::KILL);
        until("it is replaced", || pool.metrics().worker_deaths > deaths && pool.metrics().idle_workers == 2);
        begun.elapsed()
    });
    pool.shutdown(Shutdown::Kill).blocking_wait();
    zygotes();
    starts();
    ends();
}

fn zygotes() {
    row("zygote is killed, two workers run: both tasks are told", || {
        let pool = ready(2);
        let (first, second) = (spinning(&pool).0, spinning(&pool).0);
        let zygote = descendants()[0];
        let begun = Instant::now();
        signal(zygote, Signal::KILL);
        let _ = (error(first), error(second));
        let took = begun.elapsed();
        pool.shutdown(Shutdown::Kill).blocking_wait();
        took
    });
    row("zygote is killed: the next job has a value", || {
        let pool = ready(1);
        let (task, _) = spinning(&pool);
        let zygote = descendants()[0];
        let begun = Instant::now();
        signal(zygote, Signal::KILL);
        let _ = error(task);
        pool.run(double, 1).blocking_wait().expect("a value");
        let took = begun.elapsed();
        pool.shutdown(Shutdown::Kill).blocking_wait();
        took
    });
}

fn starts() {
    row("preload fails, five times in a row: task is told", || {
        let pool = builder(1).preload(|()| Err::<(), _>("no"), ()).build().expect("a pool");
        let begun = Instant::now();
        let _ = error(pool.run(double, 1));
        begun.elapsed()
    });
    row("initializer fails, five times in a row: task is told", || {
        let pool = builder(1).initializer(|()| Err::<(), _>("no"), ()).build().expect("a pool");
        let begun = Instant::now();
        let _ = error(pool.run(double, 1));
        begun.elapsed()
    });
    row("first job of a pool: value", || {
        let pool = pool(1);
        let begun = Instant::now();
        pool.run(double, 1).blocking_wait().expect("a value");
        let took = begun.elapsed();
        pool.shutdown(Shutdown::Drain).blocking_wait();
        took
    });
}

fn ends() {
    row("shutdown(Kill), two workers run for ever: resolved", || {
        let pool = ready(2);
        let _tasks = (spinning(&pool).0, spinning(&pool).0);
        let begun = Instant::now();
        pool.shutdown(Shutdown::Kill).blocking_wait();
        begun.elapsed()
    });
    row("last handle is dropped, a job runs for ever: returned", || {
        let pool = ready(1);
        let (task, pid) = spinning(&pool);
        let begun = Instant::now();
        drop(pool);
        let took = begun.elapsed();
        drop(task);
        gone(pid);
        took
    });
    row("program is killed, two workers run for ever: all are gone", || {
        // Its marks outlive it.
        let temporary = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .env("TMPDIR", temporary.path())
            .args(["--exact", "a_program_with_two_busy_workers", "--ignored"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a program");
        until("its workers run", || descendants().len() == 4 && cpu_bound() == 2);
        let pids = descendants();
        let begun = Instant::now();
        child.kill().expect("it runs");
        child.wait().expect("its end");
        pids.into_iter().for_each(dead);
        begun.elapsed()
    });
}

/// How many descendants have used CPU time for a while.
fn cpu_bound() -> usize {
    let ticks = |pid: &u32| -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let field =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(11)?.parse().ok());
        field.unwrap_or_default()
    };
    descendants().iter().filter(|pid| ticks(pid) > 2).count()
}

/// Waits until a process no longer runs. An orphan may stay a zombie for a while.
fn dead(pid: u32) {
    until("it is dead", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

#[test]
#[ignore = "stands for a program that is killed"]
fn a_program_with_two_busy_workers() {
    let pool = pool(2);
    let marks = [Mark::new(), Mark::new()];
    let tasks = marks.each_ref().map(|mark| pool.run(spin, mark.arg()));
    tasks.into_iter().for_each(|task| drop(task.blocking_wait()));
}
