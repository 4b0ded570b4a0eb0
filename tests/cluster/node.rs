//! What nodes do with jobs: run them, stop them, give them back, give them up.

use std::{
    env, fs,
    future::Future,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use heavylift::{
    ClusterPool, Node, ProcessPool, Shutdown, ThreadPool,
    cluster::{ClusterErrorKind, ClusterPoolBuilder, Delivery, NodeBuilder, Topology, ensure_topology},
    gather,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{
    jobs::{complain, crash, echo, leave_a_line, meet, pid, sha256, sleep, spin},
    server::{Server, for_each_server},
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(100);
const SOON: Duration = Duration::from_secs(10);
/// Which server a copy of this program is to serve, and under which name.
const SERVE: &str = "HEAVYLIFT_TEST_NODE";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time") })
}

/// Runs a test for each server, with the topology there, and a lease of a second.
fn for_each<F: Future<Output = ()>>(test: &str, body: impl Fn(String) -> F) {
    for_each_server(test, |server: &mut Server| {
        block_on(async {
            let topology = Topology::new([server.url()]).lease(Duration::from_secs(1));
            ensure_topology(&topology.queues(["default", "a", "b"])).await.unwrap();
            body(server.url()).await;
        });
    });
}

fn node(url: &str, slots: usize) -> NodeBuilder {
    Node::builder().servers([url]).slots(slots)
}

fn pool(url: &str) -> ClusterPoolBuilder {
    ClusterPool::builder().servers([url]).deadline(Duration::from_secs(50))
}

/// Waits for something that comes soon.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "it does not come: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The lines of the jobs that have begun: id, run, process.
fn lines(file: &Path) -> Vec<(String, u32, u32)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_owned(), words[1].parse().unwrap(), words[2].parse().unwrap())
    };
    text.lines().map(line).collect()
}

fn lives(pid: u32) -> bool {
    test_kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap()).is_ok()
}

#[test]
fn a_node_does_not_run_jobs_on_another_cluster() {
    for_each("a_node_does_not_run_jobs_on_another_cluster", |url| async move {
        let pool = pool(&url).connect().await.unwrap();
        let error = node(&url, 2).pool(pool).start().await.unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Setting);
        assert_eq!(error.to_string(), "`pool` must be one on this machine, not a `ClusterPool`");
    });
}

#[test]
fn jobs_run_in_processes_and_are_answered() {
    for_each("jobs_run_in_processes_and_are_answered", |url| async move {
        let node = node(&url, 2).name("first").start().await.unwrap();
        let pool = pool(&url).connect().await.unwrap();
        assert_ne!(pool.run(pid, ()).await.unwrap(), std::process::id());
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(pool.run(sha256, Vec::new()).await.unwrap(), empty);
        let all = gather((0..100u8).map(|n| pool.run(echo, vec![n; 3]))).await.unwrap();
        assert_eq!(all, (0..100u8).map(|n| vec![n; 3]).collect::<Vec<_>>());

        let error = pool.run(complain, "no luck".to_owned()).await.unwrap_err();
        assert_eq!(error.panic_message(), Some("no luck"));
        assert!(error.panic_location().unwrap().contains("jobs.rs"), "{error}");

        // More than fits into a message, both ways.
        let large = vec![7; 3 << 20];
        assert_eq!(pool.run(echo, large.clone()).await.unwrap(), large);

        let report = node.shutdown(Shutdown::Drain).await;
        assert_eq!((report.name.as_str(), report.metrics.answered), ("first", 104), "{report:?}");
        assert_eq!((report.metrics.taken, report.metrics.running), (104, 0), "{report:?}");
        assert_eq!(report.metrics.trouble, None);
    });
}

