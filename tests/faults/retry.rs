//! Jobs that are run again when their worker has died.

use std::{fs, path::Path, time::Duration};

use futures::StreamExt;
use heavylift::{Shutdown, TaskErrorKind};

use crate::processes::*;

/// How often a job has begun: one more at each call.
fn begin(log: &str) -> usize {
    let before = fs::read_to_string(log).unwrap_or_default();
    let pids = format!("{before}{}\n", std::process::id());
    set_mark(log, &pids);
    pids.lines().count()
}

fn pids(log: &Mark) -> Vec<u32> {
    let text = fs::read_to_string(log.arg()).unwrap_or_default();
    text.lines().map(|pid| pid.parse().expect("a pid")).collect()
}

/// Dies of SIGSEGV in its first `deaths` runs, and returns how often it has begun.
fn die_often((log, deaths): (String, usize)) -> usize {
    let begun = begin(&log);
    if begun <= deaths {
        kill_self(11);
    }
    begun
}

fn panic_always(log: String) {
    begin(&log);
    panic!("no luck");
}

fn hang_always(log: String) {
    begin(&log);
    loop {
        std::thread::park();
    }
}

#[test]
fn a_job_that_asked_for_it_is_run_again_and_each_death_is_counted_once() {
    let (pool, log) = (pool(2), Mark::new());
    let task = pool.job(die_often, (log.arg(), 2)).retry(2).run();
    assert_eq!(task.blocking_wait().expect("the third run succeeds"), 3);
    let metrics = pool.metrics();
    assert_eq!((metrics.worker_deaths, metrics.succeeded, metrics.submitted), (2, 1, 1), "{metrics:?}");
    assert_eq!((metrics.queued, metrics.running), (0, 0), "{metrics:?}");
}

#[test]
fn a_job_that_did_not_ask_for_it_is_run_once() {
    let (pool, log) = (pool(1), Mark::new());
    let error = pool.run(die_often, (log.arg(), 1)).blocking_wait().expect_err("it dies");
    assert_eq!(error.kind(), TaskErrorKind::WorkerDied);
    assert_eq!(error.dead_workers(), pids(&log));
    assert!(error.to_string().contains("lost its worker"), "{error}");
}

#[test]
fn a_job_that_kills_every_worker_is_given_up_with_their_pids() {
    let (pool, log) = (pool(2), Mark::new());
    let task = pool.job(die_often, (log.arg(), usize::MAX)).name("poison").retry(2).run();
    let id = task.id();
    let error = task.blocking_wait().expect_err("it dies each time");
    let pids = pids(&log);
    assert_eq!(pids.len(), 3, "once, and two times again");
    assert_eq!((error.kind(), error.dead_workers()), (TaskErrorKind::WorkerDied, &*pids));
    let [first, second, third] = pids[..] else { unreachable!("there are three") };
    assert_eq!(
        error.to_string(),
        format!(
            "task {id} (\"poison\") killed 3 workers: pids {first}, {second}, {third}; the last died of SIGSEGV"
        )
    );
    let exit = error.worker().expect("the last worker");
    assert_eq!((exit.pid(), exit.signal()), (third, Some(11)));
    assert_eq!(pool.metrics().worker_deaths, 3);
    assert_eq!(pool.run(double, 4).blocking_wait().expect("the pool goes on"), 8);
}

#[test]
fn a_job_whose_worker_lost_its_descriptors_is_run_again_too() {
    /// Closes all that the worker has open, the first time, as a library that makes a daemon does.
    fn close_all(log: String) -> usize {
        let begun = begin(&log);
        if begun == 1 {
            (3..4096).for_each(close);
            std::thread::sleep(LONG);
        }
        begun
    }
    let (pool, log) = (pool(1), Mark::new());
    let task = pool.job(close_all, log.arg()).retry(1).run();
    assert_eq!(task.blocking_wait().expect("the second run succeeds"), 2);
}

fn close(fd: i32) {
    #[expect(unsafe_code, reason = "closes what the worker needs")]
    // SAFETY: only called by a job that then sleeps until its process is killed: nothing uses the descriptors any more.
    unsafe {
        libc::close(fd)
    };
}

#[test]
fn a_job_that_is_run_again_returns_to_its_old_place() {
    let (pool, log, order) = (pool(1), Mark::new(), Mark::new());
    let (started, open) = (Mark::new(), Mark::new());
    let running = pool.run(wait_for, (started.arg(), open.arg()));
    let dies = |(log, order): (String, String)| {
        let begun = begin(&log);
        begin_line(&order, "first");
        if begun == 1 {
            kill_self(9);
        }
    };
    let first = pool.job(dies, (log.arg(), order.arg())).retry(1).run();
    let others: Vec<_> =
        (0..20).map(|_| pool.run(|order: String| begin_line(&order, "other"), order.arg())).collect();
    open.set();
    running.blocking_wait().expect("a value");
    first.blocking_wait().expect("the second run succeeds");
    others.into_iter().for_each(|task| task.blocking_wait().expect("a value"));
    let lines = order.text();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!((&lines[..2], lines.len()), (&["first", "first"][..], 22), "nothing in between");
}

fn begin_line(order: &str, line: &str) {
    let before = fs::read_to_string(order).unwrap_or_default();
    set_mark(order, &format!("{before}{line}\n"));
}

