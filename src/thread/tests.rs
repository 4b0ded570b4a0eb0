//! What only injected failures show.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::{Duration, Instant},
};

use super::*;
use crate::{
    Priority,
    sync::{Sleeper, Slept},
    thread::{
        dispatch::{Act, Dispatch, Turn},
        queue::Queued,
        seat::ThreadJob,
    },
};

const LONG: Duration = Duration::from_secs(60);

/// Makes a pool to which the system gives so many threads, then refuses so many, then gives again. Returns how many were
/// asked for, too.
fn pool_with_refusals(workers: usize, given: usize, refused: usize) -> (ThreadPool, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let builder = ThreadPool::builder().max_workers(workers).spawn(Box::new(move |builder, life| {
        let nth = count.fetch_add(1, SeqCst);
        if (given..given + refused).contains(&nth) {
            return Err(io::Error::from_raw_os_error(11));
        }
        builder.spawn(life).map(drop)
    }));
    (builder.build().unwrap(), asked)
}

#[test]
fn a_refused_thread_is_asked_for_again_while_every_worker_is_stuck() {
    let (pool, asked) = pool_with_refusals(2, 1, 3);
    let (release, released) = mpsc::channel();
    let stuck = pool.run(move || released.recv_timeout(LONG));
    // Only a second worker can run this, and nothing else happens in the pool.
    let task = pool.run(move || release.send(()).is_ok());
    assert!(task.blocking_wait().unwrap());
    assert_eq!(stuck.blocking_wait().unwrap(), Ok(()));
    assert_eq!(asked.load(SeqCst), 5);
}

#[test]
fn a_refused_thread_is_not_asked_for_with_every_submission() {
    let (pool, asked) = pool_with_refusals(2, 1, usize::MAX / 2);
    let (release, released) = mpsc::channel::<()>();
    let stuck = pool.run(move || released.recv().is_err());
    let start = std::time::Instant::now();
    let tasks: Vec<_> = (0..10_000).map(|n| pool.run(move || n)).collect();
    drop(release);
    assert!(stuck.blocking_wait().unwrap());
    assert!(tasks.into_iter().enumerate().all(|(n, task)| task.blocking_wait().unwrap() == n));
    let pauses = start.elapsed().as_millis() / 10;
    assert!(asked.load(SeqCst) as u128 <= 3 + pauses, "{asked:?} in {pauses} pauses");
}

#[test]
fn without_any_worker_jobs_fail_and_later_ones_succeed() {
    let (pool, _) = pool_with_refusals(2, 0, 1);
    let error = pool.run(|| 1).blocking_wait().unwrap_err();
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("Resource temporarily unavailable"), "{error}");
    assert_eq!(pool.run(|| 2).blocking_wait().unwrap(), 2);
}

/// A job that breaks the promise not to unwind.
struct Bug(mpsc::Sender<String>);

impl Queued for Bug {
    fn due(&self) -> Instant {
        Instant::now()
    }
}

impl ThreadJob for Bug {
    fn run(self: Arc<Self>) {
        panic!("a bug of ours");
    }

    fn is_queued(&self) -> bool {
        true
    }

    fn cancel(&self) -> u64 {
        0
    }

    fn refuse(&self, _pool: &str) {}

    fn fail(&self, reason: &str) {
        self.0.send(reason.to_owned()).unwrap();
    }
}

#[test]
fn a_worker_that_breaks_down_fails_its_task_and_is_replaced() {
    let pool = ThreadPool::builder().max_workers(1).min_workers(1).name("frail").build().unwrap();
    let (sender, receiver) = mpsc::channel();
    pool.shared().enqueue(Arc::new(Bug(sender)));
    let reason = receiver.recv_timeout(LONG).unwrap();
    assert!(reason.contains("\"frail\"") && reason.contains("a bug in heavylift"), "{reason}");
    assert_eq!(pool.run(|| 3).blocking_wait().unwrap(), 3);
    assert!(pool.shutdown(Shutdown::Drain).blocking_wait().is_complete());
    assert_eq!(pool.metrics().workers, 0);
}

#[test]
fn a_burst_wakes_one_sleeper_and_that_one_the_next() {
    let (dispatch, sleeper) = (Dispatch::new(2, 2), Sleeper::current());
    let workers = [dispatch.hire(), dispatch.hire()];
    for number in workers {
        assert!(matches!(dispatch.look(number, &sleeper, Slept::Woken, false), Turn::Sleep(_)));
    }
    assert!(matches!(dispatch.submit(1), Ok(Act::Wake(_))));
    assert!(matches!(dispatch.submit(2), Ok(Act::Nothing)));
    // The one that fell asleep last is woken first.
    assert!(matches!(dispatch.look(workers[0], &sleeper, Slept::Woken, false), Turn::Sleep(_)));
    assert!(matches!(dispatch.look(workers[1], &sleeper, Slept::Woken, false), Turn::Run(1, Act::Wake(_))));
    assert!(matches!(dispatch.look(workers[0], &sleeper, Slept::TooLong, false), Turn::Run(2, Act::Nothing)));
}

#[test]
fn a_batch_is_run_in_its_order() {
    let pool = ThreadPool::builder().max_workers(1).build().unwrap();
    let (sender, receiver) = mpsc::channel();
    let cells: Vec<Arc<dyn ThreadJob>> = (0..3).map(|n| batch_job(&pool, n, &sender)).collect();
    let act = pool.shared().dispatch().submit_batch(cells).ok().unwrap();
    pool.shared().perform(act);
    assert_eq!(receiver.iter().take(3).collect::<Vec<_>>(), [0, 1, 2]);
}

fn batch_job(pool: &ThreadPool, n: u32, sender: &mpsc::Sender<u32>) -> Arc<dyn ThreadJob> {
    let sender = sender.clone();
    let job = move || sender.send(n).unwrap();
    let label = crate::task::label("()", &mut Options::default(), Location::caller());
    let load = Load { job, runtime: None, place: crate::pool::Place::default() };
    pool.shared().counters.submitted();
    Cell::new(label, &Options::default(), ThreadSeat::new(pool.shared().clone(), Priority::Normal), load)
}
