//! How a program ends, and what is left of its pools: nothing.
//!
//! Each scenario plays in a process of its own: this binary starts itself again with `SCENARIO` set, and the one test that is
//! named then plays it.

#![expect(clippy::print_stdout, reason = "scenarios report to the test that started them")]
#![expect(unsafe_code, reason = "fork, terminals and signals, as programs use them")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use heavylift::{ProcessPool, Shutdown, Task, TaskErrorKind, ThreadPool, shutdown_on_ctrl_c};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};

use super::processes::*;

const SCENARIO: &str = "SCENARIO";

/// Within this nothing may be left of a program that has ended.
const SOON: Duration = Duration::from_secs(2);

/// The scenario that this process is to play; empty if none.
pub(super) fn scenario_name() -> String {
    env::var(SCENARIO).unwrap_or_default()
}

/// A scenario that is about to be played.
pub(super) struct Program {
    pub(super) command: Command,
    /// Its temporary files, which outlive it: not every scenario comes to an orderly end.
    temporary: tempfile::TempDir,
}

impl Program {
    /// `here` is the path of the test that plays it.
    pub(super) fn command(here: &str, scenario: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env::current_exe().expect("a path"));
        command
            .args(["--exact", here, "--nocapture", "--test-threads=1"])
            .env(SCENARIO, scenario)
            .env("TMPDIR", temporary.path());
        Self { command, temporary }
    }

    fn start(scenario: &str) -> Running {
        let mut program = Self::command("termination::scenario", scenario);
        program.command.process_group(0);
        program.spawn()
    }

    fn spawn(mut self) -> Running {
        let mut child = self.command.stdout(Stdio::piped()).spawn().expect("the program starts again");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, output, _temporary: self.temporary }
    }
}

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    _temporary: tempfile::TempDir,
}

impl Running {
    /// What it says on the next line that begins with `topic`.
    #[track_caller]
    fn says(&mut self, topic: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).expect("text") == 0 {
                panic!("it ended without saying {topic}: {}", self.end());
            }
            if let Some(said) =
                line.trim_end_matches('\n').strip_prefix(topic).and_then(|rest| rest.strip_prefix(": "))
            {
                return said.to_owned();
            }
        }
    }

    #[track_caller]
    fn pids(&mut self, topic: &str) -> Vec<u32> {
        self.says(topic).split(' ').map(|pid| pid.parse().expect("a pid")).collect()
    }

    fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    /// How it ended, once it has.
    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        until("the program ends", || self.child.try_wait().expect("a status").is_some());
        self.child.wait().expect("a status")
    }
}

fn say(topic: &str, what: impl std::fmt::Display) {
    // After what the harness has left on its line.
    println!("\n{topic}: {what}");
}

