//! Starts that fail, hang or die, and those that succeed afterwards.

use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use heavylift::{ProcessPool, ProcessPoolBuilder, Shutdown, Task, TaskError};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::processes::*;

/// What a preload or an initializer does until its mark is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Trouble {
    Fail,
    Panic,
    Hang,
    Exit,
    Die,
    /// Closes what is not its own.
    CloseAll,
    /// Prints far more than a pipe holds, then fails.
    FailLoudly,
}

use Trouble::*;

const TROUBLES: [Trouble; 7] = [Fail, Panic, Hang, Exit, Die, CloseAll, FailLoudly];

/// The start limit of pools that are to hang.
const LIMIT: Duration = Duration::from_secs(1);

/// The last line that a troubled start prints.
const LAST_WORDS: &str = "those were its last words";

type Setup = (Trouble, String);

#[expect(clippy::print_stderr, reason = "its end belongs into the error")]
fn set_up((trouble, mark): Setup) -> Result<(), String> {
    if Path::new(&mark).exists() {
        return Ok(());
    }
    if trouble == FailLoudly {
        (0..20_000).for_each(|n| eprintln!("line {n} of a long story"));
    }
    eprintln!("{LAST_WORDS}");
    match trouble {
        Fail | FailLoudly => return Err("out of luck".to_owned()),
        Panic => panic!("out of mind"),
        Hang => std::thread::sleep(LONG),
        Exit => std::process::exit(78),
        Die => kill_self(Signal::SEGV.as_raw()),
        CloseAll => close_all(),
    }
    Ok(())
}

/// Closes every descriptor but the three standard ones.
fn close_all() {
    let listed = std::fs::read_dir("/proc/self/fd").expect("a list").flatten();
    let open: Vec<i32> = listed.filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    // The last one is the listing's own.
    open.into_iter()
        .filter(|&fd| fd > 2 && Path::new(&format!("/proc/self/fd/{fd}")).exists())
        .for_each(close);
}

#[expect(unsafe_code, reason = "descriptors of others are closed, as careless libraries do")]
fn close(fd: i32) {
    // SAFETY: whoever owns it finds it closed, which is what this is about; the process uses no other.
    unsafe { rustix::io::close(fd) };
}

/// What the error must say of it.
fn reason_for(trouble: Trouble) -> &'static str {
    match trouble {
        Fail | FailLoudly => "out of luck",
        Panic => "out of mind",
        Hang => "in time (start_timeout is 1s)",
        Exit => "78",
        Die => "SIGSEGV",
        CloseAll => "descriptor",
    }
}

type Install = fn(ProcessPoolBuilder, Setup) -> ProcessPoolBuilder;

const AS_PRELOAD: Install = |builder, setup| builder.preload(set_up, setup);
const AS_INITIALIZER: Install = |builder, setup| builder.initializer(set_up, setup);

#[track_caller]
fn outcome<T>(mut task: Task<T>, what: &str) -> Result<T, TaskError> {
    task.blocking_wait_timeout(LONG).unwrap_or_else(|| panic!("{what}: the task does not finish"))
}

#[track_caller]
fn error<T: std::fmt::Debug>(task: Task<T>, what: &str) -> TaskError {
    outcome(task, what).expect_err(what)
}

#[track_caller]
fn works(pool: &ProcessPool, what: &str) {
    let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.run(double, n)).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(outcome(task, what).expect(what), 2 * n as u64, "{what}");
    }
}

#[track_caller]
fn ends(pool: &ProcessPool) {
    assert!(pool.shutdown(Shutdown::Drain).timeout(LONG).blocking_wait().is_complete());
}

/// A pool that cannot start fails what is queued, says why, and works as soon as it can start.
fn fails_then_works(install: Install, trouble: Trouble) {
    let (what, mark) = (format!("{trouble:?}"), Mark::new());
    let limit = if trouble == Hang { LIMIT } else { LONG };
    // A backtrace would push the last words out of what is kept of standard error.
    let builder = builder(1).start_timeout(limit).env("RUST_BACKTRACE", "0");
    let pool = install(builder, (trouble, mark.arg())).build().expect("a pool");
    for _ in 0..2 {
        // Later ones are told more quickly: the pool has given up already.
        let tasks: Vec<Task<u64>> = (0..5).map(|n| pool.run(double, n)).collect();
        for task in tasks {
            let error = error(task, &what);
            let message = error.to_string();
            assert!(error.is_unavailable(), "{what}: {message}");
            assert!(message.contains(reason_for(trouble)), "{what}: {message}");
            assert!(message.contains(LAST_WORDS), "{what}: {message}");
        }
    }
    mark.set();
    works(&pool, &what);
    ends(&pool);
}

