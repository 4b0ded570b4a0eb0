//! Jobs that kill whatever runs them.

use std::time::{Duration, Instant};

use heavylift::{Shutdown, gather};

use super::{
    jobs::{poison, visit},
    scene::{Scene, Serving, at_each, at_each_with, until},
};

#[test]
fn a_job_that_kills_its_worker_becomes_a_dead_letter_and_hurts_no_other() {
    let test = "a_job_that_kills_its_worker_becomes_a_dead_letter_and_hurts_no_other";
    at_each(test, async |scene| {
        let pool = scene.pool().retries(2).connect().await.unwrap();
        let node = scene.node(2).name("here").start().await.unwrap();
        let poisoned = pool.run(poison, ());
        let others: Vec<_> = (0..30).map(|_| pool.run(visit, (scene.lines(), None))).collect();
        gather(others).await.unwrap();
        assert!(!poisoned.is_finished(), "they did not wait for it");
        let error = poisoned.await.unwrap_err();
        assert!(error.is_worker_died(), "{error}");
        assert_eq!(error.worker().unwrap().signal(), Some(6), "{error}");
        assert_eq!(scene.visits().len(), 30);

        let metrics = node.shutdown(Shutdown::Drain).await.metrics;
        assert_eq!((metrics.given_back, metrics.dead_letters), (2, 1), "three runs: {metrics:?}");
        let letter = dead_letter(scene).await;
        assert!(letter.job.contains("poison"), "{letter:?}");
        assert!(letter.reason.contains("died of signal 6"), "{letter:?}");
        assert_eq!(letter.node, "here");
        assert_eq!(scene.admin().await.jobs().await, 0);
    });
}

/// The only dead letter.
#[derive(Debug)]
struct Letter {
    job: String,
    reason: String,
    node: String,
}

async fn dead_letter(scene: &Scene<'_>) -> Letter {
    let admin = scene.admin().await;
    assert_eq!(admin.messages("HEAVYLIFT_DLQ").await, 1);
    let headers = admin.headers("HEAVYLIFT_DLQ", 1).await;
    let header = |name: &str| headers.get(name).map(ToString::to_string).unwrap_or_default();
    Letter { job: header("Hl-Job"), reason: header("Hl-Dead-Reason"), node: header("Hl-Dead-Node") }
}

/// Two nodes whose jobs run in their own processes, and both killed by one job.
async fn two_that_die(scene: &Scene<'_>) {
    let start = async |name| scene.role(name, 1).on_threads().start(scene.dir.path()).await;
    let mut both: [Serving; 2] = [start("first").await, start("second").await];
    until("both are killed", || both.iter_mut().all(Serving::has_ended)).await;
}

#[test]
fn a_job_that_kills_two_nodes_is_buried_by_a_third() {
    // Its second death is the last run that it may have: by its own retries, and then by the servers' limit.
    for (retries, max_deliver) in [(1, 100), (4, 2)] {
        let test = "a_job_that_kills_two_nodes_is_buried_by_a_third";
        at_each_with(
            test,
            |topology| topology.max_deliver(max_deliver),
            async |scene| {
                let pool = scene.pool().retries(retries).connect().await.unwrap();
                let poisoned = pool.run(poison, ());
                two_that_die(scene).await;
                let died = Instant::now();
                let third = scene.node(1).name("third").start().await.unwrap();
                let others = gather((0..10).map(|_| pool.run(visit, (scene.lines(), None))));
                others.await.unwrap();
                let error =
                    tokio::time::timeout(Duration::from_secs(20), poisoned).await.unwrap().unwrap_err();
                eprintln!(
                    "{test}: max_deliver {max_deliver}: answered {:?} after the second death",
                    died.elapsed()
                );
                assert!(error.to_string().contains("given up after 2 deliveries"), "{error}");
                let letter = dead_letter(scene).await;
                assert!(letter.job.contains("poison") && letter.node == "third", "{letter:?}");
                assert!(letter.reason.contains("given up after 2 deliveries"), "{letter:?}");
                let admin = scene.admin().await;
                admin.until("the queue is empty", async |admin| admin.jobs().await == 0).await;
                assert_eq!(third.shutdown(Shutdown::Drain).await.metrics.dead_letters, 1);
            },
        );
    }
}
