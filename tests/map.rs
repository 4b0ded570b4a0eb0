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
use heavylift::{Map, Ordered, ProcessPool, Shutdown, TaskError, ThreadPool, Unordered};
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
    let mut map = pool.map(|n: u32| n, 0..20_000).in_flight(20_000);
    map.next().await.unwrap().unwrap();
    while pool.metrics().succeeded < 20_000 {
        tokio::task::yield_now().await;
    }
    let before = turns.load(SeqCst);
    assert_eq!(map.by_ref().count().await, 19_999);
    assert!(turns.load(SeqCst) - before >= 5, "{} turns", turns.load(SeqCst) - before);

    let mut map = pool.map(|n: u32| n, 0..1000).in_flight(1000).unordered();
    map.next().await.unwrap().1.unwrap();
    while pool.metrics().succeeded < 21_000 {
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

#[tokio::test]
async fn chunks_keep_the_order_and_unordered_ones_the_indices() {
    let pool = threads(3);
    for chunk in [2, 3, 64, 1000] {
        let values: Vec<u32> = pool.map(|n: u32| n, 0..1000).chunk_size(chunk).try_collect().await.unwrap();
        assert_eq!(values, Vec::from_iter(0..1000));
        let mut items: Vec<_> = pool.map(|n: u32| n, 0..1000).unordered().chunk_size(chunk).collect().await;
        items.sort_unstable_by_key(|(index, _)| *index);
        assert!(
            items
                .iter()
                .zip(0..)
                .all(|((index, value), n)| *index == n && *value.as_ref().unwrap() as usize == n)
        );
        assert_eq!(items.len(), 1000);
    }
    let metrics = pool.metrics();
    assert_eq!((metrics.submitted, metrics.succeeded), (8000, 8000));
    assert_eq!((metrics.queued, metrics.running, metrics.abandoned), (0, 0, 0));
    assert_eq!(metrics.queue_wait.count, 8000);
    // A worker records the time of its last few items after their outcomes are there.
    while pool.metrics().run_time.count < 8000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.metrics().run_time.count, 8000);
}

#[tokio::test]
async fn a_panic_in_a_chunk_costs_one_item_and_each_has_its_own_id() {
    let pool = threads(2);
    let job = |n: u32| if n % 7 == 3 { panic!("number {n}") } else { n };
    let items: Vec<_> = pool.map(job, 0..100).chunk_size(32).name("sevens").collect().await;
    let mut ids = std::collections::BTreeSet::new();
    for (n, item) in (0..).zip(&items) {
        match item {
            Ok(value) => assert_eq!(*value, n),
            Err(error) => {
                assert_eq!((n % 7, error.panic_message()), (3, Some(format!("number {n}").as_str())));
                assert!(ids.insert(error.id()), "its own id");
                assert_eq!(error.name(), "sevens");
            }
        }
    }
    assert_eq!((items.len(), ids.len() as u64), (100, pool.metrics().panicked));
}

#[tokio::test]
async fn an_item_does_not_wait_for_the_next_one_of_its_chunk() {
    for unordered in [false, true] {
        let (pool, (sender, gate)) = (threads(1), Gate::new());
        let job = move |n: u32| {
            if n == 20 {
                gate.pass();
            }
            n
        };
        // The 20th item holds up the worker while the outcomes of those before it have been woken for by nobody.
        let mut seen = Vec::new();
        if unordered {
            let mut map = pool.map(job, 0..40).chunk_size(40).in_flight(80).unordered();
            while seen.len() < 20 {
                seen.push(tokio::time::timeout(BOUND, map.next()).await.unwrap().unwrap().1.unwrap());
            }
            drop(sender);
            assert_eq!(map.count().await, 20);
        } else {
            let mut map = pool.map(job, 0..40).chunk_size(40).in_flight(80);
            while seen.len() < 20 {
                seen.push(tokio::time::timeout(BOUND, map.next()).await.unwrap().unwrap().unwrap());
            }
            let metrics = pool.metrics();
            assert_eq!((metrics.succeeded, metrics.running, metrics.queued), (20, 1, 19));
            drop(sender);
            assert_eq!(map.count().await, 20);
        }
        assert_eq!(seen, Vec::from_iter(0..20));
    }
}

