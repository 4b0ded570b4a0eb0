//! [`Bell`]: wakes a thread that waits in `poll` (eventfd).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::{Errno, read, write},
};

use super::ClosedInCopies;

/// Rung by any thread, heard by the one that polls it.
#[derive(Debug)]
pub(in crate::process) struct Bell {
    // Before the descriptor.
    _in_copies: ClosedInCopies,
    event: OwnedFd,
}

impl Bell {
    pub(in crate::process) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { _in_copies: ClosedInCopies::new(&event), event })
    }

    /// Wakes the listener, now or when it next waits.
    pub(in crate::process) fn ring(&self) {
        // The only failure is a full counter, and then it is rung already.
        let _ = write(&self.event, &1u64.to_ne_bytes());
    }

    /// Silences the bell. Says whether it had been rung.
    pub(in crate::process) fn silence(&self) -> bool {
        let mut count = [0; 8];
        loop {
            match read(&self.event, &mut count) {
                Err(Errno::INTR) => {}
                outcome => return outcome.is_ok(),
            }
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
