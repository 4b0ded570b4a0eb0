//! Every way of ending a pool, at every moment.

use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, Shutdown, ShutdownReport, Task, TaskError, TaskErrorKind, ThreadPool};

use crate::processes::*;

const MODES: [Shutdown; 3] = [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Kill];

/// What a pool is about when it is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    JobsRun,
    JobsCrash,
    WorkersStart,
    WorkersRecycle,
    Idle,
    NeverUsed,
}

use Moment::*;

const MOMENTS: [Moment; 6] = [JobsRun, JobsCrash, WorkersStart, WorkersRecycle, Idle, NeverUsed];

/// Who shuts it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Once,
    Twice,
    TwoTasks,
    /// First in the mode at hand, then in the strictest.
    ThenStricter,
    OnDone,
    ThreadPoolJob,
}

use Caller::*;

const CALLERS: [Caller; 6] = [Once, Twice, TwoTasks, ThenStricter, OnDone, ThreadPoolJob];

/// Runs as long as it takes the others to be submitted, and a bit.
fn work(n: u64) -> u64 {
    thread::sleep(Duration::from_millis(n % 3));
    n
}

fn crash(n: u64) -> u64 {
    if n.is_multiple_of(3) {
        std::process::abort();
    }
    work(n)
}

/// A pool in the middle of something, with the tasks it has.
struct Scene {
    name: String,
    pool: ProcessPool,
    tasks: Vec<Task<u64>>,
    mark: Mark,
}

impl Scene {
    fn set(moment: Moment, name: String) -> Self {
        let mark = Mark::new();
        let builder = builder(2).name(&*name);
        let pool = match moment {
            WorkersStart => builder.initializer(|mark: String| set_mark(&mark, ""), mark.arg()),
            WorkersRecycle => builder.max_tasks_per_worker(1),
            _ => builder,
        };
        let pool = pool.build().expect("a pool");
        let count = match moment {
            NeverUsed => 0,
            Idle => 2,
            _ => 12,
        };
        let tasks: Vec<Task<u64>> = match moment {
            JobsCrash => (0..count).map(|n| pool.run(crash, n)).collect(),
            _ => (0..count).map(|n| pool.run(work, n)).collect(),
        };
        let scene = Self { name, pool, tasks, mark };
        scene.wait_for(moment);
        scene
    }

    fn wait_for(&self, moment: Moment) {
        let metrics = || self.pool.metrics();
        match moment {
            JobsRun => until("a job runs", || metrics().running > 0 || metrics().succeeded > 0),
            JobsCrash => until("a job has crashed", || metrics().worker_deaths > 0),
            WorkersStart => until("a worker starts", || self.mark.is_set()),
            WorkersRecycle => until("a worker is recycled", || metrics().recycled > 0),
            Idle => until("all is done", || self.tasks.iter().all(Task::is_finished)),
            NeverUsed => {}
        }
    }

    /// Shuts the pool down as `caller` would, and returns the last report.
    fn close(&self, mode: Shutdown, caller: Caller) -> ShutdownReport {
        let close = |mode| self.pool.shutdown(mode).timeout(LONG).blocking_wait();
        match caller {
            Once => close(mode),
            Twice => {
                close(mode);
                close(mode)
            }
            TwoTasks => thread::scope(|scope| {
                let other = scope.spawn(|| close(mode));
                let report = close(mode);
                other.join().expect("the other one returns, too");
                report
            }),
            ThenStricter => {
                let first = self.pool.shutdown(mode);
                let report = close(Shutdown::Kill);
                // The earlier wait ends, too.
                first.timeout(LONG).blocking_wait();
                report
            }
            OnDone => self.close_from_callback(mode),
            ThreadPoolJob => {
                let pool = self.pool.clone();
                let closing =
                    ThreadPool::global().run(move || pool.shutdown(mode).timeout(LONG).blocking_wait());
                closing.blocking_wait().expect("a report")
            }
        }
    }

    fn close_from_callback(&self, mode: Shutdown) -> ShutdownReport {
        let (sender, receiver) = mpsc::channel();
        let pool = self.pool.clone();
        let call = move || sender.send(pool.shutdown(mode).timeout(LONG)).expect("somebody waits");
        match self.tasks.first() {
            Some(task) => task.on_done(move |_| call()),
            None => call(),
        }
        let closing = receiver.recv_timeout(LONG).expect("the callback runs");
        closing.blocking_wait()
    }
}

/// The processes of a pool, found by its name, which nobody else has.
fn processes_of(name: &str) -> Vec<u32> {
    let shows = |pid: &u32| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains(&format!(" {name}-"))
    };
    descendants().into_iter().filter(shows).collect()
}

#[track_caller]
fn check(task: Task<u64>, n: u64, (mode, moment, caller): (Shutdown, Moment, Caller)) {
    let case = format!("{mode:?}, {moment:?}, {caller:?}, job {n}");
    assert!(task.is_finished(), "{case} is unfinished after the shutdown");
    let outcome: Result<u64, TaskError> = task.blocking_wait();
    let mode = if caller == ThenStricter { Shutdown::Kill } else { mode };
    match outcome {
        Ok(value) => assert_eq!(value, n, "{case}"),
        Err(error) if error.is_cancelled() => assert_ne!(mode, Shutdown::Drain, "{case}: {error}"),
        Err(error) => assert!(
            error.kind() == TaskErrorKind::WorkerDied && moment == JobsCrash && n.is_multiple_of(3),
            "{case}: {error}"
        ),
    }
}

