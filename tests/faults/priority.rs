//! Jobs begin in the order of submission, and urgent ones before others.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use heavylift::{Priority, ProcessPool, Task, ThreadPool};

use crate::processes::*;

/// Adds a line to a file, whole.
fn log((log, line): (String, u32)) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
    file.write_all(format!("{line}\n").as_bytes()).expect("a line");
}

fn lines(log: &Mark) -> Vec<u32> {
    let text = std::fs::read_to_string(log.arg()).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

/// Holds one worker until `open` is set.
struct Hold {
    task: Task<u32>,
    started: Mark,
    open: Mark,
}

impl Hold {
    fn submit(pool: &ProcessPool) -> Self {
        let (started, open) = (Mark::new(), Mark::new());
        let task = pool.run(wait_for, (started.arg(), open.arg()));
        Self { task, started, open }
    }

    fn new(pool: &ProcessPool) -> Self {
        let hold = Self::submit(pool);
        hold.started.pid();
        hold
    }

    /// Holds `workers` workers, and has them find the jobs that `start` submits together with what holds them, so that some
    /// of those are sent ahead.
    fn before<T>(pool: &ProcessPool, workers: usize, start: impl FnOnce() -> T) -> (Vec<Self>, T) {
        let first: Vec<_> = (0..workers).map(|_| Self::new(pool)).collect();
        let holds: Vec<_> = (0..workers).map(|_| Self::submit(pool)).collect();
        let started = start();
        first.into_iter().for_each(Self::release);
        holds.iter().for_each(|hold| _ = hold.started.pid());
        (holds, started)
    }

    fn release(self) {
        self.open.set();
        self.task.blocking_wait().expect("it was held");
    }
}

#[test]
fn jobs_of_one_worker_begin_in_the_order_of_submission_also_after_they_were_taken_back() {
    let pool = pool(1);
    for round in 0..20 {
        let order = Mark::new();
        let start = || (0..20).map(|n| pool.run(log, (order.arg(), n))).collect::<Vec<_>>();
        let (mut holds, tasks) = Hold::before(&pool, 1, start);
        let hold = holds.remove(0);
        if round % 2 == 0 {
            // Its death sends back what was sent ahead.
            hold.task.cancel();
            assert!(hold.task.blocking_wait().expect_err("it is held").is_cancelled());
        } else {
            hold.release();
        }
        tasks.into_iter().for_each(|task| task.blocking_wait().expect("a line"));
        assert_eq!(lines(&order), Vec::from_iter(0..20), "round {round}");
    }
}

#[test]
fn an_urgent_job_begins_before_what_was_sent_ahead() {
    let pool = pool(1);
    use Priority::{High, Low, Normal};
    for round in 0..50 {
        let order = Mark::new();
        let start = |(line, priority)| pool.job(log, (order.arg(), line)).priority(priority).run();
        let (holds, early) = Hold::before(&pool, 1, || [(5, Low), (3, Normal)].map(start));
        let late = [(6, Low), (4, Normal), (1, High), (2, High)].map(start);
        holds.into_iter().for_each(Hold::release);
        early.into_iter().chain(late).for_each(|task| task.blocking_wait().expect("a line"));
        assert_eq!(lines(&order), [1, 2, 3, 4, 5, 6], "round {round}");
    }
}

#[test]
fn a_worker_that_is_free_begins_the_most_urgent_job_wherever_it_waits() {
    let pool = pool(2);
    use Priority::{High, Low, Normal};
    let mut tried = 0;
    for round in 0..60 {
        let order = Mark::new();
        let start = |(line, priority)| pool.job(log, (order.arg(), line)).priority(priority).run();
        // Those that come early may be sent ahead to a worker that stays busy; they must not have to stay there.
        let (early, late) = match round % 3 {
            0 => ([(3, Normal), (4, Low)], [(1, High), (2, High)]),
            1 => ([(1, High), (2, High)], [(3, Normal), (4, Low)]),
            _ => ([(2, Normal), (3, Low)], [(1, High), (4, Low)]),
        };
        let (mut holds, early) = Hold::before(&pool, 2, || early.map(start));
        // Now both workers are held. One may have begun an early job before, in place of what the other one had in hand.
        let is_clean = lines(&order).is_empty();
        let late = late.map(start);
        let busy = holds.remove(round / 3 % 2);
        holds.into_iter().for_each(Hold::release);
        early.into_iter().chain(late).for_each(|task| task.blocking_wait().expect("a line"));
        let lines = lines(&order);
        tried += usize::from(is_clean);
        // Two urgent ones sent ahead to two workers may change places, but nothing else.
        let may_swap = round % 3 < 2 && lines == [2, 1, 3, 4];
        assert!(!is_clean || lines == [1, 2, 3, 4] || may_swap, "round {round}: {lines:?}");
        busy.release();
    }
    assert!(tried > 10, "{tried} of 60 rounds were of any use");
}

#[test]
fn a_job_sent_ahead_to_a_worker_that_stays_busy_runs_although_others_keep_coming() {
    let pool = pool(2);
    for round in 0..20 {
        let (mut holds, first) = Hold::before(&pool, 2, || [pool.run(double, 1), pool.run(double, 2)]);
        let busy = holds.remove(round % 2);
        let mut holds = holds.into_iter();
        let release = || holds.by_ref().for_each(Hold::release);
        let start = || pool.run(|()| (), ());
        let (took, count) = flood(200, start, release, || first.iter().all(Task::is_finished));
        println!("round {round}: after {took:?} and {count} jobs");
        busy.release();
    }
}

#[test]
fn a_running_job_is_not_interrupted_for_an_urgent_one() {
    let pool = pool(1);
    let (started, open) = (Mark::new(), Mark::new());
    let low = pool.job(wait_for, (started.arg(), open.arg())).priority(Priority::Low).run();
    let worker = started.pid();
    let high = pool.job(pid, ()).priority(Priority::High).run();
    open.set();
    assert_eq!(low.blocking_wait().expect("it goes on"), worker);
    assert_eq!(high.blocking_wait().expect("a pid"), worker);
}

/// Keeps `backlog` jobs under way until `is_done`. Says how long it took, and how many there were.
fn flood(
    backlog: usize,
    mut start: impl FnMut() -> Task<()>,
    mut began: impl FnMut(),
    is_done: impl Fn() -> bool,
) -> (Duration, usize) {
    let (begun, mut count) = (Instant::now(), 0);
    let mut tasks = std::collections::VecDeque::new();
    while !is_done() {
        assert!(begun.elapsed() < LONG, "a job starves");
        while tasks.len() < backlog {
            tasks.push_back(start());
            count += 1;
        }
        began();
        tasks.pop_front().expect("there is a backlog").blocking_wait().expect("a value");
    }
    (begun.elapsed(), count)
}

/// Jobs enough for about a second, so that there are more urgent ones all the time, also on a machine that is busy.
const BACKLOG: usize = 500;

fn nap(_: ()) {
    std::thread::sleep(Duration::from_millis(2));
}

#[test]
fn the_least_urgent_job_begins_in_the_end_though_urgent_ones_keep_coming() {
    let pool = pool(1);
    let hold = Hold::new(&pool);
    let low = pool.job(double, 1).priority(Priority::Low).run();
    let start = || pool.job(nap, ()).priority(Priority::High).run();
    let (took, count) = flood(BACKLOG, start, || hold.open.set(), || low.is_finished());
    println!("processes: after {took:?} and {count} urgent jobs");
    assert!(took > Duration::from_secs(8), "it was not urgent");
    assert_eq!(low.blocking_wait().expect("a value"), 2);
}

#[test]
fn the_least_urgent_job_of_a_thread_pool_begins_in_the_end_too() {
    let pool = ThreadPool::builder().max_workers(1).build().expect("a pool");
    let open = Arc::new(AtomicBool::new(false));
    let is_open = open.clone();
    let held = pool.run(move || {
        while !is_open.load(Relaxed) {
            std::thread::yield_now();
        }
    });
    let low = pool.job(|| 2).priority(Priority::Low).run();
    let start = || pool.job(|| nap(())).priority(Priority::High).run();
    let (took, count) = flood(BACKLOG, start, || open.store(true, Relaxed), || low.is_finished());
    println!("threads: after {took:?} and {count} urgent jobs");
    assert!(took > Duration::from_secs(8), "it was not urgent");
    assert_eq!((low.blocking_wait().expect("a value"), held.is_finished()), (2, true));
}

#[test]
fn threads_run_waiting_jobs_by_priority() {
    let threads = ThreadPool::builder().max_workers(1).build().expect("a pool");
    let (open, closed) = std::sync::mpsc::channel::<()>();
    let held = threads.run(move || closed.recv().is_err());
    let order = Arc::new(Mutex::new(Vec::new()));
    use Priority::{High, Low, Normal};
    let submitted = [(5, Low), (3, Normal), (6, Low), (4, Normal), (1, High), (2, High)];
    let tasks = submitted.map(|(line, priority)| {
        let order = order.clone();
        threads.job(move || order.lock().expect("a log").push(line)).priority(priority).run()
    });
    drop(open);
    assert!(held.blocking_wait().expect("it was held"));
    tasks.into_iter().for_each(|task| task.blocking_wait().expect("a line"));
    assert_eq!(*order.lock().expect("a log"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn jobs_of_all_priorities_from_several_threads_each_end_once_whatever_is_cancelled() {
    let pool = pool(2);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..3u64 {
            let (pool, done) = (&pool, &done);
            scope.spawn(move || (0..40).for_each(|round| play(pool, seed + round, done)));
        }
    });
    assert_eq!(done.load(Relaxed), 3 * 40 * 50);
    let metrics = pool.metrics();
    assert_eq!((metrics.queued, metrics.running), (0, 0), "{metrics:?}");
}

/// Runs fifty jobs, and cancels some.
fn play(pool: &ProcessPool, seed: u64, done: &AtomicUsize) {
    let tasks: Vec<_> = (0..50).map(|n| (n, mixed(pool, seed + n, n))).collect();
    for (n, task) in tasks {
        let cancelled = n % 10 == 3 && task.cancel();
        match task.blocking_wait() {
            Ok(value) => assert_eq!((value, cancelled), (2 * n, false)),
            Err(error) => assert!(cancelled && error.is_cancelled(), "{error}"),
        }
        done.fetch_add(1, Relaxed);
    }
}

/// A job of some priority; now and then with a key.
fn mixed(pool: &ProcessPool, seed: u64, n: u64) -> Task<u64> {
    let priority = [Priority::High, Priority::Normal, Priority::Low][(seed % 3) as usize];
    let job = pool.job(double, n).priority(priority).retry(3);
    if seed.is_multiple_of(7) { job.affinity(n % 4).run() } else { job.run() }
}
