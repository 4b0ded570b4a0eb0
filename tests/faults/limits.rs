//! Limits of memory: soft ones by looking, hard ones by the kernel; and what the machine lacks.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "figures to be quoted; what fails in a helper fails its test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use heavylift::{ProcessPool, Shutdown, Task};
use rustix::process::Signal;

use crate::processes::*;

const LIMIT: u64 = 64 << 20;

fn ends(pool: &ProcessPool) {
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

fn fill(megabytes: usize) -> Vec<u8> {
    std::hint::black_box(vec![1u8; megabytes << 20])
}

/// Keeps memory for good.
fn leak(megabytes: usize) -> u32 {
    std::mem::forget(fill(megabytes));
    std::process::id()
}

/// Uses memory, and gives it back.
fn borrow(megabytes: usize) -> u32 {
    drop(fill(megabytes));
    std::process::id()
}

/// Takes memory and keeps running.
fn hog((megabytes, mark): (usize, String)) {
    set_mark(&mark, &std::process::id().to_string());
    let _held = fill(megabytes);
    std::thread::sleep(LONG);
}

#[test]
fn a_worker_that_keeps_too_much_gets_no_further_job_and_is_recycled() {
    let pool = builder(1).max_memory_per_worker(LIMIT).build().unwrap();
    for _ in 0..5 {
        let tasks = [20, 70, 1, 1].map(|megabytes| pool.run(leak, megabytes));
        let pids = tasks.map(|task| task.blocking_wait().unwrap());
        assert_eq!(pids[0], pids[1]);
        assert_ne!(pids[1], pids[2], "the next job, though it waited already, runs elsewhere");
        assert_eq!(pids[2], pids[3]);
        gone(pids[1]);
        let fresh = pids[3];
        // So that the next round begins with a fresh worker, too.
        assert_eq!(pool.run(leak, 70).blocking_wait().unwrap(), fresh);
    }
    until("ten are recycled", || pool.metrics().recycled == 10);
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

#[test]
fn memory_that_is_given_back_in_time_recycles_nobody() {
    let pool = builder(1).max_memory_per_worker(LIMIT).build().unwrap();
    let first = pool.run(pid, ()).blocking_wait().unwrap();
    let tasks: Vec<Task<u32>> = (0..20).map(|_| pool.run(borrow, 70)).collect();
    assert!(tasks.into_iter().all(|task| task.blocking_wait().unwrap() == first));
    assert_eq!(pool.metrics().recycled, 0);
    ends(&pool);
}

#[test]
fn large_arguments_and_results_count_against_nobody() {
    let pool = builder(1).max_memory_per_worker(LIMIT).build().unwrap();
    let first = pool.run(pid, ()).blocking_wait().unwrap();
    for round in 0..5 {
        let back = pool.run(|bytes: Vec<u8>| bytes, vec![round; 40 << 20]).blocking_wait().unwrap();
        assert!(back.len() == 40 << 20 && back[12345] == round);
        assert_eq!(pool.run(pid, ()).blocking_wait().unwrap(), first);
    }
    assert_eq!(pool.metrics().recycled, 0);
    ends(&pool);
}

#[test]
fn a_job_that_takes_too_much_is_killed_while_it_runs_and_told_why() {
    let (mark, other) = (Mark::new(), Mark::new());
    let end = Mark::new();
    let pool = builder(2).max_memory_per_worker(LIMIT).build().unwrap();
    let innocent = pool.run(wait_for, (other.arg(), end.arg()));
    other.pid();
    let task = pool.run(hog, (200, mark.arg()));
    let error = task.blocking_wait().unwrap_err();
    assert!(error.is_worker_died());
    let worker = error.worker().unwrap();
    assert_eq!((worker.pid(), worker.signal()), (mark.pid(), Some(9)));
    let message = error.to_string();
    assert!(
        message.contains("memory") && message.contains("max_memory_per_worker is 67108864 bytes"),
        "{message}"
    );
    let held: u64 = message.split("it held ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((LIMIT + 1..300 << 20).contains(&held), "{message}");
    end.set();
    innocent.blocking_wait().unwrap();
    let metrics = pool.metrics();
    assert_eq!((metrics.worker_deaths, metrics.recycled), (1, 0));
    assert_eq!(pool.run(double, 1).blocking_wait().unwrap(), 2);
    ends(&pool);
}

#[test]
fn an_initializer_that_takes_too_much_makes_tasks_unavailable_with_the_reason() {
    let pool = builder(1)
        .max_memory_per_worker(LIMIT)
        .initializer(
            |megabytes: usize| {
                leak(megabytes);
            },
            100,
        )
        .build()
        .unwrap();
    let error = pool.run(double, 1).blocking_wait().unwrap_err();
    assert!(error.is_unavailable());
    let message = error.to_string();
    assert!(
        message.contains("before its first job") && message.contains("max_memory_per_worker"),
        "{message}"
    );
    ends(&pool);
}

#[test]
fn an_address_space_limit_lets_allocations_fail_in_the_worker() {
    let pool = builder(1).address_space_limit(1 << 30).env("RUST_BACKTRACE", "0").build().unwrap();
    assert_eq!(pool.run(borrow, 100).blocking_wait().unwrap(), pool.run(pid, ()).blocking_wait().unwrap());
    let error = pool.run(borrow, 2000).blocking_wait().unwrap_err();
    let worker = error.worker().expect("its worker died");
    assert_eq!(worker.signal(), Some(6));
    assert!(worker.stderr_tail().contains("memory allocation of 2097152000 bytes failed"));
    let child = |(): ()| fs::read_to_string("/proc/self/limits").unwrap();
    let limits = pool.run(child, ()).blocking_wait().unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    assert_eq!(limit.matches("1073741824").count(), 2, "{limit}");
    ends(&pool);
}

#[test]
fn an_address_space_limit_below_what_is_mapped_is_named() {
    let pool = builder(1).address_space_limit(1 << 20).build().unwrap();
    let error = pool.run(double, 1).blocking_wait().unwrap_err();
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("address_space_limit is 1048576 bytes"), "{error}");
    ends(&pool);
}

#[test]
fn limits_that_cannot_be_are_errors_that_name_the_field() {
    let plain = tempfile::tempdir().unwrap();
    let shown = plain.path().display();
    let table = [
        (builder(1).max_tasks_per_worker(0), "max_tasks_per_worker: a limit of 0: at least 1".to_owned()),
        (builder(1).max_memory_per_worker(0), "max_memory_per_worker: a limit of 0: at least 1".to_owned()),
        (builder(1).address_space_limit(0), "address_space_limit: a limit of 0: at least 1".to_owned()),
        (builder(1).cgroup(plain.path()), format!("cgroup: {shown} is no cgroup of version 2")),
        (
            builder(1).cgroup("/nonexistent"),
            "cgroup: /nonexistent: No such file or directory (os error 2)".to_owned(),
        ),
    ];
    for (builder, message) in table {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }
}

#[test]
fn what_the_machine_lacks_is_told_by_name() {
    let machine = ProcessPool::capabilities();
    assert_eq!(machine.kernel(), fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    for needed in ["linux", "pidfd", "memfd_seals", "subreaper", "proc", "private_memory"] {
        assert!(machine.get(needed).is_some_and(|found| found.is_there()), "{needed}: {machine}");
    }
    assert!(machine.lacking().all(|missing| machine.to_string().contains(missing.missing().unwrap())));
    // What is told is what an option then runs into.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup2"));
    assert_eq!(machine.get("cgroup2").unwrap().is_there(), mounted);
}

/// A cgroup of version 2 that is ours for one test, where this machine lets us make one.
struct Delegated {
    path: PathBuf,
}

impl Delegated {
    /// `None`, after it was checked that the pool says so, too, where there is no such thing.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let Some(mount) = mount.and_then(|line| line.split(' ').nth(1)) else {
            assert!(!ProcessPool::capabilities().get("cgroup2").unwrap().is_there());
            return None;
        };
        let path = Path::new(mount).join(format!("heavylift-test-{name}-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self { path }),
            Err(_) => {
                let error = builder(1).cgroup(mount).build().unwrap_err();
                assert!(error.to_string().contains("delegated"), "{error}");
                None
            }
        }
    }

    fn leaves(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        entries.filter(|path| path.is_dir()).collect()
    }

    fn has_memory(&self) -> bool {
        let listed = fs::read_to_string(self.path.join("cgroup.controllers")).unwrap();
        listed.split_whitespace().any(|controller| controller == "memory")
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for leaf in self.leaves() {
            let _ = fs::write(leaf.join("cgroup.kill"), "1");
            holds_within(Duration::from_secs(5), || fs::remove_dir(&leaf).is_ok());
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// The cgroup of version 2 of a process.
fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

/// Starts a process that leaves group, session and parent, and runs for ever. Returns its pid.
fn stray(mark: String) -> u32 {
    let script = format!(
        "(setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! > {mark}.new; mv {mark}.new {mark})"
    );
    let status = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(status.success());
    fs::read_to_string(mark).unwrap().trim().parse().unwrap()
}

#[test]
fn each_worker_lives_in_a_cgroup_of_its_own_which_goes_with_it() {
    let Some(delegated) = Delegated::new("own") else { return };
    let pool = builder(2).cgroup(&delegated.path).build().unwrap();
    assert!(delegated.leaves().is_empty(), "nothing before it is used");
    let (marks, end) = ([Mark::new(), Mark::new()], Mark::new());
    let tasks = marks.each_ref().map(|mark| pool.run(wait_for, (mark.arg(), end.arg())));
    let pids = marks.each_ref().map(Mark::pid);
    let [one, other] = pids.map(cgroup_of);
    assert_ne!(one, other);
    assert_eq!(delegated.leaves().len(), 2);
    let name = delegated.path.file_name().unwrap().to_str().unwrap();
    assert!(one.contains(name) && other.contains(name), "{one} {other}");
    // Neither the program nor the zygote is there.
    assert!(!cgroup_of(std::process::id()).contains(name));
    end.set();
    assert_eq!(tasks.map(|task| task.blocking_wait().unwrap()), pids);
    signal(pids[0], Signal::KILL);
    gone(pids[0]);
    until("its cgroup is gone", || {
        !delegated.leaves().iter().any(|leaf| one.ends_with(leaf.file_name().unwrap().to_str().unwrap()))
    });
    ends(&pool);
    assert_eq!(delegated.leaves(), Vec::<PathBuf>::new());
}

#[test]
fn nothing_in_the_cgroup_survives_although_the_zygote_was_killed() {
    let Some(delegated) = Delegated::new("stray") else { return };
    let pool = builder(1).cgroup(&delegated.path).build().unwrap();
    let (mark, running) = (Mark::new(), Mark::new());
    let stray = pool.run(stray, mark.arg()).blocking_wait().unwrap();
    let lost = pool.run(hang, running.arg());
    let worker = running.pid();
    assert_eq!(cgroup_of(stray), cgroup_of(worker));
    let stat = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    let zygote = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    signal(zygote, Signal::KILL);
    assert!(lost.blocking_wait().unwrap_err().is_worker_died());
    let dead = |pid: u32| {
        // It may have been left to an init that does not reap.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    until("the stray is dead", || dead(stray));
    assert_eq!(pool.run(double, 3).blocking_wait().unwrap(), 6);
    ends(&pool);
    assert_eq!(delegated.leaves(), Vec::<PathBuf>::new());
}

/// The variable that has `a_program_with_cgroups` play its part: the directory, and a mark.
const PROGRAM: &str = "HEAVYLIFT_TEST_PROGRAM";

/// A program with a pool, for the next test: it never ends.
#[test]
fn a_program_with_cgroups() {
    let Ok(arguments) = std::env::var(PROGRAM) else { return };
    let (directory, mark) = arguments.split_once(':').unwrap();
    let pool = builder(2).cgroup(directory).build().unwrap();
    let _other = pool.run(hang, format!("{mark}.other"));
    let _ = pool.run(hang, mark.to_owned()).blocking_wait();
}

#[test]
fn a_program_that_is_killed_leaves_no_cgroup() {
    let Some(delegated) = Delegated::new("gone") else { return };
    let mark = Mark::new();
    let mut program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "limits::a_program_with_cgroups"])
        .env(PROGRAM, format!("{}:{}", delegated.path.display(), mark.arg()))
        .spawn()
        .unwrap();
    let worker = mark.pid();
    until("both workers are there", || delegated.leaves().len() == 2);
    program.kill().unwrap();
    program.wait().unwrap();
    gone(worker);
    until("all cgroups are gone", || delegated.leaves().is_empty());
}

#[test]
fn workers_with_cgroups_are_recycled_as_others() {
    let Some(delegated) = Delegated::new("many") else { return };
    let pool = builder(2).cgroup(&delegated.path).max_tasks_per_worker(1).build().unwrap();
    let tasks: Vec<Task<u64>> = (0..50).map(|n| pool.run(double, n)).collect();
    assert!(tasks.into_iter().zip(0..).all(|(task, n)| task.blocking_wait().unwrap() == 2 * n));
    ends(&pool);
    assert_eq!(delegated.leaves(), Vec::<PathBuf>::new());
}

#[test]
fn a_hard_limit_kills_for_memory_or_the_missing_controller_is_named() {
    let Some(delegated) = Delegated::new("hard") else { return };
    let built = builder(1).cgroup(&delegated.path).max_memory_per_worker(LIMIT).build();
    if !delegated.has_memory() {
        let error = built.unwrap_err();
        assert_eq!(error.field(), "cgroup");
        assert!(error.to_string().contains("memory controller is not available"), "{error}");
        return;
    }
    let pool = built.unwrap();
    assert_eq!(pool.run(double, 1).blocking_wait().unwrap(), 2);
    let [leaf] = &delegated.leaves()[..] else { panic!("one worker, one cgroup") };
    assert_eq!(fs::read_to_string(leaf.join("memory.max")).unwrap().trim(), LIMIT.to_string());
    let begun = Instant::now();
    let error = pool.run(borrow, 500).blocking_wait().unwrap_err();
    println!("hard limit, after {:?}: {error}", begun.elapsed());
    assert!(error.is_worker_died());
    assert_eq!(error.worker().unwrap().signal(), Some(9));
    assert!(
        error.to_string().contains("memory limit") && error.to_string().contains("67108864 bytes"),
        "{error}"
    );
    // A child that takes too much ends its job, too.
    let child = |(): ()| {
        let script = "head -c 300000000 /dev/zero | tail -c 250000000 | wc -c";
        std::process::Command::new("sh").args(["-c", script]).status().is_ok()
    };
    let error = pool.run(child, ()).blocking_wait().unwrap_err();
    assert!(error.to_string().contains("memory limit"), "{error}");
    assert_eq!(pool.run(double, 1).blocking_wait().unwrap(), 2);
    ends(&pool);
    assert_eq!(delegated.leaves(), Vec::<PathBuf>::new());
}