fn joined(pids: &[u32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Whether a process runs. An orphan that is dead and not reaped yet does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[track_caller]
fn soon_gone(processes: &[u32]) {
    let all_gone = holds_within(SOON, || processes.iter().all(|&pid| !lives(pid)));
    let left: Vec<&u32> = processes.iter().filter(|&&pid| lives(pid)).collect();
    assert!(all_gone, "{left:?} of {processes:?}");
}

#[test]
fn scenario() {
    match scenario_name().as_str() {
        "return" => drop(at_work()),
        "exit" => {
            at_work();
            std::process::exit(3)
        }
        "panic" => {
            std::mem::forget(at_work());
            panic!("as programs do")
        }
        "abort" => {
            at_work();
            std::process::abort()
        }
        "at work" => {
            let _pool = at_work();
            thread::sleep(LONG);
        }
        "draining" => draining(),
        "killing" => killing(),
        "deaf" => deaf(),
        "two futures" => two_futures(),
        "in tokio" => in_tokio(),
        "forked" => forked(),
        "forks in a storm" => forks_in_a_storm(),
        "bare fork" => bare_fork(),
        "fork in preload" => fork_in_preload(),
        _ => {}
    }
}

/// A pool whose workers spin, sleep, and have children; says who they all are.
fn at_work() -> ProcessPool {
    let pool = pool(3);
    let marks = [Mark::new(), Mark::new(), Mark::new()];
    pool.run(spin, marks[0].arg()).detach();
    pool.run(hang, marks[1].arg()).detach();
    pool.run(with_children, marks[2].arg()).detach();
    let children = marks.each_ref().map(Mark::text)[2].clone();
    let processes = descendants();
    let children: Vec<u32> = children.split(' ').map(|pid| pid.parse().expect("a pid")).collect();
    // Zygote, workers and children; the orphan is a child of the worker, its subreaper.
    assert!(processes.len() >= 7 && children.iter().all(|child| processes.contains(child)), "{processes:?}");
    say("processes", joined(&processes));
    pool
}

/// Plays a scenario in which the program ends by itself while its workers are busy.
#[track_caller]
fn nothing_is_left_of(scenario: &str) -> ExitStatus {
    let mut program = Program::start(scenario);
    let processes = program.pids("processes");
    let status = program.end();
    soon_gone(&processes);
    status
}

#[test]
fn nothing_is_left_of_a_program_whose_main_returns() {
    assert!(nothing_is_left_of("return").success());
}

#[test]
fn nothing_is_left_of_a_program_that_exits() {
    assert_eq!(nothing_is_left_of("exit").code(), Some(3));
}

#[test]
fn nothing_is_left_of_a_program_that_panics() {
    assert_eq!(nothing_is_left_of("panic").code(), Some(101));
}

#[test]
fn nothing_is_left_of_a_program_that_aborts() {
    assert_eq!(nothing_is_left_of("abort").signal(), Some(6));
}

#[test]
fn nothing_is_left_of_a_program_that_is_killed() {
    let mut program = Program::start("at work");
    let processes = program.pids("processes");
    assert!(processes.iter().all(|&pid| lives(pid)));
    program.signal(Signal::KILL);
    assert_eq!(program.end().signal(), Some(9));
    soon_gone(&processes);
}

#[test]
fn nothing_is_left_of_a_program_whose_foreground_group_is_interrupted() {
    let mut program = Program::start("at work");
    let processes = program.pids("processes");
    kill_process_group(Pid::from_child(&program.child), Signal::INT).expect("a group");
    assert_eq!(program.end().signal(), Some(2));
    soon_gone(&processes);
}

/// A terminal of its own for a program.
struct Terminal(fs::File);

impl Terminal {
    /// Makes a terminal, and has `command` start as the leader of a session on it.
    fn of(command: &mut Command) -> Self {
        use std::ptr::{null, null_mut};
        let (mut ours, mut theirs) = (-1, -1);
        // SAFETY: the two numbers are written, and nothing else is asked for.
        let opened = unsafe { libc::openpty(&mut ours, &mut theirs, null_mut(), null(), null()) };
        assert_eq!(opened, 0, "a terminal");
        // SAFETY: new descriptors, ours alone.
        let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        // The program must not hold the terminal's other end.
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).expect("a descriptor");
        command.stdin(Stdio::from(theirs));
        let take_terminal = || {
            // SAFETY: system calls without memory.
            let taken = unsafe { libc::setsid() >= 0 && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0 };
            if taken { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: only system calls.
        unsafe { command.pre_exec(take_terminal) };
        Self(fs::File::from(ours))
    }

    fn press_ctrl_c(&mut self) {
        self.0.write_all(&[3]).expect("a key");
    }
}

fn on_terminal(scenario: &str) -> (Running, Terminal) {
    let mut program = Program::command("termination::scenario", scenario);
    let terminal = Terminal::of(&mut program.command);
    (program.spawn(), terminal)
}

#[test]
fn ctrl_c_in_a_terminal_ends_a_program_that_does_not_listen_and_leaves_nothing() {
    let (mut program, mut terminal) = on_terminal("at work");
    let processes = program.pids("processes");
    terminal.press_ctrl_c();
    assert_eq!(program.end().signal(), Some(2));
    soon_gone(&processes);
}

#[test]
fn ctrl_c_in_a_terminal_reaches_no_worker_and_drains_the_pools() {
    let (mut program, mut terminal) = on_terminal("draining");
    let paths = program.says("running");
    let processes = program.pids("processes");
    terminal.press_ctrl_c();
    assert_eq!(program.says("refused"), "true");
    // The signal has come and the pools are closed; the job, which must not have heard of it, runs on.
    assert!(processes.iter().all(|&pid| lives(pid)));
    paths.split(' ').for_each(|path| set_mark(path, ""));
    assert_eq!(program.says("results"), "process, thread, queued");
    // The four jobs; a try that came before the signal was dropped, and may be counted as cancelled.
    let report = program.says("report");
    assert!(
        report.starts_with("4 succeeded, 0 panicked, ") && report.ends_with("0 failed, 0 abandoned"),
        "{report}"
    );
    assert!(program.end().success());
    soon_gone(&processes);
}

/// Waits for the mark.
fn wait_for_mark(path: String) -> &'static str {
    while !fs::exists(&path).unwrap_or(true) {
        thread::sleep(Duration::from_millis(1));
    }
    "done"
}

fn draining() {
    let ended = shutdown_on_ctrl_c();
    let processes = pool(1);
    let threads = ThreadPool::builder().max_workers(1).build().expect("a pool");
    let marks = [Mark::new(), Mark::new(), Mark::new()];
    let job = |paths: (String, String)| wait_for(paths) > 0;
    let in_process = processes.run(job, (marks[0].arg(), marks[1].arg()));
    let queued = processes.run(double, 4);
    let path = marks[2].arg();
    let in_thread = threads.run(move || wait_for_mark(path));
    // Nobody has a handle of this one any more, but its last job still runs.
    let path = marks[2].arg();
    let last = ThreadPool::builder().build().expect("a pool").run(move || wait_for_mark(path));
    marks[0].text();
    say("running", format!("{} {}", marks[1].arg(), marks[2].arg()));
    say("processes", joined(&descendants()));
    until("the pools are closed", || {
        [processes.try_run(double, 1).is_err(), threads.try_run(|| ()).is_err()] == [true, true]
    });
    say("refused", ProcessPool::global().run(double, 1).blocking_wait().is_ok());
    let process = in_process.blocking_wait().expect("it ends by itself");
    let thread = in_thread.blocking_wait().expect("it ends by itself");
    let queued = queued.blocking_wait().expect("it runs");
    assert_eq!(last.blocking_wait().expect("it ends by itself"), "done");
    assert!(process && thread == "done" && queued == 8);
    say("results", "process, thread, queued");
    // No runtime anywhere.
    let report = futures::executor::block_on(ended).expect("it was installed");
    say("report", report);
}

#[test]
fn a_second_signal_kills_and_the_future_resolves() {
    let mut program = Program::start("killing");
    let processes = program.pids("processes");
    program.signal(Signal::TERM);
    assert_eq!(program.says("closed"), "true");
    assert!(processes.iter().all(|&pid| lives(pid)), "jobs are left to finish");
    program.signal(Signal::INT);
    assert_eq!(program.says("all cancelled"), "true");
    assert!(program.end().success());
    soon_gone(&processes);
}

fn killing() {
    let ended = shutdown_on_ctrl_c();
    let pool = at_work();
    until("the pool is closed", || pool.try_run(double, 1).is_err());
    say("closed", true);
    let report = futures::executor::block_on(ended).expect("it was installed");
    // The three jobs, and perhaps the last try before the signal.
    say("all cancelled", [3, 4].contains(&report.cancelled) && report.succeeded == 0);
    assert!(descendants().is_empty(), "no process is left when it resolves");
}

#[test]
fn without_being_polled_it_drains_then_kills_then_lets_the_program_end() {
    let mut program = Program::start("deaf");
    let processes = program.pids("processes");
    program.signal(Signal::INT);
    assert_eq!(program.says("closed"), "true");
    program.signal(Signal::INT);
    assert_eq!(program.says("killed"), "true");
    soon_gone(&processes);
    assert!(lives(program.child.id()), "nothing but the pools has ended");
    program.signal(Signal::INT);
    assert_eq!(program.end().signal(), Some(2));
}

fn deaf() {
    drop(shutdown_on_ctrl_c());
    let pool = at_work();
    until("the pool is closed", || pool.try_run(double, 1).is_err());
    say("closed", true);
    until("the pool is killed", || pool.metrics().running == 0 && descendants().is_empty());
    say("killed", true);
    thread::sleep(LONG);
}

#[test]
fn several_futures_resolve_alike_and_early_or_late() {
    let mut program = Program::start("two futures");
    program.says("ready");
    program.signal(Signal::TERM);
    assert_eq!(program.says("reports"), "1 1 1");
    assert!(program.end().success());
}

fn two_futures() {
    let (first, second) = (shutdown_on_ctrl_c(), shutdown_on_ctrl_c());
    drop(shutdown_on_ctrl_c());
    let pool = pool(1);
    let mark = Mark::new();
    let task = pool.run(wait_for, (mark.arg(), format!("{}.end", mark.arg())));
    mark.text();
    let waiting = thread::spawn(|| futures::executor::block_on(first));
    say("ready", true);
    until("the pool is closed", || pool.try_run(double, 1).is_err());
    set_mark(&format!("{}.end", mark.arg()), "");
    task.blocking_wait().expect("it ends by itself");
    let first = waiting.join().expect("no panic").expect("it was installed");
    let second = futures::executor::block_on(second).expect("it was installed");
    let late = futures::executor::block_on(shutdown_on_ctrl_c()).expect("it was installed");
    say("reports", format!("{} {} {}", first.succeeded, second.succeeded, late.succeeded));
}

#[test]
fn in_tokio_it_can_be_selected_on_beside_other_listeners() {
    let mut program = Program::start("in tokio");
    program.says("ready");
    program.signal(Signal::INT);
    assert_eq!(program.says("heard"), "both");
    assert!(program.end().success());
}

fn in_tokio() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        // Installed here and now, unlike `ctrl_c()`.
        let mut theirs = signal(SignalKind::interrupt()).expect("a listener");
        let ours = tokio::spawn(shutdown_on_ctrl_c());
        let task = heavylift::run_in_process_pool(double, 2);
        assert_eq!(task.await.expect("it runs"), 4);
        say("ready", true);
        tokio::select! {
            report = ours => report.expect("no panic").map(drop).expect("it was installed"),
            () = tokio::time::sleep(LONG) => panic!("never"),
        }
        theirs.recv().await.expect("a signal");
        say("heard", "both");
    });
}

