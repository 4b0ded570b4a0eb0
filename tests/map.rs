//! `map` and `map_stream` in depth, on threads and on processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::Poll,
    time::{Duration, Instant},
};

use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream::FusedStream};
use heavylift::{Map, Ordered, ProcessPool, TaskError, ThreadPool, Unordered};
use tokio_test::{assert_pending, task::spawn};

const BOUND: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn threads(workers: usize) -> ThreadPool {
    ThreadPool::builder().max_workers(workers).build().unwrap()
}

fn processes(workers: usize) -> ProcessPool {
    ProcessPool::builder().max_workers(workers).build().unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A gate that jobs on threads wait at, each for a pass.
#[derive(Clone)]
struct Gate(Arc<Mutex<mpsc::Receiver<()>>>);

impl Gate {
    fn new() -> (mpsc::Sender<()>, Self) {
        let (sender, receiver) = mpsc::channel();
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }

    fn pass(&self) {
        let _ = self.0.lock().unwrap().recv_timeout(BOUND);
    }
}

#[test]
fn a_map_can_be_moved_and_sent() {
    fn all<S: Stream + FusedStream + Unpin + Send + 'static>(_: &S) {}
    let (threads, processes) = (threads(1), processes(1));
    all(&threads.map(|n: u32| n, 0..3));
    all(&threads.map(|n: u32| n, 0..3).unordered());
    all(&threads.map(|n: std::cell::Cell<u32>| n, vec![]));
    all(&processes.map(|n: u32| n, 0..3));
    all(&processes.map(|n: u32| n, 0..3).unordered());
    // A stream that is not `Unpin` is fine.
    all(&processes.map_stream(|n: u32| n, futures::stream::once(async { 1 })));
    let _: Map<std::ops::Range<u32>, u32, Ordered> = threads.map(|n: u32| n, 0..3);
    let _: Map<std::ops::Range<u32>, u32, Unordered> = threads.map(|n: u32| n, 0..3).unordered();
}

#[test]
fn a_map_on_threads_takes_what_a_process_cannot() {
    let pool = threads(2);
    let (seen, prefix) = (Arc::new(AtomicUsize::new(0)), String::from("n"));
    let counter = seen.clone();
    let job = move |n: Box<dyn Fn() -> u32 + Send>| {
        counter.fetch_add(1, SeqCst);
        (format!("{prefix}{}", n()), std::rc::Weak::<u8>::new().upgrade().is_none())
    };
    let inputs = [1, 2u32].map(|n| Box::new(move || n) as Box<dyn Fn() -> u32 + Send>);
    let values: Vec<_> = futures::executor::block_on(pool.map(job, inputs).try_collect()).unwrap();
    assert_eq!(values, [("n1".to_owned(), true), ("n2".to_owned(), true)]);
    assert_eq!(seen.load(SeqCst), 2);
}

#[tokio::test]
async fn the_size_hint_counts_what_is_to_come() {
    let pool = threads(1);
    let mut map = pool.map(|n: u32| n, 0..5);
    assert_eq!(map.size_hint(), (5, Some(5)));
    for left in (0..5).rev() {
        map.next().await.unwrap().unwrap();
        assert_eq!(map.size_hint(), (left, Some(left)));
    }
    assert!(map.next().await.is_none());
    assert_eq!(map.size_hint(), (0, Some(0)));

    let endless = pool.map(|n: u64| n, 0..);
    assert_eq!(endless.size_hint(), (usize::MAX, None));
    let filtered = pool.map(|n: u32| n, (0..5).filter(|n| n % 2 == 0)).unordered();
    assert_eq!(filtered.size_hint(), (0, Some(5)));
    let limited = pool.map(|n: u32| n, 0..5).timeout(BOUND);
    assert_eq!(limited.size_hint(), (0, Some(5)), "the limit may cut it short");
    let limited = pool.map(|n: u32| n, [0; 0]).timeout(BOUND);
    assert_eq!(limited.size_hint().0, 0);
}

#[tokio::test]
async fn a_map_is_fused() {
    let pool = threads(1);
    let mut map = pool.map(|n: u32| n, 0..2);
    assert!(!map.is_terminated());
    assert_eq!(map.by_ref().count().await, 2);
    assert!(map.is_terminated());
    assert!(map.next().await.is_none() && map.next().await.is_none());

    let (sender, receiver) = futures::channel::mpsc::unbounded::<u32>();
    let mut map = pool.map_stream(|n: u32| n, receiver).unordered();
    assert!(map.next().now_or_never().is_none());
    assert!(!map.is_terminated());
    drop(sender);
    assert!(map.next().await.is_none() && map.is_terminated());
}

#[tokio::test]
async fn an_input_that_has_ended_is_not_asked_again_and_is_dropped() {
    struct Once(Arc<AtomicUsize>, bool);
    impl Iterator for Once {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            assert!(!self.1, "asked again after its end");
            self.1 = true;
            None
        }
    }
    impl Drop for Once {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let pool = threads(1);
    let mut map = pool.map(|n: u32| n, Once(drops.clone(), false));
    assert!(map.next().await.is_none() && map.next().await.is_none());
    assert_eq!(drops.load(SeqCst), 1, "while the map still lives");
}

#[tokio::test]
async fn a_map_shows_what_it_does() {
    fn a_named_function(n: u32) -> u32 {
        n
    }
    let pool = threads(2);
    let mut map = pool.map(a_named_function, 0..100).in_flight(8);
    let text = format!("{map:?}");
    assert!(text.starts_with("Map { function: \"map::a_map_shows"), "{text}");
    assert!(text.ends_with("a_named_function\", pending: 0, in_flight: 8, .. }"), "{text}");
    map.next().await.unwrap().unwrap();
    assert!(format!("{map:?}").contains("pending: 7"));
    assert!(format!("{:?}", pool.map(a_named_function, 0..3)).contains("in_flight: 64"));
    let wide = ThreadPool::builder().max_workers(20).build().unwrap();
    assert!(format!("{:?}", wide.map(a_named_function, 0..3)).contains("in_flight: 80"));
    let chunked = wide.map(a_named_function, 0..3).chunk_size(10).unordered();
    assert!(format!("{chunked:?}").contains("in_flight: 800"));
}

#[test]
#[should_panic = "in_flight(0) would never start anything"]
fn in_flight_of_zero_panics() {
    let _ = threads(1).map(|n: u32| n, 0..3).in_flight(0);
}

#[test]
#[should_panic = "chunk_size(0) would never start anything"]
fn a_chunk_size_of_zero_panics() {
    let _ = processes(1).map(|n: u32| n, 0..3).unordered().chunk_size(0);
}

#[tokio::test]
async fn in_flight_of_one_runs_one_at_a_time() {
    let (pool, at_once) = (threads(4), Arc::new(AtomicUsize::new(0)));
    let job = move |n: u32| {
        assert_eq!(at_once.fetch_add(1, SeqCst), 0);
        at_once.fetch_sub(1, SeqCst);
        n
    };
    let values: Vec<u32> = pool.map(job, 0..100).in_flight(1).try_collect().await.unwrap();
    assert_eq!(values, Vec::from_iter(0..100));
}

#[tokio::test]
async fn what_was_set_before_unordered_stays() {
    let pool = threads(2);
    let mut map = pool.map(|n: u32| -> u32 { panic!("{n}") }, 0..3).in_flight(2).name("mine").unordered();
    let (_, item) = map.next().await.unwrap();
    assert_eq!(item.unwrap_err().name(), "mine");
    assert!(format!("{map:?}").contains("in_flight: 2"));
}

#[tokio::test]
async fn unordered_after_a_poll_keeps_the_indices_of_what_is_under_way() {
    let (pool, (sender, gate)) = (threads(1), Gate::new());
    let mut map = pool.map(move |n: u32| (gate.pass(), n).1, 0..3);
    assert!(map.next().now_or_never().is_none());
    let mut map = map.unordered();
    drop(sender);
    let mut seen = Vec::new();
    while let Some((index, value)) = map.next().await {
        assert_eq!(index as u32, value.unwrap());
        seen.push(index);
    }
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test]
async fn a_dropped_map_cancels_queued_and_running_jobs_on_threads() {
    let (pool, (sender, gate)) = (threads(1), Gate::new());
    let (begun, has_begun) = mpsc::channel();
    let job = move |n: u32| {
        begun.send(n).unwrap();
        gate.pass();
        heavylift::is_cancelled()
    };
    let mut map = pool.map(job, 0..10);
    assert!(map.next().now_or_never().is_none());
    assert_eq!(has_begun.recv_timeout(BOUND), Ok(0));
    drop(map);
    assert_eq!((pool.metrics().cancelled, pool.metrics().abandoned), (10, 1));
    drop(sender);
    pool.run(|| ()).await.unwrap();
    assert!(has_begun.try_recv().is_err(), "no other has begun, and the function is dropped");
}

#[tokio::test]
async fn no_job_of_a_dropped_map_begins_in_place_of_one_that_stops() {
    for _ in 0..50 {
        let (pool, begun) = (threads(1), Arc::new(AtomicUsize::new(0)));
        let counter = begun.clone();
        let job = move |_: u32| {
            counter.fetch_add(1, SeqCst);
            while !heavylift::is_cancelled() {
                std::hint::spin_loop();
            }
        };
        let mut map = pool.map(job, 0..64);
        assert!(map.next().now_or_never().is_none());
        until("a job to run", || begun.load(SeqCst) == 1).await;
        drop(map);
        pool.run(|| ()).await.unwrap();
        assert_eq!(begun.load(SeqCst), 1);
    }
}

#[tokio::test]
async fn a_dropped_map_kills_the_processes_that_run_its_jobs() {
    let (pool, yard) = (processes(2), tempfile::tempdir().unwrap());
    let spin = |path: std::path::PathBuf| {
        std::fs::write(&path, std::process::id().to_string()).unwrap();
        loop {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let paths = [0, 1].map(|n| yard.path().join(n.to_string()));
    let mut map: Map<_, ()> = pool.map(spin, paths.clone()).in_flight(2);
    assert!(map.next().now_or_never().is_none());
    let pid = |path| std::fs::read_to_string(path).ok().and_then(|text: String| text.parse::<u32>().ok());
    let mut running = Vec::new();
    until("a job to run", || {
        running = paths.iter().filter_map(pid).collect();
        !running.is_empty()
    })
    .await;
    drop(map);
    assert_eq!(pool.metrics().cancelled, 2);
    for pid in running {
        until("the end of the process", || !std::path::Path::new(&format!("/proc/{pid}")).exists()).await;
    }
    assert_eq!(pool.run(|n: u32| n + 1, 1).await.unwrap(), 2);
    assert_eq!(pool.metrics().worker_deaths, 0);
}

#[tokio::test]
async fn a_crash_costs_one_item() {
    let pool = processes(2);
    let job = |n: u32| if n == 3 { std::process::abort() } else { n };
    let items: Vec<_> = pool.map(job, 0..8).chunk_size(4).collect().await;
    for (n, item) in (0..).zip(items) {
        match item {
            Ok(value) => assert_eq!(value, n),
            Err(error) => assert!(n == 3 && error.is_worker_died(), "{error}"),
        }
    }
}

#[tokio::test]
async fn an_item_that_cannot_be_encoded_costs_nothing_else() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Odd {
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<u32>,
    }
    let pool = processes(1);
    let inputs = [Some(1), None, Some(3)].map(|value| Odd { value });
    let items: Vec<_> = pool.map(|odd: Odd| odd.value, inputs).collect().await;
    assert_eq!((items[0].as_ref().ok(), items[2].as_ref().ok()), (Some(&Some(1)), Some(&Some(3))));
    assert!(items[1].as_ref().unwrap_err().is_encode());
}

#[tokio::test]
async fn map_stream_never_waits_to_fill_a_chunk() {
    let (pool, other) = (processes(1), threads(1));
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let mut map = pool.map_stream(|n: u32| n + 1, receiver).chunk_size(100);
    for n in 0..3 {
        sender.unbounded_send(n).unwrap();
        assert_eq!(tokio::time::timeout(BOUND, map.next()).await.unwrap().unwrap().unwrap(), n + 1);
    }
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let mut map = other.map_stream(|n: u32| n + 1, receiver).unordered().chunk_size(100);
    sender.unbounded_send(1).unwrap();
    assert_eq!(tokio::time::timeout(BOUND, map.next()).await.unwrap().unwrap().1.unwrap(), 2);
}

#[test]
fn a_map_is_woken_by_its_input_and_by_its_jobs() {
    let (pool, (pass, gate)) = (threads(1), Gate::new());
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let mut map = spawn(pool.map_stream(move |n: u32| (gate.pass(), n).1, receiver));
    assert_pending!(map.poll_next());
    sender.unbounded_send(7).unwrap();
    assert!(map.is_woken());
    assert_pending!(map.poll_next());
    pass.send(()).unwrap();
    let end = Instant::now() + BOUND;
    while !map.is_woken() {
        assert!(Instant::now() < end, "not woken");
        std::thread::yield_now();
    }
    assert!(matches!(map.poll_next(), Poll::Ready(Some(Ok(7)))));
}

#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let pool = threads(2);
    let mut map = pool.map(|n: u32| n, 0..200).in_flight(5);
    let mut values = Vec::new();
    while !map.is_terminated() {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            item = map.next() => values.extend(item),
        }
    }
    let values: Vec<u32> = values.into_iter().map(Result::unwrap).collect();
    assert_eq!(values, Vec::from_iter(0..200));
}