#[test]
fn a_preload_that_goes_wrong_fails_what_is_queued_until_it_goes_right() {
    std::thread::scope(|scope| {
        for trouble in TROUBLES {
            scope.spawn(move || fails_then_works(AS_PRELOAD, trouble));
        }
    });
}

#[test]
fn an_initializer_that_goes_wrong_fails_what_is_queued_until_it_goes_right() {
    std::thread::scope(|scope| {
        for trouble in TROUBLES {
            scope.spawn(move || fails_then_works(AS_INITIALIZER, trouble));
        }
    });
}

/// Notes the time of each call, then fails.
fn note_time(log: String) -> Result<(), String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
    let mut log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
    writeln!(log, "{now}").expect("a line");
    Err("not now".to_owned())
}

#[test]
fn the_pauses_between_failing_starts_grow_and_the_fifth_failure_is_told() {
    let log = Mark::new();
    let pool = builder(1).preload(note_time, log.arg()).build().expect("a pool");
    let begun = Instant::now();
    assert!(error(pool.run(double, 1), "the fifth failure").is_unavailable());
    let took = begun.elapsed();
    let times: Vec<u64> = log.text().lines().map(|line| line.parse().expect("a time")).collect();
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 10, 20, 40 and 80 ms, of which jitter takes at most a half.
    assert!(
        pauses.len() == 4 && pauses.iter().zip([5, 10, 20, 40]).all(|(&pause, least)| pause >= least),
        "{pauses:?}"
    );
    assert!(took < Duration::from_secs(10), "{took:?}");
    ends(&pool);
}

#[test]
fn a_worker_that_serves_keeps_what_is_queued_although_no_other_can_start() {
    // The first start succeeds, all others fail.
    let first = |mark: String| {
        let succeeded = OpenOptions::new().create_new(true).write(true).open(mark);
        succeeded.map(drop).map_err(|_| "only one")
    };
    let mark = Mark::new();
    let pool = builder(3).initializer(first, mark.arg()).build().expect("a pool");
    works(&pool, "one worker of three");
    ends(&pool);
}

#[test]
fn a_preload_that_leaves_a_thread_costs_the_fork_and_not_the_pool() {
    let pool =
        builder(2).preload(|()| drop(std::thread::spawn(std::thread::park)), ()).build().expect("a pool");
    works(&pool, "with workers started afresh");
    ends(&pool);
}

#[test]
fn a_preload_that_closes_standard_input_output_and_error_does_no_harm() {
    let pool = builder(2).preload(|()| (0..3).for_each(close), ()).build().expect("a pool");
    works(&pool, "without standard descriptors");
    let large = pool.run(|bytes: Vec<u8>| bytes, vec![7; 1 << 20]);
    assert_eq!(outcome(large, "large").expect("a value"), vec![7; 1 << 20]);
    ends(&pool);
}

/// The zygote and the workers of a pool, found by the pool's name, which nobody else has.
fn processes_of(name: &str) -> Vec<u32> {
    let shows = |pid: &u32| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains(&format!(" {name}-"))
    };
    descendants().into_iter().filter(shows).collect()
}

fn zygote_of(name: &str) -> Option<u32> {
    processes_of(&format!("{name}-zygote").replace("-zygote", "")).into_iter().find(|pid| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains(&format!(" {name}-zygote"))
    })
}

#[track_caller]
fn find_zygote(name: &str) -> u32 {
    let mut zygote = None;
    until("the zygote shows its title", || {
        zygote = zygote_of(name);
        zygote.is_some()
    });
    zygote.expect("found just now")
}

/// What is done to a zygote; a stopped one is missed after [`LIMIT`].
const BLOWS: [Signal; 2] = [Signal::KILL, Signal::STOP];

fn named(name: &str, workers: usize) -> ProcessPoolBuilder {
    builder(workers).name(name).start_timeout(LIMIT)
}

#[test]
fn a_zygote_that_is_killed_or_stopped_in_its_preload_is_replaced() {
    for (blow, name) in BLOWS.into_iter().zip(["preload-killed", "preload-stopped"]) {
        let (started, end) = (Mark::new(), Mark::new());
        let preload = |marks: (String, String)| {
            wait_for(marks);
        };
        let pool = named(name, 1).preload(preload, (started.arg(), end.arg())).build().expect("a pool");
        let task = pool.run(double, 4);
        signal(started.pid(), blow);
        end.set();
        assert_eq!(outcome(task, name).expect(name), 8);
        ends(&pool);
        assert_eq!(processes_of(name), [0; 0]);
    }
}

