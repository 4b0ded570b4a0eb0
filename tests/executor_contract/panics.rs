//! A panic is an error of its own task, and of nobody else.

use heavylift::{Shutdown, TaskErrorKind};

use crate::{
    drive::drive,
    jobs::{UNLUCKY, double, no_threes, panics_with_number, unlucky},
    subject::{Limits, Place, Subject},
};

pub(crate) fn a_panic_has_its_message_and_its_place<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let limits = Limits { name: Some("odd"), ..Limits::default() };
        let error = pool.run_within(limits, unlucky, 13).await.unwrap_err();
        assert_eq!(error.kind(), TaskErrorKind::Panicked);
        assert!(error.is_panicked() && !error.is_cancelled());
        assert_eq!(error.panic_message(), Some("no luck with 13"));
        let place = error.panic_location().unwrap().to_owned();
        assert!(place.starts_with(&format!("{}:{}:", UNLUCKY.0, UNLUCKY.1)), "{place}");
        let text = format!("task {} (\"odd\") panicked at {place}: no luck with 13", error.id());
        assert_eq!(error.to_string(), text);
        assert!(error.worker().is_none());
        match error.into_panic() {
            Ok(payload) => assert_eq!(payload.downcast_ref::<String>().unwrap(), "no luck with 13"),
            Err(error) => assert!(S::PLACE == Place::Processes && error.is_panicked()),
        }
    });
}

pub(crate) fn a_panic_costs_only_its_own_task<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let tasks: Vec<_> = (0..30).map(|n| pool.run(no_threes, n)).collect();
        for (n, task) in (0..).zip(tasks) {
            match task.await {
                Ok(value) => assert_eq!((value, value % 3 == 0), (n, false)),
                Err(error) => {
                    assert_eq!(n % 3, 0, "{error}");
                    assert_eq!(error.panic_message(), Some(format!("{n} is a multiple of three").as_str()));
                }
            }
        }
        let metrics = pool.metrics();
        assert_eq!((metrics.panicked, metrics.succeeded, metrics.worker_deaths), (10, 20, 0));
    });
}

pub(crate) fn a_payload_that_is_no_text_has_a_stand_in<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let error = pool.run(panics_with_number, 5).await.unwrap_err();
        assert_eq!(error.panic_message(), Some("Box<dyn Any>"));
        match error.into_panic() {
            Ok(payload) => assert_eq!(payload.downcast_ref::<u32>(), Some(&5)),
            Err(error) => assert!(S::PLACE == Place::Processes && error.is_panicked()),
        }
    });
}

pub(crate) fn a_detached_panic_costs_nothing<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        pool.run(no_threes, 3).detach();
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
        let report = pool.shutdown(Shutdown::Drain).await;
        assert_eq!((report.panicked, report.succeeded), (0, 0), "both had ended before");
    });
}
