//! Floors that only the OS can show, and what it says of processes. Linux; elsewhere all of it is an error.
#![expect(unsafe_code, reason = "shared memory and fork are the OS's")]

use std::{
    fs::{self, File},
    hint::spin_loop,
    path::Path,
    process, ptr,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use rustix::fs::{FlockOperation, flock};

use super::handoff::median_and_p99;

/// Said instead of a number, to end the other process.
const LEAVE: u32 = u32::MAX;
/// A spin that long means that the other process is gone or has no core.
const PATIENCE: u32 = 100_000_000;

/// Median and 99th percentile of `times` round trips, in seconds.
pub(crate) fn cache_line_round_trips(times: usize) -> Result<[f64; 2], String> {
    let line = shared_word()?;
    let child = fork_and(|| echo(line))?;
    let mut all = Vec::with_capacity(times);
    for n in 0..times as u32 {
        let begun = Instant::now();
        // ORDERING: Release and Acquire pair with those in `echo`, as for any data that travels beside the word.
        line.store(2 * n + 1, Ordering::Release);
        await_word(line, |word| word == 2 * n + 2);
        all.push(begun.elapsed().as_secs_f64());
    }
    line.store(LEAVE, Ordering::Release);
    reap(child);
    Ok(median_and_p99(all))
}

/// One word that this process and those that it forks share. It stays mapped until the program ends.
fn shared_word() -> Result<&'static AtomicU32, String> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err("no shared memory".to_owned());
    }
    // SAFETY: the page is aligned, zeroed, never unmapped, and used as nothing but this word.
    Ok(unsafe { &*page.cast::<AtomicU32>() })
}

fn echo(line: &AtomicU32) {
    loop {
        let word = await_word(line, |word| word % 2 == 1);
        if word == LEAVE {
            return;
        }
        line.store(word + 1, Ordering::Release);
    }
}

fn await_word(line: &AtomicU32, is_it: impl Fn(u32) -> bool) -> u32 {
    for _ in 0..PATIENCE {
        let word = line.load(Ordering::Acquire);
        if is_it(word) {
            return word;
        }
        spin_loop();
    }
    LEAVE
}

/// Seconds for a fork of this program that exits at once and is waited for.
pub(crate) fn fork_exit_wait() -> Result<f64, String> {
    let begun = Instant::now();
    let child = fork_and(|| {})?;
    reap(child);
    Ok(begun.elapsed().as_secs_f64())
}

/// Private memory, in bytes, of a fork of this program that does nothing.
pub(crate) fn memory_of_a_bare_fork() -> Result<f64, String> {
    let child = fork_and(|| {
        // SAFETY: waits for a signal; there is nothing else to do.
        unsafe { libc::pause() };
    })?;
    let memory = private_memory(child as u32);
    kill(child as u32)?;
    reap(child);
    memory
}

/// Forks; the child calls `then`, which may neither allocate nor lock, and exits.
fn fork_and(then: impl FnOnce()) -> Result<i32, String> {
    // SAFETY: the child calls nothing that allocates or locks, by the contract above, and leaves by `_exit`.
    match unsafe { libc::fork() } {
        -1 => Err("no fork".to_owned()),
        0 => {
            then();
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(0) }
        }
        child => Ok(child),
    }
}

fn reap(child: i32) {
    // SAFETY: the child is ours and was not waited for; a null status is allowed.
    unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
}

/// Kills a process outright.
pub(crate) fn kill(pid: u32) -> Result<(), String> {
    let pid = rustix::process::Pid::from_raw(pid as i32).ok_or("not a pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).map_err(|error| error.to_string())
}

/// Joins what is free in the heap, so that nobody pays for what another has left: to join a million freed pieces takes 100 ms, at the
/// next larger allocation, whoever makes it. No page is given back: a heap that is warm stays so.
pub(crate) fn tidy_heap() {
    /// The default of glibc. To set it joins the pieces first.
    #[cfg(target_env = "gnu")]
    const FAST: i32 = 64 * size_of::<usize>() as i32 / 4;
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time; it takes the heap's own lock.
    unsafe {
        libc::mallopt(libc::M_MXFAST, FAST)
    };
}

/// Has every thread take memory from a heap of its own. By default there are eight for each processor, and a program in which all executors
/// take turns has more threads than that: which of them share a heap, and wait for each other, would be chance.
pub(crate) fn give_each_thread_a_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time; it takes the heap's own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 256)
    };
}

/// A gate that is shut until the file is dropped.
pub(crate) fn shut_gate(path: &Path) -> Result<File, String> {
    let gate = File::create(path).map_err(|error| error.to_string())?;
    flock(&gate, FlockOperation::LockExclusive).map_err(|error| error.to_string())?;
    Ok(gate)
}

/// Waits, in whatever process, until the gate is open. One that is gone has been opened before.
pub(crate) fn wait_at_gate(path: &Path) -> Result<(), String> {
    let Ok(gate) = File::open(path) else { return Ok(()) };
    flock(&gate, FlockOperation::LockShared).map_err(|error| error.to_string())
}

/// Memory, in bytes, that is a process's own and nobody else's.
pub(crate) fn private_memory(pid: u32) -> Result<f64, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).ok_or("no Private_Dirty")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| line.to_owned())?;
    Ok(kib * 1024.0)
}

/// This program and its descendants.
pub(crate) fn family() -> Vec<u32> {
    members().iter().map(|member| member.pid).collect()
}

/// Ticks of CPU, in user and system, that these processes have used so far. Looks at nothing else, for looking costs CPU, too.
pub(crate) fn ticks(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| member(*pid)).map(|member| member.ticks).sum()
}

/// This program's descendants that are not its children: the workers that its zygotes forked.
pub(crate) fn grandchildren() -> Vec<u32> {
    let this = process::id();
    members()
        .iter()
        .filter(|member| member.pid != this && member.parent != this)
        .map(|member| member.pid)
        .collect()
}

struct Member {
    pid: u32,
    parent: u32,
    ticks: f64,
}

/// This program and its descendants.
fn members() -> Vec<Member> {
    let all: Vec<Member> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(member)
        .collect();
    let mut known = vec![process::id()];
    let mut before = 0;
    while before != known.len() {
        before = known.len();
        let more = all.iter().filter(|member| known.contains(&member.parent) && !known.contains(&member.pid));
        known.extend(more.map(|member| member.pid).collect::<Vec<_>>());
    }
    all.into_iter().filter(|member| known.contains(&member.pid)).collect()
}

fn member(pid: u32) -> Option<Member> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |nth: usize| fields.get(nth)?.parse::<f64>().ok();
    Some(Member { pid, parent: number(1)? as u32, ticks: number(11)? + number(12)? })
}
