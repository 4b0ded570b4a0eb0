//! [`Bell`]: wakes a thread that waits in `poll` (eventfd).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{
        AtomicBool,
        Ordering::{AcqRel, Relaxed},
    },
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
    /// Whether it has been rung since it was last silenced.
    ///
    /// ORDERING: AcqRel. Whoever silences a bell that was rung sees what was done before the ring, also of a ring that found it
    /// rung already.
    rung: AtomicBool,
}

impl Bell {
    pub(in crate::process) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { _in_copies: ClosedInCopies::new(&event), event, rung: AtomicBool::new(false) })
    }

    /// Wakes the listener, now or when it next waits.
    pub(in crate::process) fn ring(&self) {
        if !self.rung.swap(true, AcqRel) {
            // The only failure is a full counter, and then it is rung already.
            let _ = write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Whether it has been rung, for a listener that is awake.
    pub(in crate::process) fn is_rung(&self) -> bool {
        self.rung.load(Relaxed)
    }

    /// Silences the bell. What it was rung for is to be looked at afterwards.
    pub(in crate::process) fn silence(&self) {
        let mut count = [0; 8];
        while read(&self.event, &mut count) == Err(Errno::INTR) {}
        // Last, so that a ring from now on is written; one that came in between has found it rung, and is seen now.
        self.rung.swap(false, AcqRel);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
