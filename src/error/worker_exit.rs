//! [`WorkerExit`]: how a worker process ended.

use std::{borrow::Cow, fmt, sync::Arc};

/// How a worker process ended.
///
/// Obtained from [`TaskError::worker`](crate::TaskError::worker).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerExit {
    pid: u32,
    status: ExitCause,
    stderr_tail: String,
    note: Option<Cow<'static, str>>,
    /// What the items of the job published, where it was several.
    items: Option<Arc<[u8]>>,
}

/// What is known of the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCause {
    Code(i32),
    Signal(i32),
    Unknown,
}

impl WorkerExit {
    pub(crate) fn new(pid: u32, status: ExitCause, stderr_tail: String) -> Self {
        Self { pid, status, stderr_tail, note: None, items: None }
    }

    /// Adds what the worker had done to be killed, if there is anything to say.
    pub(crate) fn with_note(mut self, note: Option<impl Into<Cow<'static, str>>>) -> Self {
        self.note = note.map(Into::into).or(self.note);
        self
    }

    /// Adds what the items of its job had published.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for process pools"))]
    pub(crate) fn with_items(mut self, items: Option<Vec<u8>>) -> Self {
        self.items = items.filter(|items| !items.is_empty()).map(Into::into);
        self
    }

    /// What the items of its job had published; the worker's word.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for process pools"))]
    pub(crate) fn items(&self) -> Option<&[u8]> {
        self.items.as_deref()
    }

    /// The process id that the worker had.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The signal that ended it, if a signal did.
    pub fn signal(&self) -> Option<i32> {
        match self.status {
            ExitCause::Signal(signal) => Some(signal),
            _ => None,
        }
    }

    /// The code that it exited with, if it exited.
    pub fn code(&self) -> Option<i32> {
        match self.status {
            ExitCause::Code(code) => Some(code),
            _ => None,
        }
    }

    /// What it had done to be killed, if there is anything to say.
    #[cfg(feature = "nats")]
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The last 4 KiB that it wrote to its standard error, invalid UTF-8 replaced.
    pub fn stderr_tail(&self) -> &str {
        &self.stderr_tail
    }
}

impl WorkerExit {
    /// How it ended, without its pid: "died of SIGSEGV".
    pub(crate) fn end(&self) -> impl fmt::Display + '_ {
        End { status: self.status, note: self.note.as_deref() }
    }
}

impl fmt::Display for WorkerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} {}", self.pid, self.end())
    }
}

struct End<'a> {
    status: ExitCause,
    note: Option<&'a str>,
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            ExitCause::Code(code) => write!(f, "exited with code {code}")?,
            ExitCause::Signal(signal) => write!(f, "died of {}", SignalName(signal))?,
            ExitCause::Unknown => f.write_str("ended, and its exit status could not be learnt in time")?,
        }
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

/// A signal by its usual name, or by its number.
struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The numbers that Linux gives them on every architecture that Rust's standard library supports.
        let name = match self.0 {
            1 => "SIGHUP",
            2 => "SIGINT",
            3 => "SIGQUIT",
            4 => "SIGILL",
            5 => "SIGTRAP",
            6 => "SIGABRT",
            7 => "SIGBUS",
            8 => "SIGFPE",
            9 => "SIGKILL",
            11 => "SIGSEGV",
            13 => "SIGPIPE",
            14 => "SIGALRM",
            15 => "SIGTERM",
            24 => "SIGXCPU",
            25 => "SIGXFSZ",
            31 => "SIGSYS",
            number => return write!(f, "signal {number}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_pid_and_how_it_ended() {
        let shown = |status| WorkerExit::new(4242, status, String::new()).to_string();
        assert_eq!(shown(ExitCause::Signal(11)), "pid 4242 died of SIGSEGV");
        assert_eq!(shown(ExitCause::Signal(40)), "pid 4242 died of signal 40");
        assert_eq!(shown(ExitCause::Code(3)), "pid 4242 exited with code 3");
    }
}