/// Forks this process. In the copy runs `copy`, which writes what it returns to the mark; then the copy waits to be killed.
fn fork(mark: &Mark, copy: impl FnOnce()) -> u32 {
    let path = mark.arg();
    // SAFETY: the copy runs on with one thread; what it touches is what is tested.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "a copy");
    if pid == 0 {
        let verdict = match catch_unwind(AssertUnwindSafe(copy)) {
            Ok(()) => "fine",
            Err(_) => "panicked",
        };
        set_mark(&path, verdict);
        loop {
            thread::sleep(LONG);
        }
    }
    pid as u32
}

#[test]
fn a_forked_copy_of_the_program_has_no_pool_harms_none_and_keeps_none_alive() {
    let mut program = Program::start("forked");
    let copy: u32 = program.says("copy").parse().expect("a pid");
    let processes = program.pids("processes");
    program.signal(Signal::KILL);
    program.end();
    let alive = lives(copy);
    let gone = catch_unwind(|| soon_gone(&processes));
    signal(copy, Signal::KILL);
    assert!(alive, "the copy outlives the program");
    gone.expect("its life does not keep the workers alive");
}

fn forked() {
    let pool = pool(2);
    let (started, end) = (Mark::new(), Mark::new());
    let running = pool.run(wait_for, (started.arg(), end.arg()));
    let busy = Mark::new();
    let dropped = pool.run(hang, busy.arg());
    let (worker, other) = (started.pid(), busy.pid());
    let queued = pool.run(double, 3);
    let global = ProcessPool::global().run(double, 1);
    until("the global pool works", || global.is_finished());
    let verdict = Mark::new();
    let mut inherited = Some((pool.clone(), running, dropped, queued));
    let copy = fork(&verdict, || in_copy(inherited.take().expect("they are there")));
    ends_well(copy, &verdict);
    let (_, running, dropped, queued) = inherited.expect("the copy took its own");
    // What the copy has dropped, cancelled and shut down goes on here.
    assert!(lives(worker) && lives(other));
    assert!(!running.is_finished() && !dropped.is_finished());
    end.set();
    assert_eq!(running.blocking_wait().expect("it ends by itself"), worker);
    assert_eq!(queued.blocking_wait().expect("it runs"), 6);
    assert_eq!(pool.run(double, 4).blocking_wait().expect("it runs"), 8);
    assert_eq!(pool.metrics().worker_deaths, 0);
    say("copy", copy);
    let processes: Vec<u32> = descendants().into_iter().filter(|&pid| pid != copy).collect();
    say("processes", joined(&processes));
    thread::sleep(LONG);
}

