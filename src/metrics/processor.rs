//! [`Reading`]: how much of the processor a thread has had, and how often it has gone without.
//!
//! Only Linux is asked; elsewhere nothing is known.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "getrusage, which no safe interface offers"))]

use std::time::Duration;

/// What the system has counted for a thread, or a process, up to some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Time on a processor, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// How often it has given up the processor because it had to wait for something.
    pub(crate) waits: u64,
    /// How often the processor was taken from it, for others.
    pub(crate) preemptions: u64,
}

/// Whose figures are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of the thread that asks.
    Thread,
    /// Those of all threads of the process.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for worker processes"))]
    Process,
}

/// Reads the figures: half a microsecond, most of it spent on two system calls. `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn read(whose: Whose) -> Option<Reading> {
    use rustix::time::{ClockId, clock_gettime};

    let (clock, who) = match whose {
        Whose::Thread => (ClockId::ThreadCPUTime, libc::RUSAGE_THREAD),
        Whose::Process => (ClockId::ProcessCPUTime, libc::RUSAGE_SELF),
    };
    // Not the time that `getrusage` tells, which lags behind by up to a tick.
    let cpu = clock_gettime(clock);
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is to a `rusage`, for writing.
    let result = unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: the call has succeeded, so all of it is written.
    let usage = unsafe { usage.assume_init() };
    Some(Reading {
        cpu_ns: cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64,
        waits: usage.ru_nvcsw as u64,
        preemptions: usage.ru_nivcsw as u64,
    })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read(_whose: Whose) -> Option<Reading> {
    None
}

/// The processor time that all threads of this program have had so far.
#[cfg(target_os = "linux")]
pub(crate) fn of_program() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Some(Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn of_program() -> Option<Duration> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn who_waits_is_seen_to_wait_and_who_computes_to_compute() {
        let first = read(Whose::Thread).unwrap();
        let (answer, answered) = mpsc::channel();
        let (ask, asked) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            asked.recv().unwrap();
            answer.send(()).unwrap();
        });
        ask.send(()).unwrap();
        answered.recv().unwrap();
        other.join().unwrap();
        let waited = read(Whose::Thread).unwrap();
        // Unless the other thread was so quick that there was nothing to wait for.
        assert!(waited.waits >= first.waits && waited.cpu_ns >= first.cpu_ns);
        while read(Whose::Thread).unwrap().cpu_ns < waited.cpu_ns + 2_000_000 {}
        assert!(read(Whose::Process).unwrap().cpu_ns >= waited.cpu_ns + 2_000_000);
        assert!(of_program().unwrap() >= Duration::from_millis(2));
    }
}