#[tokio::test]
async fn an_idle_worker_takes_over_what_waits_behind_a_slow_item_of_a_chunk() {
    let (pool, (sender, gate)) = (threads(2), Gate::new());
    // So that the pace of the items is known to be quick, and no helper is called from the start.
    let job = move |n: u32| {
        if n == 2000 {
            gate.pass();
        }
        n
    };
    let mut map = pool.map(job, 0..2100).chunk_size(100).unordered();
    let mut seen = Vec::new();
    while seen.len() < 2099 {
        seen.push(tokio::time::timeout(BOUND, map.next()).await.unwrap().unwrap().0);
    }
    assert!(!seen.contains(&2000));
    drop(sender);
    assert_eq!(map.next().await.unwrap().0, 2000);
    assert!(map.next().await.is_none());
}

#[tokio::test]
async fn a_dropped_map_cancels_the_rest_of_a_running_chunk() {
    let (pool, (sender, gate)) = (threads(1), Gate::new());
    let (begun, has_begun) = mpsc::channel();
    let (inputs, dropped) = (Arc::new(()), mpsc::channel());
    let job = move |(n, _): (u32, Arc<()>)| {
        begun.send(n).unwrap();
        gate.pass();
        dropped.0.send(heavylift::is_cancelled()).unwrap();
    };
    let items: Vec<_> = (0..10).map(|n| (n, inputs.clone())).collect();
    let mut map = pool.map(job, items).chunk_size(10).in_flight(20);
    assert!(map.next().now_or_never().is_none());
    assert_eq!(has_begun.recv_timeout(BOUND), Ok(0));
    assert_eq!((pool.metrics().running, pool.metrics().queued), (1, 9));
    drop(map);
    assert_eq!(Arc::strong_count(&inputs), 2, "what has not begun is dropped at once");
    let metrics = pool.metrics();
    assert_eq!((metrics.cancelled, metrics.abandoned, metrics.queued), (10, 1, 0));
    drop(sender);
    assert_eq!(dropped.1.recv_timeout(BOUND), Ok(true));
    pool.run(|| ()).await.unwrap();
    assert!(has_begun.try_recv().is_err(), "no other has begun, and the function is dropped");
    let metrics = pool.metrics();
    assert_eq!((metrics.abandoned, metrics.running, metrics.succeeded), (0, 0, 1));
}

