//! A job's value comes back; a task says what it is.

use heavylift::{Shutdown, TaskStatus};

use crate::{
    drive::{drive, until},
    jobs::{
        Shape, difference, double, echo_bytes, echo_shapes, echo_text, log, mark, nothing, occupy, panics,
        parse, refuse,
    },
    subject::{Limits, Subject},
    yard::Yard,
};

pub(crate) fn a_job_returns_its_value<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        assert_eq!(pool.run(double, 21).await.unwrap(), 42);
        assert_eq!(pool.run(difference, (5, 3)).await.unwrap(), 2);
        pool.run(nothing, ()).await.unwrap();
    });
}

pub(crate) fn values_of_every_shape_come_back<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let shapes = vec![
            Shape::Nothing,
            Shape::Circle { radius: 0.5 },
            Shape::Named("ñ".repeat(1000), vec![None, Some(-1)]),
        ];
        assert_eq!(pool.run(echo_shapes, shapes.clone()).await.unwrap(), shapes);
        let block: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
        assert_eq!(pool.run(echo_bytes, block.clone()).await.unwrap(), block);
        assert_eq!(pool.run(echo_text, String::new()).await.unwrap(), "");
    });
}

pub(crate) fn an_error_that_a_job_returns_is_a_value<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        assert_eq!(pool.run(refuse, 7).await.unwrap(), Err(7));
        let error = pool.run(parse, "x".into());
        assert_eq!(error.flatten().await.unwrap_err().to_string(), "invalid digit found in string");
        assert_eq!(parse("12".into()).unwrap(), 12);
    });
}

pub(crate) fn a_job_starts_without_being_awaited<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let spot = yard.spot("ran");
        let task = pool.run(mark, spot.clone());
        spot.marked().await;
        task.await.unwrap();
    });
}

pub(crate) fn many_jobs_at_once_each_return_their_own_value<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let tasks: Vec<_> = (0..500).map(|n| pool.run(double, n)).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), 2 * n as u32);
        }
    });
}

pub(crate) fn jobs_begin_in_the_order_of_submission_on_one_worker<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let order = yard.spot("order");
        let tasks: Vec<_> = (0..50).map(|n| pool.run(log, (order.clone(), n))).collect();
        for task in tasks.into_iter().rev() {
            task.await.unwrap();
        }
        assert_eq!(order.lines(), Vec::from_iter(0..50));
    });
}

pub(crate) fn ids_grow_in_the_order_of_submission<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let (first, second) = (pool.run(double, 1), pool.run(double, 2));
        assert!(first.id() < second.id());
        assert_eq!(first.cancel_handle().id(), first.id());
        assert_eq!(first.await.unwrap() + second.await.unwrap(), 6);
    });
}

pub(crate) fn a_task_knows_its_name_and_the_line_that_started_it<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let line = line!() + 1;
        let task = pool.run(double, 1);
        assert_eq!((task.submitted_at().file(), task.submitted_at().line()), (file!(), line));
        assert!(!task.name().is_empty());
        let limits = Limits { name: Some("the job"), ..Limits::default() };
        let (named, line) = (pool.run_within(limits, panics, 1), line!());
        assert_eq!(named.name(), "the job");
        assert_eq!((named.submitted_at().file(), named.submitted_at().line()), (file!(), line));
        let id = named.id();
        assert!(
            format!("{named:?}")
                .starts_with(&format!("Task {{ id: TaskId({id}), name: \"the job\", status: "))
        );
        let error = named.await.unwrap_err();
        assert_eq!((error.id(), error.name(), error.submitted_at().line()), (id, "the job", line));
        task.await.unwrap();
    });
}

pub(crate) fn a_finished_task_says_so<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let mut task = pool.run(double, 1);
        until("the end of the task", || task.is_finished()).await;
        assert_eq!(task.status(), TaskStatus::Finished);
        (&mut task).await.unwrap();
        assert!(task.is_finished() && !task.cancel());
        assert!(futures::future::FusedFuture::is_terminated(&task));
    });
}

pub(crate) fn a_detached_job_runs_to_its_end<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let order = yard.spot("order");
        for n in 0..3 {
            pool.run(log, (order.clone(), n)).detach();
        }
        let report = pool.shutdown(Shutdown::Drain).await;
        assert_eq!(order.lines(), [0, 1, 2]);
        assert!(report.is_complete());
    });
}

pub(crate) fn a_task_is_queued_then_running_then_finished<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (mut first, hold) = occupy(&pool, &yard, "first").await;
        until("the status to follow", || first.status() == TaskStatus::Running).await;
        let second = pool.run(double, 1);
        assert_eq!(second.status(), TaskStatus::Queued);
        assert!(!first.is_finished() && !second.is_finished());
        hold.open.mark();
        (&mut first).await.unwrap();
        assert_eq!(first.status(), TaskStatus::Finished);
        second.await.unwrap();
    });
}

pub(crate) fn the_last_handle_may_go_while_a_task_is_wanted<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (first, hold) = occupy(&pool, &yard, "first").await;
        let second = pool.run(double, 1);
        drop(pool);
        hold.open.mark();
        first.await.unwrap();
        assert_eq!(second.await.unwrap(), 2);
    });
}
