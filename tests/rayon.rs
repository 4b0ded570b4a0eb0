//! What a rayon pool does with jobs that are parallel inside, and with jobs that wait.
#![cfg(feature = "rayon")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashSet,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use heavylift::{
    AnyExecutor, Executor, RayonPool, Shutdown, Task, TaskErrorKind, TaskStatus, run_in_rayon,
    with_cancel_flag,
};
use rayon::{ThreadPoolBuilder, prelude::*};

/// No test takes that long unless it hangs.
const LONG: Duration = Duration::from_secs(60);

/// Threads of one's own, named after their pool.
fn threads(name: &'static str, count: usize) -> Arc<rayon::ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(count).thread_name(move |n| format!("{name}-{n}"));
    Arc::new(builder.build().unwrap())
}

fn pool(count: usize) -> RayonPool {
    threads("own", count).into()
}

/// The pool on rayon's global pool, which has two threads here, and which is first asked for where it is most difficult: on a
/// thread of another pool.
fn global() -> &'static RayonPool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        ThreadPoolBuilder::new()
            .num_threads(2)
            .thread_name(|n| format!("global-{n}"))
            .build_global()
            .unwrap();
        threads("first", 3).install(|| {
            RayonPool::global();
        });
    });
    RayonPool::global()
}

fn here() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// Runs a test on a thread, and fails if it hangs.
fn in_time<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(test()));
    match receiver.recv_timeout(LONG) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Waits until something comes true that nothing announces.
fn eventually(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG);
        thread::yield_now();
    }
}

/// A piece of work that says when it has begun, and ends when it is told to.
struct Gate {
    begun: Receiver<()>,
    end: Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl FnOnce() + Send + 'static) {
        let ((begins, begun), (end, ends)) = (mpsc::channel(), mpsc::channel());
        let work = move || {
            begins.send(()).ok();
            ends.recv().ok();
        };
        (Self { begun, end }, work)
    }

    fn has_begun(&self) {
        self.begun.recv_timeout(LONG).unwrap();
    }

    fn open(&self) {
        self.end.send(()).ok();
    }
}

/// Starts a job on a pool of two threads, one of which is held by a part of the job, while the other waits for that part.
/// Afterwards the job waits for its second gate.
fn a_job_that_waits_for_its_part(pool: &RayonPool) -> (Gate, Gate, Task<()>) {
    let ((part, hold_part), (rest, hold_rest)) = (Gate::new(), Gate::new());
    let task = pool.run(move || {
        let is_stolen = AtomicBool::new(false);
        let left = || eventually(|| is_stolen.load(SeqCst));
        let right = || {
            is_stolen.store(true, SeqCst);
            hold_part();
        };
        rayon::join(left, right);
        hold_rest();
    });
    part.has_begun();
    (part, rest, task)
}

/// Has the thread that waits for a part do everything that rayon has for it by now.
fn let_it_answer(threads: &rayon::ThreadPool) {
    let (sender, receiver) = mpsc::channel();
    threads.spawn_fifo(move || sender.send(()).unwrap());
    receiver.recv_timeout(LONG).unwrap();
}

#[test]
fn a_job_and_its_parts_run_on_the_threads_of_its_pool() {
    let names = || (0..1000).into_par_iter().map(|_| here()).chain([here()]).collect::<HashSet<_>>();
    let own = pool(3).run(names).blocking_wait().unwrap();
    assert!(own.iter().all(|name| name.starts_with("own-")), "{own:?}");
    let (global, line) = (global().run(names), line!());
    assert_eq!((global.submitted_at().file(), global.submitted_at().line()), (file!(), line));
    let names = global.blocking_wait().unwrap();
    assert!(names.iter().all(|name| name.starts_with("global-")), "{names:?}");
}

#[test]
fn a_job_that_is_started_on_another_pool_of_rayons_runs_on_its_own() {
    global();
    let elsewhere = threads("elsewhere", 1);
    let name = elsewhere.install(|| {
        let (task, line) = (run_in_rayon(here), line!());
        assert_eq!((task.submitted_at().file(), task.submitted_at().line()), (file!(), line));
        task.blocking_wait()
    });
    assert!(name.as_ref().unwrap().starts_with("global-"), "{name:?}");
    let own = pool(1);
    let name = elsewhere.install(|| own.run(here).blocking_wait()).unwrap();
    assert_eq!(name, "own-0");
}

