//! What is closed stays closed, and says so.

use futures::StreamExt;
use heavylift::{Shutdown, TaskErrorKind};

use crate::{
    drive::{drive, until},
    jobs::double,
    subject::{Limits, Subject},
};

pub(crate) fn after_a_shutdown_every_start_is_refused_as_closed<S: Subject>() {
    let pool = S::tiny();
    drive(async {
        pool.shutdown(Shutdown::Drain).await;
        let limits = Limits { name: Some("late"), ..Limits::default() };
        let task = pool.run_within(limits, double, 3);
        assert!(task.is_finished(), "from the start");
        let error = task.await.unwrap_err();
        assert_eq!(error.kind(), TaskErrorKind::Closed);
        assert!(error.is_closed());
        let text = format!("task {} (\"late\") was refused: pool {:?} is shut down", error.id(), S::NAME);
        assert_eq!(error.to_string(), text);

        let refused = pool.try_run(double, 3).unwrap_err();
        assert!(refused.is_closed && !refused.is_full);
        assert!(refused.message.ends_with(&format!("was refused: pool {:?} is shut down", S::NAME)));
        assert_eq!((refused.job)(), 6, "nothing is lost");

        let refused = pool.submit(double, 4).await.unwrap_err();
        assert!(refused.is_closed && !refused.is_full);
        assert_eq!((refused.job)(), 8);

        let metrics = pool.metrics();
        assert_eq!((metrics.refused, metrics.submitted), (3, 0));
    });
}

pub(crate) fn a_map_on_a_closed_executor_yields_an_error_per_input<S: Subject>() {
    let pool = S::tiny();
    drive(async {
        pool.shutdown(Shutdown::Kill).await;
        let items: Vec<_> = pool.map(double, 0..3).collect().await;
        assert_eq!(items.len(), 3);
        assert!(items.iter().all(|item| item.as_ref().unwrap_err().is_closed()));
    });
}

pub(crate) fn a_shutdown_of_an_idle_executor_ends_at_once<S: Subject>() {
    for mode in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill] {
        let (unused, used) = (S::with_workers(1), S::with_workers(1));
        drive(async {
            assert_eq!(unused.shutdown(mode).await, Default::default());
            used.run(double, 1).await.unwrap();
            assert_eq!(used.shutdown(mode).await, Default::default(), "what was before does not count");
            assert_eq!(used.metrics().succeeded, 1);
            until("no workers", || used.metrics().workers == 0).await;
        });
    }
}

pub(crate) fn a_shutdown_can_be_asked_for_again<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        pool.run(double, 1).detach();
        let first = pool.shutdown(Shutdown::Drain);
        assert_eq!(format!("{first:?}"), "Closing");
        let report = first.await;
        assert_eq!(pool.shutdown(Shutdown::Drain).await, report);
        assert_eq!(pool.shutdown(Shutdown::Kill).await, report);
    });
}

pub(crate) fn a_finished_task_survives_the_shutdown<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let task = pool.run(double, 5);
        pool.shutdown(Shutdown::Drain).await;
        drop(pool);
        assert_eq!(task.await.unwrap(), 10);
    });
}
