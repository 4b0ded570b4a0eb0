//! What a thread pool does with jobs, whatever becomes of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashSet,
    env,
    error::Error,
    pin::Pin,
    process::Command,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use heavylift::{
    Shutdown, Task, TaskErrorKind, TaskStatus, ThreadPool, ThreadPoolBuilder, is_cancelled,
    run_in_thread_pool,
};
use tokio_test::{assert_pending, assert_ready, task};

/// No test takes that long unless it hangs.
const LONG: Duration = Duration::from_secs(60);

fn builder(workers: usize) -> ThreadPoolBuilder {
    ThreadPool::builder().max_workers(workers)
}

fn pool(workers: usize) -> ThreadPool {
    builder(workers).build().unwrap()
}

/// A job that says when it has begun, and ends when it is told to.
struct Gate {
    begun: Receiver<()>,
    end: Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl FnOnce() + Send + 'static) {
        let ((begins, begun), (end, ends)) = (mpsc::channel(), mpsc::channel());
        let job = move || {
            begins.send(()).ok();
            ends.recv().ok();
        };
        (Self { begun, end }, job)
    }

    /// Starts a gate and waits until it runs.
    fn on(pool: &ThreadPool) -> (Self, Task<()>) {
        let (gate, job) = Self::new();
        let task = pool.run(job);
        gate.has_begun();
        (gate, task)
    }

    fn has_begun(&self) {
        self.begun.recv_timeout(LONG).unwrap();
    }

    fn open(&self) {
        self.end.send(()).ok();
    }
}

/// Says when it is dropped.
struct Dropped(Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

/// Waits until something comes true that nothing announces.
fn eventually(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "it never came true");
        thread::yield_now();
    }
}

fn spin_until_cancelled() {
    while !is_cancelled() {
        thread::yield_now();
    }
}

mod results {
    use super::*;

    #[tokio::test]
    async fn a_job_yields_its_value() {
        let text = String::from("heavy");
        assert_eq!(run_in_thread_pool(move || text + "lift").await.unwrap(), "heavylift");
        assert_eq!(ThreadPool::cpu().run(|| 6 * 7).await.unwrap(), 42);
        assert_eq!(ThreadPool::cpu().clone().submit(|| 6 * 7).await.unwrap().await.unwrap(), 42);
    }

    #[test]
    fn one_worker_runs_jobs_in_the_order_in_which_they_came() {
        let pool = pool(1);
        let order = Arc::new(Mutex::new(Vec::new()));
        let (gate, first) = Gate::on(&pool);
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let order = order.clone();
                pool.run(move || order.lock().unwrap().push(n))
            })
            .collect();
        gate.open();
        first.blocking_wait().unwrap();
        tasks.into_iter().for_each(|task| task.blocking_wait().unwrap());
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn jobs_run_at_the_same_time_up_to_the_limit() {
        let pool = pool(4);
        let barrier = Arc::new(Barrier::new(4));
        let meet = || {
            let barrier = barrier.clone();
            pool.run(move || barrier.wait().is_leader())
        };
        let tasks: Vec<_> = (0..8).map(|_| meet()).collect();
        let leaders = tasks.into_iter().map(|task| task.blocking_wait().unwrap());
        assert_eq!(leaders.filter(|&leads| leads).count(), 2);
        assert_eq!(pool.metrics().workers, 4);
    }

    #[test]
    fn a_panic_is_a_value_and_the_worker_lives_on() {
        let pool = pool(1);
        let worker = pool.run(|| thread::current().id()).blocking_wait().unwrap();
        let error = pool.run(|| -> u8 { panic!("lost {}", 3) }).blocking_wait().unwrap_err();
        assert_eq!((error.kind(), error.panic_message()), (TaskErrorKind::Panicked, Some("lost 3")));
        assert!(error.panic_location().unwrap().contains("tests/thread_pool.rs"), "{error:?}");
        let error = pool.run(|| std::panic::panic_any(17u64)).blocking_wait().unwrap_err();
        assert_eq!(error.into_panic().unwrap().downcast_ref(), Some(&17u64));
        assert_eq!(pool.run(|| thread::current().id()).blocking_wait().unwrap(), worker);
        assert_eq!((pool.metrics().panicked, pool.metrics().running), (2, 0));
    }

    #[test]
    fn a_job_is_dropped_before_its_result_is_seen() {
        let (sender, receiver) = mpsc::channel();
        let captured = Dropped(sender);
        let task = pool(1).run(move || {
            let _keep = &captured;
        });
        task.blocking_wait().unwrap();
        receiver.try_recv().unwrap();
    }

    #[test]
    fn a_task_knows_its_name_and_the_line_that_started_it() {
        let pool = pool(1);
        let line = line!() + 1;
        let task = pool.run(|| ());
        assert_eq!((task.submitted_at().file(), task.submitted_at().line()), (file!(), line));
        assert!(task.name().contains("a_task_knows_its_name"), "{}", task.name());
        let task = run_in_thread_pool(|| ());
        assert_eq!(task.submitted_at().line(), line!() - 1);
        let error = pool.job(|| panic!("no luck")).name("thumbnail").run().blocking_wait().unwrap_err();
        assert_eq!((error.name(), error.submitted_at().line()), ("thumbnail", line!() - 1));
        let task = pool.try_run(|| ()).unwrap();
        assert_eq!(task.submitted_at().line(), line!() - 1);
    }

    #[test]
    fn handles_are_shared_and_sent() {
        fn shared<T: Clone + Send + Sync + Unpin + std::fmt::Debug + 'static>(_: &T) {}
        let pool = builder(3).name("images").build().unwrap();
        shared(&pool);
        assert_eq!(
            format!("{pool:?}"),
            "ThreadPool { name: \"images\", workers: 0, queued: 0, running: 0, .. }"
        );
        let clone = pool.clone();
        assert_eq!(thread::spawn(move || clone.run(|| 1).blocking_wait()).join().unwrap().unwrap(), 1);
    }
}