#[test]
fn every_thread_of_a_pool_may_wait_for_jobs_of_that_pool() {
    let double = |pool: &RayonPool, n: u64| pool.run(move || 2 * n).blocking_wait().unwrap();
    for pool in [pool(1), pool(2), global().clone()] {
        in_time(move || {
            let inner = pool.clone();
            // In a job, in its parts, and in a job that runs on top of one of these.
            let sum = move || (0..64).into_par_iter().map(|n| double(&inner, double(&inner, n))).sum::<u64>();
            assert_eq!(pool.run(sum).blocking_wait().unwrap(), 4 * 63 * 32);
        });
    }
}

#[test]
fn threads_that_are_in_no_job_may_wait_for_jobs_of_their_pool() {
    global();
    let sums = in_time(|| rayon::broadcast(|_| run_in_rayon(|| 1 + 1).blocking_wait().unwrap()));
    assert_eq!(sums, [2, 2]);
    let (threads, (gate, hold)) = (threads("own", 1), Gate::new());
    let pool = RayonPool::new(threads.clone());
    let (sender, receiver) = mpsc::channel();
    threads.spawn(move || {
        hold();
        sender.send(pool.run(here).blocking_wait()).unwrap();
    });
    gate.open();
    assert_eq!(receiver.recv_timeout(LONG).unwrap().unwrap(), "own-0");
}

#[test]
fn a_job_that_waits_lends_its_thread() {
    for pool in [pool(2), global().clone()] {
        in_time(move || {
            let (gate, hold) = Gate::new();
            // It needs every thread.
            let waited_for = pool.run(move || {
                hold();
                rayon::broadcast(|_| ()).len()
            });
            gate.has_begun();
            let waits = pool.run(move || {
                gate.open();
                waited_for.blocking_wait().unwrap()
            });
            assert_eq!(waits.blocking_wait().unwrap(), 2);
        });
    }
}

#[test]
fn a_job_that_waits_for_what_runs_beneath_it_is_told() {
    let pool = pool(2);
    in_time(move || {
        // For itself.
        let (sender, receiver) = mpsc::channel::<Task<()>>();
        let (told, tells) = mpsc::channel();
        let task = pool.run(move || told.send(receiver.recv().unwrap().blocking_wait()).unwrap());
        sender.send(task).unwrap();
        let error = tells.recv().unwrap().unwrap_err();
        assert_eq!(error.kind(), TaskErrorKind::Unavailable);
        assert!(error.to_string().contains("it waits for itself"), "{error}");
        // For the job that has it run.
        let (sender, receiver) = mpsc::channel::<Task<()>>();
        let (told, tells) = mpsc::channel();
        let inner = pool.clone();
        let (gate, hold) = Gate::new();
        let occupied = pool.run(hold);
        gate.has_begun();
        let task = pool.run(move || {
            let outer = receiver.recv().unwrap();
            let above = inner.run(move || outer.blocking_wait());
            told.send(above.blocking_wait().unwrap()).unwrap();
        });
        sender.send(task).unwrap();
        assert_eq!(tells.recv().unwrap().unwrap_err().kind(), TaskErrorKind::Unavailable);
        gate.open();
        occupied.blocking_wait().unwrap();
        eventually(|| pool.metrics().abandoned == 0);
    });
}

#[test]
fn no_job_begins_on_a_thread_that_waits_for_parts_of_another() {
    let threads = threads("own", 2);
    let pool = RayonPool::new(threads.clone());
    let (part, rest, waits) = a_job_that_waits_for_its_part(&pool);
    let queued = pool.run(here);
    let_it_answer(&threads);
    assert_eq!((queued.status(), pool.metrics().running), (TaskStatus::Queued, 1));
    part.open();
    rest.open();
    assert!(queued.blocking_wait().unwrap().starts_with("own-"));
    waits.blocking_wait().unwrap();
}

#[test]
fn a_thread_that_becomes_free_comes_for_a_job_that_the_other_has_not_begun() {
    let threads = threads("own", 2);
    let pool = RayonPool::new(threads.clone());
    let (part, rest, waits) = a_job_that_waits_for_its_part(&pool);
    let queued: Vec<_> = (0..10).map(|_| pool.run(here)).collect();
    let_it_answer(&threads);
    part.open();
    rest.has_begun();
    // The first job still runs, on its own thread.
    in_time(|| queued.into_iter().for_each(|task| drop(task.blocking_wait().unwrap())));
    assert!(!waits.is_finished());
    rest.open();
    waits.blocking_wait().unwrap();
}

