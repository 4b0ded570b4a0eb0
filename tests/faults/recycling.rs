//! Workers that are replaced on schedule: nothing is lost, nothing fails, and their successors stand ready.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "figures to be quoted; what fails in a helper fails its test"
)]

use std::{collections::HashMap, fs, sync::OnceLock, time::Duration};

use heavylift::{ProcessPool, Shutdown, Task};

use crate::processes::*;

fn ends(pool: &ProcessPool) {
    pool.shutdown(Shutdown::Drain).blocking_wait();
    assert_eq!(pool.metrics().workers, 0);
}

/// Runs `n` jobs, each of which gives its number and its worker, and says how many jobs each worker ran.
fn run(pool: &ProcessPool, n: u64) -> HashMap<u32, u64> {
    let tasks: Vec<Task<(u64, u32)>> =
        (0..n).map(|i| pool.run(|i: u64| (i * 3, std::process::id()), i)).collect();
    let mut jobs = HashMap::new();
    for (i, task) in (0..).zip(tasks) {
        let (value, pid) = task.blocking_wait().unwrap();
        assert_eq!(value, i * 3);
        *jobs.entry(pid).or_default() += 1;
    }
    jobs
}

#[test]
fn thousands_of_jobs_on_workers_of_three_jobs_each_are_all_right_and_counted() {
    let pool = builder(2).max_tasks_per_worker(3).build().unwrap();
    let jobs = run(&pool, 3000);
    assert!(jobs.values().all(|&jobs| jobs <= 3), "{jobs:?}");
    // A worker from which another took a job may go with fewer.
    assert!((1000..1020).contains(&jobs.len()), "{} workers", jobs.len());
    // Pids come back only after a long time, so whoever is gone was replaced: the last two may have jobs left.
    let replaced = || jobs.keys().filter(|&&pid| !exists(pid)).count();
    until("every spent worker is replaced", || replaced() >= jobs.len() - 2);
    until("each is counted", || pool.metrics().recycled == replaced() as u64);
    let metrics = pool.metrics();
    assert_eq!((metrics.succeeded, metrics.worker_deaths), (3000, 0));
    ends(&pool);
}

#[test]
fn one_job_each_isolates_jobs_from_one_another() {
    let pool = builder(2).max_tasks_per_worker(1).build().unwrap();
    let jobs = run(&pool, 300);
    assert_eq!(jobs.len(), 300);
    until("all are recycled", || pool.metrics().recycled >= 300);
    ends(&pool);
}

#[test]
fn workers_that_started_together_do_not_retire_together() {
    let limits = |n: u64| {
        // Each worker runs until it is replaced: as many jobs as its own limit allows.
        let pool = builder(1).max_tasks_per_worker(n).build().unwrap();
        let jobs = run(&pool, 40 * n);
        ends(&pool);
        // The last one was not used up.
        let mut jobs: Vec<u64> = jobs.into_values().collect();
        jobs.sort_unstable();
        jobs.split_off(1)
    };
    let jobs = limits(20);
    assert!(jobs.iter().all(|jobs| (18..=20).contains(jobs)), "{jobs:?}");
    // Forty equal draws of three happen once in 10^18 runs.
    assert!(jobs.iter().any(|&n| n != jobs[0]), "{jobs:?}");
    assert!(limits(5).iter().all(|&jobs| jobs == 5));
}

/// The pids of the processes of a pool of this name, its zygote not among them.
fn workers_named(pool: &str) -> Vec<u32> {
    let is_worker = |pid: &u32| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title).into_owned();
        title.contains(&format!(" {pool}-")) && !title.contains("-zygote")
    };
    descendants().into_iter().filter(is_worker).collect()
}

#[test]
fn the_successor_is_ready_while_the_last_job_still_runs_and_has_no_place_yet() {
    let (ready, started, end) = (tempfile::tempdir().unwrap(), Mark::new(), Mark::new());
    let initialized = || fs::read_dir(ready.path()).unwrap().count();
    let pool = builder(1)
        .name("heir")
        .max_tasks_per_worker(1)
        .initializer(
            |directory: String| fs::write(format!("{directory}/{}", std::process::id()), "").unwrap(),
            ready.path().to_str().unwrap().to_owned(),
        )
        .build()
        .unwrap();
    let long = pool.run(wait_for, (started.arg(), end.arg()));
    let next = pool.run(pid, ());
    let old = started.pid();
    until("the successor is initialized beside the old worker", || initialized() == 2);
    until("the pool has seen the first job begin", || pool.metrics().running == 1);
    let metrics = pool.metrics();
    assert_eq!((metrics.workers, metrics.queued, metrics.recycled), (1, 1, 0));
    let standing_by: Vec<u32> = workers_named("heir").into_iter().filter(|&pid| pid != old).collect();
    assert_eq!(standing_by.len(), 1, "one worker, one successor");
    end.set();
    assert_eq!(long.blocking_wait().unwrap(), old);
    assert_eq!(next.blocking_wait().unwrap(), standing_by[0]);
    gone(old);
    until("both are recycled", || pool.metrics().recycled == 2);
    ends(&pool);
}

