//! `Task` as a value: its types, its wakes, and what is dropped where.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    cell::Cell,
    error::Error,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use futures::{FutureExt, future::FusedFuture};
use heavylift::{
    CancelHandle, Flatten, JobError, Refused, Shutdown, Task, TaskError, TaskStatus, ThreadPool,
};
use tokio_test::{assert_pending, assert_ready, task::spawn};

const BOUND: Duration = Duration::from_secs(60);

fn pool() -> ThreadPool {
    ThreadPool::builder().max_workers(1).build().unwrap()
}

/// A job that holds the one worker until the sender is used or dropped.
fn occupy(pool: &ThreadPool) -> (Task<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    let task = pool.run(move || {
        begun.send(()).unwrap();
        let _ = is_open.recv_timeout(BOUND);
    });
    has_begun.recv_timeout(BOUND).unwrap();
    (task, open)
}

/// Counts its drops; the last one may be a bomb.
struct Counted(Arc<AtomicUsize>, Fuse);

enum Fuse {
    Safe,
    Bomb,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        assert!(!matches!(self.1, Fuse::Bomb), "a bomb went off");
    }
}

#[test]
fn a_task_is_send_sync_and_unpin_for_every_value_that_is_send() {
    fn all<T: Send + Sync + Unpin + 'static>() {}
    all::<Task<u8>>();
    all::<Task<Cell<u8>>>(); // not `Sync`
    all::<Task<std::marker::PhantomPinned>>(); // not `Unpin`
    all::<Flatten<Cell<u8>, TaskError>>();
    all::<CancelHandle>();
    all::<TaskError>();
    fn fused<F: FusedFuture>(_: &F) {}
    fused(&pool().run(|| ()));
    fused(&pool().run(|| Ok::<_, TaskError>(())).flatten());
}

#[test]
fn a_task_and_its_error_are_small() {
    assert!(size_of::<Task<[u8; 4096]>>() <= 7 * size_of::<usize>(), "{}", size_of::<Task<[u8; 4096]>>());
    assert_eq!(size_of::<Task<u8>>(), size_of::<Task<String>>());
    assert_eq!(size_of::<Option<Task<u8>>>(), size_of::<Task<u8>>());
    assert_eq!(size_of::<Result<(), TaskError>>(), size_of::<usize>());
}

#[test]
fn a_task_of_anything_is_shown() {
    struct Opaque;
    let task = pool().job(|| Opaque).name("opaque").run();
    let text = format!("{task:?}");
    assert!(
        text.starts_with(&format!("Task {{ id: TaskId({}), name: \"opaque\", status: ", task.id())),
        "{text}"
    );
    let flat = pool().job(|| Ok::<_, io::Error>(Opaque)).name("flat").run().flatten();
    assert!(format!("{flat:?}").starts_with("Flatten { task: Task { id: "));
    assert!(task.blocking_wait().is_ok());
}

#[test]
fn a_task_is_called_after_its_function() {
    fn a_named_function() -> u8 {
        1
    }
    let pool = pool();
    let task = pool.run(a_named_function);
    assert!(task.name().ends_with("a_named_function"), "{}", task.name());
    assert_eq!(task.blocking_wait().unwrap(), 1);
}

#[test]
fn only_the_last_waker_is_woken() {
    let pool = pool();
    let (mut task, open) = occupy(&pool);
    let first = futures_waker();
    let second = futures_waker();
    assert!(poll_with(&mut task, &first).is_pending());
    assert!(poll_with(&mut task, &second).is_pending());
    drop(open);
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!((first.count(), second.count()), (0, 1));
    assert!(poll_with(&mut task, &second).is_ready());
    assert!(task.is_terminated());
}

#[test]
fn the_same_waker_is_kept() {
    let pool = pool();
    let (mut task, open) = occupy(&pool);
    let waker = futures_waker();
    assert!(poll_with(&mut task, &waker).is_pending());
    let handles = Arc::strong_count(&waker);
    for _ in 0..10 {
        assert!(poll_with(&mut task, &waker).is_pending());
    }
    assert_eq!(Arc::strong_count(&waker), handles, "polled again, nothing is cloned for good");
    drop(open);
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!(waker.count(), 1);
    drop(task);
    assert_eq!(Arc::strong_count(&waker), 1, "a waker is not kept longer than it is needed");
}

struct Count(AtomicUsize);

