//! What an executor counts.

use heavylift::Metrics;

use crate::{
    drive::{drive, until},
    jobs::{double, no_threes, occupy},
    subject::{Place, Subject},
    yard::Yard,
};

pub(crate) fn counts_add_up_and_gauges_return_to_zero<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let (mut metrics, mut nothing) = (pool.metrics(), Metrics::default());
        if !S::OWNS_WORKERS {
            (metrics.workers, metrics.idle_workers) = (0, 0);
        }
        (nothing.age, nothing.max_workers) = (metrics.age, if S::PLACE == Place::Here { 0 } else { 2 });
        nothing.processor.program = metrics.processor.program;
        assert_eq!(metrics, nothing);
        let tasks: Vec<_> = (0..30).map(|n| pool.run(no_threes, n)).collect();
        heavylift::gather(tasks).settled().await;
        let metrics = pool.metrics();
        assert_eq!((metrics.submitted, metrics.succeeded, metrics.panicked), (30, 20, 10));
        assert_eq!(
            (metrics.queued, metrics.running, metrics.abandoned),
            (0, 0, 0),
            "as soon as the tasks resolve"
        );
        assert_eq!((metrics.queue_wait.count, metrics.run_time.count), (30, 30));
        assert_eq!(metrics.hand_overs, 30);
        assert!(
            metrics.run_time.sum >= metrics.run_time.max && metrics.run_time.mean() <= metrics.run_time.max
        );
        assert!(metrics.processor.measured.cpu_time <= metrics.processor.measured.run_time);
        assert!(metrics.run_time.p50 <= metrics.run_time.p99 && metrics.run_time.p99 <= metrics.run_time.max);
        if S::PLACE != Place::Here {
            assert!(metrics.workers >= 1 && metrics.workers <= 2);
            if S::OWNS_WORKERS {
                assert!((metrics.workers..=2).contains(&metrics.most_workers) && metrics.unused_workers < 2);
            }
            assert!(metrics.worker_time <= pool.metrics().age * 2);
            until("idle workers", || pool.metrics().idle_workers == pool.metrics().workers).await;
        }
    });
}

pub(crate) fn gauges_follow_a_job_through_the_pool<S: Subject>() {
    let (pool, yard) = (S::tiny(), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        until("the gauge to follow", || pool.metrics().running == 1).await;
        let queued = pool.run(double, 1);
        assert!(pool.run(double, 2).await.unwrap_err().is_overloaded());
        let metrics = pool.metrics();
        assert_eq!((metrics.workers, metrics.idle_workers), (1, 0));
        assert_eq!((metrics.running, metrics.queued, metrics.submitted, metrics.refused), (1, 1, 2, 1));
        assert!(running.cancel());
        let threads = usize::from(S::PLACE == Place::Threads);
        assert_eq!(pool.metrics().abandoned, threads, "the thread runs on, the process does not");
        hold.open.mark();
        queued.await.unwrap();
        until("gauges at zero", || {
            let metrics = pool.metrics();
            (metrics.queued, metrics.running, metrics.abandoned) == (0, 0, 0)
        })
        .await;
        let metrics = pool.metrics();
        assert_eq!(
            (metrics.submitted, metrics.succeeded + metrics.cancelled, metrics.worker_deaths),
            (2, 2, 0)
        );
    });
}
