//! Forking, and what becomes of children.
#![expect(unsafe_code, reason = "fork and waitid, which no safe interface offers")]

use std::{io, os::fd::OwnedFd};

use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getppid, getrlimit, kill_process_group,
    pidfd_open, set_child_subreaper, set_parent_process_death_signal, setpgid, setrlimit, waitid,
};

use crate::error::ExitCause;

/// Which side of a fork this is.
pub(in crate::process) enum Forked {
    Child,
    Parent { pid: u32, pidfd: OwnedFd },
}

/// Forks this process, which must have no other thread.
pub(in crate::process) fn fork() -> io::Result<Forked> {
    // What is buffered would be written twice.
    // SAFETY: flushes C's streams; called by the only thread.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    let _ = io::Write::flush(&mut io::stdout());
    // SAFETY: the zygote has one thread (it checks), so no lock is held by a thread that the child lacks.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(Forked::Child),
        -1 => Err(io::Error::last_os_error()),
        pid => Forked::parent(pid as u32),
    }
}

impl Forked {
    /// The side of the parent, which has not reaped the child `pid` yet, so that the pid is still its own.
    pub(in crate::process) fn parent(pid: u32) -> io::Result<Self> {
        let process = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self::Parent { pid, pidfd: pidfd_open(process, PidfdFlags::empty())? })
    }
}

/// Makes a forked child a worker's process: a group of its own, dead when the zygote `parent` dies, heir of its orphans, with
/// a bounded stack and no core dumps.
pub(in crate::process) fn set_up_worker_process(parent: u32, stack_size: u64) -> io::Result<()> {
    setpgid(None, None)?;
    die_with(parent)?;
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let stack = getrlimit(Resource::Stack);
    let soft = stack.maximum.map_or(stack_size, |hard| hard.min(stack_size));
    setrlimit(Resource::Stack, Rlimit { current: Some(soft), maximum: stack.maximum })?;
    // One byte, not zero: it also stops dumps that are piped into a program.
    setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?;
    // The kernel should rather end a worker than the program. Not everywhere permitted.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    Ok(())
}

/// Bounds the addresses that this process, and its children each, may map.
pub(in crate::process) fn limit_address_space(bytes: u64) -> io::Result<()> {
    let mapped = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mapped = mapped.split_ascii_whitespace().next().and_then(|pages| pages.parse::<u64>().ok());
    let mapped = mapped.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64);
    if mapped > bytes {
        return Err(io::Error::other(format!(
            "address_space_limit is {bytes} bytes, and {mapped} are mapped before the first job"
        )));
    }
    let hard = getrlimit(Resource::As).maximum.map_or(bytes, |hard| hard.min(bytes));
    Ok(setrlimit(Resource::As, Rlimit { current: Some(hard), maximum: Some(hard) })?)
}

/// Has this process killed when its parent dies, which must be `parent` and single-threaded.
pub(in crate::process) fn die_with(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|pid| pid.as_raw_nonzero().get() as u32) == Some(parent) {
        Ok(())
    } else {
        Err(io::Error::other("the zygote is dead"))
    }
}

/// Kills the process group that `leader` leads, if it still exists.
pub(in crate::process) fn kill_group(leader: u32) {
    if let Some(group) = Pid::from_raw(leader as i32) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Looks at one dead child, lets `before` act while it is still a zombie and its pid its own, then reaps it.
///
/// `None` when no child is dead.
pub(in crate::process) fn reap(before: impl FnOnce(u32)) -> Option<(u32, ExitCause)> {
    let dead = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    // SAFETY: waitid only writes into `info`, for which all zero is a valid value.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let looked = libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT);
        if looked == 0 { info.si_pid() } else { 0 }
    };
    let child = Pid::from_raw(pid)?;
    before(pid as u32);
    let status = waitid(WaitId::Pid(child), dead).ok().flatten()?;
    let cause = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitCause::Code(code),
        (_, Some(signal)) => ExitCause::Signal(signal),
        _ => ExitCause::Unknown,
    };
    Some((pid as u32, cause))
}
