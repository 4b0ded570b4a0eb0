//! Time limits, priority and other options of one job.

use std::time::Duration;

use futures::StreamExt;
use heavylift::{Priority, TaskErrorKind};

use crate::{
    drive::{BOUND, drive, until},
    jobs::{Hold, double, held, log, maybe_stubborn, occupy, panics, stubborn},
    subject::{Limits, Place, Shape, Subject},
    yard::Yard,
};

const SHORT: Duration = Duration::from_millis(20);

pub(crate) fn run_timeout_ends_a_job_that_runs_too_long<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let limits = Limits { name: Some("slow"), run_timeout: Some(SHORT), ..Limits::default() };
        let hold = Hold::new(&yard, "slow");
        let error = pool.run_within(limits, stubborn, hold.clone()).await.unwrap_err();
        assert_eq!(error.kind(), TaskErrorKind::TimedOut);
        assert_eq!(
            error.to_string(),
            format!("task {} (\"slow\") timed out: run_timeout is 20ms", error.id())
        );
        assert!(hold.begun.is_marked());
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
        assert_eq!(hold.ended.is_marked(), S::PLACE == Place::Threads, "a thread is told, a process killed");
        let metrics = pool.metrics();
        assert_eq!((metrics.timed_out, metrics.cancelled, metrics.worker_deaths), (1, 0, 0));
    });
}

pub(crate) fn queue_timeout_ends_a_job_that_waits_too_long<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        let limits = Limits { name: Some("late"), queue_timeout: Some(SHORT), ..Limits::default() };
        let error = pool.run_within(limits, log, (order.clone(), 1)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("task {} (\"late\") timed out: queue_timeout is 20ms", error.id())
        );
        assert!(error.is_timed_out());
        hold.open.mark();
        running.await.unwrap();
        assert_eq!(pool.run(log, (order.clone(), 2)).await.unwrap(), 2);
        assert_eq!(order.lines(), [2]);
        assert_eq!((pool.metrics().timed_out, pool.metrics().queued), (1, 0));
    });
}

pub(crate) fn queue_timeout_does_not_end_a_job_that_runs<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        pool.run(double, 1).await.unwrap();
        let hold = Hold::new(&yard, "running");
        // Long enough for the job to begin, and over while it runs.
        let limit = Duration::from_millis(500);
        let limits = Limits { queue_timeout: Some(limit), ..Limits::default() };
        let task = pool.run_within(limits, held, hold.clone());
        let submitted = std::time::Instant::now();
        hold.begun.marked().await;
        until("the end of the limit", || submitted.elapsed() > limit * 2).await;
        assert!(!task.is_finished());
        hold.open.mark();
        task.await.unwrap();
    });
}

pub(crate) fn limits_that_are_not_reached_change_nothing<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        for limit in [BOUND, Duration::MAX] {
            let limits = Limits { queue_timeout: Some(limit), run_timeout: Some(limit), ..Limits::default() };
            assert_eq!(pool.run_within(limits, double, 1).await.unwrap(), 2);
        }
        assert_eq!(pool.metrics().timed_out, 0);
    });
}

pub(crate) fn map_run_timeout_ends_the_one_item<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let hold = Hold::new(&yard, "slow");
        let inputs = [None, Some(hold), None];
        let items: Vec<_> =
            pool.map(maybe_stubborn, inputs).run_timeout(Duration::from_millis(500)).collect().await;
        assert_eq!(items.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        let error = items[1].as_ref().unwrap_err();
        assert!(error.is_timed_out() && error.to_string().ends_with("run_timeout is 500ms"), "{error}");
    });
}

pub(crate) fn limits_of_the_pool_apply_where_the_job_has_none<S: Subject>() {
    let shape =
        Shape { workers: 1, queue_timeout: Some(BOUND), run_timeout: Some(SHORT), ..Shape::default() };
    let (pool, yard) = (S::build(shape), Yard::new());
    drive(async {
        let error = pool.run(stubborn, Hold::new(&yard, "by the pool")).await.unwrap_err();
        assert!(error.is_timed_out() && error.to_string().ends_with("run_timeout is 20ms"), "{error}");
        let hold = Hold::new(&yard, "by the job");
        let unlimited = Limits { run_timeout: Some(Duration::MAX), ..Limits::default() };
        let running = pool.run_within(unlimited, held, hold.clone());
        hold.begun.marked().await;
        let limits = Limits { queue_timeout: Some(SHORT), ..unlimited };
        let error = pool.run_within(limits, double, 1).await.unwrap_err();
        assert!(error.is_timed_out() && error.to_string().ends_with("queue_timeout is 20ms"), "{error}");
        hold.open.mark();
        running.await.unwrap();
    });
}

pub(crate) fn waiting_jobs_begin_by_priority_and_among_equals_by_submission<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        use Priority::{High, Low, Normal};
        let submitted = [(5, Low), (3, Normal), (1, High), (6, Low), (4, Normal), (2, High)];
        let tasks = submitted.map(|(line, priority)| {
            let limits = Limits { priority, ..Limits::default() };
            pool.run_within(limits, log, (order.clone(), line))
        });
        hold.open.mark();
        running.await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(order.lines(), [1, 2, 3, 4, 5, 6]);
    });
}

pub(crate) fn a_map_has_the_priority_it_is_given<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        let inputs: Vec<_> = (10..13).map(|line| (order.clone(), line)).collect();
        let mut map = pool.map(log, inputs).priority(Priority::Low).retry(1);
        // The first poll starts all three.
        assert!(futures::poll!(map.next()).is_pending());
        let normal = pool.run(log, (order.clone(), 1));
        hold.open.mark();
        running.await.unwrap();
        normal.await.unwrap();
        assert_eq!(map.map(Result::unwrap).collect::<Vec<_>>().await, [10, 11, 12]);
        assert_eq!(order.lines(), [1, 10, 11, 12]);
    });
}

pub(crate) fn options_that_are_not_needed_change_nothing<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        for priority in [Priority::High, Priority::Normal, Priority::Low] {
            let limits = Limits {
                kill_grace: Some(SHORT),
                retry: 3,
                priority,
                affinity: Some("key"),
                ..Limits::default()
            };
            for n in 0..10 {
                assert_eq!(pool.run_within(limits, double, n).await.unwrap(), 2 * n);
            }
            let error = pool.run_within(limits, panics, 1).await.unwrap_err();
            assert_eq!((error.kind(), error.dead_workers()), (TaskErrorKind::Panicked, &[][..]));
        }
        let metrics = pool.metrics();
        assert_eq!((metrics.succeeded, metrics.panicked, metrics.worker_deaths), (30, 3, 0));
    });
}