mod bounded {
    use super::*;

    #[test]
    fn a_full_queue_hands_the_job_back() {
        let pool = builder(1).queue_limit(1).name("images").build().unwrap();
        let (gate, first) = Gate::on(&pool);
        let second = pool.try_run(|| 2).unwrap();
        let refused = pool.try_run(|| 3).unwrap_err();
        assert!(refused.is_full() && !refused.is_closed());
        assert_eq!(refused.into_inner()(), 3);
        let error = pool.run(|| 4).blocking_wait().unwrap_err();
        assert!(error.is_overloaded());
        assert!(error.to_string().contains("\"images\"") && error.to_string().contains("queue_limit is 1"));
        assert_eq!(pool.metrics().refused, 2);
        gate.open();
        first.blocking_wait().unwrap();
        assert_eq!(second.blocking_wait().unwrap(), 2);
    }

    #[test]
    fn submit_waits_for_room() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        let (gate, first) = Gate::on(&pool);
        let second = pool.run(|| 2);
        let mut submit = task::spawn(pool.submit(|| 3));
        assert_pending!(submit.poll());
        gate.open();
        first.blocking_wait().unwrap();
        assert!(submit.is_woken());
        let third = assert_ready!(submit.poll()).unwrap();
        assert_eq!((second.blocking_wait().unwrap(), third.blocking_wait().unwrap()), (2, 3));
    }

    #[test]
    fn a_submit_that_is_dropped_gives_its_turn_to_the_next() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        let (gate, first) = Gate::on(&pool);
        let queued = pool.run(|| ());
        let (mut early, mut late) = (task::spawn(pool.submit(|| 1)), task::spawn(pool.submit(|| 2)));
        assert_pending!(early.poll());
        assert_pending!(late.poll());
        drop(early);
        gate.open();
        first.blocking_wait().unwrap();
        queued.blocking_wait().unwrap();
        assert_eq!(assert_ready!(late.poll()).unwrap().blocking_wait().unwrap(), 2);
    }

    #[test]
    fn there_is_room_as_soon_as_a_result_is_seen() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        for n in 0..1000 {
            let tasks = [pool.try_run(move || n).unwrap(), pool.try_run(move || n).unwrap()];
            tasks.into_iter().for_each(|task| assert_eq!(task.blocking_wait().unwrap(), n));
        }
    }

    #[test]
    fn a_cancelled_job_gives_its_place_up_at_once() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        let (gate, _first) = Gate::on(&pool);
        drop(pool.try_run(|| ()).unwrap());
        let queued = pool.try_run(|| 5).unwrap();
        gate.open();
        assert_eq!(queued.blocking_wait().unwrap(), 5);
    }

    #[test]
    fn a_larger_pool_lets_in_who_waits() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        let (gate, _first) = Gate::on(&pool);
        let _queued = pool.run(|| ());
        let mut submit = task::spawn(pool.submit(|| 3));
        assert_pending!(submit.poll());
        pool.resize(2).unwrap();
        assert!(submit.is_woken());
        assert_eq!(assert_ready!(submit.poll()).unwrap().blocking_wait().unwrap(), 3);
        gate.open();
    }
}

mod cancelling {
    use super::*;

    #[test]
    fn a_job_that_obeys_at_once_is_no_quicker_than_who_stopped_it() {
        let pool = pool(1);
        for _ in 0..2000 {
            let (begun, has_begun) = mpsc::channel();
            let task = pool.run(move || {
                begun.send(()).unwrap();
                while !is_cancelled() {
                    std::hint::spin_loop();
                }
            });
            has_begun.recv_timeout(LONG).unwrap();
            assert!(task.cancel());
            assert!(task.blocking_wait().unwrap_err().is_cancelled());
        }
        let metrics = pool.metrics();
        assert_eq!((metrics.cancelled, metrics.succeeded), (2000, 0));
    }

    #[test]
    fn a_queued_job_that_is_cancelled_never_starts_and_is_dropped_at_once() {
        let pool = pool(1);
        let (gate, first) = Gate::on(&pool);
        let ((sender, dropped), ran) = (mpsc::channel(), Arc::new(AtomicBool::new(false)));
        let (captured, runs) = (Dropped(sender), ran.clone());
        let task = pool.run(move || {
            let _keep = &captured;
            runs.store(true, SeqCst);
        });
        assert!(task.cancel() && !task.cancel());
        dropped.try_recv().unwrap();
        assert!(task.blocking_wait().unwrap_err().is_cancelled());
        gate.open();
        first.blocking_wait().unwrap();
        pool.run(|| ()).blocking_wait().unwrap();
        assert!(!ran.load(SeqCst));
        assert_eq!((pool.metrics().cancelled, pool.metrics().queued), (1, 0));
    }

    #[test]
    fn a_dropped_task_takes_its_queued_job_along() {
        let pool = pool(1);
        let (_gate, _first) = Gate::on(&pool);
        let (sender, dropped) = mpsc::channel();
        let captured = Dropped(sender);
        drop(pool.run(move || drop(captured)));
        dropped.try_recv().unwrap();
    }