#[tokio::test]
async fn a_bounded_pool_lets_smaller_chunks_in() {
    for limit in [1, 2, 5, 100] {
        let pool = ThreadPool::builder().max_workers(2).queue_limit(limit).build().unwrap();
        let (pulled, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let finished = done.clone();
        let job = move |n: u32| {
            finished.fetch_add(1, SeqCst);
            n
        };
        let inputs = (0..300).inspect(move |_| {
            // One more than there is room for may wait before the door.
            assert!(pulled.fetch_add(1, SeqCst) < done.load(SeqCst) + limit + 2 + 1);
        });
        let values: Vec<u32> = pool.map(job, inputs).chunk_size(50).try_collect().await.unwrap();
        assert_eq!(values, Vec::from_iter(0..300));
    }
}

#[tokio::test]
async fn chunked_maps_of_one_bounded_pool_feed_each_other() {
    let pool = ThreadPool::builder().max_workers(2).queue_limit(3).build().unwrap();
    let doubled = pool.map(|n: u32| 2 * n, 0..500).chunk_size(20).map(Result::unwrap);
    let again = pool.map_stream(|n: u32| n + 1, doubled).chunk_size(7).map(Result::unwrap);
    let values: Vec<u32> = pool.map_stream(|n: u32| n, again).try_collect().await.unwrap();
    assert_eq!(values, Vec::from_iter((0..500).map(|n| 2 * n + 1)));
}

#[tokio::test]
async fn chunks_stay_within_in_flight_of_a_slow_consumer() {
    let pool = threads(2);
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let inputs = (0..).inspect(move |_: &u32| _ = counter.fetch_add(1, SeqCst));
    let mut map = pool.map(|n: u32| n, inputs).chunk_size(8).in_flight(20);
    for yielded in 0..200 {
        assert_eq!(map.next().await.unwrap().unwrap() as usize, yielded);
        assert!(pulled.load(SeqCst) <= yielded + 20, "{} pulled after {yielded}", pulled.load(SeqCst));
    }
}

#[tokio::test]
async fn items_with_a_limit_of_their_own_keep_it_in_chunks() {
    let (pool, (sender, gate)) = (threads(1), Gate::new());
    let job = move |n: u32| {
        if n == 1 {
            while !heavylift::is_cancelled() {
                std::thread::yield_now();
            }
            gate.pass();
        }
        n
    };
    drop(sender);
    let items: Vec<_> = pool.map(job, 0..4).chunk_size(4).run_timeout(SHORT).collect().await;
    assert!(items[1].as_ref().unwrap_err().is_timed_out());
    assert_eq!([0, 2, 3].map(|n| *items[n].as_ref().unwrap()), [0, 2, 3]);
}

#[tokio::test]
async fn what_a_shutdown_cancels_of_a_chunk_is_told_apart() {
    use heavylift::Shutdown;
    for mode in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill] {
        let (pool, (sender, gate)) = (threads(1), Gate::new());
        let (begun, has_begun) = mpsc::channel();
        let job = move |n: u32| {
            begun.send(n).unwrap();
            gate.pass();
            n
        };
        let mut map = pool.map(job, 0..5).chunk_size(5).in_flight(10);
        assert!(map.next().now_or_never().is_none());
        assert_eq!(has_begun.recv_timeout(BOUND), Ok(0));
        let closing = pool.shutdown(mode);
        drop(sender);
        let items: Vec<_> = map.collect().await;
        let finished = items.iter().filter(|item| item.is_ok()).count();
        let expected = match mode {
            Shutdown::Drain => 5,
            Shutdown::CancelQueued => 1,
            Shutdown::Kill => 0,
        };
        assert_eq!((finished, items.len()), (expected, 5), "{mode:?}");
        assert!(items.iter().filter_map(|item| item.as_ref().err()).all(TaskError::is_cancelled));
        let report = closing.await;
        assert_eq!((report.succeeded, report.cancelled), (expected as u64, 5 - expected as u64), "{mode:?}");
    }
}

#[tokio::test]
async fn chunks_on_processes_keep_order_indices_and_counts() {
    let pool = processes(2);
    for chunk in [2, 7, 1000] {
        let values: Vec<u64> =
            pool.map(|n: u64| 2 * n, 0..2000).chunk_size(chunk).try_collect().await.unwrap();
        assert_eq!(values, Vec::from_iter((0..2000).map(|n| 2 * n)));
    }
    let mut items: Vec<_> = pool.map(|n: u64| n, 0..2000).unordered().chunk_size(100).collect().await;
    items.sort_unstable_by_key(|(index, _)| *index);
    assert!(
        items
            .iter()
            .zip(0..)
            .all(|((index, value), n)| *index == n && *value.as_ref().unwrap() as usize == n)
    );
    let metrics = pool.metrics();
    assert_eq!((metrics.submitted, metrics.succeeded), (8000, 8000));
    assert_eq!((metrics.queued, metrics.running), (0, 0));
    assert_eq!((metrics.queue_wait.count, metrics.run_time.count), (8000, 8000));
}

