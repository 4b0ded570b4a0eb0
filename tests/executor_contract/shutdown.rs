//! Shutting down with work queued and running, in each mode.

use std::time::Duration;

use heavylift::Shutdown;

use crate::{
    drive::{drive, on_a_thread, poll_once, until},
    jobs::{Hold, double, log, occupy, stubborn},
    subject::{Place, Subject},
    yard::Yard,
};

pub(crate) fn drain_finishes_what_is_queued<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        let queued: Vec<_> = (0..5).map(|n| pool.run(log, (order.clone(), n))).collect();
        let mut closing = pool.shutdown(Shutdown::Drain);
        assert!(poll_once(&mut closing).is_pending());
        hold.open.mark();
        let report = closing.await;
        assert_eq!((report.succeeded, report.cancelled, report.abandoned), (6, 0, 0));
        assert!(running.is_finished() && queued.iter().all(|task| task.is_finished()));
        assert_eq!(order.lines(), [0, 1, 2, 3, 4]);
        assert_eq!(
            report.to_string(),
            "6 succeeded, 0 panicked, 0 cancelled, 0 timed out, 0 failed, 0 abandoned"
        );
        assert_eq!(heavylift::gather(queued).await.unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(pool.metrics().workers, 0);
    });
}

pub(crate) fn cancel_queued_finishes_only_what_runs<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        let queued: Vec<_> = (0..5).map(|n| pool.run(log, (order.clone(), n))).collect();
        let mut closing = pool.shutdown(Shutdown::CancelQueued);
        // At once, but for a job that is just being handed to a worker.
        until("the queue to be empty", || queued.iter().all(|task| task.is_finished())).await;
        assert!(poll_once(&mut closing).is_pending());
        hold.open.mark();
        let report = closing.await;
        assert_eq!((report.succeeded, report.cancelled), (1, 5));
        running.await.unwrap();
        let outcomes = heavylift::gather(queued).settled().await;
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap_err().is_cancelled()));
        assert!(order.lines().is_empty());
    });
}

pub(crate) fn kill_ends_everything<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let closing = pool.shutdown(Shutdown::Kill);
        until("both to end", || running.is_finished() && queued.is_finished()).await;
        let report = closing.await;
        assert_eq!((report.cancelled, report.succeeded), (2, 0));
        assert!(running.await.unwrap_err().is_cancelled() && queued.await.unwrap_err().is_cancelled());
        assert!(!hold.ended.is_marked(), "it does not wait for the job");
        hold.open.mark();
        if S::PLACE == Place::Processes {
            assert_eq!(pool.metrics().workers, 0);
        }
    });
}

pub(crate) fn a_stricter_shutdown_replaces_one_under_way<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let hold = Hold::new(&yard, "running");
        let running = pool.run(stubborn, hold.clone());
        hold.begun.marked().await;
        let queued = pool.run(double, 1);
        let mut drain = pool.shutdown(Shutdown::Drain);
        assert!(poll_once(&mut drain).is_pending());
        let _weaker = pool.shutdown(Shutdown::CancelQueued);
        until("the queue to be empty", || queued.is_finished()).await;
        assert!(!running.is_finished());
        let _kill = pool.shutdown(Shutdown::Kill);
        let _weaker = pool.shutdown(Shutdown::Drain);
        until("the end of the job", || running.is_finished()).await;
        let report = drain.await;
        assert_eq!((report.cancelled, report.succeeded), (2, 0));
    });
}

pub(crate) fn two_tasks_await_the_same_shutdown<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let closers: Vec<_> = (0..2).map(|_| tokio::spawn(pool.shutdown(Shutdown::Drain))).collect();
        hold.open.mark();
        for closer in closers {
            assert_eq!(closer.await.unwrap().succeeded, 1);
        }
        running.await.unwrap();
    });
}

pub(crate) fn a_shutdown_closes_without_being_polled<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        drop(pool.shutdown(Shutdown::Drain));
        assert!(pool.run(double, 1).await.unwrap_err().is_closed());
        hold.open.mark();
        running.await.unwrap();
    });
}

pub(crate) fn a_shutdown_with_a_limit_abandons_what_is_left<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let report = pool.shutdown(Shutdown::Drain).timeout(Duration::from_millis(10)).await;
        assert_eq!((report.abandoned, report.succeeded), (2, 0));
        assert!(!report.is_complete());
        assert!(running.await.unwrap_err().is_cancelled() && queued.await.unwrap_err().is_cancelled());
        hold.open.mark();
    });
}

pub(crate) fn a_shutdown_is_awaited_by_blocking<S: Subject>() {
    let pool = S::with_workers(1);
    on_a_thread(move || {
        pool.run(double, 1).detach();
        let report = pool.shutdown(Shutdown::Drain).blocking_wait();
        assert!(report.succeeded <= 1 && report.is_complete());
        assert_eq!(pool.metrics().succeeded, 1);
    });
}

pub(crate) fn the_last_handle_gone_what_is_queued_still_runs<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        for n in 0..3 {
            pool.run(log, (order.clone(), n)).detach();
        }
        running.detach();
        drop(pool);
        hold.open.mark();
        until("the queued jobs", || order.lines() == [0, 1, 2]).await;
    });
}