#[test]
fn a_panic_an_exceeded_limit_and_an_error_are_not_tried_again() {
    let (pool, panics, hangs) = (pool(1), Mark::new(), Mark::new());
    let error = pool.job(panic_always, panics.arg()).retry(5).run().blocking_wait().expect_err("it panics");
    assert!(error.is_panicked());
    assert!(error.dead_workers().is_empty());
    let task = pool.job(hang_always, hangs.arg()).retry(5).run_timeout(Duration::from_millis(200)).run();
    assert!(task.blocking_wait().expect_err("it hangs").is_timed_out());
    let refused = pool.job(|text: Vec<u8>| text.len(), vec![0; 10]).retry(5).run();
    assert_eq!(refused.blocking_wait().expect("a value"), 10);
    assert_eq!((pids(&panics).len(), pids(&hangs).len()), (1, 1));
    assert_eq!(pool.metrics().worker_deaths, 0, "what we kill ourselves is no death");
}

#[test]
fn a_task_that_is_cancelled_or_dropped_is_not_run_again() {
    let pool = pool(1);
    for dropped in [false, true] {
        let log = Mark::new();
        let task = pool.job(hang_always, log.arg()).retry(5).run();
        until("the job has begun", || pids(&log).len() == 1);
        if dropped {
            drop(task)
        } else {
            assert!(task.cancel())
        }
        gone(pids(&log)[0]);
        assert_eq!(pool.run(double, 1).blocking_wait().expect("the pool goes on"), 2);
        assert_eq!(pids(&log).len(), 1, "dropped: {dropped}");
    }
}

#[test]
fn run_timeout_counts_for_each_run_alone() {
    /// Dies after 400 ms, twice.
    fn slow_death((log, deaths): (String, usize)) -> usize {
        let begun = begin(&log);
        std::thread::sleep(Duration::from_millis(400));
        if begun <= deaths {
            kill_self(9);
        }
        begun
    }
    let (pool, log) = (pool(1), Mark::new());
    let begun = std::time::Instant::now();
    // Three runs of 400 ms, of which none takes a second.
    let job = pool.job(slow_death, (log.arg(), 2)).retry(2).run_timeout(Duration::from_secs(1));
    let runs = job.run().blocking_wait().expect("no run takes too long");
    assert!(runs == 3 && begun.elapsed() > Duration::from_secs(1));
}

#[test]
fn queue_timeout_is_over_once_the_job_has_begun() {
    let (pool, log) = (pool(1), Mark::new());
    pool.run(double, 1).blocking_wait().expect("a worker");
    let nap_and_die = |(log, millis): (String, u64)| {
        let begun = begin(&log);
        if begun == 1 {
            std::thread::sleep(Duration::from_millis(millis));
            kill_self(9);
        }
        begun
    };
    let limit = Duration::from_millis(500);
    let task = pool.job(nap_and_die, (log.arg(), 1000)).retry(1).queue_timeout(limit).run();
    assert_eq!(task.blocking_wait().expect("it waited for a moment only"), 2);
}

#[test]
fn a_shutdown_that_drains_lets_it_run_again_and_one_that_cancels_does_not() {
    for (mode, runs) in [(Shutdown::Drain, 2), (Shutdown::CancelQueued, 1)] {
        let (pool, log, open) = (pool(1), Mark::new(), Mark::new());
        let wait_and_die = |(log, open): (String, String)| {
            let begun = begin(&log);
            while !Path::new(&open).exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if begun == 1 {
                kill_self(9);
            }
            begun
        };
        let task = pool.job(wait_and_die, (log.arg(), open.arg())).retry(3).run();
        until("the job has begun", || pids(&log).len() == 1);
        let closing = pool.shutdown(mode);
        open.set();
        let report = closing.timeout(LONG).blocking_wait();
        assert!(report.is_complete(), "{report}");
        let outcome = task.blocking_wait();
        assert_eq!(pids(&log).len(), runs, "{mode:?}");
        match mode {
            Shutdown::Drain => assert_eq!(outcome.expect("the second run succeeds"), 2),
            _ => assert_eq!(outcome.expect_err("it is not run again").dead_workers(), pids(&log)),
        }
    }
}

#[test]
fn items_of_a_map_are_run_again_each_for_itself() {
    let (pool, logs) = (pool(2), [(); 6].map(|()| Mark::new()));
    let inputs: Vec<_> = logs.iter().enumerate().map(|(n, log)| (log.arg(), n % 3)).collect();
    let outcomes: Vec<_> =
        futures::executor::block_on(pool.map(die_often, inputs).retry(1).name("item").collect());
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match n % 3 {
            deaths @ (0 | 1) => assert_eq!(outcome.expect("at most one death"), deaths + 1),
            _ => assert_eq!(outcome.expect_err("one death too many").dead_workers(), pids(&logs[n])),
        }
    }
    assert_eq!(pool.metrics().worker_deaths, 6, "two for one death each, two for two each");
}

#[tokio::test]
async fn many_poisoned_jobs_cost_their_neighbours_nothing() {
    let pool = pool(2);
    let poison: Vec<_> = (0..10).map(|n| pool.job(|_: u64| kill_self(9), n).retry(1).run()).collect();
    let good: Vec<_> = (0..200).map(|n| pool.run(double, n)).collect();
    for (n, task) in good.into_iter().enumerate() {
        assert_eq!(task.await.expect("not its fault"), 2 * n as u64);
    }
    for task in poison {
        assert_eq!(task.await.expect_err("poison").dead_workers().len(), 2);
    }
    assert_eq!(pool.metrics().worker_deaths, 20);
}