#[test]
fn a_successor_that_dies_is_replaced_and_the_old_worker_hears_nothing_of_it() {
    let (started, end) = (Mark::new(), Mark::new());
    let pool = builder(1).name("spare").max_tasks_per_worker(1).build().unwrap();
    let long = pool.run(wait_for, (started.arg(), end.arg()));
    let old = started.pid();
    let spare = || workers_named("spare").into_iter().find(|&pid| pid != old);
    for deaths in 1..=3 {
        until("a successor stands by", || spare().is_some());
        let killed = spare().unwrap();
        signal(killed, rustix::process::Signal::KILL);
        gone(killed);
        let counted = || pool.metrics().worker_deaths;
        // Killed before it was ready it is a start that failed, not a death.
        holds_within(Duration::from_millis(200), || counted() == deaths);
    }
    end.set();
    assert_eq!(long.blocking_wait().unwrap(), old);
    assert_eq!(pool.run(double, 4).blocking_wait().unwrap(), 8);
    ends(&pool);
}

#[test]
fn a_worker_that_dies_is_followed_at_once_by_who_stands_by() {
    let started = Mark::new();
    let pool = builder(1).name("next").max_tasks_per_worker(1).build().unwrap();
    let crash = pool.run(hang, started.arg());
    let old = started.pid();
    until("a successor stands by", || workers_named("next").len() == 2);
    signal(old, rustix::process::Signal::KILL);
    assert!(crash.blocking_wait().unwrap_err().is_worker_died());
    assert_eq!(pool.run(double, 5).blocking_wait().unwrap(), 10);
    assert_eq!(pool.metrics().worker_deaths, 1);
    ends(&pool);
}

/// Fails from the second worker on.
fn only_the_first(mark: String) -> Result<(), String> {
    if std::path::Path::new(&mark).exists() {
        return Err("no second one today".to_owned());
    }
    set_mark(&mark, "");
    Ok(())
}

#[test]
fn a_worker_past_its_age_serves_on_while_its_successor_cannot_start() {
    let first = Mark::new();
    let pool = builder(1)
        .max_age_per_worker(Duration::from_millis(50))
        .initializer(only_the_first, first.arg())
        .build()
        .unwrap();
    let old = pool.run(pid, ()).blocking_wait().unwrap();
    // Long after its age, while starts fail and are repeated.
    let served = std::time::Instant::now();
    while served.elapsed() < Duration::from_millis(500) {
        assert_eq!(pool.run(pid, ()).blocking_wait().unwrap(), old);
    }
    assert_eq!(pool.metrics().recycled, 0);
    fs::remove_file(first.arg()).unwrap();
    until("a successor takes over", || pool.run(pid, ()).blocking_wait().unwrap() != old);
    gone(old);
    assert!(pool.metrics().recycled >= 1);
    ends(&pool);
}