    #[test]
    fn a_running_job_is_told_and_its_value_is_dropped_on_the_worker() {
        let pool = pool(1);
        let ((begins, begun), (sender, dropped)) = (mpsc::channel(), mpsc::channel());
        let (gate, hold) = Gate::new();
        let task = pool.run(move || {
            begins.send(()).unwrap();
            spin_until_cancelled();
            hold();
            Dropped(sender)
        });
        begun.recv_timeout(LONG).unwrap();
        assert_eq!(task.status(), TaskStatus::Running);
        assert!(task.cancel());
        assert!(task.blocking_wait().err().unwrap().is_cancelled());
        gate.has_begun();
        let metrics = pool.metrics();
        assert_eq!((metrics.abandoned, metrics.running, metrics.cancelled), (1, 1, 1));
        gate.open();
        dropped.recv_timeout(LONG).unwrap();
        pool.run(|| ()).blocking_wait().unwrap();
        assert_eq!((pool.metrics().abandoned, pool.metrics().running), (0, 0));
    }

    #[test]
    fn a_finished_task_cannot_be_cancelled() {
        let pool = pool(1);
        let task = pool.run(|| 1);
        eventually(|| task.is_finished());
        assert!(!task.cancel() && !task.cancel_handle().cancel());
        assert_eq!(task.blocking_wait().unwrap(), 1);
    }

    #[test]
    fn a_handle_cancels_from_elsewhere() {
        let pool = pool(1);
        let task = pool.run(spin_until_cancelled);
        let handle = task.cancel_handle();
        thread::spawn(move || assert!(handle.cancel())).join().unwrap();
        assert!(task.blocking_wait().unwrap_err().is_cancelled());
    }

    #[test]
    fn a_detached_job_runs_to_its_end() {
        let pool = pool(1);
        let (gate, _first) = Gate::on(&pool);
        let (sender, receiver) = mpsc::channel();
        pool.run(move || sender.send(is_cancelled())).detach();
        gate.open();
        assert_eq!(receiver.recv_timeout(LONG), Ok(false));
    }

    #[test]
    fn a_panic_in_the_drop_of_job_or_value_hurts_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                if !thread::panicking() {
                    panic!("in drop");
                }
            }
        }
        let pool = pool(1);
        let (gate, first) = Gate::on(&pool);
        let bomb = Bomb;
        drop(pool.run(move || drop(bomb)));
        first.cancel();
        gate.open();
        let task = pool.run(|| {
            spin_until_cancelled();
            Bomb
        });
        eventually(|| task.status() == TaskStatus::Running);
        task.cancel();
        pool.run(|| Bomb).detach();
        assert_eq!(pool.run(|| 1).blocking_wait().unwrap(), 1);
    }

    #[test]
    fn many_cancelled_jobs_hold_no_memory() {
        let pool = pool(1);
        let (_gate, _first) = Gate::on(&pool);
        let held = Arc::new(());
        for _ in 0..100_000 {
            let held = held.clone();
            drop(pool.run(move || drop(held)));
        }
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(pool.metrics().queued, 0);
    }
}

mod limits {
    use super::*;

    #[test]
    fn a_job_that_waits_too_long_never_starts() {
        let pool = pool(1);
        let (gate, _first) = Gate::on(&pool);
        let limit = Duration::from_millis(20);
        let late = pool.job(|| panic!("it must not start")).queue_timeout(limit).run();
        let error = late.blocking_wait().unwrap_err();
        assert!(error.is_timed_out() && error.to_string().contains("queue_timeout is 20ms"), "{error}");
        gate.open();
        let task = pool.job(|| 1).queue_timeout(LONG).run();
        assert_eq!(task.blocking_wait().unwrap(), 1);
        assert_eq!(pool.metrics().timed_out, 1);
    }

    #[test]
    fn a_job_that_runs_too_long_is_told() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let job = move || {
            spin_until_cancelled();
            sender.send(heavylift::checkpoint().is_err()).unwrap();
        };
        let error = pool.job(job).run_timeout(Duration::from_millis(20)).run().blocking_wait().unwrap_err();
        assert!(error.is_timed_out() && error.to_string().contains("run_timeout is 20ms"), "{error}");
        assert_eq!(receiver.recv_timeout(LONG), Ok(true));
    }

    #[test]
    fn the_clock_of_run_timeout_starts_with_the_job() {
        let pool = pool(1);
        let limit = Duration::from_millis(50);
        let (gate, _first) = Gate::on(&pool);
        let task = pool.job(|| 1).run_timeout(limit).run();
        let start = Instant::now();
        eventually(|| start.elapsed() > 2 * limit);
        gate.open();
        assert_eq!(task.blocking_wait().unwrap(), 1);
    }

    #[test]
    fn a_flag_is_of_one_job_only() {
        let pool = pool(1);
        drop(pool.run(spin_until_cancelled));
        assert!(!pool.run(is_cancelled).blocking_wait().unwrap());
        assert!(!is_cancelled());
    }
}

mod surroundings {
    use super::*;

    #[tokio::test]
    async fn the_runtime_of_the_submitter_is_current_in_the_job() {
        let here = tokio::runtime::Handle::current().id();
        let pool = pool(1);
        let there = pool.run(|| tokio::runtime::Handle::current().id()).await.unwrap();
        assert_eq!(here, there);
        let pong = pool.run(|| tokio::runtime::Handle::current().block_on(async { "pong" })).await.unwrap();
        assert_eq!(pong, "pong");
        let inner = pool.clone();
        let nested = move || inner.run(|| tokio::runtime::Handle::current().id()).blocking_wait().unwrap();
        assert_eq!(pool.run(nested).await.unwrap(), here);
    }

    #[test]
    fn without_a_runtime_there_is_none_in_the_job() {
        assert!(pool(1).run(|| tokio::runtime::Handle::try_current().is_err()).blocking_wait().unwrap());
    }

