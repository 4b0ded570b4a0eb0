//! Servers that end and come again, that forget, that never come.

use std::{
    fs,
    time::{Duration, Instant},
};

use heavylift::{
    ClusterPool, Node, Shutdown, Task,
    cluster::{ClusterErrorKind, Topology, ensure_topology},
    gather,
};

use super::{
    admin::Admin,
    jobs::visit,
    scene::{Role, Scene, at_each, block_on, until},
};
use crate::server::{Cluster, Server, binaries};

const JOBS: u64 = 2000;

/// Has the server away for a second, with many jobs in flight.
#[expect(clippy::print_stderr, reason = "the figures of a test")]
fn away(test: &str, end: fn(&mut Server)) {
    at_each(test, async |scene| {
        let pool = scene.pool().in_flight(JOBS as usize).connect().await.unwrap();
        let mut node = scene.role("threads", 8).on_threads().start(scene.dir.path()).await;
        let tasks: Vec<Task<u32>> = (0..JOBS).map(|_| pool.run(visit, (scene.lines(), None))).collect();
        until("some are done", || pool.metrics().succeeded >= 200).await;
        end(scene.server);
        let done = pool.metrics().succeeded;
        assert!(done < JOBS, "{done} were done before");
        // That is the fault.
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.server.restart();
        let back = Instant::now();
        until("the first after that", || pool.metrics().succeeded > done + 50).await;
        let first = back.elapsed();
        assert_eq!(gather(tasks).await.unwrap().len() as u64, JOBS);
        let runs = scene.visits().len() as u64;
        eprintln!(
            "{test}: {done} before, goes on {first:?} and done {:?} after the restart; {} ran twice",
            back.elapsed(),
            runs - JOBS
        );
        assert_eq!(pool.metrics().succeeded, JOBS, "each once");
        nothing_is_left(scene, test).await;
        assert!(node.ends_well());
    });
}

#[expect(clippy::print_stderr, reason = "the figures of a test")]
async fn nothing_is_left(scene: &Scene<'_>, test: &str) {
    let (admin, begun) = (scene.admin().await, Instant::now());
    let left = admin.jobs().await;
    admin.until("no job is left in the queue", async |admin| admin.jobs().await == 0).await;
    eprintln!("{test}: {left} were left in the queue at first, for {:?}", begun.elapsed());
}

#[test]
fn a_server_that_is_away_for_a_second_loses_nothing() {
    away("a_server_that_is_away_for_a_second_loses_nothing", Server::terminate);
}

#[test]
fn a_server_that_is_killed_loses_nothing() {
    away("a_server_that_is_killed_loses_nothing", Server::kill);
}

#[test]
fn of_three_servers_one_may_die() {
    let test = "of_three_servers_one_may_die";
    for binary in binaries(test) {
        let mut cluster = Cluster::start(&binary);
        let (urls, dir) = (cluster.urls(), tempfile::tempdir().unwrap());
        block_on(async {
            let topology = Topology::new(urls.clone()).lease(Duration::from_secs(1)).replicas(3);
            ensure_topology(&topology).await.unwrap();
            let node = Role::new(urls.clone(), "threads", 8).on_threads().start(dir.path()).await;
            let pool = ClusterPool::builder().servers(urls.clone()).connect().await.unwrap();
            let lines = dir.path().join("lines");
            let tasks: Vec<_> = (0..1000).map(|_| pool.run(visit, (lines.clone(), None))).collect();
            until("some are done", || pool.metrics().succeeded >= 100).await;
            let info = Admin::at(&urls[0]).await.api("STREAM.INFO.HEAVYLIFT_TASKS", "").await;
            let leader = cluster.named(info["cluster"]["leader"].as_str().unwrap());
            let done = pool.metrics().succeeded;
            cluster.servers[leader].kill();
            let killed = Instant::now();
            assert!(done < 1000, "{done} were done before");
            until("the first after that", || pool.metrics().succeeded > done + 50).await;
            let first = killed.elapsed();
            assert_eq!(gather(tasks).await.unwrap().len(), 1000);
            eprintln!(
                "{test}: {} goes on {first:?} and done {:?} after the kill",
                binary.version,
                killed.elapsed()
            );
            assert_eq!(pool.metrics().succeeded, 1000);
            drop(node);
        });
    }
}

#[test]
fn a_server_that_forgets_everything_hangs_nobody() {
    at_each("a_server_that_forgets_everything_hangs_nobody", async |scene| {
        let limit = Duration::from_secs(4);
        let pool = scene.pool().deadline(limit).connect().await.unwrap();
        let queued = pool.run(visit, (scene.lines(), None));
        let admin = scene.admin().await;
        admin.until("it is queued", async |admin| admin.jobs().await == 1).await;
        let submitted = Instant::now();
        scene.server.kill();
        fs::remove_dir_all(scene.server.dir().join("js")).unwrap();
        scene.server.restart();

        // Forgotten with the queue, and never taken by one.
        let orphaned = pool.run(visit, (scene.lines(), None));
        for task in [queued, orphaned] {
            let error = task.await.unwrap_err();
            let text = error.to_string();
            let is_late = error.is_timed_out() && text.contains("deadline is 4s");
            assert!(is_late || text.contains("the stream is not there"), "{text}");
        }
        assert!(submitted.elapsed() < limit * 2, "{:?}", submitted.elapsed());
        let error = scene.pool().connect().await.unwrap_err();
        assert_eq!(error.kind(), ClusterErrorKind::Topology, "{error}");

        let waits = pool.run(visit, (scene.lines(), None));
        ensure_topology(&Topology::new([scene.server.url()])).await.unwrap();
        let node = scene.node(1).start().await.unwrap();
        assert_eq!(waits.await.unwrap(), 1);
        node.shutdown(Shutdown::Drain).await;
    });
}

#[test]
fn a_node_outlives_a_server_that_forgets_everything() {
    at_each("a_node_outlives_a_server_that_forgets_everything", async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let node = scene.node(1).start().await.unwrap();
        assert_eq!(pool.run(visit, (scene.lines(), None)).await.unwrap(), 1);
        // An ack that is tried again would be for the new stream's first job: it names nothing but numbers.
        nothing_is_left(scene, "a_node_outlives_a_server_that_forgets_everything").await;
        scene.server.kill();
        fs::remove_dir_all(scene.server.dir().join("js")).unwrap();
        scene.server.restart();
        let waits = pool.run(visit, (scene.lines(), None));
        until("the node says what is wrong", || node.metrics().trouble.is_some()).await;
        assert!(!waits.is_finished());
        ensure_topology(&Topology::new([scene.server.url()])).await.unwrap();
        let begun = Instant::now();
        assert_eq!(waits.await.unwrap(), 1);
        eprintln!("it works again {:?} after the topology is there", begun.elapsed());
        until("the node is well again", || node.metrics().trouble.is_none()).await;
        node.shutdown(Shutdown::Drain).await;
    });
}

#[test]
fn nobody_there_is_said_in_time_and_by_name() {
    let (limit, begun) = (Duration::from_millis(500), Instant::now());
    let node = Node::builder().servers(["nats://127.0.0.1:1"]).connect_timeout(limit);
    let error = block_on(node.start()).unwrap_err();
    assert_eq!(error.kind(), ClusterErrorKind::Unreachable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(begun.elapsed() < limit * 3, "{:?}", begun.elapsed());
}