#[test]
fn a_job_that_crashes_runs_as_often_as_it_may_and_is_kept() {
    for_each("a_job_that_crashes_runs_as_often_as_it_may_and_is_kept", |url| async move {
        let node = node(&url, 1).start().await.unwrap();
        let pool = pool(&url).retries(2).connect().await.unwrap();
        let error = pool.run(crash, ()).await.unwrap_err();
        assert!(error.is_worker_died(), "{error}");
        assert_eq!(error.worker().unwrap().signal(), Some(6), "{error}");
        assert!(pool.run(pid, ()).await.is_ok(), "others are served");
        let metrics = node.shutdown(Shutdown::Drain).await.metrics;
        assert_eq!((metrics.given_back, metrics.dead_letters, metrics.taken), (2, 1, 4), "{metrics:?}");
    });
}

#[test]
fn a_time_limit_kills_and_a_cancelled_job_is_killed() {
    for_each("a_time_limit_kills_and_a_cancelled_job_is_killed", |url| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let argument = |time| (file.to_str().unwrap().to_owned(), time);
        let node = node(&url, 1).start().await.unwrap();
        let pool = pool(&url).connect().await.unwrap();
        let limit = Duration::from_millis(50);
        let error = pool.job(spin, LONG).run_timeout(limit).run().await.unwrap_err();
        assert!(error.is_timed_out() && error.to_string().contains("run_timeout is 50ms"), "{error}");

        let task = pool.run(leave_a_line, argument(LONG));
        until("the job begins", || !lines(&file).is_empty());
        let worker = lines(&file)[0].2;
        assert!(lives(worker));
        drop(task);
        until("its worker is killed", || !lives(worker));
        assert!(pool.run(pid, ()).await.is_ok());
        assert_eq!(lines(&file).len(), 1);
        let metrics = node.shutdown(Shutdown::Drain).await.metrics;
        assert_eq!((metrics.given_back, metrics.dead_letters, metrics.running), (0, 0, 0), "{metrics:?}");
        assert_eq!(metrics.trouble, None);
    });
}

#[test]
fn what_runs_is_finished_within_its_time_and_the_rest_goes_to_others_untouched() {
    let test = "what_runs_is_finished_within_its_time_and_the_rest_goes_to_others_untouched";
    for_each(test, |url| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let argument = |time| (file.to_str().unwrap().to_owned(), time);
        // May run once: what is given back did not count.
        let pool = pool(&url).retries(0).connect().await.unwrap();

        let first = node(&url, 1).start().await.unwrap();
        let task = pool.run(leave_a_line, argument(Duration::from_millis(300)));
        until("the job begins", || lines(&file).len() == 1);
        let report = first.shutdown(Shutdown::Drain).await;
        assert_eq!((report.metrics.answered, report.metrics.given_back), (1, 0), "{report:?}");
        assert_eq!(task.await.unwrap(), 1);

        let second = node(&url, 1).drain_timeout(Duration::from_millis(50)).start().await.unwrap();
        let task = pool.run(leave_a_line, argument(Duration::from_millis(1_500)));
        until("the job begins", || lines(&file).len() == 2);
        let report = second.shutdown(Shutdown::Drain).await;
        assert_eq!((report.metrics.answered, report.metrics.given_back), (0, 1), "{report:?}");
        assert!(!task.is_finished());

        let third = node(&url, 1).start().await.unwrap();
        assert_eq!(task.await.unwrap(), 1, "it is its first run that counts");
        assert_eq!(lines(&file).len(), 3);
        assert_eq!(third.shutdown(Shutdown::Drain).await.metrics.redelivered, 1);
    });
}

#[test]
fn slots_go_to_the_queue_that_has_jobs_and_none_is_left_out() {
    for_each("slots_go_to_the_queue_that_has_jobs_and_none_is_left_out", |url| async move {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().to_str().unwrap().to_owned();
        let node = node(&url, 2).queues(["a", "b"]).start().await.unwrap();
        let (a, b) =
            (pool(&url).queue("a").connect().await.unwrap(), pool(&url).queue("b").connect().await.unwrap());
        // Both slots must be with `a` for that.
        let met =
            gather(["1", "2"].map(|name| a.run(meet, (here.clone(), name.to_owned(), 2)))).await.unwrap();
        assert_eq!(met, [true, true]);
        // While `a` has more than the slots can do, `b` is served.
        let busy: Vec<_> = (0..200).map(|_| a.run(sleep, Duration::from_millis(20))).collect();
        b.run(pid, ()).await.unwrap();
        assert!(busy.iter().any(|task| !task.is_finished()), "it did not wait for the other queue");
        gather(busy).await.unwrap();
        assert_eq!(node.shutdown(Shutdown::Drain).await.metrics.answered, 203);
    });
}

