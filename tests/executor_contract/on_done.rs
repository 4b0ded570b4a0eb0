//! Callbacks: once, before the awaiter is woken, and at nobody's expense.

use std::{
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
};

use futures::FutureExt;

use crate::{
    drive::{drive, until},
    jobs::{double, no_threes, occupy, six},
    subject::Subject,
    yard::Yard,
};

/// Notes in which order things happen.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn notes(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

impl Wake for Diary {
    fn wake(self: Arc<Self>) {
        self.note("woken");
    }
}

pub(crate) fn a_callback_runs_once_before_the_awaiter_is_woken<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (mut task, hold) = occupy(&pool, &yard, "running").await;
        let diary = Diary::default();
        let waker = Waker::from(Arc::new(diary.clone()));
        assert!(task.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        let in_callback = diary.clone();
        task.on_done(move |outcome| {
            assert!(outcome.is_ok());
            in_callback.note("called");
        });
        assert!(diary.notes().is_empty());
        hold.open.mark();
        until("the wake-up", || diary.notes().len() == 2).await;
        assert_eq!(diary.notes(), ["called", "woken"]);
        assert!(matches!(task.poll_unpin(&mut Context::from_waker(&waker)), Poll::Ready(Ok(_))));
        assert_eq!(diary.notes().len(), 2);
    });
}

pub(crate) fn callbacks_run_in_the_order_of_registration<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (task, hold) = occupy(&pool, &yard, "running").await;
        let diary = Diary::default();
        for what in ["first", "second", "third"] {
            let diary = diary.clone();
            task.on_done(move |_| diary.note(what));
        }
        hold.open.mark();
        task.await.unwrap();
        assert_eq!(diary.notes(), ["first", "second", "third"]);
    });
}

pub(crate) fn a_callback_of_a_cancelled_task_runs_on_the_thread_that_cancels<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let queued = pool.run(double, 1);
        let here = thread::current().id();
        for task in [&running, &queued] {
            let (sender, receiver) = mpsc::channel();
            task.on_done(move |outcome| {
                let cancelled = outcome.as_ref().unwrap_err().is_cancelled();
                sender.send((cancelled, thread::current().id())).unwrap();
            });
            assert!(task.cancel());
            assert_eq!(receiver.try_recv(), Ok((true, here)));
        }
        hold.open.mark();
    });
}

pub(crate) fn a_callback_of_a_dropped_task_is_told<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        let (running, hold) = occupy(&pool, &yard, "running").await;
        let (sender, receiver) = mpsc::channel();
        running.on_done(move |outcome| sender.send(outcome.as_ref().unwrap_err().to_string()).unwrap());
        drop(running);
        let told = receiver.try_recv().unwrap();
        assert!(told.ends_with("was cancelled"), "{told}");
        hold.open.mark();
    });
}

pub(crate) fn a_callback_on_a_finished_task_runs_at_once<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let task = pool.run(double, 2);
        until("the end of the task", || task.is_finished()).await;
        let (sender, receiver) = mpsc::channel();
        task.on_done(move |outcome| {
            sender.send((*outcome.as_ref().unwrap(), thread::current().id())).unwrap();
        });
        assert_eq!(receiver.try_recv(), Ok((4, thread::current().id())));
        assert_eq!(task.await.unwrap(), 4);
    });
}

pub(crate) fn a_panic_in_a_callback_hurts_nobody<S: Subject>() {
    let (pool, yard) = (S::with_workers(1), Yard::new());
    drive(async {
        // Late on executors that run at once, early on the others.
        let gate = yard.spot("gate");
        let task = pool.run(six, 0);
        let (sender, receiver) = mpsc::channel();
        task.on_done(|_| panic!("in a callback"));
        task.on_done(move |outcome| sender.send(*outcome.as_ref().unwrap()).unwrap());
        gate.mark();
        assert_eq!(task.await.unwrap(), 6);
        assert_eq!(receiver.try_recv(), Ok(6));
        assert_eq!(pool.run(double, 1).await.unwrap(), 2);
    });
}

pub(crate) fn blocking_in_a_callback_panics<S: Subject>() {
    let pool = S::with_workers(2);
    drive(async {
        let other = pool.run(double, 1);
        let task = pool.run(double, 2);
        let (sender, receiver) = mpsc::channel();
        task.on_done(move |_| {
            let blocking = std::panic::AssertUnwindSafe(|| other.blocking_wait());
            let panic = std::panic::catch_unwind(blocking).unwrap_err();
            sender.send(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap();
        });
        assert_eq!(task.await.unwrap(), 4);
        let text = "blocking inside `on_done` would hold up the pool: start a job instead";
        assert_eq!(receiver.try_recv(), Ok(Some(text.to_owned())));
    });
}

pub(crate) fn a_callback_sees_the_error<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let task = pool.run(no_threes, 9);
        let (sender, receiver) = mpsc::channel();
        task.on_done(move |outcome| {
            let error = outcome.as_ref().unwrap_err();
            sender.send(error.panic_message().map(str::to_owned)).unwrap();
        });
        let error = task.await.unwrap_err();
        assert_eq!(receiver.try_recv().unwrap().as_deref(), error.panic_message());
    });
}

pub(crate) fn a_callback_may_start_another_job<S: Subject>() {
    let pool = S::with_workers(1);
    drive(async {
        let task = pool.run(double, 2);
        let (sender, receiver) = mpsc::channel();
        let again = pool.clone();
        task.on_done(move |outcome| {
            sender.send(again.run(double, *outcome.as_ref().unwrap())).unwrap();
        });
        assert_eq!(task.await.unwrap(), 4);
        assert_eq!(receiver.try_recv().unwrap().await.unwrap(), 8);
    });
}
