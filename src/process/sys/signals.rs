//! Signals of the zygote and the workers: everything reset at start, SIGCHLD by descriptor, a harmless SIGTERM.
#![expect(unsafe_code, reason = "signal masks and dispositions, which no safe interface offers")]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::null_mut,
};

/// Unblocks every signal and gives each its default disposition, but ignores SIGPIPE as Rust programs do, and makes SIGTERM
/// a signal that interrupts nothing: it is the polite request to stop, which a job sees as `is_cancelled()`.
pub(in crate::process) fn reset_signals() {
    extern "C" fn no_op(_signal: libc::c_int) {}
    for signal in 1..=libc::SIGRTMAX() {
        let handler = match signal {
            libc::SIGPIPE => libc::SIG_IGN,
            libc::SIGTERM => no_op as extern "C" fn(libc::c_int) as usize,
            _ => libc::SIG_DFL,
        };
        set_handler(signal, handler);
    }
    // SAFETY: an all-zero set is valid, and `sigemptyset` initialises it anyway.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, null_mut());
    }
}

fn set_handler(signal: libc::c_int, handler: usize) {
    // SAFETY: all zero is a valid `sigaction`; the handlers used are async-signal-safe. Signals that cannot be changed
    // (SIGKILL, SIGSTOP, those of the C library) are refused by the call, which is fine.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, null_mut());
    }
}

/// Has the kernel send `signal` to this process when something happens on `socket`, such as the death of the other end.
///
/// That reaches a process that is busy or stopped, and cannot be blocked, as waiting for the end of file can.
pub(in crate::process) fn signal_on_event(socket: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // From asm-generic/fcntl.h; the libc crate does not have it everywhere.
    const F_SETSIG: libc::c_int = 10;
    let fd = socket.as_raw_fd();
    // SAFETY: getpid has no preconditions.
    let owner = unsafe { libc::getpid() };
    for (command, value) in [(libc::F_SETOWN, owner), (F_SETSIG, signal), (libc::F_SETFL, libc::O_ASYNC)] {
        // SAFETY: the three commands take a number and change only this descriptor's open file.
        if unsafe { libc::fcntl(fd, command, value) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// SIGCHLD as a descriptor: readable when a child has died. Blocks the signal for this thread.
#[derive(Debug)]
pub(in crate::process) struct ChildSignal(OwnedFd);

impl ChildSignal {
    pub(in crate::process) fn new() -> io::Result<Self> {
        // SAFETY: the set is initialised before it is used; signalfd returns a new descriptor or -1.
        let fd = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            libc::sigprocmask(libc::SIG_BLOCK, &set, null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(Self(unsafe { super::descriptors::adopt(fd) }))
    }

    /// Forgets the signals seen so far.
    pub(in crate::process) fn clear(&self) {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.0, &mut info).is_ok() {}
    }
}

impl AsFd for ChildSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
