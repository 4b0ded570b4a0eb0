//! Whether the kernel has what the process pool cannot do without.

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    process::{PidfdFlags, getpid, pidfd_open},
};

/// Names the first facility that is missing, or that a sandbox forbids.
pub(in crate::process) fn missing_facility() -> Option<String> {
    let missing = |error: Errno, what: &str| {
        // EPERM is how older seccomp profiles answer a call that they do not know.
        matches!(error, Errno::NOSYS | Errno::PERM | Errno::INVAL).then(|| {
            format!("process pools need Linux 5.10 or newer: {what} is missing or forbidden ({error})")
        })
    };
    if let Err(error) = pidfd_open(getpid(), PidfdFlags::empty()) {
        return missing(error, "pidfd_open");
    }
    let sealable = memfd_create("heavylift-check", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .and_then(|memory| fcntl_add_seals(&memory, SealFlags::SHRINK));
    sealable.err().and_then(|error| missing(error, "memfd_create with seals"))
}
