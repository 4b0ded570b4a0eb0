//! Jobs that use pools themselves.

use std::{fs, process::Command, time::Duration};

use heavylift::{ProcessPool, Shutdown, ThreadPool};
use rustix::process::Signal;

use crate::{
    processes::*,
    program::{Script, asked_for},
};

/// How soon all must be gone when the outermost program is.
const SOON: Duration = Duration::from_secs(2);

/// Adds up, half in a thread pool and half in a process pool of its own.
fn add_with_both_pools(n: u64) -> u64 {
    let in_thread = ThreadPool::global().run(move || n + 1);
    let in_process = ProcessPool::global().run(double, n);
    in_thread.blocking_wait().expect("a value") + in_process.blocking_wait().expect("a value")
}

#[test]
fn a_job_uses_both_pools() {
    let pool = pool(2);
    let tasks: Vec<_> = (0..20).map(|n| pool.run(add_with_both_pools, n)).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.blocking_wait().expect("a value"), 3 * n as u64 + 1);
    }
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

/// Goes down through `levels` more pools, and returns the pids on the way, or why it went no further.
fn descend(levels: u32) -> Result<Vec<u32>, String> {
    let here = std::process::id();
    if levels == 0 {
        return Ok(vec![here]);
    }
    let below = pool(1).run(descend, levels - 1).blocking_wait().map_err(|error| error.to_string())?;
    below.map(|pids| [vec![here], pids].concat())
}

#[test]
fn pools_nest_two_deep_and_say_so_when_it_goes_deeper() {
    let pool = pool(1);
    let pids = pool.run(descend, 1).blocking_wait().expect("a value").expect("two deep");
    assert_eq!(pids.len(), 2);
    assert!(!pids.contains(&std::process::id()) && pids[0] != pids[1]);
    let refused = pool.run(descend, 2).blocking_wait().expect("a value").expect_err("three deep");
    assert!(refused.contains("process pools are nested 2 deep already, and not deeper"), "{refused}");
    // Nobody is worse off for having tried.
    assert!(pool.run(descend, 1).blocking_wait().expect("a value").is_ok());
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn a_nested_pool_has_one_worker_unless_it_is_told_otherwise() {
    let pids = |()| {
        let pool = ProcessPool::builder().build().expect("a pool");
        let tasks: Vec<_> = (0..20).map(|_| pool.run(pid, ())).collect();
        let pids: std::collections::BTreeSet<u32> =
            tasks.into_iter().map(|task| task.blocking_wait().expect("a pid")).collect();
        pids.len()
    };
    assert_eq!(pool(1).run(pids, ()).blocking_wait().expect("a number"), 1);
}

/// Starts a process that leaves its group, then runs for ever in a pool within this job.
fn spin_below(marks: (String, String)) {
    let (stray, below) = marks;
    let child = Command::new("setsid").args(["sleep", "1003"]).spawn().expect("a child").id();
    set_mark(&stray, &child.to_string());
    let _ = pool(1).run(spin, below).blocking_wait();
}

#[test]
fn cancelling_the_outer_job_ends_all_that_is_nested_in_it() {
    let pool = pool(1);
    let (stray, below) = (Mark::new(), Mark::new());
    let task = pool.run(spin_below, (stray.arg(), below.arg()));
    let pids = [stray.pid(), below.pid()];
    task.cancel();
    pids.into_iter().for_each(gone);
    assert_eq!(pool.run(double, 2).blocking_wait().expect("the pool works"), 4);
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn scenario() {
    match asked_for().as_deref() {
        Some("nested") => nested(),
        Some("only this") | None => {}
        Some(other) => panic!("no such scenario: {other}"),
    }
}

/// Two jobs run, each with a pool and a stray of its own; says the pids of all, the zygote of the outer pool first.
#[expect(clippy::print_stdout, reason = "the test that started this listens")]
fn nested() {
    let pool = pool(2);
    let marks = [(Mark::new(), Mark::new()), (Mark::new(), Mark::new())];
    let _tasks = marks.each_ref().map(|(stray, below)| pool.run(spin_below, (stray.arg(), below.arg())));
    for (stray, below) in &marks {
        assert!(exists(stray.pid()) && exists(below.pid()));
    }
    let pids: Vec<String> = descendants().iter().map(ToString::to_string).collect();
    println!("\nprocesses: {}", pids.join(" "));
    std::thread::sleep(LONG);
}

/// Whether a process runs. An orphan that is dead and not reaped yet does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Kills the outermost program after `blow` has hit some of what is below it; nothing must be left soon.
fn nothing_survives(blow: impl FnOnce(&[u32])) {
    let mut program = Script::new("nesting::scenario", "nested").start();
    let said = program.says("processes");
    let pids: Vec<u32> = said.split(' ').map(|pid| pid.parse().expect("a pid")).collect();
    // The outer zygote and two workers; below each a zygote, a worker and a stray.
    assert_eq!(pids.len(), 9, "{said}");
    blow(&pids);
    program.kill();
    let all_gone = holds_within(SOON, || !pids.iter().any(|&pid| lives(pid)));
    let left: Vec<&u32> = pids.iter().filter(|&&pid| lives(pid)).collect();
    assert!(all_gone, "{left:?} of {pids:?}");
}

#[test]
fn nothing_nested_survives_the_kill_of_the_outermost_program() {
    nothing_survives(|_| ());
}

#[test]
fn nothing_nested_survives_the_outermost_program_although_all_of_it_is_stopped() {
    nothing_survives(|pids| pids.iter().for_each(|&pid| signal(pid, Signal::STOP)));
}
