//! Programs that have nothing to do for long.

use std::{
    env,
    time::{Duration, Instant},
};

use heavylift::Shutdown;

use super::{admin::Admin, jobs::visit, scene::at_each};

/// Longer than any heartbeat. With `IDLE_SECONDS=40` it is longer than any request, too.
fn long() -> Duration {
    let seconds = env::var("IDLE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

#[test]
fn jobs_run_after_a_long_time_without_any() {
    at_each("jobs_run_after_a_long_time_without_any", async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let node = scene.node(1).start().await.unwrap();
        for _ in 0..2 {
            // Time is what this test is about.
            tokio::time::sleep(long()).await;
            let begun = Instant::now();
            assert_eq!(pool.run(visit, (scene.lines(), None)).await.unwrap(), 1);
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
        node.shutdown(Shutdown::Drain).await;
    });
}

/// As the servers do with consumers whose client is away for long.
#[test]
fn results_come_although_the_server_has_forgotten_who_waits_for_them() {
    let test = "results_come_although_the_server_has_forgotten_who_waits_for_them";
    at_each(test, async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let node = scene.node(1).start().await.unwrap();
        let admin = scene.admin().await;
        for _ in 0..2 {
            forget_consumers(&admin).await;
            let begun = Instant::now();
            assert_eq!(pool.run(visit, (scene.lines(), None)).await.unwrap(), 1);
            eprintln!("{test}: the result came after {:?}", begun.elapsed());
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        }
        node.shutdown(Shutdown::Drain).await;
    });
}

/// Has the server forget the consumers of all clients' results.
async fn forget_consumers(admin: &Admin) {
    let names = admin.api("CONSUMER.NAMES.HEAVYLIFT_RESULTS", "").await;
    let names = names["consumers"].as_array().unwrap_or_else(|| panic!("{names}"));
    assert!(!names.is_empty());
    for name in names {
        let name = name.as_str().unwrap();
        // It may fail to remove the files, which an old server writes at the same time: it has forgotten it then, too.
        let deleted = admin.api(&format!("CONSUMER.DELETE.HEAVYLIFT_RESULTS.{name}"), "").await;
        assert!(deleted["success"] == true || deleted["error"]["err_code"] == 10051, "{deleted}");
    }
}
