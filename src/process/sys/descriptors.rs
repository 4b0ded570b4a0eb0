//! What a worker does with its file descriptors.
#![expect(unsafe_code, reason = "closing descriptors that others may own, as only a fresh process may do")]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::fcntl_dupfd_cloexec,
    process::{Resource, getrlimit},
    stdio::dup2_stdin,
};

/// Makes /dev/null the standard input.
pub(in crate::process) fn null_to_stdin() -> io::Result<()> {
    let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(dup2_stdin(&null)?)
}

/// Opens /dev/null for each of the standard descriptors that is closed.
pub(in crate::process) fn fill_standard_descriptors() -> io::Result<()> {
    loop {
        // The lowest free number is taken, so they fill up from below.
        let null = open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        let _ = null.into_raw_fd();
    }
}

/// Moves a descriptor out of the way of jobs that close low numbers by habit: to the upper half of what is allowed, at most
/// 1000, so that it stays where the limit is low.
pub(in crate::process) fn keep_high(fd: OwnedFd) -> io::Result<OwnedFd> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(2000);
    let lowest = RawFd::try_from(limit / 2).unwrap_or(1000).min(1000);
    Ok(fcntl_dupfd_cloexec(&fd, lowest)?)
}

/// Closes every descriptor from 3 upwards except `kept`. Standard input, output and error stay.
pub(in crate::process) fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<RawFd> = kept.iter().copied().filter(|&fd| fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: closes descriptors of a process that has just started and has no owner of them that would use them again.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed != 0 {
        close_listed(first, last);
    }
}

/// For kernels and sandboxes without `close_range`.
fn close_listed(first: RawFd, last: RawFd) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    for fd in open {
        // SAFETY: as in `close_range`. The descriptor of the listing itself is closed already, and fails.
        unsafe { libc::close(fd) };
    }
}

/// Takes a descriptor number that this process was started with.
///
/// # Safety
///
/// `fd` is open, and nothing else in the process owns it.
pub(super) unsafe fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
