//! [`wait`]: waits for any of several descriptors.

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// A descriptor to wait for, and what for.
#[derive(Debug, Clone, Copy)]
pub(in crate::process) enum Interest<'a> {
    Read(BorrowedFd<'a>),
    /// Room to send.
    Write(BorrowedFd<'a>),
    /// Not waited for: keeps the places of the others.
    Nothing,
}

/// Which of the descriptors are ready: readable, writable, at their end, or broken.
pub(in crate::process) type Ready<const N: usize> = [bool; N];

/// Waits until one of `interests` is ready or `deadline` has come; all `false` then.
pub(in crate::process) fn wait<const N: usize>(
    interests: [Interest<'_>; N],
    deadline: Option<Instant>,
) -> Ready<N> {
    let (fds, places): (Vec<PollFd<'_>>, Vec<usize>) = interests
        .iter()
        .enumerate()
        .filter_map(|(place, interest)| match interest {
            Interest::Read(fd) => Some((PollFd::from_borrowed_fd(*fd, PollFlags::IN), place)),
            Interest::Write(fd) => Some((PollFd::from_borrowed_fd(*fd, PollFlags::OUT), place)),
            Interest::Nothing => None,
        })
        .unzip();
    let mut fds = fds;
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        match poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => {
                let mut ready = [false; N];
                if outcome.is_ok() {
                    for (fd, place) in fds.iter().zip(places) {
                        ready[place] = !fd.revents().is_empty();
                    }
                }
                return ready;
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().min(1 << 30) as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

/// Waits until one of `fds` is ready, however many there are.
pub(in crate::process) fn wait_any<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) {
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    while matches!(poll(&mut fds, None), Err(Errno::INTR)) {}
}