/// Waits for what a copy has to say, and does not leave it behind if that is nothing good.
#[track_caller]
fn ends_well(copy: u32, verdict: &Mark) {
    let verdict = verdict.text();
    if verdict != "fine" {
        signal(copy, Signal::KILL);
    }
    assert_eq!(verdict, "fine");
}

type Inherited = (ProcessPool, Task<u32>, Task<()>, Task<u64>);

fn in_copy((pool, running, dropped, queued): Inherited) {
    let open: Vec<String> = fs::read_dir("/proc/self/fd")
        .expect("a list")
        .flatten()
        .filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.display().to_string()))
        .filter(|to| ["socket:", "anon_inode:", "/memfd:"].iter().any(|kind| to.starts_with(kind)))
        .collect();
    assert!(open.is_empty(), "{open:?}");
    for error in [
        pool.run(double, 1).blocking_wait().expect_err("it belongs to the program"),
        ProcessPool::global().run(double, 1).blocking_wait().expect_err("it belongs to the program"),
        queued.blocking_wait().expect_err("it belongs to the program"),
        running.blocking_wait().map(u64::from).expect_err("it belongs to the program"),
    ] {
        assert_eq!(error.kind(), TaskErrorKind::Unavailable);
        assert!(error.to_string().contains("forked"), "{error}");
    }
    assert_eq!(dropped.status(), heavylift::TaskStatus::Finished);
    drop(dropped);
    pool.resize(1).expect("nothing happens");
    pool.shutdown(Shutdown::Kill).blocking_wait();
    drop(pool);
    let own = builder(1).build().expect("a pool");
    assert_eq!(own.run(double, 21).blocking_wait().expect("it works"), 42);
    own.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn copies_made_at_any_moment_never_wait_for_what_they_lack() {
    let mut program = Program::start("forks in a storm");
    assert_eq!(program.says("done"), "200");
    assert!(program.end().success());
}

