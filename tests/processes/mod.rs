//! What the tests of process pools have in common: jobs, and waiting for what other processes do.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, ProcessPoolBuilder, Task, TaskError};

/// Far more than anything here takes, so that a hang fails a test and a slow machine does not.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; panics after [`LONG`].
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(LONG, condition), "never: {what}");
}

/// Whether `condition` comes to hold within `limit`.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// A pool of `workers` workers.
pub(crate) fn pool(workers: usize) -> ProcessPool {
    builder(workers).build().expect("a plain pool")
}

pub(crate) fn builder(workers: usize) -> ProcessPoolBuilder {
    ProcessPool::builder().max_workers(workers)
}

/// A file by which a job and a test signal one another.
pub(crate) struct Mark {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Mark {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("mark");
        Self { _directory: directory, path }
    }

    /// The path, as an argument of a job.
    pub(crate) fn arg(&self) -> String {
        self.path.to_str().expect("a plain path").to_owned()
    }

    pub(crate) fn is_set(&self) -> bool {
        self.path.exists()
    }

    /// What was written, once it is there.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        until("the job sets its mark", || self.is_set());
        fs::read_to_string(&self.path).expect("a readable mark")
    }

    /// The pid that a job has written.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.text().parse().expect("a pid")
    }

    pub(crate) fn set(&self) {
        set_mark(&self.arg(), "");
    }
}

/// Sets a mark, whole.
pub(crate) fn set_mark(path: &str, text: &str) {
    let unfinished = format!("{path}.{}", std::process::id());
    fs::write(&unfinished, text).expect("a writable mark");
    fs::rename(unfinished, path).expect("a mark in the same directory");
}

/// Whether a process exists, dead and unreaped ones included.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[track_caller]
pub(crate) fn gone(pid: u32) {
    until(&format!("process {pid} is gone"), || !exists(pid));
}

/// Sends a signal to a process that may be gone.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
    let _ = rustix::process::kill_process(pid, signal);
}

/// The outcome, bounded in time.
#[track_caller]
pub(crate) fn outcome<T>(mut task: Task<T>) -> Result<T, TaskError> {
    task.blocking_wait_timeout(LONG).expect("the task finishes")
}

#[track_caller]
pub(crate) fn value<T>(task: Task<T>) -> T {
    outcome(task).expect("a value")
}

#[track_caller]
pub(crate) fn error<T: std::fmt::Debug>(task: Task<T>) -> TaskError {
    outcome(task).expect_err("an error")
}

/// Jobs.
pub(crate) fn pid(_: ()) -> u32 {
    std::process::id()
}

pub(crate) fn double(n: u64) -> u64 {
    n * 2
}

/// Writes its pid, then runs for ever.
pub(crate) fn spin(mark: String) {
    set_mark(&mark, &std::process::id().to_string());
    loop {
        std::hint::spin_loop();
    }
}

/// Writes its pid, then sleeps for ever.
pub(crate) fn hang(mark: String) {
    set_mark(&mark, &std::process::id().to_string());
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Starts a child, one in a session of its own, and one whose parent is gone, says their pids, then sleeps for ever.
pub(crate) fn with_children(mark: String) {
    let child = Command::new("sleep").arg("1000").spawn().expect("a child").id();
    let session = Command::new("setsid").args(["sleep", "1001"]).spawn().expect("a child").id();
    let orphan = Command::new("sh").args(["-c", "setsid sleep 1002 >/dev/null 2>&1 & echo $!"]).output();
    let orphan = String::from_utf8(orphan.expect("a shell").stdout).expect("a pid");
    set_mark(&mark, &format!("{child} {session} {}", orphan.trim()));
    loop {
        std::thread::park();
    }
}

/// Writes its pid to the first mark, and ends once the second is set.
pub(crate) fn wait_for((started, end): (String, String)) -> u32 {
    set_mark(&started, &std::process::id().to_string());
    while !Path::new(&end).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::process::id()
}

/// Overflows the stack.
pub(crate) fn overflow(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 128]);
    if n == u64::MAX { 0 } else { overflow(std::hint::black_box(n) + 1) + std::hint::black_box(frame)[7] }
}

pub(crate) fn kill_self(signal: i32) {
    let signal = rustix::process::Signal::from_named_raw(signal).expect("a signal");
    let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    std::thread::sleep(LONG);
}

/// The children of this process, with their children and so on.
pub(crate) fn descendants() -> Vec<u32> {
    fn collect(pid: u32, found: &mut Vec<u32>) {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for thread in threads.flatten() {
            let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in listed.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
                found.push(child);
                collect(child, found);
            }
        }
    }
    let mut found = Vec::new();
    collect(std::process::id(), &mut found);
    found
}

/// How many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// How many threads this process has.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