#[tokio::test]
async fn a_panic_in_a_chunk_on_a_process_costs_one_item() {
    let pool = processes(1);
    let job = |n: u32| if n % 7 == 3 { panic!("number {n}") } else { n.to_string() };
    let items: Vec<_> = pool.map(job, 0..100).chunk_size(50).name("sevens").collect().await;
    let mut ids = std::collections::BTreeSet::new();
    for (n, item) in (0..).zip(&items) {
        match item {
            Ok(value) => assert_eq!(*value, n.to_string()),
            Err(error) => {
                assert_eq!((n % 7, error.panic_message()), (3, Some(format!("number {n}").as_str())));
                assert!(ids.insert(error.id()) && error.name() == "sevens");
            }
        }
    }
    let metrics = pool.metrics();
    assert_eq!((metrics.panicked, metrics.succeeded), (ids.len() as u64, 100 - ids.len() as u64));
    assert_eq!((items.len(), metrics.worker_deaths), (100, 0));
}

#[tokio::test]
async fn a_pool_that_closes_under_chunks_refuses_no_more_items_than_may_be_in_flight() {
    let pool = threads(2);
    let pulled = Arc::new(AtomicUsize::new(0));
    let count = pulled.clone();
    let inputs = (0u64..).inspect(move |_| {
        count.fetch_add(1, SeqCst);
    });
    let mut map = pool.map(|n: u64| n, inputs).chunk_size(100).in_flight(400);
    assert_eq!(map.next().await.unwrap().unwrap(), 0);
    pool.shutdown(Shutdown::Drain).await;
    // Each poll that yields one pulls one more, or a chunk.
    let errors = map.by_ref().take(1_000).filter(|item| std::future::ready(item.is_err())).count().await;
    assert!(errors >= 500, "{errors}");
    assert!(pulled.load(SeqCst) <= 1_001 + 400 + 100, "{}", pulled.load(SeqCst));
}

#[tokio::test]
async fn a_death_in_the_middle_of_a_chunk_costs_one_item_and_none_runs_twice() {
    let (pool, yard) = (processes(2), tempfile::tempdir().unwrap());
    let job = |(n, yard): (u32, std::path::PathBuf)| {
        // Fails if the item has begun before.
        std::fs::OpenOptions::new().write(true).create_new(true).open(yard.join(n.to_string())).unwrap();
        match n {
            10 | 11 => std::process::abort(),
            49 => std::process::exit(3),
            _ => n,
        }
    };
    let inputs: Vec<_> = (0..50).map(|n| (n, yard.path().to_owned())).collect();
    let items: Vec<_> = pool.map(job, inputs).chunk_size(25).collect().await;
    for (n, item) in (0..).zip(&items) {
        match item {
            Ok(value) => assert_eq!(*value, n),
            Err(error) => assert!([10, 11, 49].contains(&n) && error.is_worker_died(), "{n}: {error}"),
        }
    }
    let metrics = pool.metrics();
    assert_eq!((items.len(), metrics.succeeded, metrics.submitted), (50, 47, 50));
    assert_eq!((metrics.queued, metrics.running, metrics.worker_deaths), (0, 0, 3));
    let [first, second] = [10, 11].map(|n: usize| items[n].as_ref().unwrap_err().id());
    assert_ne!(first, second);
}

#[tokio::test]
async fn an_item_on_a_process_does_not_wait_for_the_next_one_of_its_chunk() {
    let (pool, yard) = (processes(1), tempfile::tempdir().unwrap());
    let job = |(n, gate): (u32, std::path::PathBuf)| {
        while n == 20 && !gate.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        n
    };
    let gate = yard.path().join("gate");
    let inputs: Vec<_> = (0..30).map(|n| (n, gate.clone())).collect();
    let mut map = pool.map(job, inputs).chunk_size(30).in_flight(60);
    for n in 0..20 {
        assert_eq!(tokio::time::timeout(BOUND, map.next()).await.unwrap().unwrap().unwrap(), n);
    }
    assert_eq!(pool.metrics().succeeded, 20);
    std::fs::write(gate, "").unwrap();
    let rest: Vec<u32> = map.try_collect().await.unwrap();
    assert_eq!(rest, Vec::from_iter(20..30));
    assert_eq!(pool.metrics().succeeded, 30);
}