fn play(mode: Shutdown, moment: Moment) {
    for (number, caller) in CALLERS.into_iter().enumerate() {
        let scene = Scene::set(moment, format!("{mode:?}-{moment:?}-{number}"));
        let report = scene.close(mode, caller);
        assert!(report.is_complete(), "{mode:?}, {moment:?}, {caller:?}: {report}");
        assert_eq!(processes_of(&scene.name), [0; 0], "{mode:?}, {moment:?}, {caller:?}");
        let metrics = scene.pool.metrics();
        assert_eq!((metrics.workers, metrics.queued, metrics.running), (0, 0, 0), "{metrics:?}");
        for (n, task) in scene.tasks.into_iter().enumerate() {
            check(task, n as u64, (mode, moment, caller));
        }
        let late = scene.pool.run(double, 1).blocking_wait();
        assert_eq!(late.map_err(|error| error.kind()), Err(TaskErrorKind::Closed));
    }
}

/// Plays one mode at every moment, several at a time.
fn play_all(mode: Shutdown) {
    thread::scope(|scope| {
        for moment in MOMENTS {
            scope.spawn(move || play(mode, moment));
        }
    });
}

#[test]
fn a_drain_resolves_at_every_moment_however_it_is_called() {
    play_all(MODES[0]);
}

#[test]
fn cancelling_what_is_queued_resolves_at_every_moment_however_it_is_called() {
    play_all(MODES[1]);
}

#[test]
fn a_kill_resolves_at_every_moment_however_it_is_called() {
    play_all(MODES[2]);
}

#[test]
fn dropping_the_last_handle_never_blocks() {
    // While a job runs for ever that somebody waits for, then one that is detached, and while a worker starts for ever.
    let (waited_for, detached, start) = (Mark::new(), Mark::new(), Mark::new());
    let (first, second) = (pool(1), pool(1));
    let third = builder(1).initializer(hang_up, start.arg()).start_timeout(LONG).build().expect("a pool");
    let task = first.run(spin, waited_for.arg());
    second.run(spin, detached.arg()).detach();
    let never = third.run(double, 1);
    let pids = [waited_for.pid(), detached.pid(), start.pid()];
    for pool in [first, second, third] {
        let begun = Instant::now();
        drop(pool);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    assert!(pids.iter().all(|&pid| exists(pid)), "what is wanted goes on");
    drop((task, never));
    gone(pids[0]);
    gone(pids[2]);
    // Nobody can stop this one but the end of the program.
    assert!(exists(pids[1]));
    signal(pids[1], rustix::process::Signal::KILL);
    gone(pids[1]);
}

/// An initializer that never ends.
fn hang_up(mark: String) {
    hang(mark);
}

#[test]
fn a_shutdown_with_a_time_limit_reports_what_it_abandoned() {
    let pool = builder(2).name("abandons").build().expect("a pool");
    let marks = [Mark::new(), Mark::new()];
    let running = [0, 1].map(|n: usize| pool.run(spin, marks[n].arg()));
    marks.iter().for_each(|mark| assert!(exists(mark.pid())));
    let queued: Vec<Task<u64>> = (0..5).map(|n| pool.run(double, n)).collect();
    let report = pool.shutdown(Shutdown::Drain).timeout(Duration::from_millis(50)).blocking_wait();
    assert_eq!((report.abandoned, report.is_complete()), (7, false), "{report}");
    for task in running {
        assert!(task.blocking_wait().expect_err("it was abandoned").is_cancelled());
    }
    for task in queued {
        assert!(task.blocking_wait().expect_err("it was abandoned").is_cancelled());
    }
    // Given up, and still ended: who waits again sees the end.
    assert!(pool.shutdown(Shutdown::Kill).timeout(LONG).blocking_wait().is_complete());
    assert_eq!(processes_of("abandons"), [0; 0]);
    marks.iter().for_each(|mark| gone(mark.pid()));
}

#[test]
fn a_shutdown_ends_although_a_start_hangs() {
    for (mode, name) in [(Shutdown::CancelQueued, "hangs-cancel"), (Shutdown::Kill, "hangs-kill")] {
        for in_preload in [true, false] {
            let mark = Mark::new();
            let builder = builder(1).name(name).start_timeout(LONG);
            let builder = if in_preload {
                builder.preload(hang_up, mark.arg())
            } else {
                builder.initializer(hang_up, mark.arg())
            };
            let pool = builder.build().expect("a pool");
            let task = pool.run(double, 1);
            until("the start hangs", || Path::new(&mark.arg()).exists());
            let closing = pool.shutdown(mode).timeout(LONG / 2);
            assert!(task.blocking_wait().expect_err("it cannot run").is_cancelled());
            assert!(closing.blocking_wait().is_complete());
            assert_eq!(processes_of(name), [0; 0]);
        }
    }
}