#[test]
fn what_the_end_of_a_job_finds_owed_is_made_up_for() {
    let threads = threads("own", 1);
    let pool = RayonPool::new(threads.clone());
    let (sender, receiver) = mpsc::channel();
    let inner = pool.clone();
    let first = pool.run(move || {
        (0..10).for_each(|n| sender.send(inner.run(move || n)).unwrap());
        // It answers what it has called for itself, and cannot heed it.
        while rayon::yield_now() == Some(rayon::Yield::Executed) {}
        inner.metrics().queued
    });
    let tasks: Vec<_> = receiver.iter().take(10).collect();
    assert_eq!(first.blocking_wait().unwrap(), 10);
    let values: Vec<_> = in_time(|| tasks.into_iter().map(|task| task.blocking_wait().unwrap()).collect());
    assert_eq!(values, Vec::from_iter(0..10));
}

#[test]
fn the_flag_of_a_job_is_seen_by_its_parts_on_other_threads() {
    let pool = pool(2);
    let (begins, begun) = mpsc::channel();
    let (ends, ended) = mpsc::channel();
    let is_counted = Arc::new(AtomicBool::new(false));
    let may_end = is_counted.clone();
    let task = pool.run(move || {
        with_cancel_flag(|flag| {
            let is_stolen = AtomicBool::new(false);
            let left = || eventually(|| is_stolen.load(SeqCst));
            let right = || {
                is_stolen.store(true, SeqCst);
                begins.send(flag.is_cancelled()).unwrap();
                eventually(|| flag.is_cancelled());
                ends.send((flag.checkpoint().is_err(), heavylift::is_cancelled())).unwrap();
                eventually(|| may_end.load(SeqCst));
            };
            rayon::join(left, right);
        });
    });
    assert!(!begun.recv_timeout(LONG).unwrap());
    assert!(task.cancel() && task.is_finished());
    assert_eq!(pool.metrics().abandoned, 1);
    is_counted.store(true, SeqCst);
    assert_eq!(ended.recv_timeout(LONG).unwrap(), (true, false), "the other thread has no job of its own");
    eventually(|| pool.metrics().abandoned == 0);
}

#[test]
fn a_panic_in_a_part_is_an_error_of_its_task_and_reaches_no_handler() {
    let handled = Arc::new(AtomicBool::new(false));
    let handler = handled.clone();
    let builder = ThreadPoolBuilder::new().num_threads(2).panic_handler(move |_| handler.store(true, SeqCst));
    let pool = RayonPool::from(builder.build().unwrap());
    let line = line!() + 4;
    let sum = |bad: u32| {
        move || {
            let number = |n| {
                assert!(n != bad, "no luck with {n}");
                n
            };
            (0..1000).into_par_iter().map(number).sum::<u32>()
        }
    };
    for bad in [0, 999] {
        let error = pool.run(sum(bad)).blocking_wait().unwrap_err();
        assert!(error.is_panicked());
        assert_eq!(error.panic_message(), Some(format!("no luck with {bad}").as_str()));
        let place = format!("{}:{line}:", file!());
        assert!(error.panic_location().unwrap().starts_with(&place), "on whichever thread: {error}");
        assert!(error.into_panic().unwrap().is::<String>());
    }
    assert_eq!(pool.run(sum(1000)).blocking_wait().unwrap(), 499_500);
    let report = pool.shutdown(Shutdown::Drain).blocking_wait();
    assert!(report.is_complete() && !handled.load(SeqCst));
}

#[test]
fn a_job_is_in_the_runtime_that_it_was_submitted_from() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = runtime.block_on(async {
        let task = global().run(|| tokio::runtime::Handle::current().id());
        (tokio::runtime::Handle::current().id(), task.await.unwrap())
    });
    assert_eq!(id.0, id.1);
    assert!(global().run(|| tokio::runtime::Handle::try_current().is_err()).blocking_wait().unwrap());
}