#[test]
fn a_node_on_threads_ends_with_its_pool() {
    for_each("a_node_on_threads_ends_with_its_pool", |url| async move {
        let threads = ThreadPool::builder().max_workers(2).build().unwrap();
        let node = Node::builder().servers([&url]).pool(&threads).start().await.unwrap();
        let pool = pool(&url).connect().await.unwrap();
        assert_eq!(pool.run(pid, ()).await.unwrap(), std::process::id());
        assert_eq!(node.metrics().slots, 2);
        threads.shutdown(Shutdown::Drain).await;
        let task = pool.run(pid, ());
        let metrics = node.ended().await.metrics;
        assert!(metrics.given_back >= 1, "{metrics:?}");
        assert!(!task.is_finished(), "others may run it");
    });
}

fn fail((): ()) -> Result<(), String> {
    Err("no licence".to_owned())
}

#[test]
fn a_node_whose_workers_do_not_start_leaves_the_jobs_to_others() {
    for_each("a_node_whose_workers_do_not_start_leaves_the_jobs_to_others", |url| async move {
        let workers = ProcessPool::builder().initializer(fail, ()).max_workers(4).build().unwrap();
        let sick = node(&url, 4).pool(&workers).start().await.unwrap();
        // May run once: what the sick node has had in its hands did not count.
        let pool = pool(&url).retries(0).connect().await.unwrap();
        let first = pool.run(echo, vec![1]);
        until("the sick node has had it", || sick.metrics().given_back > 0);
        let healthy = node(&url, 1).start().await.unwrap();
        assert_eq!(first.await.unwrap(), [1]);
        let all = gather((0..50u8).map(|n| pool.run(echo, vec![n]))).await.unwrap();
        assert_eq!(all, (0..50u8).map(|n| vec![n]).collect::<Vec<_>>());
        let metrics = sick.shutdown(Shutdown::Drain).await.metrics;
        assert_eq!((metrics.answered, metrics.dead_letters), (0, 0), "{metrics:?}");
        assert_eq!(healthy.shutdown(Shutdown::Drain).await.metrics.answered, 51);
    });
}

#[test]
fn a_call_is_answered_at_once_or_finds_no_slot() {
    for_each("a_call_is_answered_at_once_or_finds_no_slot", |url| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let node = node(&url, 1).start().await.unwrap();
        let pool = pool(&url).delivery(Delivery::AtMostOnce).connect().await.unwrap();
        assert_eq!(pool.run(echo, vec![1]).await.unwrap(), [1]);
        let task = pool.run(leave_a_line, (file.to_str().unwrap().to_owned(), LONG));
        until("the job begins", || !lines(&file).is_empty());
        let error = pool.run(pid, ()).await.unwrap_err();
        assert!(error.is_overloaded() && error.to_string().contains("no free slot"), "{error}");
        let worker = lines(&file)[0].2;
        drop(task);
        until("its worker is killed", || !lives(worker));
        assert!(pool.run(crash, ()).await.unwrap_err().is_worker_died(), "it is not run again");
        let metrics = node.shutdown(Shutdown::Drain).await.metrics;
        assert_eq!((metrics.calls, metrics.calls_refused, metrics.taken), (3, 1, 0), "{metrics:?}");
    });
}

#[test]
fn without_a_topology_a_node_says_what_to_do() {
    for_each_server("without_a_topology_a_node_says_what_to_do", |server| {
        let error = block_on(node(&server.url(), 1).start()).unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Topology, "{error}");
        assert!(error.to_string().contains("ensure_topology"), "{error}");
    });
}

/// A copy of this program that serves. Killed when it is dropped.
struct Copy(Child);

