//! `pool.advice()`: real pools, driven into each state that it tells of.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use heavylift::{
    Metrics, ProcessPool, Task, ThreadPool,
    guidance::{PoolAdvice, PoolEvidence, PoolRule},
};
use rustix::time::{ClockId, clock_gettime};

/// What a thread pool says depends on what the rest of the program computes meanwhile, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cores() -> usize {
    thread::available_parallelism().unwrap().get()
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Computes until this thread has had the processor for so long.
fn compute(millis: u64) {
    let end = cpu_time() + Duration::from_millis(millis);
    while cpu_time() < end {
        std::hint::spin_loop();
    }
}

/// Waits for something that comes so much later: a channel that nobody writes to.
fn wait(millis: u64) {
    let (_sender, nobody) = mpsc::channel::<()>();
    let _ = nobody.recv_timeout(Duration::from_millis(millis));
}

fn finish<T: Send + 'static>(tasks: Vec<Task<T>>) {
    tasks.into_iter().for_each(|task| drop(task.blocking_wait().unwrap()));
}

/// Gives the pool more to do until it has been there for long enough to be judged.
fn until_judged(metrics: impl Fn() -> Metrics, mut more: impl FnMut()) {
    while metrics().run_time.count < 100 || metrics().age < Duration::from_secs(1) {
        more();
    }
}

/// What was found first.
fn rule(advice: &PoolAdvice) -> Option<PoolRule> {
    assert!(advice.is_enough, "{advice}");
    advice.findings.first().map(|finding| finding.rule())
}

#[test]
fn nothing_is_said_before_enough_was_seen() {
    let pool = ThreadPool::builder().name("new").max_workers(1).build().unwrap();
    finish((0..10).map(|_| pool.run(|| ())).collect());
    let advice = pool.advice();
    assert!(!advice.is_enough && advice.findings.is_empty());
    assert!(advice.to_string().starts_with("thread pool \"new\": not enough seen: 10 jobs in "), "{advice}");
}