    #[test]
    fn one_pool_serves_two_runtimes_and_none() {
        let pool = pool(2);
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, two) = (runtime(), runtime());
        let _inside = one.enter();
        let task = pool.run(|| tokio::runtime::Handle::current().id());
        assert_eq!(two.block_on(task).unwrap(), one.handle().id());
        let id = pool.clone().run(|| 3);
        assert_eq!(one.block_on(async { tokio::spawn(id).await.unwrap() }).unwrap(), 3);
        drop(_inside);
        assert_eq!(pool.run(|| 4).blocking_wait().unwrap(), 4);
    }

    #[test]
    fn a_runtime_that_is_gone_is_no_harm() {
        let pool = pool(1);
        let (gate, _first) = Gate::on(&pool);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inside = runtime.enter();
        let task = pool.run(|| 5);
        drop(inside);
        drop(runtime);
        gate.open();
        assert_eq!(task.blocking_wait().unwrap(), 5);
    }

    #[test]
    fn threads_are_named_after_the_pool_within_15_bytes() {
        let pool = builder(1).name("thumbnails-of-cats").build().unwrap();
        let name = pool.run(|| thread::current().name().unwrap().to_owned()).blocking_wait().unwrap();
        assert_eq!(name, "thumbnails-of-0");
    }

    #[test]
    fn the_size_of_the_stack_is_as_asked() {
        let deep = || {
            let big = std::hint::black_box([1u8; 6 << 20]);
            big.iter().map(|&b| u64::from(b)).sum::<u64>()
        };
        let pool = builder(1).stack_size(16 << 20).build().unwrap();
        assert_eq!(pool.run(deep).blocking_wait().unwrap(), 6 << 20);
    }

    #[test]
    fn each_worker_calls_on_worker_start_first_even_if_it_panics() {
        let (sender, receiver) = mpsc::channel();
        let pool = builder(2)
            .min_workers(2)
            .on_worker_start(move || {
                sender.send(thread::current().id()).unwrap();
                panic!("it does not matter");
            })
            .build()
            .unwrap();
        let started: HashSet<_> = receiver.iter().take(2).collect();
        let worker = pool.run(|| thread::current().id()).blocking_wait().unwrap();
        assert!(started.len() == 2 && started.contains(&worker));
    }

    #[test]
    fn the_outcome_is_told_before_the_awaiter_and_may_start_more() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let again = pool.clone();
        let (gate, job) = Gate::new();
        let task = pool.run(job);
        task.on_done(move |outcome| {
            assert!(outcome.is_ok());
            sender.send(again.run(|| 2)).unwrap();
        });
        gate.open();
        task.blocking_wait().unwrap();
        assert_eq!(receiver.try_recv().unwrap().blocking_wait().unwrap(), 2);
    }
}

mod own_pool {
    use super::*;

    /// Each job waits for the next, on the one worker there is.
    fn nested(pool: &ThreadPool, depth: u32) -> u32 {
        match depth {
            0 => 0,
            _ => {
                let inner = pool.clone();
                1 + pool.run(move || nested(&inner, depth - 1)).blocking_wait().unwrap()
            }
        }
    }

    #[test]
    fn a_job_may_wait_for_tasks_of_its_own_pool() {
        let pool = pool(1);
        assert_eq!(nested(&pool, 4), 4);
    }

    #[test]
    fn a_panic_in_a_job_that_is_run_while_waiting_stays_in_it() {
        let pool = pool(1);
        let inner = pool.clone();
        let job = move || {
            inner.run(|| panic!("inner")).blocking_wait().unwrap_err().panic_message().map(str::to_owned)
        };
        assert_eq!(pool.run(job).blocking_wait().unwrap().as_deref(), Some("inner"));
    }

    #[test]
    fn jobs_that_wait_for_each_others_tasks_do_not_deadlock() {
        let pool = pool(2);
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let pool = pool.clone();
                pool.clone().run(move || nested(&pool, 3))
            })
            .collect();
        assert!(tasks.into_iter().all(|task| task.blocking_wait().unwrap() == 3));
    }

    #[test]
    fn a_flag_of_the_waiting_job_is_not_that_of_the_job_it_runs() {
        let pool = pool(1);
        let inner = pool.clone();
        let (sender, receiver) = mpsc::channel();
        let task = pool.run(move || {
            spin_until_cancelled();
            let seen_inside = inner.run(is_cancelled).blocking_wait().unwrap();
            sender.send((seen_inside, is_cancelled())).unwrap();
        });
        eventually(|| task.status() == TaskStatus::Running);
        task.cancel();
        assert_eq!(receiver.recv_timeout(LONG), Ok((false, true)));
    }
}

mod sizes {
    use super::*;