/// Says when it is dropped.
struct Dropped(Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

#[test]
fn a_queued_job_that_is_cancelled_is_dropped_at_once_and_nobody_waits_for_it() {
    let threads = threads("own", 1);
    let pool = RayonPool::new(threads.clone());
    let (gate, hold) = Gate::new();
    threads.spawn(hold);
    gate.has_begun();
    let (sender, dropped) = mpsc::channel();
    let captured = Dropped(sender);
    let task = pool.run(move || drop(captured));
    assert!(task.cancel());
    assert_eq!(dropped.try_recv(), Ok(()), "though rayon's only thread is held by something else");
    let report = in_time({
        let pool = pool.clone();
        move || pool.shutdown(Shutdown::Drain).blocking_wait()
    });
    assert_eq!((report.cancelled, report.abandoned), (0, 0));
    assert_eq!(pool.metrics().queued, 0);
    gate.open();
}

#[test]
fn a_pool_ends_and_the_threads_it_was_lent_live_on() {
    let threads = threads("own", 2);
    let pool = RayonPool::new(threads.clone());
    assert_eq!((pool.metrics().workers, pool.metrics().idle_workers), (2, 2));
    let inner = pool.clone();
    // Awaited in a job, the shutdown does not wait for that job.
    let report = pool.run(move || inner.shutdown(Shutdown::Drain).blocking_wait());
    assert!(report.blocking_wait().unwrap().is_complete());
    assert!(pool.shutdown(Shutdown::Drain).blocking_wait().is_complete());
    assert_eq!((pool.metrics().workers, pool.metrics().idle_workers), (0, 0));
    assert!(pool.run(|| ()).blocking_wait().unwrap_err().is_closed());
    assert_eq!(threads.install(|| (0..10).into_par_iter().sum::<u32>()), 45);
    assert_eq!(RayonPool::new(threads.clone()).run(|| 1).blocking_wait().unwrap(), 1);
    drop(pool);
    eventually(|| Arc::strong_count(&threads) == 1);
}

#[test]
fn a_builder_says_which_setting_is_wrong() {
    let builder = || RayonPool::builder().threads(threads("own", 1));
    let table = [
        (builder().name(""), "name"),
        (builder().queue_limit(0), "queue_limit"),
        (builder().queue_timeout(Duration::ZERO), "queue_timeout"),
        (builder().run_timeout(Duration::ZERO), "run_timeout"),
    ];
    for (builder, field) in table {
        assert_eq!(builder.build().unwrap_err().field(), field);
    }
    let pool = builder().name("images").queue_limit(1).build().unwrap();
    assert!(format!("{pool:?}").starts_with("RayonPool { name: \"images\", workers: 1"), "{pool:?}");
    global();
    assert_eq!(RayonPool::builder().build().unwrap().metrics().workers, 2);
}

#[test]
fn an_executor_of_any_kind_may_be_a_rayon_pool() {
    let executor: AnyExecutor = global().into();
    let sum = |numbers: Vec<u64>| numbers.par_iter().sum::<u64>();
    assert_eq!(executor.execute(sum, vec![1, 2, 3]).blocking_wait().unwrap(), 6);
}

/// How long the race runs.
fn race_time() -> Duration {
    let seconds = std::env::var("RACE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(0.5))
}

/// One of the closures that live.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(live: &Arc<AtomicU64>) -> Self {
        live.fetch_add(1, SeqCst);
        Self(live.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Starts a job that waits, splits, or does neither.
fn start_some_job(pool: &RayonPool, n: u64, live: &Arc<AtomicU64>) -> Task<u64> {
    let (counted, inner) = (Counted::new(live), pool.clone());
    pool.run(move || {
        let _counted = counted;
        match n % 5 {
            0 => (0..50).into_par_iter().map(|n| n * n).sum(),
            1 => inner.run(move || n).blocking_wait().unwrap_or(0),
            2 => {
                let tasks: Vec<_> = (0..4).map(|n| inner.run(move || n)).collect();
                tasks.into_par_iter().map(|task| task.blocking_wait().unwrap_or(0)).sum()
            }
            3 => rayon::join(|| n, || n).0,
            _ => n,
        }
    })
}

/// Drops, cancels, or waits.
fn end_somehow(task: Task<u64>, n: u64) {
    match n % 7 {
        0 => drop(task),
        // What could not be cancelled was just about to finish.
        1 => assert!(task.cancel() || task.blocking_wait().is_ok()),
        _ => assert!(task.blocking_wait().is_ok()),
    }
}

#[test]
fn every_job_ends_once_while_jobs_wait_split_are_cancelled_and_dropped() {
    let (pool, live, begun) = (pool(3), Arc::new(AtomicU64::new(0)), Instant::now());
    let submit = |mut n: u64| {
        while begun.elapsed() < race_time() {
            n += 1;
            let tasks: Vec<_> = (n..n + 20).map(|n| start_some_job(&pool, n, &live)).collect();
            (n..).zip(tasks).for_each(|(n, task)| end_somehow(task, n));
        }
    };
    thread::scope(|scope| {
        (0..3).for_each(|submitter| _ = scope.spawn(move || submit(submitter)));
    });
    let closing = pool.shutdown(Shutdown::Drain);
    assert!(in_time(|| closing.blocking_wait()).is_complete());
    let metrics = pool.metrics();
    assert_eq!(metrics.submitted, metrics.succeeded + metrics.cancelled, "{metrics:?}");
    assert_eq!((metrics.queued, metrics.running, metrics.abandoned), (0, 0, 0));
    assert_eq!(live.load(SeqCst), 0, "every closure is gone");
}
