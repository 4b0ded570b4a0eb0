//! `ClusterPool` with nodes that run its jobs in processes, all of them in this program.

use std::{future::Future, path::PathBuf, process, sync::mpsc, thread, time::Duration};

use futures::{StreamExt, TryStreamExt};
use heavylift::{
    AnyExecutor, ClusterPool, Executor, Inline, Node, ProcessPool, Shutdown, TaskErrorKind, TaskStatus,
    as_completed,
    cluster::{ClusterErrorKind, ClusterPoolBuilder, Topology, ensure_topology},
    gather,
};

use crate::server::{Server, for_each_server};

/// Within which time anything here happens.
const BOUND: Duration = Duration::from_secs(30);

#[heavylift::job]
fn double(n: u32) -> u32 {
    n * 2
}

#[heavylift::job]
fn no_threes(n: u32) -> u32 {
    assert!(!n.is_multiple_of(3), "{n} is a multiple of three");
    n
}

#[heavylift::job]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

#[heavylift::job]
fn process_id(_: ()) -> u32 {
    process::id()
}

/// Adds its id to a file, and dies unless the file was there.
#[heavylift::job]
fn die_once(path: PathBuf) -> String {
    let id = heavylift::job::current().id().to_owned();
    if path.exists() {
        return std::fs::read_to_string(path).unwrap_or_default() + " " + &id;
    }
    std::fs::write(path, id).unwrap_or_default();
    process::abort();
}

#[heavylift::job]
fn die(_: ()) {
    process::abort();
}

/// Says that it has begun, and sleeps until it is killed, or for ever as far as this test goes.
#[heavylift::job]
fn sleep(begun: PathBuf) -> u32 {
    let _ = std::fs::write(begun, "");
    thread::sleep(4 * BOUND);
    7
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(4 * BOUND, future).await.expect("it ends in time") })
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let seen = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(BOUND, seen).await.unwrap_or_else(|_| panic!("{what} in time"));
}

fn builder(server: &Server) -> ClusterPoolBuilder {
    ClusterPool::builder().servers([server.url()])
}

async fn node(server: &Server, slots: usize) -> Node {
    let workers = ProcessPool::builder().max_workers(slots).build().unwrap();
    Node::builder().servers([server.url()]).slots(slots).pool(workers).start().await.unwrap()
}

/// Runs a test for each server, with a node of two slots.
fn at_each(
    test: &str,
    setup: impl Fn(ClusterPoolBuilder) -> ClusterPoolBuilder,
    body: impl AsyncFn(ClusterPool),
) {
    for_each_server(test, |server| {
        block_on(async {
            ensure_topology(&Topology::new([server.url()])).await.unwrap();
            let node = node(server, 2).await;
            let pool = setup(builder(server)).connect().await.unwrap();
            body(pool).await;
            node.shutdown(Shutdown::Kill).await;
        });
    });
}

#[test]
fn jobs_are_started_in_all_the_ways_of_a_pool() {
    at_each(
        "jobs_are_started_in_all_the_ways_of_a_pool",
        |b| b,
        async |pool| {
            assert_eq!(pool.run(double, 1).await.unwrap(), 2);
            assert_eq!(pool.try_run(double, 2).unwrap().await.unwrap(), 4);
            assert_eq!(pool.submit(double, 3).await.unwrap().await.unwrap(), 6);
            assert_eq!(pool.job(double, 4).name("four").run().await.unwrap(), 8);
            assert_ne!(pool.run(process_id, ()).await.unwrap(), process::id());
            let doubled: Vec<u32> = pool.map(double, 0..100).try_collect().await.unwrap();
            assert_eq!(doubled, Vec::from_iter((0..100).map(|n| 2 * n)));
            let fed = pool.map(double, 0..10).map(Result::unwrap);
            let doubled: Vec<u32> = pool.map_stream(double, fed).try_collect().await.unwrap();
            assert_eq!(doubled, Vec::from_iter((0..10).map(|n| 4 * n)));
            assert_eq!(gather((0..20).map(|n| pool.run(double, n))).await.unwrap().len(), 20);
            let completed: Vec<_> = as_completed((0..20).map(|n| pool.run(double, n))).collect().await;
            assert!(completed.iter().all(|(at, value)| *value.as_ref().unwrap() as usize == 2 * at));
            let metrics = pool.metrics();
            assert_eq!((metrics.succeeded, metrics.failed, metrics.queued, metrics.running), (165, 0, 0, 0));
        },
    );
}

#[test]
fn one_call_site_serves_any_executor() {
    async fn sum(executor: &impl Executor) -> u32 {
        let (two, four) = (executor.execute(double, 1), executor.execute(double, 2));
        two.await.unwrap() + four.await.unwrap()
    }
    at_each(
        "one_call_site_serves_any_executor",
        |b| b,
        async |pool| {
            assert_eq!((sum(&pool).await, sum(&Inline::new()).await), (6, 6));
            let any: AnyExecutor = (&pool).into();
            assert_eq!(sum(&any).await, 6);
            let doubled: Vec<u32> = any.map(double, 0..5).try_collect().await.unwrap();
            assert_eq!((doubled, Executor::metrics(&any).succeeded), (vec![0, 2, 4, 6, 8], 9));
            assert!(any.shutdown(Shutdown::Drain).await.is_complete());
            assert!(pool.run(double, 1).await.unwrap_err().is_closed());
        },
    );
}