impl Count {
    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn futures_waker() -> Arc<Count> {
    Arc::new(Count(AtomicUsize::new(0)))
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Arc<Count>) -> std::task::Poll<F::Output> {
    future.poll_unpin(&mut std::task::Context::from_waker(&waker.clone().into()))
}

#[test]
fn a_task_is_woken_once_and_not_before() {
    let pool = pool();
    let (task, open) = occupy(&pool);
    let mut task = spawn(task);
    assert_pending!(task.poll());
    assert!(!task.is_woken());
    drop(open);
    pool.run(|| ()).blocking_wait().unwrap();
    assert!(task.is_woken());
    assert_ready!(task.poll()).unwrap();
}

#[test]
#[should_panic = "a task must not be polled after it has resolved"]
fn polling_a_resolved_task_panics() {
    let mut task = pool().run(|| ());
    task.blocking_wait_timeout(BOUND).unwrap().unwrap();
    let _ = (&mut task).now_or_never();
}

#[test]
fn a_resolved_task_answers_every_question() {
    let mut task = pool().job(|| 1).name("done").run();
    let id = task.id();
    task.blocking_wait_timeout(BOUND).unwrap().unwrap();
    assert_eq!((task.id(), task.name(), task.status()), (id, "done", TaskStatus::Finished));
    assert!(task.is_finished() && !task.cancel() && task.is_terminated());
    let handle = task.cancel_handle();
    assert!(handle.is_finished() && !handle.cancel() && handle.id() == id);
    task.on_done(|_| panic!("there is no outcome any more"));
    task.detach();
}

#[test]
fn the_closure_of_a_cancelled_queued_job_is_dropped_at_once() {
    let pool = pool();
    let (running, open) = occupy(&pool);
    let drops = Arc::new(AtomicUsize::new(0));
    let queue = |fuse| {
        let captured = Counted(drops.clone(), fuse);
        pool.run(move || _ = &captured)
    };
    let (cancelled, dropped, bomb) = (queue(Fuse::Safe), queue(Fuse::Safe), queue(Fuse::Bomb));
    assert!(cancelled.cancel());
    assert_eq!(drops.load(SeqCst), 1);
    drop(dropped);
    assert_eq!(drops.load(SeqCst), 2);
    assert!(bomb.cancel(), "its panic stops at the pool");
    assert_eq!(drops.load(SeqCst), 3);
    drop(open);
    running.blocking_wait().unwrap();
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!(drops.load(SeqCst), 3);
}

#[test]
fn a_value_that_panics_in_drop_hurts_nobody() {
    let pool = pool();
    let drops = Arc::new(AtomicUsize::new(0));
    let bomb = |drops: &Arc<AtomicUsize>| Counted(drops.clone(), Fuse::Bomb);

    // In a task that is dropped after it has finished, on this thread.
    let counter = drops.clone();
    let task = pool.run(move || bomb(&counter));
    pool.run(|| ()).blocking_wait().unwrap();
    assert!(task.is_finished());
    drop(task);
    assert_eq!(drops.load(SeqCst), 1);

    // On the worker, where nobody wants it any more: detached, and cancelled while it ran.
    let counter = drops.clone();
    pool.run(move || bomb(&counter)).detach();
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!(drops.load(SeqCst), 2);

    let (begun, has_begun) = mpsc::channel();
    let (open, is_open) = mpsc::channel::<()>();
    let counter = drops.clone();
    let task = pool.run(move || {
        begun.send(()).unwrap();
        let _ = is_open.recv_timeout(BOUND);
        bomb(&counter)
    });
    has_begun.recv_timeout(BOUND).unwrap();
    drop(task);
    drop(open);
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!(drops.load(SeqCst), 3);
    assert_eq!(pool.metrics().workers, 1);
    assert!(pool.shutdown(Shutdown::Drain).blocking_wait().is_complete());
}

#[test]
fn a_value_lives_as_long_as_its_task() {
    let pool = pool();
    let drops = Arc::new(AtomicUsize::new(0));
    let counter = drops.clone();
    let task = pool.run(move || Counted(counter, Fuse::Safe));
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!(drops.load(SeqCst), 0);
    let value = task.blocking_wait().ok().unwrap();
    assert_eq!(drops.load(SeqCst), 0);
    drop(value);
    assert_eq!(drops.load(SeqCst), 1);
}

#[tokio::test]
async fn flatten_makes_one_error_of_two() {
    let pool = pool();
    let fails = |text: &'static str| move || Err::<u8, _>(io::Error::other(text));
    assert_eq!(pool.run(fails("mine")).flatten().await.unwrap_err().to_string(), "mine");
    assert_eq!(pool.run(|| io::Result::Ok(3)).flatten().await.unwrap(), 3);

    let panics = pool.run(|| -> io::Result<u8> { panic!("no luck") }).flatten().await.unwrap_err();
    assert_eq!(panics.kind(), io::ErrorKind::Other);
    assert!(panics.get_ref().unwrap().downcast_ref::<TaskError>().unwrap().is_panicked());

    let any = pool.run(|| -> anyhow::Result<u8> { panic!("no luck") }).flatten().await.unwrap_err();
    assert!(any.downcast_ref::<TaskError>().unwrap().is_panicked());
    let any = pool.run(|| -> anyhow::Result<u8> { anyhow::bail!("mine") }).flatten().await.unwrap_err();
    assert_eq!(any.to_string(), "mine");

    let job = pool.run(|| -> Result<u8, JobError> { panic!("no luck") }).flatten().await.unwrap_err();
    assert!(job.to_string().ends_with(": no luck"), "{job}");

    let boxed =
        pool.run(|| -> Result<u8, Box<dyn Error + Send + Sync>> { panic!("no luck") }).flatten().await;
    assert!(boxed.unwrap_err().downcast_ref::<TaskError>().unwrap().is_panicked());
}

#[test]
fn dropping_a_flattened_task_cancels_it() {
    let pool = pool();
    let (running, open) = occupy(&pool);
    let flat = pool.run(|| Ok::<_, TaskError>(())).flatten();
    drop(flat);
    assert_eq!(pool.metrics().cancelled, 1);
    drop(open);
    running.blocking_wait().unwrap();
}

#[tokio::test]
async fn a_task_error_becomes_an_io_error_of_a_fitting_kind() {
    let pool = ThreadPool::builder().max_workers(1).queue_limit(1).build().unwrap();
    let (running, open) = occupy(&pool);
    let limited = pool.job(|| ()).queue_timeout(Duration::from_millis(1)).run();
    let overloaded = io::Error::from(pool.run(|| ()).await.unwrap_err());
    assert_eq!(overloaded.kind(), io::ErrorKind::ResourceBusy);
    let late = io::Error::from(limited.await.unwrap_err());
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    running.cancel();
    let cancelled = io::Error::from(running.await.unwrap_err());
    assert_eq!(cancelled.kind(), io::ErrorKind::Other, "not `Interrupted`, which std would try again");
    assert!(cancelled.to_string().ends_with("was cancelled"), "the message stays");
    drop(open);
}

#[test]
fn a_refusal_is_an_error_whatever_the_job_is() {
    fn error<E: Error + Into<TaskError>>(error: E) -> (String, TaskError) {
        (error.to_string(), error.into())
    }
    struct NoTraits;
    let pool = pool();
    drop(pool.shutdown(Shutdown::Drain));
    let nothing = NoTraits;
    let refused: Refused<_> = pool
        .try_run(move || {
            let _nothing = &nothing;
        })
        .unwrap_err();
    assert_eq!(format!("{refused:?}"), "Refused { kind: Closed, .. }");
    let (text, error) = error(refused);
    assert_eq!(text, error.to_string());
    assert!(error.is_closed() && text.ends_with("was refused: pool \"pool\" is shut down"), "{text}");
}

#[test]
fn a_panicking_callback_waker_or_payload_ends_nothing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a payload that panics");
        }
    }
    impl fmt::Debug for Bomb {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    let pool = pool();
    pool.run(|| std::panic::panic_any(Bomb)).detach();
    pool.run(|| ()).blocking_wait().unwrap();
    assert_eq!((pool.metrics().panicked, pool.metrics().workers), (1, 1));
}

#[tokio::test]
async fn awaiting_finished_tasks_leaves_others_their_turn() {
    let pool = pool();
    let tasks: Vec<_> = (0..1000).map(|n| pool.run(move || n)).collect();
    while !tasks.iter().all(Task::is_finished) {
        tokio::task::yield_now().await;
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let other = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    for task in tasks {
        task.await.unwrap();
    }
    other.abort();
    assert!(turns.load(SeqCst) >= 5, "{} turns", turns.load(SeqCst));
}
