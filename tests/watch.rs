//! `guidance::watch`: what is reported, what must not be, and how a watch ends.
//!
//! Nothing here depends on how long anything takes: a task holds its worker until the watch has said so, and what must not be reported
//! goes on until the watch has looked often enough to have reported it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use heavylift::guidance::{Activity, Hold, Scope, Verdict, Watch, watch};
use tokio::runtime::{Builder, Handle, Runtime};

const LIMIT: Duration = Duration::from_millis(20);
/// Looks in three limits: enough to report whatever there is.
const ENOUGH: u64 = 12;

fn multi_thread(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("threads can be created")
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("threads can be created")
}

/// A watch that sends what it reports.
fn watched(runtime: &Handle) -> (Watch, Receiver<Hold>) {
    let (sender, holds) = mpsc::channel();
    let also = sender.clone();
    let watch = watch(runtime)
        .limit(LIMIT)
        .on_blocked(move |hold| drop(sender.send(hold.clone())))
        .on_busy(move |hold| drop(also.send(hold.clone())));
    (watch, holds)
}

/// Waits until the watch has looked so many times more.
fn let_look(watch: &Watch, looks: u64) {
    let start = watch.report().samples;
    while watch.report().samples < start + looks {
        thread::park_timeout(LIMIT / 4);
    }
}

/// Has tasks compute until it is dropped, also by a test that fails: a runtime waits for them.
struct Computing(Arc<AtomicBool>);