#[tokio::test]
async fn a_panic_of_the_input_passes_to_who_polls() {
    let pool = threads(1);
    let inputs = (0..).inspect(|n: &u32| assert!(*n < 2, "the input is broken"));
    let mut map = pool.map(|n: u32| n, inputs);
    let polled = std::panic::AssertUnwindSafe(map.next()).catch_unwind().await;
    assert_eq!(polled.unwrap_err().downcast_ref::<&str>(), Some(&"the input is broken"));
    drop(map);
    pool.run(|| ()).await.unwrap();
}

#[tokio::test]
async fn loops_over_finished_items_leave_others_their_turn() {
    let pool = threads(2);
    let turns = Arc::new(AtomicUsize::new(0));
    let other = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let mut map = pool.map(|n: u32| n, 0..1000).in_flight(1000);
    map.next().await.unwrap().unwrap();
    while pool.metrics().succeeded < 1000 {
        tokio::task::yield_now().await;
    }
    let before = turns.load(SeqCst);
    assert_eq!(map.by_ref().count().await, 999);
    assert!(turns.load(SeqCst) - before >= 5, "{} turns", turns.load(SeqCst) - before);

    let mut map = pool.map(|n: u32| n, 0..1000).in_flight(1000).unordered();
    map.next().await.unwrap().1.unwrap();
    while pool.metrics().succeeded < 2000 {
        tokio::task::yield_now().await;
    }
    let before = turns.load(SeqCst);
    assert_eq!(map.by_ref().count().await, 999);
    assert!(turns.load(SeqCst) - before >= 5, "{} turns", turns.load(SeqCst) - before);
    other.abort();
}