#[tokio::test]
async fn a_dropped_map_kills_the_process_that_runs_its_chunk() {
    let (pool, yard) = (processes(1), tempfile::tempdir().unwrap());
    let job = |(n, yard): (u32, std::path::PathBuf)| {
        std::fs::write(yard.join(n.to_string()), "").unwrap();
        if n == 3 {
            std::thread::sleep(BOUND);
        }
    };
    let inputs: Vec<_> = (0..20).map(|n| (n, yard.path().to_owned())).collect();
    let mut map = pool.map(job, inputs).chunk_size(20).in_flight(40);
    assert!(map.next().now_or_never().is_none());
    until("the fourth item to run", || yard.path().join("3").exists()).await;
    drop(map);
    assert_eq!(pool.run(|n: u32| n + 1, 1).await.unwrap(), 2);
    assert!(!yard.path().join("4").exists());
    let metrics = pool.metrics();
    assert_eq!((metrics.succeeded + metrics.cancelled, metrics.worker_deaths), (21, 0));
    assert_eq!((metrics.queued, metrics.running), (0, 0));
}

#[tokio::test]
async fn results_of_all_sizes_and_shared_memory_come_out_of_chunks() {
    use heavylift::SharedBytes;
    let pool = processes(2);
    let grown = |n: usize| vec![n as u8; n * n];
    let values: Vec<Vec<u8>> = pool.map(grown, 0..300).chunk_size(64).try_collect().await.unwrap();
    assert!(values.iter().enumerate().all(|(n, value)| *value == vec![n as u8; n * n]));
    let taken = |bytes: Vec<u8>| bytes.len();
    let inputs: Vec<_> = (0..300).map(|n| vec![1u8; n * n]).collect();
    let lengths: Vec<usize> = pool.map(taken, inputs).chunk_size(64).try_collect().await.unwrap();
    assert_eq!(lengths, Vec::from_iter((0..300).map(|n| n * n)));
    let shared = |n: u8| {
        if n.is_multiple_of(5) { Ok(SharedBytes::copy_from_slice(&[n; 100]).unwrap()) } else { Err(n) }
    };
    let values: Vec<Result<SharedBytes, u8>> =
        pool.map(shared, 0..50).chunk_size(25).try_collect().await.unwrap();
    for (n, value) in (0..).zip(values) {
        match value {
            Ok(bytes) => assert_eq!((n % 5, &bytes[..]), (0, &[n; 100][..])),
            Err(number) => assert_eq!(number, n),
        }
    }
    let table = SharedBytes::copy_from_slice(b"table").unwrap();
    let inputs: Vec<_> = (0..40usize).map(|n| (n, (n % 3 == 0).then(|| table.clone()))).collect();
    let job = |(n, table): (usize, Option<SharedBytes>)| n + table.map_or(0, |table| table.len());
    let sums: Vec<usize> = pool.map(job, inputs).chunk_size(20).try_collect().await.unwrap();
    assert!(sums.iter().enumerate().all(|(n, sum)| *sum == n + if n % 3 == 0 { 5 } else { 0 }));
}

#[tokio::test]
async fn an_item_that_cannot_cross_costs_nothing_else_in_its_chunk() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Odd {
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<u32>,
    }
    let pool = ProcessPool::builder().max_workers(1).max_payload(10_000).build().unwrap();
    let inputs = (0..20).map(|n| Odd { value: (n != 7).then_some(n) });
    let job = |odd: Odd| match odd.value {
        Some(3) => Ok(vec![0u8; 20_000]),
        Some(5) => Err(Odd { value: None }),
        _ => Ok(vec![1]),
    };
    let items: Vec<_> = pool.map(job, inputs).chunk_size(20).collect().await;
    for (n, item) in items.iter().enumerate() {
        match (n, item) {
            (3, Err(error)) => assert!(error.is_too_large(), "{error}"),
            (5 | 7, Err(error)) => assert!(error.is_encode(), "{error}"),
            (_, item) => assert!(item.as_ref().is_ok_and(Result::is_ok), "{n}"),
        }
    }
    assert_eq!(items.len(), 20);
}