#[test]
fn a_panic_and_a_death_are_the_errors_of_their_tasks() {
    at_each(
        "a_panic_and_a_death_are_the_errors_of_their_tasks",
        |b| b.retries(1),
        async |pool| {
            let tasks: Vec<_> = (1..10).map(|n| pool.run(no_threes, n)).collect();
            for (n, task) in (1..10).zip(tasks) {
                match task.await {
                    Ok(value) => assert_eq!((value, n % 3 == 0), (n, false)),
                    Err(error) => {
                        assert_eq!(
                            error.panic_message(),
                            Some(format!("{n} is a multiple of three").as_str())
                        );
                        assert!(error.panic_location().unwrap().contains("pool.rs"), "{error}");
                    }
                }
            }
            let error = pool.run(die, ()).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.worker().unwrap().signal()),
                (TaskErrorKind::WorkerDied, Some(6))
            );
            let dir = tempfile::tempdir().unwrap();
            let ids = pool.run(die_once, dir.path().join("ids")).await.unwrap();
            let (first, second) = ids.split_once(' ').unwrap();
            assert_eq!(first, second, "the second run knows that it is the same job");
            assert_eq!((pool.metrics().panicked, pool.metrics().failed), (3, 1));
        },
    );
}

#[test]
fn what_runs_is_killed_by_its_limit_and_by_its_callers() {
    let limit = Duration::from_millis(100);
    at_each(
        "what_runs_is_killed_by_its_limit_and_by_its_callers",
        |b| b.in_flight(16),
        async |pool| {
            let dir = tempfile::tempdir().unwrap();
            let task = pool.job(sleep, dir.path().join("limited")).run_timeout(limit).run();
            let error = task.await.unwrap_err();
            assert!(error.to_string().ends_with("timed out: run_timeout is 100ms"), "{error}");
            // Both slots, and they are free again.
            let begun = ["one", "two"].map(|name| dir.path().join(name));
            let tasks = begun.clone().map(|begun| pool.run(sleep, begun));
            until("both", || begun.iter().all(|begun| begun.exists())).await;
            until("both", || tasks.iter().all(|task| task.status() == TaskStatus::Running)).await;
            assert_eq!(pool.metrics().running, 2);
            let [one, two] = tasks;
            assert!(one.cancel());
            drop(two);
            assert!(one.await.unwrap_err().is_cancelled());
            assert_eq!(pool.run(double, 2).await.unwrap(), 4);
            assert_eq!((pool.metrics().cancelled, pool.metrics().timed_out), (2, 1));
        },
    );
}

#[test]
fn payloads_may_be_larger_than_a_message() {
    at_each(
        "payloads_may_be_larger_than_a_message",
        |b| b,
        async |pool| {
            let lengths = [0, 1000, 300 << 10, 600 << 10, 3 << 20];
            let tasks = lengths.map(|len| {
                let bytes: Vec<u8> = (0..len).map(|n: usize| (n % 251) as u8).collect();
                (bytes.iter().rev().copied().collect::<Vec<u8>>(), pool.run(reverse, bytes))
            });
            for (reversed, task) in tasks {
                assert!(task.await.unwrap() == reversed, "{} bytes", reversed.len());
            }
        },
    );
}

#[test]
fn no_runtime_is_needed_and_any_number_will_do() {
    for_each_server("no_runtime_is_needed_and_any_number_will_do", |server| {
        let url = server.url();
        block_on(ensure_topology(&Topology::new([&url]))).unwrap();
        let (sender, receiver) = mpsc::channel();
        let waits = thread::spawn(move || {
            let pool = ClusterPool::builder().servers([url]).blocking_connect().unwrap();
            let task = pool.run(double, 2);
            sender.send(pool).unwrap();
            task.blocking_wait()
        });
        let pool = receiver.recv_timeout(BOUND).unwrap();
        let early = pool.run(double, 3);
        // A node comes when all of it has been submitted.
        block_on(async {
            let node = node(server, 1).await;
            assert_eq!(early.await.unwrap(), 6);
            assert_eq!(waits.join().unwrap().unwrap(), 4);
            let values = tokio::task::spawn_blocking(move || {
                let here = futures::executor::block_on(pool.run(double, 5));
                (here, pool.shutdown(Shutdown::Drain).blocking_wait())
            });
            let (here, report) = values.await.unwrap();
            assert_eq!((here.unwrap(), report.is_complete()), (10, true));
            node.shutdown(Shutdown::Drain).await;
        });
    });
}

#[test]
fn nobody_to_connect_to_is_said_in_time() {
    let connect =
        ClusterPool::builder().servers(["nats://127.0.0.1:1"]).connect_timeout(Duration::from_secs(1));
    let error = block_on(connect.connect()).unwrap_err();
    assert_eq!(error.kind(), ClusterErrorKind::Unreachable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_server_without_streams_says_what_to_do() {
    for_each_server("a_server_without_streams_says_what_to_do", |server| {
        let error = block_on(builder(server).connect()).unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Topology, "{error}");
        assert!(error.to_string().contains("ensure_topology"), "{error}");
        block_on(ensure_topology(&Topology::new([server.url()]))).unwrap();
        let error = block_on(builder(server).queue("gpu").connect()).unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Topology, "{error}");
        assert!(error.to_string().contains("queue `gpu` is not there"), "{error}");
    });
}

#[test]
fn every_task_ends_when_the_server_is_away_for_good() {
    for_each_server("every_task_ends_when_the_server_is_away_for_good", |server| {
        block_on(async {
            ensure_topology(&Topology::new([server.url()])).await.unwrap();
            let pool = builder(server).deadline(Duration::from_secs(2)).connect().await.unwrap();
            let before = pool.run(double, 1);
            server.kill();
            let after = pool.run(double, 2);
            for task in [before, after] {
                let error = task.await.unwrap_err();
                assert!(error.is_timed_out(), "{error}");
            }
            let waiting = pool.run(double, 3);
            let report = pool.shutdown(Shutdown::Kill).await;
            assert_eq!((report.cancelled, report.abandoned), (1, 0));
            assert!(waiting.await.unwrap_err().is_cancelled());
        });
    });
}