    fn fails(builder: ThreadPoolBuilder, field: &str, limit: &str) {
        let error = builder.build().unwrap_err();
        assert_eq!(error.field(), field);
        assert!(error.to_string().contains(limit), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        fails(builder(0), "max_workers", "1");
        fails(builder(2).min_workers(3), "min_workers", "max_workers is 2");
        fails(builder(2).queue_limit(0), "queue_limit", "1");
        fails(builder(2).stack_size(0), "stack_size", "1");
        fails(builder(2).name(""), "name", "empty");
        fails(builder(2).name("a\0b"), "name", "NUL");
        let pool = builder(4).min_workers(2).build().unwrap();
        assert_eq!(pool.resize(0).unwrap_err().field(), "max_workers");
        assert_eq!(pool.resize(1).unwrap_err().field(), "min_workers");
        pool.resize(2).unwrap();
    }

    #[test]
    fn a_pool_that_is_not_used_has_no_thread() {
        assert_eq!(pool(4).metrics().workers, 0);
        let pool = builder(4).min_workers(2).build().unwrap();
        assert_eq!(pool.metrics().workers, 2);
        eventually(|| pool.metrics().idle_workers == 2);
    }

    #[test]
    fn idle_workers_end_down_to_the_minimum() {
        let pool = builder(4).min_workers(1).keep_alive(Duration::from_millis(10)).build().unwrap();
        let gates: Vec<_> = (0..4).map(|_| Gate::on(&pool)).collect();
        assert_eq!(pool.metrics().workers, 4);
        gates.into_iter().for_each(|(gate, task)| {
            gate.open();
            task.blocking_wait().unwrap();
        });
        eventually(|| pool.metrics().workers == 1);
        assert_eq!(pool.run(|| 1).blocking_wait().unwrap(), 1);
        assert_eq!(pool.metrics().workers, 1);
    }

    #[test]
    fn a_worker_without_keep_alive_serves_all_the_same() {
        let pool = builder(2).keep_alive(Duration::ZERO).build().unwrap();
        assert!((0..1000).all(|n| pool.run(move || n).blocking_wait().unwrap() == n));
        eventually(|| pool.metrics().workers == 0);
    }

    #[test]
    fn a_smaller_pool_lets_its_surplus_workers_go() {
        let pool = pool(4);
        let gates: Vec<_> = (0..4).map(|_| Gate::on(&pool)).collect();
        pool.resize(1).unwrap();
        assert_eq!(pool.metrics().workers, 4);
        gates.iter().for_each(|(gate, _)| gate.open());
        eventually(|| pool.metrics().workers == 1);
        pool.resize(2).unwrap();
        let pair: Vec<_> = (0..2).map(|_| Gate::on(&pool)).collect();
        eventually(|| pool.metrics().idle_workers == 0);
        pool.resize(1).unwrap();
        pair.iter().for_each(|(gate, _)| gate.open());
        eventually(|| pool.metrics().workers == 1);
    }

    #[test]
    fn a_larger_pool_takes_up_what_waits() {
        let pool = pool(1);
        let (_gate, _first) = Gate::on(&pool);
        let queued = pool.run(|| 2);
        assert_eq!(queued.status(), TaskStatus::Queued);
        pool.resize(2).unwrap();
        assert_eq!(queued.blocking_wait().unwrap(), 2);
    }

    #[test]
    fn metrics_tell_what_happens() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        let (gate, first) = Gate::on(&pool);
        let queued = pool.run(|| ());
        let _refused = pool.run(|| ());
        let metrics = pool.metrics();
        assert_eq!((metrics.workers, metrics.idle_workers, metrics.running), (1, 0, 1));
        assert_eq!((metrics.queued, metrics.submitted, metrics.refused), (1, 2, 1));
        gate.open();
        first.blocking_wait().unwrap();
        queued.blocking_wait().unwrap();
        let metrics = pool.metrics();
        assert_eq!((metrics.queued, metrics.running, metrics.succeeded), (0, 0, 2));
        assert_eq!((metrics.queue_wait.count, metrics.run_time.count), (2, 2));
        eventually(|| pool.metrics().idle_workers == 1);
    }
}

mod ends {
    use super::*;

    #[test]
    fn draining_finishes_what_is_queued() {
        let pool = pool(1);
        let (gate, first) = Gate::on(&pool);
        let queued: Vec<_> = (0..10).map(|n| pool.run(move || n)).collect();
        let mut closing = task::spawn(pool.shutdown(Shutdown::Drain));
        assert_pending!(closing.poll());
        let refused = pool.try_run(|| 1).unwrap_err();
        assert!(refused.is_closed());
        assert!(pool.run(|| 1).blocking_wait().unwrap_err().is_closed());
        gate.open();
        first.blocking_wait().unwrap();
        assert!(queued.into_iter().enumerate().all(|(n, task)| task.blocking_wait().unwrap() == n));
        let report = pool.shutdown(Shutdown::Drain).blocking_wait();
        assert_eq!((report.succeeded, report.cancelled), (11, 0));
        assert!(closing.is_woken());
        assert_eq!(assert_ready!(closing.poll()), report);
        assert_eq!(pool.metrics().workers, 0);
    }

    #[test]
    fn cancelling_the_queue_waits_for_what_runs() {
        let pool = pool(1);
        let (gate, first) = Gate::on(&pool);
        let queued = pool.run(|| ());
        let mut closing = task::spawn(pool.shutdown(Shutdown::CancelQueued));
        assert!(queued.blocking_wait().unwrap_err().is_cancelled());
        assert_pending!(closing.poll());
        assert!(!first.is_finished());
        gate.open();
        first.blocking_wait().unwrap();
        let report = pool.shutdown(Shutdown::CancelQueued).blocking_wait();
        assert_eq!((report.succeeded, report.cancelled), (1, 1));
    }

