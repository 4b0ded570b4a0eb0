//! Queues that are full, and payloads that are large.

use std::time::Instant;

use heavylift::{Shutdown, TaskErrorKind, gather};

use super::{
    jobs::visit,
    scene::{at_each, at_each_with, until},
};
use crate::jobs::echo;

#[test]
fn a_full_queue_refuses_and_takes_jobs_again_once_there_is_room() {
    let test = "a_full_queue_refuses_and_takes_jobs_again_once_there_is_room";
    at_each_with(
        test,
        |topology| topology.queue_limit(10),
        async |scene| {
            let pool = scene.pool().connect().await.unwrap();
            let tasks: Vec<_> = (0..15).map(|_| pool.run(visit, (scene.lines(), None))).collect();
            until("five are refused", || pool.metrics().failed == 5).await;
            let node = scene.node(2).start().await.unwrap();
            let mut done = 0;
            for task in tasks {
                match task.await {
                    Ok(_) => done += 1,
                    Err(error) => {
                        let text = error.to_string();
                        assert!(error.is_overloaded(), "{text}");
                        assert!(
                            text.contains("queue \"default\"") && text.contains("maximum messages"),
                            "{text}"
                        );
                    }
                }
            }
            assert_eq!((done, scene.visits().len()), (10, 10));
            let admin = scene.admin().await;
            admin.until("the queue is empty", async |admin| admin.jobs().await == 0).await;
            let again = (0..10).map(|_| pool.run(visit, (scene.lines(), None)));
            assert_eq!(gather(again).await.unwrap().len(), 10);
            node.shutdown(Shutdown::Drain).await;
        },
    );
}

#[test]
fn payloads_over_every_limit_go_through_the_store_and_leave_nothing_there() {
    let test = "payloads_over_every_limit_go_through_the_store_and_leave_nothing_there";
    at_each(test, async |scene| {
        let pool = scene.pool().max_payload(65 << 20).connect().await.unwrap();
        let node = scene.node(1).start().await.unwrap();
        for size in [600 << 10, 5 << 20, 64 << 20] {
            let bytes: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
            let begun = Instant::now();
            assert!(pool.run(echo, bytes.clone()).await.unwrap() == bytes);
            eprintln!("{test}: {} KiB there and back took {:?}", size >> 10, begun.elapsed());
        }
        let error = pool.run(echo, vec![0; 66 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), TaskErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("max_payload is 68157440"), "{error}");
        let admin = scene.admin().await;
        admin.until("nothing is stored", async |admin| admin.payload_parts().await == 0).await;
        node.shutdown(Shutdown::Drain).await;
    });
}

#[test]
fn a_result_over_the_limit_of_either_side_is_too_large() {
    at_each("a_result_over_the_limit_of_either_side_is_too_large", async |scene| {
        let small = scene.pool().max_payload(2 << 20).connect().await.unwrap();
        let large = scene.pool().connect().await.unwrap();
        let node = scene.node(1).max_payload(3 << 20).start().await.unwrap();
        for (pool, size, limit) in [(&small, (2 << 20) + 100, 2 << 20), (&large, 4 << 20, 3 << 20)] {
            let error = pool.run(zeros, size).await.unwrap_err();
            assert_eq!(error.kind(), TaskErrorKind::TooLarge, "{error}");
            assert!(error.to_string().contains(&format!("max_payload is {limit}")), "{error}");
        }
        let admin = scene.admin().await;
        admin.until("nothing is stored", async |admin| admin.payload_parts().await == 0).await;
        node.shutdown(Shutdown::Drain).await;
    });
}

/// So many of them.
#[heavylift::job]
fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

#[test]
fn a_large_argument_of_a_job_that_is_cancelled_is_not_kept() {
    at_each("a_large_argument_of_a_job_that_is_cancelled_is_not_kept", async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let admin = scene.admin().await;
        let task = pool.run(echo, vec![0; 2 << 20]);
        admin.until("it is queued", async |admin| admin.jobs().await == 1).await;
        assert!(admin.payload_parts().await > 0);
        drop(task);
        admin.until("it is gone", async |admin| admin.jobs().await + admin.payload_parts().await == 0).await;
    });
}
