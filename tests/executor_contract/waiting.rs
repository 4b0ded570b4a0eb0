//! Ways to wait for a task: with a runtime, with another one, with none.

use std::{sync::mpsc, time::Duration};

use futures::StreamExt;
use heavylift::{ReturnWhen, as_completed, gather, wait};

use crate::{
    drive::{BOUND, drive, on_a_thread},
    jobs::{double, exclaim, no_threes, occupy},
    subject::{Place, Subject},
    yard::Yard,
};

const SHORT: Duration = Duration::from_millis(10);

pub(crate) fn a_thread_without_a_runtime_waits_by_blocking<S: Subject>() {
    let pool = S::with_workers(1);
    on_a_thread(move || {
        assert_eq!(pool.run(double, 2).blocking_wait().unwrap(), 4);
        assert!(pool.run(no_threes, 3).blocking_wait().unwrap_err().is_panicked());
        let mut task = pool.run(double, 3);
        assert_eq!(task.blocking_wait_timeout(BOUND).unwrap().unwrap(), 6);
        assert!(task.is_finished());
    });
}

pub(crate) fn blocking_wait_timeout_gives_up_and_loses_nothing<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    let (mut task, hold) = drive(occupy(&pool, &yard, "running"));
    on_a_thread(move || {
        assert!(task.blocking_wait_timeout(Duration::ZERO).is_none());
        assert!(task.blocking_wait_timeout(SHORT).is_none());
        hold.open.mark();
        task.blocking_wait_timeout(BOUND).unwrap().unwrap();
    });
}

pub(crate) fn blocking_on_a_thread_that_drives_async_tasks_panics<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let text = |panic: Box<dyn std::any::Any + Send>| match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic.downcast_ref::<&str>().unwrap().to_string(),
        };
        let mut task = pool.run(double, 2);
        let blocking = std::panic::AssertUnwindSafe(|| task.blocking_wait_timeout(SHORT));
        let panic = text(std::panic::catch_unwind(blocking).unwrap_err());
        assert!(panic.contains("Cannot block the current thread from within a runtime"), "{panic}");
        let blocking = std::panic::AssertUnwindSafe(|| task.blocking_wait());
        let panic = text(std::panic::catch_unwind(blocking).unwrap_err());
        assert!(panic.contains("Cannot block the current thread from within a runtime"), "{panic}");
        let closing = pool.shutdown(heavylift::Shutdown::Drain);
        let blocking = std::panic::AssertUnwindSafe(|| closing.blocking_wait());
        let panic = text(std::panic::catch_unwind(blocking).unwrap_err());
        assert!(panic.contains("Cannot block the current thread from within a runtime"), "{panic}");
    });
}

pub(crate) fn a_task_is_awaited_on_another_runtime<S: Subject>() {
    let pool = S::with_workers(1);
    let (sender, receiver) = mpsc::channel();
    let there = {
        let pool = pool.clone();
        std::thread::spawn(move || {
            drive(async {
                sender.send(pool.run(double, 2)).unwrap();
                // The runtime that the job was started from ends here.
            });
        })
    };
    let task = receiver.recv_timeout(BOUND).unwrap();
    there.join().unwrap();
    assert_eq!(drive(task).unwrap(), 4);
    assert_eq!(drive(pool.run(double, 3)).unwrap(), 6);
}

pub(crate) fn a_task_is_awaited_without_tokio<S: Subject>() {
    let pool = S::with_workers(1);
    on_a_thread(move || {
        let (one, two) =
            futures::executor::block_on(futures::future::join(pool.run(double, 1), pool.run(double, 2)));
        assert_eq!((one.unwrap(), two.unwrap()), (2, 4));
        let values: Vec<_> =
            futures::executor::block_on_stream(pool.map(double, 0..3)).map(Result::unwrap).collect();
        assert_eq!(values, [0, 2, 4]);
    });
}

pub(crate) fn join_awaits_several<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let (one, two, three) =
            tokio::join!(pool.run(double, 1), pool.run(no_threes, 3), pool.run(exclaim, "a".into()));
        assert_eq!((one.unwrap(), three.unwrap().as_str()), (2, "a!"));
        assert!(two.unwrap_err().is_panicked());
        let both = tokio::try_join!(pool.run(double, 2), pool.run(double, 3)).unwrap();
        assert_eq!(both, (4, 6));
    });
}