    #[test]
    fn killing_finishes_every_task_and_waits_for_no_job() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let running = pool.run(move || {
            sender.send(false).unwrap();
            spin_until_cancelled();
            sender.send(true).unwrap();
        });
        assert_eq!(receiver.recv_timeout(LONG), Ok(false));
        let queued = pool.run(|| ());
        let mut closing = task::spawn(pool.shutdown(Shutdown::Kill));
        assert!(running.is_finished() && queued.is_finished());
        let report = assert_ready!(closing.poll());
        assert_eq!((report.succeeded, report.cancelled), (0, 2));
        assert!(running.blocking_wait().unwrap_err().is_cancelled());
        assert_eq!(receiver.recv_timeout(LONG), Ok(true));
        eventually(|| pool.metrics().workers == 0);
    }

    #[test]
    fn a_stronger_mode_takes_over() {
        let pool = pool(1);
        let running = pool.run(spin_until_cancelled);
        let (queued, late) = (pool.run(|| ()), pool.run(|| ()));
        eventually(|| running.status() == TaskStatus::Running);
        let mut drain = task::spawn(pool.shutdown(Shutdown::Drain));
        assert_pending!(drain.poll());
        assert!(!queued.is_finished());
        drop(pool.shutdown(Shutdown::CancelQueued));
        assert!(queued.is_finished() && late.is_finished() && !running.is_finished());
        assert!(!drain.is_woken() || drain.poll().is_pending());
        drop(pool.shutdown(Shutdown::Kill));
        assert!(running.is_finished() && drain.is_woken());
        assert_eq!(assert_ready!(drain.poll()).cancelled, 3);
        let mut again = task::spawn(pool.shutdown(Shutdown::Drain));
        assert_ready!(again.poll());
    }

    #[test]
    fn a_time_limit_gives_up_what_is_left() {
        let pool = pool(1);
        let running = pool.run(spin_until_cancelled);
        let queued = pool.run(|| ());
        eventually(|| running.status() == TaskStatus::Running);
        let report = pool.shutdown(Shutdown::Drain).timeout(Duration::from_millis(20)).blocking_wait();
        assert!(!report.is_complete());
        assert_eq!((report.abandoned, report.cancelled), (2, 2));
        assert!(running.is_finished() && queued.is_finished());
    }

    #[test]
    fn a_pool_that_was_never_used_ends_at_once_in_every_mode() {
        for mode in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill] {
            let pool = pool(1);
            let report = assert_ready!(task::spawn(pool.shutdown(mode)).poll());
            assert!(report.is_complete() && report.succeeded == 0);
            assert!(pool.run(|| ()).blocking_wait().unwrap_err().is_closed());
        }
    }

    #[test]
    fn a_job_may_shut_its_own_pool_down_and_wait_for_the_others() {
        let pool = pool(2);
        let (gate, other) = Gate::on(&pool);
        let own = pool.clone();
        let (sender, receiver) = mpsc::channel();
        let task = pool.run(move || {
            let closing = own.shutdown(Shutdown::Drain);
            sender.send(()).unwrap();
            closing.blocking_wait().succeeded
        });
        receiver.recv_timeout(LONG).unwrap();
        assert!(pool.try_run(|| ()).unwrap_err().is_closed());
        gate.open();
        other.blocking_wait().unwrap();
        assert_eq!(task.blocking_wait().unwrap(), 1);
    }

    #[test]
    fn a_callback_may_shut_the_pool_down() {
        let pool = pool(1);
        let (gate, job) = Gate::new();
        let task = pool.run(job);
        let (queued, own) = (pool.run(|| ()), pool.clone());
        task.on_done(move |_| drop(own.shutdown(Shutdown::CancelQueued)));
        gate.open();
        task.blocking_wait().unwrap();
        assert!(queued.blocking_wait().unwrap_err().is_cancelled());
        pool.shutdown(Shutdown::Drain).blocking_wait();
    }

    #[test]
    fn whoever_waits_for_room_is_turned_away_with_the_job() {
        let pool = builder(1).queue_limit(1).build().unwrap();
        let (gate, _first) = Gate::on(&pool);
        let _queued = pool.run(|| 2);
        let mut submit = task::spawn(pool.submit(|| 3));
        assert_pending!(submit.poll());
        let closing = pool.shutdown(Shutdown::Drain);
        assert!(submit.is_woken());
        let refused = assert_ready!(submit.poll()).unwrap_err();
        assert!(refused.is_closed());
        assert_eq!(refused.into_inner()(), 3);
        gate.open();
        closing.blocking_wait();
    }

    #[test]
    fn dropping_the_last_handle_runs_what_is_still_wanted() {
        let pool = pool(1);
        let (gate, first) = Gate::on(&pool);
        let (sender, receiver) = mpsc::channel();
        let detached = sender.clone();
        pool.run(move || detached.send(1)).detach();
        let wanted = pool.run(|| 2);
        drop(pool.run(move || sender.send(3)));
        drop(pool);
        gate.open();
        first.blocking_wait().unwrap();
        assert_eq!(receiver.recv_timeout(LONG), Ok(1));
        assert_eq!(wanted.blocking_wait().unwrap(), 2);
        assert_eq!(receiver.recv_timeout(LONG).unwrap_err(), mpsc::RecvTimeoutError::Disconnected);
    }

    #[test]
    fn the_threads_of_a_dropped_pool_end() {
        struct Local(Sender<()>);
        impl Drop for Local {
            fn drop(&mut self) {
                self.0.send(()).ok();
            }
        }
        thread_local!(static LOCAL: std::cell::RefCell<Option<Local>> = const { std::cell::RefCell::new(None) });
        let (sender, ended) = mpsc::channel();
        let start = move || LOCAL.set(Some(Local(sender.clone())));
        let pool = builder(3).min_workers(3).on_worker_start(start).build().unwrap();
        pool.run(|| ()).blocking_wait().unwrap();
        drop(pool);
        (0..3).for_each(|_| ended.recv_timeout(LONG).unwrap());
    }

    #[test]
    fn the_last_handle_may_be_dropped_by_a_job() {
        let pool = pool(1);
        let own = pool.clone();
        let (gate, job) = Gate::new();
        let task = pool.run(move || {
            job();
            drop(own);
            7
        });
        drop(pool);
        gate.open();
        assert_eq!(task.blocking_wait().unwrap(), 7);
    }
}

