//! Nodes that are killed, and nodes that are stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use heavylift::{Shutdown, gather};
use rustix::process::Signal;

use super::{
    jobs::{Visit, visit},
    scene::{Scene, at_each, until},
};

/// The ids of the jobs that have begun on that node.
fn begun_on(scene: &Scene<'_>, node: &str) -> BTreeSet<String> {
    scene.visits().into_iter().filter(|visit| visit.node == node).map(|visit| visit.id).collect()
}

/// Where each job has run.
fn runs(visits: Vec<Visit>) -> BTreeMap<String, Vec<String>> {
    let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for visit in visits {
        runs.entry(visit.id).or_default().push(visit.node);
    }
    runs
}

#[test]
fn a_node_that_is_killed_costs_a_second_run_of_what_it_ran() {
    let test = "a_node_that_is_killed_costs_a_second_run_of_what_it_ran";
    at_each(test, async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let (mut first, mut second) = (scene.program("first", 2).await, scene.program("second", 2).await);
        let tasks: Vec<_> = (0..40).map(|_| pool.run(visit, (scene.lines(), Some(scene.gate())))).collect();
        until("both are busy", || scene.visits().len() == 4).await;
        let lost = begun_on(scene, "first");
        assert_eq!(lost.len(), 2);

        first.kill();
        let killed = Instant::now();
        scene.open_gate();
        let attempts = gather(tasks).await.unwrap();
        eprintln!("{test}: done {:?} after the kill", killed.elapsed());
        assert_eq!(attempts.iter().filter(|attempt| **attempt == 2).count(), 2, "{attempts:?}");
        let runs = runs(scene.visits());
        assert_eq!(runs.len(), 40);
        for (id, nodes) in runs {
            let expected: &[&str] = if lost.contains(&id) { &["first", "second"] } else { &["second"] };
            assert_eq!(nodes, expected, "{id}");
        }
        until("nothing is left of it", || first.processes().is_empty()).await;
        assert_eq!(pool.metrics().succeeded, 40);
        let admin = scene.admin().await;
        admin.until("the queue is empty", async |admin| admin.jobs().await == 0).await;
        assert!(second.ends_well());
        until("nothing is left of the other", || second.processes().is_empty()).await;
    });
}

#[test]
fn a_node_that_is_stopped_beyond_its_lease_comes_too_late() {
    let test = "a_node_that_is_stopped_beyond_its_lease_comes_too_late";
    at_each(test, async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let (mut first, mut second) = (scene.program("first", 2).await, scene.program("second", 2).await);
        let tasks: Vec<_> = (0..20).map(|_| pool.run(visit, (scene.lines(), Some(scene.gate())))).collect();
        until("both are busy", || scene.visits().len() == 4).await;
        let held = begun_on(scene, "first");

        first.stop();
        let stopped = Instant::now();
        // Its workers run on, and are done; but it cannot say so.
        scene.open_gate();
        gather(tasks).await.unwrap();
        eprintln!("{test}: done {:?} after the stop", stopped.elapsed());
        for (id, nodes) in runs(scene.visits()) {
            let expected: &[&str] = if held.contains(&id) { &["first", "second"] } else { &["second"] };
            assert_eq!(nodes, expected, "{id}");
        }

        first.signal(Signal::CONT);
        // It says what it has to say, and ends.
        assert!(first.ends_well() && second.ends_well());
        pool.shutdown(Shutdown::Drain).await;
        assert_eq!(pool.metrics().succeeded, 20, "each task resolves once");
        assert_eq!(scene.visits().len(), 22, "nothing runs because of it");
        assert_eq!(scene.admin().await.jobs().await, 0);
    });
}