#[test]
fn tiny_jobs_are_too_small_for_threads_and_for_processes() {
    let _turn = turn();
    let threads = ThreadPool::builder().max_workers(1).build().unwrap();
    until_judged(|| threads.metrics(), || finish((0..1000).map(|n| threads.run(move || n)).collect()));
    let processes = ProcessPool::builder().max_workers(1).build().unwrap();
    until_judged(
        || processes.metrics(),
        || finish((0..1000).map(|n| processes.run(|n: u64| n, n)).collect()),
    );
    for advice in [threads.advice(), processes.advice()] {
        assert_eq!(rule(&advice), Some(PoolRule::TooSmall), "{advice}");
        assert!(!advice.has(PoolRule::TooFewWorkers) && !advice.has(PoolRule::Saturated), "{advice}");
        assert!(advice.to_string().contains(".chunk_size("), "{advice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::await_holding_lock, reason = "the tests take turns")]
async fn tiny_items_that_travel_together_are_not_too_small() {
    use futures::StreamExt;

    let _turn = turn();
    let pool = ThreadPool::builder().max_workers(1).build().unwrap();
    while pool.metrics().age < Duration::from_secs(1) {
        let results = pool.map(|n: u64| (0..n % 100).sum::<u64>(), 0..100_000).chunk_size(10_000);
        assert_eq!(results.count().await, 100_000);
    }
    let (metrics, advice) = (pool.metrics(), pool.advice());
    assert_eq!(metrics.hand_overs * 10_000, metrics.submitted);
    assert!(advice.is_enough && !advice.has(PoolRule::TooSmall), "{advice}");
}

#[test]
fn more_computing_jobs_than_cores_are_too_many_for_an_elastic_pool() {
    let _turn = turn();
    let workers = 4 * cores();
    let pool = ThreadPool::builder().max_workers(workers).build().unwrap();
    until_judged(
        || pool.metrics(),
        || finish((0..100 * cores()).map(|_| pool.run(|| compute(15))).collect()),
    );
    let advice = pool.advice();
    assert_eq!(rule(&advice), Some(PoolRule::Oversubscribed), "{advice}\n{:#?}", pool.metrics());
    let no = [PoolRule::TooFewWorkers, PoolRule::Mixed, PoolRule::Saturated, PoolRule::TooSmall];
    assert!(!no.iter().any(|rule| advice.has(*rule)), "{advice}");
}

#[test]
fn computing_jobs_on_as_many_workers_as_cores_only_fill_the_machine() {
    let _turn = turn();
    let pool = ThreadPool::builder().max_workers(cores()).build().unwrap();
    until_judged(
        || pool.metrics(),
        || finish((0..100 * cores()).map(|_| pool.run(|| compute(10))).collect()),
    );
    let (advice, metrics) = (pool.advice(), pool.metrics());
    assert_eq!(rule(&advice), Some(PoolRule::Saturated), "{advice}\n{metrics:#?}");
    assert!(!advice.has(PoolRule::TooFewWorkers) && !advice.has(PoolRule::Oversubscribed), "{advice}");
    assert_eq!(metrics.processor.computing.jobs, metrics.run_time.count, "long jobs are all measured");
}

#[test]
fn jobs_that_wait_for_a_worker_and_then_for_something_else_want_more_workers() {
    let _turn = turn();
    let threads = ThreadPool::builder().max_workers(2).build().unwrap();
    until_judged(|| threads.metrics(), || finish((0..200).map(|_| threads.run(|| wait(10))).collect()));
    let processes = ProcessPool::builder().max_workers(2).build().unwrap();
    until_judged(|| processes.metrics(), || finish((0..200).map(|_| processes.run(wait, 10)).collect()));
    for (advice, metrics) in
        [(threads.advice(), threads.metrics()), (processes.advice(), processes.metrics())]
    {
        assert_eq!(rule(&advice), Some(PoolRule::TooFewWorkers), "{advice}\n{metrics:#?}");
        assert!(!advice.has(PoolRule::TooManyWorkers) && !advice.has(PoolRule::Saturated), "{advice}");
        let waiting = metrics.processor.waiting;
        assert!(waiting.jobs >= 100 && waiting.cpu_share().unwrap() < 0.25, "{metrics:#?}");
    }
}

#[test]
fn workers_that_are_kept_and_never_used_are_too_many() {
    let _turn = turn();
    let pool = ThreadPool::builder().min_workers(8).max_workers(8).build().unwrap();
    until_judged(|| pool.metrics(), || finish(vec![pool.run(|| compute(5))]));
    let advice = pool.advice();
    assert_eq!(rule(&advice), Some(PoolRule::TooManyWorkers), "{advice}\n{:#?}", pool.metrics());
    assert!(!advice.has(PoolRule::TooFewWorkers), "{advice}");
    let PoolEvidence::Idle { workers, unused_workers, mean_busy, .. } = advice.findings[0].evidence else {
        panic!("{advice:?}")
    };
    assert!(workers == 8 && unused_workers >= 2 && mean_busy <= 1.1, "{advice}");
}

#[test]
fn an_elastic_pool_that_had_a_burst_has_not_too_many_workers() {
    let _turn = turn();
    let pool = ThreadPool::builder().max_workers(8).build().unwrap();
    let together = Arc::new(Barrier::new(8));
    let meet = |_| {
        let together = together.clone();
        pool.run(move || {
            together.wait();
        })
    };
    finish((0..8).map(meet).collect());
    until_judged(|| pool.metrics(), || finish(vec![pool.run(|| compute(5))]));
    let (advice, metrics) = (pool.advice(), pool.metrics());
    assert!(advice.is_enough && !advice.has(PoolRule::TooManyWorkers), "{advice}\n{metrics:#?}");
    assert!(!advice.has(PoolRule::TooFewWorkers), "{advice}");
    assert_eq!((metrics.most_workers, metrics.max_workers, metrics.min_workers), (8, 8, 0));
    assert!(metrics.worker_time <= metrics.age * 8, "{metrics:#?}");
}

#[test]
fn payloads_that_cost_more_than_the_jobs_belong_into_shared_memory() {
    let _turn = turn();
    let pool = ProcessPool::builder().max_workers(1).build().unwrap();
    let text = vec!["to be or not to be".to_owned(); 20_000];
    until_judged(|| pool.metrics(), || finish(vec![pool.run(|text: Vec<String>| text.len(), text.clone())]));
    let (advice, metrics) = (pool.advice(), pool.metrics());
    assert_eq!(rule(&advice), Some(PoolRule::Payload), "{advice}\n{metrics:#?}");
    assert!(!advice.has(PoolRule::TooSmall), "{advice}");
    assert!(advice.to_string().contains("`Shared::create`"), "{advice}");
    assert!(metrics.payloads.argument_bytes > 100 * 20_000 * 18 && metrics.payloads.result_bytes == 0);
}

#[test]
fn waiting_and_computing_in_one_pool_is_told_of() {
    let _turn = turn();
    let both = |n: u64| if n.is_multiple_of(2) { wait(10) } else { compute(10) };
    let threads = ThreadPool::builder().max_workers(2 * cores()).build().unwrap();
    until_judged(|| threads.metrics(), || finish((0..100).map(|n| threads.run(move || both(n))).collect()));
    let processes = ProcessPool::builder().max_workers(cores()).build().unwrap();
    until_judged(|| processes.metrics(), || finish((0..100).map(|n| processes.run(both, n)).collect()));
    for advice in [threads.advice(), processes.advice()] {
        assert_eq!(rule(&advice), Some(PoolRule::Mixed), "{advice}");
        assert!(!advice.has(PoolRule::TooFewWorkers) && !advice.has(PoolRule::TooManyWorkers), "{advice}");
    }
    assert!(threads.advice().to_string().contains("`ThreadPool::cpu()`"));
}

#[test]
fn what_a_worker_process_has_measured_outlives_it() {
    let _turn = turn();
    let pool = ProcessPool::builder().max_workers(1).max_tasks_per_worker(1).build().unwrap();
    for _ in 0..3 {
        pool.run(compute, 2).blocking_wait().unwrap();
    }
    pool.shutdown(heavylift::Shutdown::Drain).blocking_wait();
    let metrics = pool.metrics();
    let computing = metrics.processor.computing;
    assert_eq!(computing.jobs, 3, "{metrics:#?}");
    assert!(computing.cpu_time >= Duration::from_millis(6), "{computing:?}");
}