mod refusals_of_the_system {
    use super::*;

    #[test]
    fn without_any_thread_tasks_are_unavailable_and_name_the_error() {
        // More than there is address space: the real refusal of a real system.
        let pool = builder(2).name("huge").stack_size(1 << 60).build().unwrap();
        for _ in 0..3 {
            let error = pool.run(|| ()).blocking_wait().unwrap_err();
            assert!(error.is_unavailable());
            assert!(
                error.to_string().contains("\"huge\"") && error.to_string().contains("os error"),
                "{error}"
            );
        }
        assert_eq!((pool.metrics().workers, pool.metrics().queued), (0, 0));
        assert!(pool.shutdown(Shutdown::Drain).blocking_wait().is_complete());
        let error = builder(2).min_workers(1).stack_size(1 << 60).build().unwrap_err();
        assert_eq!(error.field(), "min_workers");
        assert!(error.to_string().contains("os error"), "{error}");
    }
}

/// What concerns the whole program runs in a program of its own.
mod whole_program {
    use super::*;

    /// Runs `body` in a child process that runs this one test, with that environment.
    fn alone(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
        if env::var_os("HEAVYLIFT_TEST_ALONE").is_some() {
            return body();
        }
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([&format!("whole_program::{test}"), "--exact", "--nocapture"]);
        child
            .env_remove("HEAVYLIFT_THREADS")
            .envs(variables.iter().copied())
            .env("HEAVYLIFT_TEST_ALONE", "1");
        let output = child.output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
        assert!(report.contains("1 passed"), "the child ran something else: {report}");
    }

    fn max_workers(pool: &ThreadPool, at_most: usize) -> usize {
        let gates: Vec<_> = (0..=at_most)
            .map(|_| {
                let (gate, job) = Gate::new();
                (pool.run(job), gate)
            })
            .collect();
        eventually(|| pool.metrics().running == pool.metrics().workers && pool.metrics().queued > 0);
        let workers = pool.metrics().workers;
        drop(gates);
        workers
    }

    #[test]
    fn default_sizes_follow_the_machine() {
        alone("default_sizes_follow_the_machine", &[], || {
            let cpus = thread::available_parallelism().unwrap().get();
            assert_eq!(max_workers(ThreadPool::cpu(), cpus), cpus);
            let elastic = (4 * cpus).max(32);
            assert_eq!(max_workers(ThreadPool::global(), elastic), elastic);
            assert_eq!(max_workers(&ThreadPool::builder().build().unwrap(), elastic), elastic);
        });
    }

    #[test]
    fn a_variable_overrides_the_sizes() {
        alone("a_variable_overrides_the_sizes", &[("HEAVYLIFT_THREADS", "3")], || {
            for pool in [ThreadPool::cpu(), ThreadPool::global(), &ThreadPool::builder().build().unwrap()] {
                assert_eq!(max_workers(pool, 3), 3);
            }
            assert_eq!(max_workers(&pool(2), 2), 2);
        });
    }

    #[test]
    fn a_bad_variable_is_an_error_that_names_it() {
        alone("a_bad_variable_is_an_error_that_names_it", &[("HEAVYLIFT_THREADS", "lots")], || {
            let error = ThreadPool::builder().build().unwrap_err();
            assert_eq!(error.field(), "HEAVYLIFT_THREADS");
            assert_eq!(ThreadPool::builder().install_cpu().unwrap_err().field(), "HEAVYLIFT_THREADS");
            for task in [run_in_thread_pool(|| ()), ThreadPool::cpu().run(|| ())] {
                let error = task.blocking_wait().unwrap_err();
                assert!(error.is_unavailable());
                assert!(error.to_string().contains("HEAVYLIFT_THREADS: \"lots\""), "{error}");
            }
            assert_eq!(pool(1).run(|| 1).blocking_wait().unwrap(), 1);
        });
    }

    #[test]
    fn a_pool_is_installed_before_its_first_use_only() {
        alone("a_pool_is_installed_before_its_first_use_only", &[], || {
            ThreadPool::builder().name("mine").max_workers(1).install_global().unwrap();
            let name = run_in_thread_pool(|| thread::current().name().unwrap().to_owned());
            assert_eq!(name.blocking_wait().unwrap(), "mine-0");
            assert_eq!(ThreadPool::builder().install_global().unwrap_err().field(), "install_global");
            ThreadPool::cpu().run(|| ()).blocking_wait().unwrap();
            assert_eq!(ThreadPool::builder().install_cpu().unwrap_err().field(), "install_cpu");
        });
    }

    #[test]
    fn a_global_pool_that_was_shut_down_stays_closed() {
        alone("a_global_pool_that_was_shut_down_stays_closed", &[], || {
            assert_eq!(run_in_thread_pool(|| 1).blocking_wait().unwrap(), 1);
            ThreadPool::global().shutdown(Shutdown::Drain).blocking_wait();
            assert!(run_in_thread_pool(|| 1).blocking_wait().unwrap_err().is_closed());
            assert_eq!(ThreadPool::cpu().run(|| 2).blocking_wait().unwrap(), 2);
        });
    }

