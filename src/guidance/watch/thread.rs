//! [`Thread`]: the thread of a worker, and what the system tells about it from outside.

use std::{thread::ThreadId, time::Duration};

/// The thread on which a worker was seen to poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thread {
    pub id: ThreadId,
    pub name: Option<String>,
    /// What the system calls it; Linux only.
    pub tid: Option<u32>,
}

impl Thread {
    pub(super) fn current() -> Self {
        let current = std::thread::current();
        Self { id: current.id(), name: current.name().map(str::to_owned), tid: system::tid() }
    }
}

/// How long a thread has run, and how long it has waited for a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub cpu: Duration,
    pub starved: Duration,
    /// How often it was given a processor.
    pub turns: u64,
}

/// What a thread does right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doing {
    /// It runs, or would if it were given a processor; or nothing is known.
    Running,
    /// It waits, in the function of the kernel, where that is told.
    Waiting(Option<String>),
}

pub(super) use system::{Clock, doing};

#[cfg(target_os = "linux")]
mod system {
    use std::{
        fs::{self, File},
        os::unix::fs::FileExt,
        time::Duration,
    };

    use super::{Doing, Usage};

    pub(in super::super) fn tid() -> Option<u32> {
        u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).ok()
    }

    /// The [`Usage`] of one thread of this program, read as often as one likes.
    #[derive(Debug)]
    pub(in super::super) struct Clock {
        /// Kept open: one read of it costs a fifth of opening it.
        file: File,
    }

    impl Clock {
        /// `None` if the thread is gone, or the kernel keeps no such figures.
        pub(in super::super) fn of(tid: u32) -> Option<Self> {
            // See "schedstat" in the kernel's Documentation/scheduler/sched-stats.rst.
            File::open(format!("/proc/self/task/{tid}/schedstat")).ok().map(|file| Self { file })
        }

        /// `None` once the thread is gone.
        pub(in super::super) fn read(&self) -> Option<Usage> {
            let mut text = [0; 96];
            let length = self.file.read_at(&mut text, 0).ok()?;
            parse(str::from_utf8(&text[..length]).ok()?)
        }
    }

    fn parse(text: &str) -> Option<Usage> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Usage {
            cpu: Duration::from_nanos(next()?),
            starved: Duration::from_nanos(next()?),
            turns: next()?,
        })
    }

    pub(in super::super) fn doing(tid: u32) -> Doing {
        let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
        // The name before the state may contain anything, parentheses included.
        let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
        // Asleep, with or without being interruptible. Whatever else it may be is not waiting.
        if !state.starts_with(['S', 'D']) {
            return Doing::Running;
        }
        let function = fs::read_to_string(format!("/proc/self/task/{tid}/wchan")).ok();
        // "0" stands for a function that the kernel does not tell.
        Doing::Waiting(function.filter(|name| !matches!(name.as_str(), "" | "0")))
    }

    #[cfg(test)]
    mod tests {
        use std::sync::mpsc;

        use super::*;

        #[test]
        fn a_thread_that_waits_is_seen_to_wait_and_its_clock_stands() {
            let (tids, next_tid) = mpsc::channel();
            let (sender, receiver) = mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                tids.send(tid().unwrap()).unwrap();
                receiver.recv().unwrap_err();
            });
            let tid = next_tid.recv().unwrap();
            let clock = Clock::of(tid).unwrap();
            while doing(tid) == Doing::Running {
                std::thread::yield_now();
            }
            let before = clock.read().unwrap();
            assert_eq!(clock.read(), Some(before));
            drop(sender);
            thread.join().unwrap();
            while clock.read().is_some() {
                std::thread::yield_now();
            }
        }

        #[test]
        fn a_thread_that_runs_does_not_wait() {
            assert_eq!(doing(tid().unwrap()), Doing::Running);
        }

        #[test]
        fn figures_that_are_none_are_unknown() {
            let usage = Usage { cpu: Duration::from_nanos(7), starved: Duration::from_nanos(8), turns: 9 };
            assert_eq!(parse("7 8 9\n"), Some(usage));
            assert_eq!(parse("7 8"), None);
            assert_eq!(parse("7 x 9"), None);
            assert_eq!(parse(""), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Doing, Usage};

    pub(in super::super) fn tid() -> Option<u32> {
        None
    }

    /// Nothing is known of threads here.
    #[derive(Debug)]
    pub(in super::super) enum Clock {}

    impl Clock {
        pub(in super::super) fn of(_tid: u32) -> Option<Self> {
            None
        }

        pub(in super::super) fn read(&self) -> Option<Usage> {
            match *self {}
        }
    }

    pub(in super::super) fn doing(_tid: u32) -> Doing {
        Doing::Running
    }
}
