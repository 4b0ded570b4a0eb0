//! Cancelling and dropping: before, while and after a job runs.

use heavylift::{Shutdown, Task, TaskErrorKind};

use crate::{
    drive::{drive, poll_once, until},
    jobs::{Hold, double, log, occupy, stubborn},
    subject::{Place, Subject},
    yard::Yard,
};

pub(crate) fn a_finished_task_cannot_be_cancelled<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let task = pool.run(double, 4);
        until("the end of the task", || task.is_finished()).await;
        assert!(!task.cancel());
        assert_eq!(task.await.unwrap(), 8);
        assert_eq!(pool.metrics().cancelled, 0);
    });
}

pub(crate) fn the_handle_of_a_finished_task_does_nothing<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let task = pool.run(double, 4);
        let handle = task.cancel_handle();
        assert_eq!(format!("{handle:?}"), format!("CancelHandle {{ id: TaskId({}), .. }}", task.id()));
        until("the end of the task", || handle.is_finished()).await;
        assert!(!handle.cancel());
        assert_eq!(task.await.unwrap(), 8);
        assert!(handle.is_finished() && !handle.cancel());
    });
}

pub(crate) fn a_queued_job_that_is_cancelled_never_starts<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        let tasks: Vec<_> = (0..3).map(|n| pool.run(log, (order.clone(), n))).collect();
        assert!(tasks[1].cancel());
        assert!(tasks[1].is_finished());
        assert_eq!(pool.metrics().cancelled, 1);
        hold.open.mark();
        running.await.unwrap();
        let outcomes = heavylift::gather(tasks).settled().await;
        let error = outcomes[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), TaskErrorKind::Cancelled);
        assert_eq!(error.to_string(), format!("task {} ({:?}) was cancelled", error.id(), error.name()));
        assert_eq!(order.lines(), [0, 2]);
    });
}

pub(crate) fn a_queued_job_whose_task_is_dropped_never_starts<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let order = yard.spot("order");
        let mut tasks: Vec<_> = (0..3).map(|n| pool.run(log, (order.clone(), n))).collect();
        drop(tasks.remove(0));
        assert_eq!(pool.metrics().cancelled, 1);
        until("the gauge to follow", || pool.metrics().queued == 2).await;
        hold.open.mark();
        running.await.unwrap();
        heavylift::gather(tasks).await.unwrap();
        assert_eq!(order.lines(), [1, 2]);
    });
}

pub(crate) fn a_running_job_that_is_cancelled_is_finished_at_once<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (mut task, hold) = occupy(&pool, &yard, "running").await;
        assert!(poll_once(&mut task).is_pending());
        assert!(task.cancel());
        assert!(task.is_finished(), "at once, although the job goes on");
        assert!(task.await.unwrap_err().is_cancelled());
        if S::PLACE == Place::Threads {
            hold.open.mark();
        }
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
        assert_eq!(
            hold.ended.is_marked(),
            S::PLACE == Place::Threads,
            "a process is killed, a thread is not"
        );
    });
}

pub(crate) fn a_running_job_whose_task_is_dropped_learns_of_it_or_dies<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let hold = Hold::new(&yard, "running");
        let task = pool.run(stubborn, hold.clone());
        hold.begun.marked().await;
        drop(task);
        if S::PLACE == Place::Threads {
            hold.ended.marked().await;
        }
        // The worker, or its replacement, is there for others.
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
        assert_eq!(hold.ended.is_marked(), S::PLACE == Place::Threads);
        assert_eq!(pool.metrics().cancelled, 1);
        until("nothing runs on", || pool.metrics().abandoned == 0 && pool.metrics().running == 0).await;
    });
}

pub(crate) fn a_cancelled_job_costs_its_neighbours_nothing<S: Subject>() {
    let (pool, yard) = (S::with_workers(2), Yard::new());
    drive(async {
        let (left, left_hold) = occupy(&pool, &yard, "left").await;
        let (right, right_hold) = occupy(&pool, &yard, "right").await;
        let queued: Vec<_> = (0..20).map(|n| pool.run(double, n)).collect();
        assert!(left.cancel(), "{:?}", left.await);
        left_hold.open.mark();
        for (n, task) in (0..).zip(queued) {
            assert_eq!(task.await.unwrap(), 2 * n);
        }
        right_hold.open.mark();
        right.await.unwrap();
        assert!(left.await.unwrap_err().is_cancelled());
        assert_eq!(pool.metrics().worker_deaths, 0, "a kill is no death");
    });
}

pub(crate) fn a_handle_cancels_from_elsewhere<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (task, hold) = occupy(&pool, &yard, "running").await;
        let handle = task.cancel_handle();
        let waiting = tokio::spawn(task);
        let cancelled = std::thread::spawn(move || handle.clone().cancel()).join().unwrap();
        assert!(cancelled);
        assert!(waiting.await.unwrap().unwrap_err().is_cancelled());
        hold.open.mark();
    });
}

pub(crate) fn a_handle_outlives_its_task<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued: Task<u32> = pool.run(double, 1);
        let handle = queued.cancel_handle();
        assert!(!handle.is_finished());
        drop(queued);
        assert!(handle.is_finished() && !handle.cancel());
        hold.open.mark();
        running.await.unwrap();
        pool.shutdown(Shutdown::Drain).await;
    });
}

pub(crate) fn cancelling_twice_counts_once<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        assert!(queued.cancel() && !queued.cancel() && !queued.cancel_handle().cancel());
        assert!(running.cancel() && !running.cancel());
        drop((queued, running));
        assert_eq!(pool.metrics().cancelled, 2);
        hold.open.mark();
        until("gauges at zero", || pool.metrics().running == 0 && pool.metrics().abandoned == 0).await;
    });
}