#[test]
fn an_idle_worker_is_replaced_at_its_age_too() {
    let pool = builder(2).min_workers(2).max_age_per_worker(Duration::from_millis(50)).build().unwrap();
    until("both are replaced", || pool.metrics().recycled >= 4);
    assert_eq!(pool.run(double, 1).blocking_wait().unwrap(), 2);
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

#[test]
fn there_are_never_more_workers_than_allowed_while_they_are_replaced() {
    let pool = builder(2).max_tasks_per_worker(1).build().unwrap();
    let tasks: Vec<Task<u64>> = (0..200).map(|n| pool.run(double, n)).collect();
    let mut most = 0;
    while tasks.iter().any(|task| !task.is_finished()) {
        let metrics = pool.metrics();
        most = most.max(metrics.workers.max(metrics.running));
    }
    assert!((1..=2).contains(&most), "{most}");
    assert!(tasks.into_iter().zip(0..).all(|(task, n)| task.blocking_wait().unwrap() == 2 * n));
    ends(&pool);
}

#[test]
fn a_pool_that_is_resized_or_shut_down_lets_those_who_stand_by_go() {
    let marks = [Mark::new(), Mark::new()];
    let end = Mark::new();
    let pool = builder(2).name("shrink").max_tasks_per_worker(1).build().unwrap();
    let tasks = marks.each_ref().map(|mark| pool.run(wait_for, (mark.arg(), end.arg())));
    let old = marks.each_ref().map(Mark::pid);
    until("two stand by", || workers_named("shrink").len() == 4);
    pool.resize(1).unwrap();
    until("one stands by", || workers_named("shrink").len() == 3);
    // Nothing waits, so nobody is to follow.
    let closing = pool.shutdown(Shutdown::Drain);
    until("nobody stands by", || workers_named("shrink").len() == 2);
    end.set();
    for (task, pid) in tasks.into_iter().zip(old) {
        assert_eq!(task.blocking_wait().unwrap(), pid);
        gone(pid);
    }
    assert_eq!(closing.blocking_wait().succeeded, 2);
}

#[test]
fn draining_goes_on_with_one_worker_for_each_job() {
    let pool = builder(2).max_tasks_per_worker(1).build().unwrap();
    let tasks: Vec<Task<u32>> = (0..50).map(|_| pool.run(pid, ())).collect();
    ends(&pool);
    let pids: std::collections::HashSet<u32> =
        tasks.into_iter().map(|task| task.blocking_wait().unwrap()).collect();
    assert_eq!(pids.len(), 50);
    assert!(pids.into_iter().all(|pid| !exists(pid)));
}

#[test]
fn a_killed_zygote_takes_those_who_stand_by_with_it_and_the_pool_goes_on() {
    let started = Mark::new();
    let pool = builder(1).name("orphan").max_tasks_per_worker(1).build().unwrap();
    let lost = pool.run(hang, started.arg());
    let old = started.pid();
    until("a successor stands by", || workers_named("orphan").len() == 2);
    let heir = workers_named("orphan").into_iter().find(|&pid| pid != old).unwrap();
    signal(parent_of(old), rustix::process::Signal::KILL);
    assert!(lost.blocking_wait().unwrap_err().is_worker_died());
    gone(heir);
    assert_eq!(pool.run(double, 2).blocking_wait().unwrap(), 4);
    ends(&pool);
}

fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What the zygote loads for all.
static DATA: OnceLock<Vec<u64>> = OnceLock::new();

fn load(megabytes: usize) {
    DATA.get_or_init(|| (0..(megabytes << 17) as u64).collect());
}

/// Reads all of it, so that each page is in this worker's tables; says who did.
fn sum((started, end): (String, String)) -> (u64, u32) {
    let data = DATA.get().expect("it is loaded");
    let sum = data.iter().fold(0u64, |sum, n| sum.wrapping_add(*n));
    (sum, wait_for((started, end)))
}

/// A line of /proc/PID/smaps_rollup, in KiB.
fn rollup(pid: u32, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    found.unwrap().trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// `PRELOAD_MIB=1024` for the full size.
#[test]
fn what_is_preloaded_is_paid_for_once_and_counts_against_no_worker() {
    let size: u64 = std::env::var("PRELOAD_MIB").map_or(256, |size| size.parse().unwrap());
    let pool = builder(4).preload(load, size as usize).max_memory_per_worker(32 << 20).build().unwrap();
    for _ in 0..5 {
        let (marks, end) = ([(); 4].map(|()| Mark::new()), Mark::new());
        let tasks = marks.each_ref().map(|mark| pool.run(sum, (mark.arg(), end.arg())));
        let workers = marks.each_ref().map(Mark::pid);
        let private = workers.map(|pid| rollup(pid, "Private_Dirty") + rollup(pid, "Private_Clean"));
        let resident = workers.map(|pid| rollup(pid, "Rss"));
        let everybody = workers.into_iter().chain([parent_of(workers[0])]);
        let total = everybody.map(|pid| rollup(pid, "Pss")).sum::<u64>() >> 10;
        println!("{size} MiB: PSS {total} MiB in all, RSS {resident:?} KiB, private {private:?} KiB");
        assert!(
            resident.into_iter().all(|resident| resident >> 10 >= size),
            "each has read it all: {resident:?}"
        );
        assert!((size - 1..size + 64).contains(&total), "{total} MiB for {size}");
        assert!(private.into_iter().all(|private| private < 16 << 10), "{private:?}");
        end.set();
        let sums = tasks.map(|task| task.blocking_wait().unwrap());
        let items = size << 17;
        assert!(sums.iter().all(|&(sum, _)| sum == items * (items - 1) / 2));
        assert_eq!(sums.map(|(_, pid)| pid), workers);
    }
    let metrics = pool.metrics();
    assert_eq!((metrics.recycled, metrics.worker_deaths), (0, 0));
    ends(&pool);
}