#[test]
fn a_timeout_ends_an_endless_map_without_a_runtime() {
    let pool = threads(1);
    let items: Vec<_> = futures::executor::block_on(pool.map(|n: u32| n, 0..).timeout(SHORT).collect());
    let (last, others) = items.split_last().unwrap();
    assert!(last.as_ref().unwrap_err().is_timed_out() && others.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_timeout_still_yields_what_has_finished() {
    let (pool, (sender, gate)) = (threads(1), Gate::new());
    let job = move |n: u32| {
        if n == 5 {
            gate.pass();
        }
        n
    };
    let mut map = pool.map(job, 0..10).timeout(Duration::from_millis(300));
    assert_eq!(map.next().await.unwrap().unwrap(), 0);
    until("the end of the limit, and the jobs", || {
        map.size_hint();
        pool.metrics().succeeded == 5
    })
    .await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    for n in 1..5 {
        assert_eq!(map.next().await.unwrap().unwrap(), n, "although the time is up");
    }
    let error = map.next().await.unwrap().unwrap_err();
    assert!(error.is_timed_out() && error.to_string().ends_with("timed out: timeout is 300ms"), "{error}");
    assert!(map.next().await.is_none() && map.is_terminated());
    assert_eq!(pool.metrics().cancelled, 5);
    drop(sender);
}

/// A map out of budget at the end of its limit asks for another turn, which nothing else would.
#[tokio::test]
async fn a_timeout_is_noticed_by_who_has_used_up_its_turn() {
    let (pool, limit) = (threads(1), Duration::from_millis(300));
    let mut map = pool.map(|n: u32| n, 0..).in_flight(1).timeout(limit);
    assert_eq!(map.next().await.unwrap().unwrap(), 0);
    let mut map = spawn(map);
    std::thread::sleep(limit);
    let turn = std::future::poll_fn(|cx| {
        while let Poll::Ready(budget) = tokio::task::coop::poll_proceed(cx) {
            budget.made_progress();
        }
        Poll::Ready(map.poll_next().is_pending())
    });
    assert!(turn.await);
    tokio::task::yield_now().await;
    assert!(map.is_woken());
    assert!(matches!(map.poll_next(), Poll::Ready(Some(Err(error))) if error.is_timed_out()));
}

#[tokio::test]
async fn a_timeout_that_is_not_reached_changes_nothing() {
    let pool = threads(1);
    for limit in [BOUND, Duration::MAX] {
        let values: Vec<u32> = pool.map(|n: u32| n, 0..5).timeout(limit).try_collect().await.unwrap();
        assert_eq!(values, [0, 1, 2, 3, 4]);
    }
    let empty: Vec<Result<u32, TaskError>> = pool.map(|n: u32| n, []).timeout(Duration::ZERO).collect().await;
    assert!(empty.len() <= 1);
}

#[tokio::test]
async fn unordered_yields_what_is_finished_first_on_threads() {
    let (pool, (sender, gate)) = (threads(2), Gate::new());
    let job = move |n: u32| {
        if n == 0 {
            gate.pass();
        }
        n
    };
    let mut map = pool.map(job, 0..3).unordered();
    assert_eq!(map.next().await.unwrap().1.unwrap(), 1);
    assert_eq!(map.next().await.unwrap().1.unwrap(), 2);
    drop(sender);
    assert_eq!(map.next().await.unwrap().1.unwrap(), 0);
    assert!(map.next().await.is_none());
}

#[tokio::test]
async fn maps_of_two_pools_feed_each_other() {
    let (threads, processes) = (threads(2), processes(2));
    let read = threads.map(|n: u32| n.to_string(), 0..100).in_flight(4);
    let parsed = processes.map_stream(|text: String| text.parse::<u32>().unwrap(), read.map(Result::unwrap));
    let values: Vec<u32> = parsed.in_flight(3).try_collect().await.unwrap();
    assert_eq!(values, Vec::from_iter(0..100));
}

#[test]
fn a_map_polled_by_another_waker_wakes_the_new_one() {
    let (pool, (sender, gate)) = (threads(1), Gate::new());
    let mut map = pool.map(move |n: u32| (gate.pass(), n).1, 0..1);
    assert!(
        Pin::new(&mut map)
            .poll_next(&mut std::task::Context::from_waker(std::task::Waker::noop()))
            .is_pending()
    );
    let mut map = spawn(map);
    assert_pending!(map.poll_next());
    drop(sender);
    let end = Instant::now() + BOUND;
    while !map.is_woken() {
        assert!(Instant::now() < end, "not woken");
        std::thread::yield_now();
    }
    assert!(matches!(map.poll_next(), Poll::Ready(Some(Ok(0)))));
}