    #[cfg(target_os = "linux")]
    fn threads() -> HashSet<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_that_uses_no_pool_has_no_thread_of_ours() {
        alone("a_program_that_uses_no_pool_has_no_thread_of_ours", &[], || {
            let before = threads();
            let pool = ThreadPool::builder().build().unwrap();
            let _unused = (ThreadPool::global(), ThreadPool::cpu());
            assert_eq!(threads(), before);
            pool.run(|| ()).blocking_wait().unwrap();
            let ours: Vec<_> = threads().difference(&before).map(|name| name.trim().to_owned()).collect();
            assert!(ours.contains(&"pool-0".to_owned()) && ours.len() == 2, "{ours:?}");
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn idle_threads_use_no_processor() {
        alone("idle_threads_use_no_processor", &[], || {
            let ticks = || {
                let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
                let fields: Vec<_> =
                    stat.rsplit(") ").next().unwrap().split(' ').map(str::to_owned).collect();
                fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
            };
            let pool = builder(4).min_workers(4).build().unwrap();
            pool.run(|| ()).blocking_wait().unwrap();
            eventually(|| pool.metrics().idle_workers == 4);
            let before = ticks();
            // Time itself is what is measured here.
            thread::sleep(Duration::from_millis(300));
            assert!(ticks() - before <= 1);
        });
    }
}

mod races {
    use super::*;

    fn seconds() -> Duration {
        let seconds = env::var("RACE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
        Duration::from_secs_f64(seconds)
    }

    /// Tells every task's end, whatever it was, exactly once.
    #[derive(Clone, Default)]
    struct Ends {
        started: Arc<AtomicUsize>,
        ended: Arc<AtomicUsize>,
    }

    impl Ends {
        fn watch<T: 'static>(&self, task: Task<T>) -> Task<T> {
            self.started.fetch_add(1, SeqCst);
            let ended = self.ended.clone();
            task.on_done(move |_| {
                ended.fetch_add(1, SeqCst);
            });
            task
        }
    }

    /// A few of the things that can be done with a task.
    fn treat(task: Task<usize>, n: usize) {
        match n % 6 {
            0 => drop(task),
            1 => task.detach(),
            2 => drop(task.cancel_handle().cancel().then_some(task)),
            3 => drop(task.blocking_wait()),
            4 => {
                let mut task = task::spawn(task);
                let _ = task.poll();
            }
            _ => {
                let mut task = task;
                let _ = Pin::new(&mut task).blocking_wait_timeout(Duration::from_micros(10));
            }
        }
    }

    fn hammer(pool: &ThreadPool, ends: &Ends, until: Instant, salt: usize) {
        let mut n = salt;
        while Instant::now() < until {
            n += 1;
            // Past the panic hook, which would say so many thousand times.
            let job = move || if n.is_multiple_of(50) { std::panic::resume_unwind(Box::new(n)) } else { n };
            let task = match n % 7 {
                0 => pool.job(job).queue_timeout(Duration::from_micros(50)).run(),
                1 => pool.job(job).run_timeout(Duration::from_micros(50)).run(),
                _ => pool.run(job),
            };
            treat(ends.watch(task), n / 3 + salt);
        }
    }

    #[test]
    fn every_task_finishes_once_whatever_races() {
        let pool = builder(3).keep_alive(Duration::from_micros(20)).queue_limit(50).build().unwrap();
        let (ends, until) = (Ends::default(), Instant::now() + seconds());
        thread::scope(|scope| {
            for salt in 0..3 {
                let (pool, ends) = (&pool, &ends);
                scope.spawn(move || hammer(pool, ends, until, salt));
            }
            let sizes = (1..=4).cycle().take_while(|_| Instant::now() < until);
            sizes.for_each(|size| {
                pool.resize(size).unwrap();
                thread::yield_now();
            });
        });
        let started = ends.started.load(SeqCst);
        pool.shutdown(Shutdown::Drain).blocking_wait();
        eventually(|| ends.ended.load(SeqCst) >= started);
        assert_eq!(ends.ended.load(SeqCst), started);
        let metrics = pool.metrics();
        assert_eq!((metrics.queued, metrics.running, metrics.abandoned, metrics.workers), (0, 0, 0, 0));
        let finished = metrics.succeeded + metrics.panicked + metrics.cancelled + metrics.timed_out;
        assert_eq!(finished, metrics.submitted);
        assert_eq!(metrics.submitted + metrics.refused, started as u64);
    }

    #[test]
    fn a_shutdown_in_the_midst_of_it_leaves_no_task_unfinished() {
        let start = Instant::now();
        let modes = [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill];
        for mode in modes.into_iter().cycle().take_while(|_| start.elapsed() < seconds()) {
            let pool = pool(2);
            let clone = pool.clone();
            let submitter = thread::spawn(move || (0..200).map(|n| clone.run(move || n)).collect::<Vec<_>>());
            pool.shutdown(mode).blocking_wait();
            for task in submitter.join().unwrap() {
                let ended = task.blocking_wait().map_err(|error| error.kind());
                let is_cancelled = ended == Err(TaskErrorKind::Cancelled) && mode != Shutdown::Drain;
                assert!(ended.is_ok() || ended == Err(TaskErrorKind::Closed) || is_cancelled, "{ended:?}");
            }
            eventually(|| pool.metrics().workers == 0);
        }
    }

    #[test]
    fn pools_come_and_go_with_work_in_them() {
        let start = Instant::now();
        let count = Arc::new(AtomicUsize::new(0));
        let mut expected = 0;
        while start.elapsed() < seconds() {
            let pool = builder(2).keep_alive(Duration::ZERO).build().unwrap();
            for _ in 0..20 {
                let count = count.clone();
                pool.run(move || count.fetch_add(1, SeqCst)).detach();
                expected += 1;
            }
        }
        eventually(|| count.load(SeqCst) == expected);
    }
}

#[tokio::test]
async fn errors_pass_through_a_question_mark() -> Result<(), Box<dyn Error>> {
    let text = run_in_thread_pool(|| std::fs::read_to_string("Cargo.toml")).flatten().await?;
    assert!(text.contains("heavylift"));
    Ok(())
}