#[test]
fn a_zygote_that_is_killed_or_stopped_before_its_first_fork_is_replaced() {
    for (blow, name) in BLOWS.into_iter().zip(["fork-killed", "fork-stopped"]) {
        for round in 0..5 {
            let pool = named(name, 2).build().expect("a pool");
            let tasks: Vec<Task<u64>> = (0..10).map(|n| pool.run(double, n)).collect();
            // Just after it has shown its title, at another moment in each round: usually before it forks.
            signal(find_zygote(name), blow);
            for (n, task) in tasks.into_iter().enumerate() {
                match outcome(task, name) {
                    Ok(value) => assert_eq!(value, 2 * n as u64),
                    Err(error) => {
                        assert!(error.is_worker_died() && blow == Signal::KILL, "{name} {round}: {error}")
                    }
                }
            }
            ends(&pool);
            assert_eq!(processes_of(name), [0; 0]);
        }
    }
}

#[test]
fn a_zygote_killed_while_workers_run_costs_their_jobs_and_no_queued_one() {
    let name = "run-killed";
    let pool = named(name, 2).build().expect("a pool");
    let marks = [Mark::new(), Mark::new()];
    let running = [0, 1].map(|n: usize| pool.run(hang, marks[n].arg()));
    let pids = marks.each_ref().map(Mark::pid);
    let queued: Vec<Task<u64>> = (0..20).map(|n| pool.run(double, n)).collect();
    signal(find_zygote(name), Signal::KILL);
    for task in running {
        let error = error(task, name);
        assert!(error.is_worker_died(), "{error}");
    }
    pids.into_iter().for_each(gone);
    for (n, task) in queued.into_iter().enumerate() {
        assert_eq!(outcome(task, name).expect(name), 2 * n as u64);
    }
    ends(&pool);
    assert_eq!(processes_of(name), [0; 0]);
}

#[test]
fn a_zygote_stopped_while_workers_run_is_replaced_when_it_is_needed_and_its_workers_go_on() {
    let name = "run-stopped";
    let pool = named(name, 2).build().expect("a pool");
    let (started, end) = (Mark::new(), Mark::new());
    let running = pool.run(wait_for, (started.arg(), end.arg()));
    let pid = started.pid();
    let zygote = find_zygote(name);
    signal(zygote, Signal::STOP);
    // These need a worker that the stopped one cannot fork, or has forked already.
    let dying = pool.run(kill_self, Signal::KILL.as_raw());
    assert!(error(dying, name).is_worker_died());
    let queued: Vec<Task<u64>> = (0..20).map(|n| pool.run(double, n)).collect();
    for (n, task) in queued.into_iter().enumerate() {
        assert_eq!(outcome(task, name).expect(name), 2 * n as u64);
    }
    until("there is another zygote", || {
        zygote_of(name).is_some_and(|other| other != zygote) || processes_of(name).len() > 3
    });
    end.set();
    assert_eq!(outcome(running, name).expect("its worker goes on"), pid);
    ends(&pool);
    assert_eq!(processes_of(name), [0; 0]);
}

#[test]
fn a_zygote_killed_or_stopped_while_its_pool_is_idle_is_replaced() {
    for (blow, name) in BLOWS.into_iter().zip(["idle-killed", "idle-stopped"]) {
        let pool = named(name, 2).build().expect("a pool");
        let worker = outcome(pool.run(pid, ()), name).expect("a pid");
        signal(find_zygote(name), blow);
        if blow == Signal::KILL {
            gone(worker);
        } else {
            // It works on without; a new worker needs a new zygote.
            works(&pool, name);
            assert!(error(pool.run(kill_self, 9), name).is_worker_died());
        }
        works(&pool, name);
        ends(&pool);
        assert_eq!(processes_of(name), [0; 0]);
    }
}

#[test]
fn a_zygote_killed_or_stopped_during_a_shutdown_holds_nothing_up() {
    for (blow, name) in BLOWS.into_iter().zip(["end-killed", "end-stopped"]) {
        let pool = named(name, 1).build().expect("a pool");
        let (started, end) = (Mark::new(), Mark::new());
        let running = pool.run(wait_for, (started.arg(), end.arg()));
        let pid = started.pid();
        let queued: Vec<Task<u64>> = (0..5).map(|n| pool.run(double, n)).collect();
        let closing = pool.shutdown(Shutdown::Drain).timeout(LONG);
        signal(find_zygote(name), blow);
        end.set();
        match outcome(running, name) {
            Ok(found) => assert_eq!(found, pid),
            Err(error) => assert!(error.is_worker_died() && blow == Signal::KILL, "{name}: {error}"),
        }
        for (n, task) in queued.into_iter().enumerate() {
            match outcome(task, name) {
                Ok(value) => assert_eq!(value, 2 * n as u64),
                // It may have begun on the worker that died with the zygote.
                Err(error) => assert!(error.is_worker_died() && blow == Signal::KILL, "{name}: {error}"),
            }
        }
        assert!(closing.blocking_wait().is_complete());
        assert_eq!(processes_of(name), [0; 0]);
    }
}