impl Copy {
    fn start(url: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "node::this_program_serves", "--nocapture"]).env(SERVE, url);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nothing, unless it is to be a node.
#[test]
fn this_program_serves() {
    let Ok(url) = env::var(SERVE) else { return };
    block_on_for_ever(async { node(&url, 2).serve().await.unwrap() });
}

fn block_on_for_ever<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_node_that_is_asked_to_end_ends_well() {
    for_each("a_node_that_is_asked_to_end_ends_well", |url| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let pool = pool(&url).connect().await.unwrap();
        let mut copy = Copy::start(&url);
        let time = Duration::from_millis(400);
        let task = pool.run(leave_a_line, (file.to_str().unwrap().to_owned(), time));
        until("the job begins", || !lines(&file).is_empty());
        copy.signal(Signal::TERM);
        assert_eq!(task.await.unwrap(), 1);
        assert!(copy.0.wait().unwrap().success());
    });
}

#[test]
fn the_jobs_of_a_killed_node_run_elsewhere_once_their_lease_is_over() {
    for_each("the_jobs_of_a_killed_node_run_elsewhere_once_their_lease_is_over", |url| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let pool = pool(&url).connect().await.unwrap();
        let copy = Copy::start(&url);
        let task = pool.run(leave_a_line, (file.to_str().unwrap().to_owned(), Duration::from_millis(700)));
        until("the job begins", || !lines(&file).is_empty());
        copy.signal(Signal::KILL);
        let node = node(&url, 2).start().await.unwrap();
        assert_eq!(task.await.unwrap(), 2, "it is the second run");
        assert_eq!(lines(&file).len(), 2);
        assert_eq!(node.shutdown(Shutdown::Drain).await.metrics.redelivered, 1);
    });
}

/// A job of three leases runs on while its node cannot renew its lease: it comes to that node again, and is known there.
#[test]
fn a_copy_of_a_job_that_runs_here_is_ignored() {
    for_each("a_copy_of_a_job_that_runs_here_is_ignored", |url| async move {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let pool = pool(&url).connect().await.unwrap();
        let copy = Copy::start(&url);
        let task = pool.run(leave_a_line, (file.to_str().unwrap().to_owned(), Duration::from_secs(4)));
        until("the job begins", || !lines(&file).is_empty());
        copy.signal(Signal::STOP);
        // Longer than a lease: the only thing that this test can wait for is time.
        tokio::time::sleep(Duration::from_millis(1_800)).await;
        copy.signal(Signal::CONT);
        assert_eq!(task.await.unwrap(), 1);
        // Were it delivered after its end it would have run twice.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(lines(&file).len(), 1);
    });
}

#[test]
fn a_job_goes_on_without_a_connection_and_is_answered_when_there_is_one() {
    for_each_server("a_job_goes_on_without_a_connection_and_is_answered_when_there_is_one", |server| {
        let dir = tempfile::tempdir().unwrap();
        let (file, url) = (dir.path().join("lines"), server.url());
        let topology = Topology::new([&url]).lease(Duration::from_secs(1));
        let (node, pool) = block_on(async {
            ensure_topology(&topology).await.unwrap();
            (node(&url, 1).start().await.unwrap(), pool(&url).connect().await.unwrap())
        });
        let task = pool.run(leave_a_line, (file.to_str().unwrap().to_owned(), Duration::from_millis(300)));
        until("the job begins", || !lines(&file).is_empty());
        server.kill();
        // The job ends meanwhile, which nobody can be told: the only thing to wait for is time.
        std::thread::sleep(Duration::from_secs(1));
        server.restart();
        assert_eq!(block_on(task).unwrap(), 1);
        assert!(block_on(pool.run(pid, ())).is_ok());
        assert_eq!(lines(&file).len(), 1);
        let metrics = block_on(node.shutdown(Shutdown::Drain)).metrics;
        assert_eq!((metrics.answered, metrics.given_back, metrics.running), (2, 0, 0), "{metrics:?}");
    });
}