#[tokio::test]
async fn a_bounded_process_pool_lets_smaller_chunks_in() {
    let pool = ProcessPool::builder().max_workers(2).queue_limit(5).build().unwrap();
    let values: Vec<u32> = pool.map(|n: u32| n, 0..300).chunk_size(50).try_collect().await.unwrap();
    assert_eq!(values, Vec::from_iter(0..300));
    let doubled = pool.map(|n: u32| 2 * n, 0..200).chunk_size(20).map(Result::unwrap);
    let values: Vec<u32> =
        pool.map_stream(|n: u32| n + 1, doubled).chunk_size(5).try_collect().await.unwrap();
    assert_eq!(values, Vec::from_iter((0..200).map(|n| 2 * n + 1)));
}

#[tokio::test]
async fn a_shutdown_of_a_process_pool_ends_every_item_of_its_chunks() {
    use heavylift::Shutdown;
    for mode in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill] {
        let pool = processes(1);
        let job = |n: u32| {
            if n == 5 {
                std::process::abort();
            }
            n
        };
        let mut map = pool.map(job, 0..100).chunk_size(50);
        assert!(map.next().now_or_never().is_none());
        let closing = pool.shutdown(mode);
        let items: Vec<_> = map.collect().await;
        assert_eq!(items.len(), 100);
        let report = closing.await;
        assert_eq!(report.succeeded + report.cancelled + report.failed, 100, "{mode:?}");
        if mode == Shutdown::Drain {
            assert_eq!((report.succeeded, report.failed), (99, 1));
        }
    }
}

