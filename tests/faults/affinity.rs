//! Jobs with one key go to one worker while it is free.

use std::sync::mpsc;

use heavylift::{ProcessPool, Shutdown};
use rustix::process::Signal;

use crate::processes::*;

/// A pool of two workers, of which one has run a job with the key `"one"`, the other one with `"other"`; with their pids.
fn settled() -> (ProcessPool, u32, u32) {
    let pool = builder(2).min_workers(2).build().expect("a pool");
    let open = Mark::new();
    let both = ["one", "other"].map(|key| {
        let started = Mark::new();
        let task = pool.job(wait_for, (started.arg(), open.arg())).affinity(key).run();
        (started.pid(), task)
    });
    open.set();
    let [one, other] = both.map(|(pid, task)| {
        assert_eq!(task.blocking_wait().expect("a pid"), pid);
        pid
    });
    assert_ne!(one, other);
    idle(&pool);
    (pool, one, other)
}

fn idle(pool: &ProcessPool) {
    until("both workers are idle", || pool.metrics().idle_workers == 2);
}

fn pid_for(pool: &ProcessPool, key: &str) -> u32 {
    pool.job(pid, ()).affinity(key).run().blocking_wait().expect("a pid")
}

#[test]
fn an_idle_worker_gets_the_jobs_with_its_key() {
    let (pool, one, other) = settled();
    for n in 0..60 {
        let (key, expected) = [("one", one), ("other", other)][(n / 3) % 2];
        assert_eq!(pid_for(&pool, key), expected, "job {n}");
        idle(&pool);
    }
}

#[test]
fn a_worker_that_has_just_answered_gets_the_next_job_with_its_key() {
    let (pool, one, _) = settled();
    // Submitted while the worker's keeper is on its way back to the queue, and the other one is idle.
    let hits = (0..300).filter(|_| pid_for(&pool, "one") == one).count();
    assert!(hits > 250, "{hits} of 300");
}

#[test]
fn both_keys_at_once_go_each_to_its_own_worker() {
    let (pool, one, other) = settled();
    let (mut homes, mut hits) = ((other, one), 0);
    for _ in 0..50 {
        let (open, a, b) = (Mark::new(), Mark::new(), Mark::new());
        // The one that fell asleep last would be woken first: in either order each gets its own.
        let first = pool.job(wait_for, (a.arg(), open.arg())).affinity("other").run();
        let second = pool.job(wait_for, (b.arg(), open.arg())).affinity("one").run();
        let found = (a.pid(), b.pid());
        // A keeper that the system does not run for 10 ms may lose its job to the other one: then the keys change places.
        hits += u32::from(found == homes);
        homes = found;
        open.set();
        first.blocking_wait().and(second.blocking_wait()).expect("two pids");
        idle(&pool);
    }
    assert!(hits > 35, "{hits} of 50");
}

#[test]
fn while_its_worker_is_busy_a_job_goes_to_another_which_has_the_key_from_then_on() {
    let (pool, one, other) = settled();
    let (started, open) = (Mark::new(), Mark::new());
    let busy = pool.job(wait_for, (started.arg(), open.arg())).affinity("one").run();
    assert_eq!(started.pid(), one);
    assert_eq!(pid_for(&pool, "one"), other, "it does not wait");
    open.set();
    busy.blocking_wait().expect("a pid");
    idle(&pool);
    assert_eq!(pid_for(&pool, "one"), other);
}

#[test]
fn a_key_outlives_its_worker() {
    let (pool, one, _) = settled();
    signal(one, Signal::KILL);
    gone(one);
    let heir = pid_for(&pool, "one");
    assert_ne!(heir, one);
    idle(&pool);
    assert_eq!(pid_for(&pool, "one"), heir);
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn a_worker_that_was_stopped_does_not_keep_the_jobs_with_its_key() {
    let (pool, one, other) = settled();
    signal(one, Signal::STOP);
    for _ in 0..10 {
        assert_eq!(pid_for(&pool, "one"), other);
    }
    signal(one, Signal::CONT);
}

#[test]
fn a_job_is_not_kept_for_a_worker_whose_keeper_is_held_up_by_a_callback() {
    let (pool, one, other) = settled();
    let (entered, is_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let (started, open) = (Mark::new(), Mark::new());
    let held = pool.job(wait_for, (started.arg(), open.arg())).affinity("one").run();
    assert_eq!(started.pid(), one);
    held.on_done(move |_| {
        entered.send(()).expect("the test waits");
        let _ = may_leave.recv();
    });
    open.set();
    is_entered.recv_timeout(LONG).expect("the callback");
    // No job runs in it, so it is free, but its keeper does not come.
    assert_eq!(pid_for(&pool, "one"), other);
    drop(leave);
    held.blocking_wait().expect("a pid");
}

#[test]
fn many_keys_are_all_served() {
    let pool = pool(2);
    let tasks: Vec<_> = (0..5000u64).map(|n| pool.job(double, n).affinity(n % 3000).run()).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.blocking_wait().expect("a value"), 2 * n as u64);
    }
}