pub(crate) fn tokio_timeout_ends_the_job<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (task, hold) = occupy(&pool, &yard, "running").await;
        tokio::time::timeout(SHORT, task).await.unwrap_err();
        assert_eq!(pool.metrics().cancelled, 1);
        if S::PLACE == Place::Threads {
            hold.open.mark();
        }
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
        assert_eq!(hold.ended.is_marked(), S::PLACE == Place::Threads);
    });
}

pub(crate) fn a_borrowed_task_in_timeout_goes_on<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (mut task, hold) = occupy(&pool, &yard, "running").await;
        tokio::time::timeout(SHORT, &mut task).await.unwrap_err();
        assert!(!task.is_finished());
        hold.open.mark();
        task.await.unwrap();
    });
}

pub(crate) fn a_borrowed_task_in_select_goes_on<S: Subject>() {
    let (pool, yard) = (S::with_workers(2), Yard::new());
    drive(async {
        let (mut slow, hold) = occupy(&pool, &yard, "running").await;
        for n in 0..3 {
            tokio::select! {
                _ = &mut slow => panic!("it is held"),
                value = pool.run(double, n) => assert_eq!(value.unwrap(), 2 * n),
            }
        }
        hold.open.mark();
        tokio::select! {
            value = &mut slow => { value.unwrap(); }
            () = tokio::time::sleep(BOUND) => panic!("it is open"),
        }
    });
}

pub(crate) fn gather_collects_in_input_order<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let values = gather((0..50).map(|n| pool.run(double, n))).await.unwrap();
        assert_eq!(values, Vec::from_iter((0..50).map(|n| 2 * n)));
        let nested = gather([gather([pool.run(double, 1)]), gather([pool.run(double, 2)])]).await.unwrap();
        assert_eq!(nested, [[2], [4]]);
    });
}

pub(crate) fn gather_ends_at_the_first_error<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let error = gather([1, 2, 3, 4].map(|n| pool.run(no_threes, n))).await.unwrap_err();
        assert_eq!(error.panic_message(), Some("3 is a multiple of three"));
    });
}

pub(crate) fn settled_collects_errors_too<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let outcomes = gather([1, 3, 5].map(|n| pool.run(no_threes, n))).settled().await;
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    });
}

pub(crate) fn as_completed_yields_every_index_once<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let mut seen: Vec<usize> = as_completed((0..20).map(|n| pool.run(double, n)))
            .map(|(index, value)| {
                assert_eq!(value.unwrap() as usize, 2 * index);
                index
            })
            .collect()
            .await;
        seen.sort_unstable();
        assert_eq!(seen, Vec::from_iter(0..20));
    });
}

pub(crate) fn as_completed_yields_what_is_finished_first<S: Subject>() {
    let (pool, yard) = (S::with_workers(2), Yard::new());
    drive(async {
        let (slow, hold) = occupy(&pool, &yard, "slow").await;
        let mut stream = as_completed([slow]);
        stream.push(pool.run(double, 1));
        assert_eq!(stream.next().await.unwrap().0, 1);
        hold.open.mark();
        assert_eq!(stream.next().await.unwrap().0, 0);
        assert!(stream.next().await.is_none());
    });
}

pub(crate) fn wait_returns_all_when_told_to<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let mut tasks = [1, 3, 5].map(|n| pool.run(no_threes, n));
        let waited = wait(tasks.iter_mut(), ReturnWhen::AllCompleted).await;
        assert_eq!((waited.done.len(), waited.pending.len()), (3, 0));
    });
}

pub(crate) fn wait_returns_the_first<S: Subject>() {
    let (pool, yard) = (S::with_workers(2), Yard::new());
    drive(async {
        let (slow, hold) = occupy(&pool, &yard, "slow").await;
        let waited = wait([slow, pool.run(double, 1)], ReturnWhen::FirstCompleted).await;
        assert_eq!(waited.done[0].0, 1);
        let (index, slow) = waited.pending.into_iter().next().unwrap();
        assert_eq!((index, slow.is_finished()), (0, false));
        hold.open.mark();
        slow.await.unwrap();
    });
}
