//! Whether the kernel has what the process pool cannot do without, and what it has besides.
#![expect(
    unsafe_code,
    reason = "asks for system calls that no safe interface offers without doing something"
)]

use std::{io, path::Path};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    process::{PidfdFlags, child_subreaper, getpid, pidfd_open},
};

use super::{
    cgroup::{cgroup2_mount, has_memory_controller, is_cgroup2},
    memory_use::private_memory_is_told,
};

/// Names the first facility that is missing, or that a sandbox forbids.
pub(in crate::process) fn missing_facility() -> Option<String> {
    let missing = |error: Errno, what: &str| {
        // EPERM is how older seccomp profiles answer a call that they do not know.
        matches!(error, Errno::NOSYS | Errno::PERM | Errno::INVAL).then(|| {
            format!("process pools need Linux 5.10 or newer: {what} is missing or forbidden ({error})")
        })
    };
    if let Err(error) = has_pidfd() {
        return missing(error, "pidfd_open");
    }
    has_seals().err().and_then(|error| missing(error, "memfd_create with seals"))
}

/// Everything that is looked for, by name.
pub(in crate::process) fn look_around() -> Vec<(&'static str, Result<(), String>)> {
    vec![
        ("linux", Ok(())),
        ("pidfd", has_pidfd().map_err(|error| error.to_string())),
        ("memfd_seals", has_seals().map_err(|error| error.to_string())),
        ("subreaper", child_subreaper().map(drop).map_err(|error| error.to_string())),
        ("close_range", has_close_range()),
        ("clone3", has_clone3()),
        ("proc", is_there("/proc/self/exe")),
        ("proc_children", is_there("/proc/thread-self/children")),
        ("private_memory", has_private_memory()),
        ("cgroup2", cgroup2().map(drop)),
        ("cgroup2_memory", cgroup2().and_then(has_memory_controller)),
        ("cgroup2_kill", has_cgroup_kill()),
    ]
}

/// The release of the running kernel.
pub(in crate::process) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether the private memory of a process can be learnt; what is missing if not.
pub(in crate::process) fn has_private_memory() -> Result<(), String> {
    private_memory_is_told().map_err(|error| format!("/proc/PID/smaps_rollup cannot be read: {error}"))
}

fn has_pidfd() -> Result<(), Errno> {
    pidfd_open(getpid(), PidfdFlags::empty()).map(drop)
}

fn has_seals() -> Result<(), Errno> {
    let memory = memfd_create("heavylift-check", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    fcntl_add_seals(&memory, SealFlags::SHRINK)
}

fn has_close_range() -> Result<(), String> {
    // SAFETY: the highest number that there is belongs to no descriptor, so nothing is closed.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
}

fn has_clone3() -> Result<(), String> {
    // SAFETY: arguments of size 0 are refused before anything is read or forked.
    unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 0) };
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error.to_string()) }
}

fn is_there(path: &str) -> Result<(), String> {
    std::fs::symlink_metadata(path).map(drop).map_err(|error| format!("{path}: {error}"))
}

fn cgroup2() -> Result<&'static Path, String> {
    cgroup2_mount()
        .filter(|mount| is_cgroup2(mount))
        .ok_or_else(|| "no file system of cgroups, version 2, is mounted".to_owned())
}

fn has_cgroup_kill() -> Result<(), String> {
    cgroup2()?;
    // The root has no such file, and there may be nothing below it: Linux 5.14 has brought it.
    let release = kernel_release();
    if is_at_least(&release, (5, 14)) { Ok(()) } else { Err(format!("Linux {release} is older than 5.14")) }
}

fn is_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_runs_these_tests_has_what_is_needed() {
        assert_eq!(missing_facility(), None);
        let found = look_around();
        for needed in ["linux", "pidfd", "memfd_seals", "subreaper", "proc", "private_memory"] {
            assert_eq!(found.iter().find(|(name, _)| *name == needed), Some(&(needed, Ok(()))));
        }
    }

    #[test]
    fn releases_are_compared_by_number() {
        let table = [
            ("5.14.0", true),
            ("6.1.0-18-cloud-amd64", true),
            ("5.9.16", false),
            ("5.13", false),
            ("10.0", true),
            ("", false),
        ];
        for (release, expected) in table {
            assert_eq!(is_at_least(release, (5, 14)), expected, "{release}");
        }
    }
}