/// Stops a thread, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Forks while the pool's threads are busy with its locks, those of a recording among them, and with the ends of tasks.
fn forks_in_a_storm() {
    let pool = builder(2).queue_limit(1000).build().expect("a pool");
    let recording = pool.record();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _at_the_end = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.run(double, n)).collect();
                let ended = tasks.into_iter().map(|task| task.blocking_wait().expect("it runs"));
                assert_eq!(ended.sum::<u64>(), 9900);
            }
        });
        for _ in 0..200 {
            let tasks: Vec<Task<u64>> = (0..10).map(|n| pool.run(double, n)).collect();
            // SAFETY: as in `fork`.
            let copy = unsafe { libc::fork() };
            if copy == 0 {
                // No assertion: its report could wait for a lock of the standard library's.
                let refused = pool.run(double, 1).blocking_wait().is_err_and(|error| error.is_unavailable());
                pool.metrics();
                let _ = pool.record().stop();
                let ended = tasks.into_iter().all(|task| task.is_finished());
                pool.shutdown(Shutdown::Kill).blocking_wait();
                // SAFETY: ends the copy.
                unsafe { libc::_exit(i32::from(!refused) + 2 * i32::from(!ended)) };
            }
            let copy = Pid::from_raw(copy).expect("a copy");
            let mut status = None;
            until("the copy ends", || {
                status = waitpid(Some(copy), WaitOptions::NOHANG).expect("our child");
                status.is_some()
            });
            let code = status.and_then(|(_, status)| status.exit_status());
            assert_eq!(code, Some(0), "refused at once, all tasks ended");
            assert!(tasks.into_iter().all(|task| task.blocking_wait().is_ok()), "they run here");
        }
    });
    assert_eq!(pool.metrics().worker_deaths, 0);
    assert!(recording.stop().jobs().len() >= 2_000, "what ran here was recorded here");
    pool.shutdown(Shutdown::Drain).blocking_wait();
    say("done", 200);
}

#[test]
fn a_copy_made_by_the_bare_system_call_keeps_nothing_alive_either() {
    let mut program = Program::start("bare fork");
    let processes = program.pids("processes");
    let copy: u32 = program.says("copy").parse().expect("a pid");
    program.signal(Signal::KILL);
    program.end();
    let alive = lives(copy);
    let gone = catch_unwind(|| soon_gone(&processes));
    signal(copy, Signal::KILL);
    assert!(alive, "the copy outlives the program");
    gone.expect("the zygote watches the program itself");
}

fn bare_fork() {
    let _pool = at_work();
    // SAFETY: no handler of ours runs; the copy does nothing but sleep.
    let copy = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if copy == 0 {
        loop {
            // SAFETY: as said.
            unsafe { libc::pause() };
        }
    }
    say("copy", copy);
    thread::sleep(LONG);
}

#[test]
fn a_copy_does_not_keep_a_zygote_alive_that_is_busy_with_its_preload() {
    let mut program = Program::start("fork in preload");
    let zygote = program.pids("zygote");
    let copy: u32 = program.says("copy").parse().expect("a pid");
    program.signal(Signal::KILL);
    program.end();
    let alive = lives(copy);
    let gone = catch_unwind(|| soon_gone(&zygote));
    signal(copy, Signal::KILL);
    assert!(alive, "the copy outlives the program");
    gone.expect("the second socket tells it");
}

fn fork_in_preload() {
    let (busy, verdict) = (Mark::new(), Mark::new());
    let pool = builder(1).preload(|mark: String| -> () { spin(mark) }, busy.arg()).start_timeout(LONG);
    let pool = pool.build().expect("a pool");
    let task = pool.run(double, 1);
    say("zygote", busy.pid());
    let copy = fork(&verdict, || ());
    ends_well(copy, &verdict);
    say("copy", copy);
    thread::sleep(LONG);
    drop(task);
}
