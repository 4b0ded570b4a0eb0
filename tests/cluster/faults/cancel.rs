//! Jobs that nobody wants any more.

use std::{path::Path, time::Instant};

use futures::StreamExt;
use heavylift::Shutdown;

use super::{
    jobs::visit,
    scene::{Scene, at_each, until},
};

#[test]
fn a_queued_job_that_is_cancelled_or_dropped_never_runs() {
    at_each("a_queued_job_that_is_cancelled_or_dropped_never_runs", async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let admin = scene.admin().await;
        let [cancelled, dropped] = [(); 2].map(|()| pool.run(visit, (scene.lines(), None)));
        admin.until("both are queued", async |admin| admin.jobs().await == 2).await;
        assert!(cancelled.cancel());
        assert!(cancelled.await.unwrap_err().is_cancelled());
        drop(dropped);
        admin.until("both are gone", async |admin| admin.jobs().await == 0).await;
        nothing_runs_but_one_more(scene, 1).await;
    });
}

/// A node runs what is there, in its order: if another job has run, all before it would have.
async fn nothing_runs_but_one_more(scene: &Scene<'_>, runs: usize) {
    let pool = scene.pool().connect().await.unwrap();
    let node = scene.node(1).start().await.unwrap();
    assert_eq!(pool.run(visit, (scene.lines(), None)).await.unwrap(), 1);
    assert_eq!(scene.visits().len(), runs);
    node.shutdown(Shutdown::Drain).await;
}

#[test]
fn a_running_job_that_is_cancelled_or_dropped_is_killed() {
    let test = "a_running_job_that_is_cancelled_or_dropped_is_killed";
    at_each(test, async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let mut node = scene.program("node", 2).await;
        let [cancelled, dropped] = [(); 2].map(|()| pool.run(visit, (scene.lines(), Some(scene.gate()))));
        until("both run", || scene.visits().len() == 2).await;
        let begun = Instant::now();
        cancelled.cancel();
        assert!(cancelled.await.unwrap_err().is_cancelled());
        let answered = begun.elapsed();
        drop(dropped);
        let lives = |pid: u32| Path::new(&format!("/proc/{pid}/cwd")).read_link().is_ok();
        let workers = scene.visits();
        until("both workers are gone", || workers.iter().all(|worker| !lives(worker.pid))).await;
        eprintln!("{test}: cancelled after {answered:?}, killed after {:?}", begun.elapsed());
        let admin = scene.admin().await;
        admin.until("the queue is empty", async |admin| admin.jobs().await == 0).await;
        assert_eq!(scene.visits().len(), 2);
        assert!(node.ends_well());
    });
}

#[test]
fn of_a_map_that_is_dropped_half_way_nothing_more_runs() {
    let test = "of_a_map_that_is_dropped_half_way_nothing_more_runs";
    at_each(test, async |scene| {
        let pool = scene.pool().in_flight(16).connect().await.unwrap();
        let mut node = scene.program("node", 2).await;
        let (lines, gate) = (scene.lines(), scene.gate());
        let mut map = pool.map(visit, (0..1000).map(|n| (lines.clone(), (n >= 20).then(|| gate.clone()))));
        for _ in 0..20 {
            assert_eq!(map.next().await.unwrap().unwrap(), 1);
        }
        until("more run, and wait", || scene.visits().len() == 22).await;
        drop(map);
        let admin = scene.admin().await;
        admin.until("the queue is empty", async |admin| admin.jobs().await == 0).await;
        assert!(node.ends_well());
        let runs = scene.visits().len();
        // Some may have begun while those before them in the queue were killed, and were killed in their turn.
        assert!(runs <= 20 + 16, "{runs}");
        nothing_runs_but_one_more(scene, runs + 1).await;
    });
}