/// How many items a map may have in flight, which by default tells how large its chunks are.
fn in_flight_of(map: &impl std::fmt::Debug) -> usize {
    let text = format!("{map:?}");
    let (_, figure) = text.split_once("in_flight: ").unwrap();
    figure.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Takes items of an endless map until it may have as many in flight as that.
async fn take_until<T, E: std::fmt::Debug>(
    map: &mut (impl Stream<Item = Result<T, E>> + Unpin + std::fmt::Debug),
    what: &str,
    holds: impl Fn(usize) -> bool,
) {
    let end = Instant::now() + BOUND;
    while !holds(in_flight_of(map)) {
        assert!(Instant::now() < end, "in vain: {what}: {map:?}");
        map.next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn by_default_small_items_travel_together_and_slow_ones_alone_whatever_they_were_before() {
    let (pool, is_slow) = (threads(2), Arc::new(AtomicUsize::new(0)));
    let (slow, pulled) = (is_slow.clone(), Arc::new(AtomicUsize::new(0)));
    let job = move |n: usize| {
        if slow.load(SeqCst) == 1 {
            std::thread::sleep(Duration::from_micros(200));
        }
        n
    };
    let inputs = (0..).inspect(|_| _ = pulled.fetch_add(1, SeqCst));
    let mut map = pool.map(job, inputs);
    assert_eq!(map.next().await.unwrap().unwrap(), 0);
    for round in 0..2 {
        take_until(&mut map, "chunks", |in_flight| in_flight >= 1024).await;
        is_slow.store(1, SeqCst);
        take_until(&mut map, "no chunks", |in_flight| in_flight == 64).await;
        is_slow.store(0, SeqCst);
        assert!(pulled.load(SeqCst) > 1024 * (round + 1));
    }
    // In order, nothing is lost, and not more than what is documented was ever ahead.
    let next = map.next().await.unwrap().unwrap();
    assert!(pulled.load(SeqCst) <= next + 16_384, "{} pulled, {next} yielded", pulled.load(SeqCst));
}

#[tokio::test]
async fn the_first_items_travel_alone_and_no_more_of_them_than_before() {
    let (pool, (sender, gate)) = (threads(2), Gate::new());
    let pulled = AtomicUsize::new(0);
    let inputs = (0..).inspect(|_| _ = pulled.fetch_add(1, SeqCst));
    let mut map = pool.map(move |n: u32| (gate.pass(), n).1, inputs);
    assert!(map.next().now_or_never().is_none());
    assert_eq!((pulled.load(SeqCst), in_flight_of(&map)), (64, 64));
    drop(sender);
    assert_eq!(map.next().await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn items_that_are_slow_from_the_start_never_travel_together() {
    let (threads, processes) = (threads(2), processes(2));
    let slow = |n: usize| {
        std::thread::sleep(Duration::from_micros(500));
        n
    };
    let [one, other] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let mut on_threads = threads.map(slow, (0..200).inspect(|_| _ = one.fetch_add(1, SeqCst)));
    let mut on_processes = processes.map(slow, (0..200).inspect(|_| _ = other.fetch_add(1, SeqCst)));
    for n in 0..200 {
        assert_eq!(on_threads.next().await.unwrap().unwrap(), n);
        assert_eq!(on_processes.next().await.unwrap().unwrap(), n);
        assert_eq!((in_flight_of(&on_threads), in_flight_of(&on_processes)), (64, 64));
        assert!(one.load(SeqCst) <= n + 64 && other.load(SeqCst) <= n + 64);
    }
}

#[tokio::test]
async fn inputs_that_are_slow_to_pull_do_not_wait_for_one_another() {
    let pool = threads(2);
    let inputs = (0..300).inspect(|_| std::thread::sleep(Duration::from_micros(300)));
    let mut map = pool.map(|n: u32| n, inputs);
    while let Some(item) = map.next().await {
        item.unwrap();
        assert_eq!(in_flight_of(&map), 64);
    }
}

#[tokio::test]
async fn a_long_item_among_small_ones_does_not_hold_others_in_a_chunk_of_automatic_size() {
    let (pool, (sender, gate)) = (threads(2), Gate::new());
    let job = move |n: usize| {
        if n == 30_000 {
            gate.pass();
        }
        n
    };
    let mut map = pool.map(job, 0..50_000).unordered();
    let mut seen = 0;
    while seen < 49_999 {
        let (index, value) = tokio::time::timeout(BOUND, map.next()).await.unwrap().unwrap();
        assert!(index == value.unwrap() && index != 30_000);
        seen += 1;
    }
    drop(sender);
    assert_eq!(map.next().await.unwrap().0, 30_000);
    assert!(map.next().await.is_none());
}

#[tokio::test]
async fn chunks_of_automatic_size_stay_within_a_small_in_flight() {
    let (pool, pulled) = (threads(2), AtomicUsize::new(0));
    let inputs = (0..5000).inspect(|_| _ = pulled.fetch_add(1, SeqCst));
    let mut map = pool.map(|n: usize| n, inputs).in_flight(12);
    for n in 0..5000 {
        assert_eq!(map.next().await.unwrap().unwrap(), n);
        assert!(pulled.load(SeqCst) <= n + 12);
    }
    assert!(map.next().await.is_none());
}

#[tokio::test]
async fn by_default_small_items_travel_together_in_processes_and_large_ones_alone() {
    let pool = processes(2);
    let mut map = pool.map(|n: u64| n, 0..);
    take_until(&mut map, "chunks", |in_flight| in_flight >= 1024).await;
    drop(map);

    // They do not fit into a chunk, however small the job is.
    let inputs = (0..2000).map(|n: u64| (n, vec![7u8; 1000]));
    let mut map = pool.map(|(n, _): (u64, Vec<u8>)| n, inputs);
    for n in 0..2000 {
        assert_eq!(map.next().await.unwrap().unwrap(), n);
        assert_eq!(in_flight_of(&map), 64);
    }
}

#[tokio::test]
async fn an_executor_maps_in_chunks_where_its_pool_does() {
    use heavylift::{AnyExecutor, Executor, Inline};
    let (threads, processes) = (threads(2), processes(2));
    for executor in [AnyExecutor::from(&threads), AnyExecutor::from(&processes)] {
        let mut map = executor.map(|n: u64| n, 0..);
        take_until(&mut map, "chunks", |in_flight| in_flight >= 1024).await;
    }
    let mut map = Executor::map(&Inline::new(), |n: u64| n, 0..1000);
    assert_eq!(map.next().await.unwrap().unwrap(), 0);
    assert_eq!(in_flight_of(&map), 1);
    assert_eq!(map.count().await, 999);
}