impl Computing {
    fn on(runtime: &Runtime, workers: usize) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        for _ in 0..workers {
            let goes_on = Arc::clone(&goes_on);
            runtime.spawn(async move {
                while goes_on.load(SeqCst) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(goes_on)
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// Holds a worker by waiting until it is let go.
fn hold_by_waiting(runtime: &Runtime) -> Sender<()> {
    let (release, released) = mpsc::channel();
    runtime.spawn(async move { _ = released.recv() });
    release
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_whose_task_waits_is_reported_while_it_waits_and_the_others_answer() {
    let runtime = multi_thread(2);
    let (watch, holds) = watched(runtime.handle());
    // The watch may not have seen the worker's thread before; it gets to know it.
    let hold = loop {
        let release = hold_by_waiting(&runtime);
        let hold = holds.recv().unwrap();
        assert!(watch.report().ongoing.iter().all(|ongoing| ongoing.worker == hold.worker));
        drop(release);
        while !watch.report().ongoing.is_empty() {
            thread::yield_now();
        }
        if hold.verdict == Verdict::Blocked {
            break hold;
        }
    };
    assert_eq!((hold.activity, hold.scope, hold.workers), (Activity::Waiting, Scope::Worker, 2));
    assert!(hold.held_for >= LIMIT && hold.limit == LIMIT);
    assert!(hold.tid.is_some() && hold.thread_name.is_some_and(|name| name.contains("tokio")));
    let report = watch.report();
    assert_eq!((report.blocked, report.held.count), (1, 1), "{report}");
    assert!(report.longest >= LIMIT && report.last.unwrap().held_for >= LIMIT);
}

#[test]
fn a_worker_that_computes_while_others_answer_is_busy_and_not_blocked() {
    let runtime = multi_thread(2);
    let (watch, holds) = watched(runtime.handle());
    let computing = Computing::on(&runtime, 1);
    let hold = holds.recv().unwrap();
    assert_eq!((hold.verdict, hold.scope), (Verdict::Busy, Scope::Worker));
    assert_ne!(hold.activity, Activity::Waiting);
    assert!(hold.held_for >= LIMIT * 2);
    drop(computing);
    let report = watch.report();
    assert_eq!((report.blocked, report.busy, report.held.count), (0, 1, 0), "{report}");
}

#[test]
fn workers_that_all_compute_are_blocked() {
    let runtime = multi_thread(2);
    let (watch, holds) = watched(runtime.handle());
    let _computing = Computing::on(&runtime, 2);
    let blocked: Vec<_> = holds.iter().filter(|hold| hold.verdict == Verdict::Blocked).take(2).collect();
    assert_ne!(blocked[0].worker, blocked[1].worker);
    assert!(blocked.iter().all(|hold| hold.scope == Scope::Runtime && hold.activity != Activity::Waiting));
    // Neither is counted twice, whatever was said before both were held.
    assert_eq!((watch.report().blocked, watch.report().busy), (2, 0));
}

#[test]
fn workers_that_all_wait_are_blocked() {
    let runtime = multi_thread(3);
    let (_watch, holds) = watched(runtime.handle());
    let _releases = [(); 3].map(|()| hold_by_waiting(&runtime));
    let mut blocked: Vec<_> = holds
        .iter()
        .filter(|hold| hold.verdict == Verdict::Blocked)
        .map(|hold| hold.worker)
        .take(3)
        .collect();
    blocked.sort_unstable();
    assert_eq!(blocked, [0, 1, 2]);
}

#[test]
fn a_task_that_holds_the_only_thread_is_reported() {
    let runtime = current_thread();
    let (watch, holds) = watched(runtime.handle());
    let hold = runtime.block_on(async {
        tokio::task::yield_now().await;
        loop {
            if let Ok(hold) = holds.try_recv() {
                break hold;
            }
        }
    });
    assert_eq!((hold.verdict, hold.scope, hold.workers), (Verdict::Blocked, Scope::Runtime, 1));
    assert_ne!(hold.activity, Activity::Waiting);
    assert_eq!(watch.report().blocked, 1);
}

#[test]
fn a_watch_that_is_set_up_by_the_blocking_task_itself_sees_it() {
    for runtime in [current_thread(), multi_thread(1)] {
        let reported = runtime.block_on(async {
            tokio::spawn(async {
                let (_watch, holds) = watched(&Handle::current());
                holds.recv().unwrap()
            })
            .await
            .unwrap()
        });
        assert_eq!(reported.verdict, Verdict::Blocked);
    }
}

/// Polls for a tenth of a millisecond, until the watch has looked often enough.
async fn poll_shortly(watch: &Watch) {
    let end = watch.report().samples + 4 * ENOUGH;
    while watch.report().samples < end {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(100) {
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn many_short_polls_are_not_reported() {
    for runtime in [current_thread(), multi_thread(1), multi_thread(2)] {
        let watch = Arc::new(watch(runtime.handle()));
        let tasks = (0..8).map(|_| {
            let watch = Arc::clone(&watch);
            runtime.spawn(async move { poll_shortly(&watch).await })
        });
        let tasks: Vec<_> = tasks.collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        let report = watch.report();
        assert_eq!((report.blocked, report.busy), (0, 0), "{report}");
    }
}

#[test]
fn a_task_in_block_in_place_is_not_reported() {
    let runtime = multi_thread(2);
    let (watch, _holds) = watched(runtime.handle());
    let (releases, tasks): (Vec<_>, Vec<_>) = (0..2)
        .map(|_| {
            let (release, released) = mpsc::channel::<()>();
            let task = async move { tokio::task::block_in_place(|| _ = released.recv()) };
            (release, runtime.spawn(task))
        })
        .unzip();
    let_look(&watch, ENOUGH);
    drop(releases);
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    let report = watch.report();
    assert_eq!((report.blocked, report.busy), (0, 0), "{report}");
}

#[test]
fn a_blocking_job_is_not_reported() {
    let runtime = current_thread();
    let (watch, _holds) = watched(runtime.handle());
    runtime.block_on(async {
        let watch = Arc::new(watch);
        let looks = Arc::clone(&watch);
        tokio::task::spawn_blocking(move || let_look(&looks, ENOUGH)).await.unwrap();
        assert_eq!((watch.report().blocked, watch.report().busy), (0, 0));
    });
}

#[test]
fn an_idle_runtime_is_left_alone() {
    let runtime = multi_thread(2);
    let (watch, _holds) = watched(runtime.handle());
    let metrics = runtime.metrics();
    let parks = || [0, 1].map(|worker| metrics.worker_park_unpark_count(worker));
    // The workers have been called together by then.
    let_look(&watch, ENOUGH);
    let before = parks();
    let_look(&watch, ENOUGH);
    assert_eq!(parks(), before);
}

#[test]
fn a_panic_in_a_callback_hurts_nobody() {
    let runtime = current_thread();
    let (sender, holds) = mpsc::channel();
    let watch = watch(runtime.handle()).limit(LIMIT).on_blocked(move |hold| {
        sender.send(hold.worker).unwrap();
        panic!("a callback panics");
    });
    runtime.block_on(async {
        for _ in 0..2 {
            tokio::task::yield_now().await;
            holds.recv().unwrap();
            // The runtime must be seen to go on before the next one counts as another one.
            while !watch.report().ongoing.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    assert_eq!(watch.report().blocked, 2);
}

#[test]
fn a_runtime_that_is_dropped_ends_its_watch() {
    for runtime in [current_thread(), multi_thread(2)] {
        let (watch, holds) = watched(runtime.handle());
        assert!(!watch.is_over());
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
        assert!(watch.is_over());
        // The thread lets go of the callbacks when the watch does.
        drop(watch);
        assert!(holds.recv().is_err());
    }
}

#[test]
fn a_runtime_that_has_been_shut_down_is_not_watched() {
    let runtime = current_thread();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    assert!(watch(&handle).is_over());
}

#[test]
fn a_watch_that_is_dropped_leaves_the_runtime_as_it_was() {
    let runtime = multi_thread(2);
    let (watch, holds) = watched(runtime.handle());
    let_look(&watch, 1);
    drop(watch);
    assert!(holds.recv().is_err());
    while runtime.metrics().num_alive_tasks() > 0 {
        thread::yield_now();
    }
}

#[test]
fn virtual_time_makes_no_difference() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (watch, holds) = watched(runtime.handle());
    runtime.block_on(async {
        let start = tokio::time::Instant::now();
        while watch.report().samples < ENOUGH {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        assert!(start.elapsed() >= Duration::from_secs(3600));
        assert_eq!(watch.report().blocked, 0);
        assert_eq!(holds.recv().unwrap().verdict, Verdict::Blocked);
    });
}

#[test]
fn of_several_runtimes_only_the_blocked_one_is_reported() {
    let (blocked, other) = (multi_thread(1), multi_thread(1));
    let (first, holds) = watched(blocked.handle());
    let (second, others) = watched(other.handle());
    let release = hold_by_waiting(&blocked);
    assert_eq!(holds.recv().unwrap().verdict, Verdict::Blocked);
    let_look(&second, ENOUGH);
    drop(release);
    assert!(others.try_recv().is_err());
    assert_eq!((first.report().blocked, second.report().blocked), (1, 0));
}

#[test]
fn a_runtime_that_is_driven_in_turns_is_not_counted_as_blocked_while_nobody_drives_it() {
    let runtime = current_thread();
    let (watch, holds) = watched(runtime.handle());
    let turn = || runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    // Nobody has driven it yet.
    let_look(&watch, ENOUGH);
    assert!(holds.try_recv().is_err());
    // The first pause may look like a block until it is over.
    turn();
    let_look(&watch, ENOUGH);
    turn();
    let_look(&watch, ENOUGH);
    let reported = holds.try_iter().count();
    assert!(reported <= 1 && watch.report().blocked == 0);
    // From then on a pause is nothing, and a block is reported when it is over.
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let_look(&watch, ENOUGH);
        assert!(holds.try_recv().is_err());
        let count = || watch.report().blocked;
        while count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let hold = holds.recv().unwrap();
    assert_eq!(hold.verdict, Verdict::Blocked);
    assert!(hold.held_for >= LIMIT);
    assert_eq!(watch.report().held.count, 1);
}

#[test]
fn callbacks_may_be_replaced_and_each_block_is_told_once() {
    let runtime = current_thread();
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (first, second) = (Arc::clone(&counts), Arc::clone(&counts));
    let watch = watch(runtime.handle())
        .limit(LIMIT)
        .on_blocked(move |_| _ = first[0].fetch_add(1, SeqCst))
        .on_blocked(move |_| _ = second[1].fetch_add(1, SeqCst));
    runtime.block_on(async {
        tokio::task::yield_now().await;
        let_look(&watch, 2 * ENOUGH);
    });
    assert_eq!([counts[0].load(SeqCst), counts[1].load(SeqCst)], [0, 1]);
}

#[test]
#[should_panic(expected = "must not be zero")]
fn a_limit_of_zero_panics() {
    drop(watch(current_thread().handle()).limit(Duration::ZERO));
}

#[test]
#[cfg(feature = "tracing")]
fn a_block_is_an_event() {
    use std::sync::Mutex;

    struct Lines(Mutex<Sender<String>>);
    impl std::io::Write for &Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            drop(self.0.lock().unwrap().send(String::from_utf8_lossy(line).into_owned()));
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (sender, lines) = mpsc::channel();
    let lines_of = Arc::new(Lines(Mutex::new(sender)));
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines_of).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let runtime = current_thread();
    let _watch = watch(runtime.handle()).limit(LIMIT);
    runtime.block_on(async {
        tokio::task::yield_now().await;
        // The tests of this file that run beside this one have events, too.
        let is_ours = |line: &String| line.contains("WARN heavylift::watch: worker 0 of 1");
        assert!(lines.iter().any(|line| is_ours(&line)));
    });
}
