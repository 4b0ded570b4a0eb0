//! [`Hold`]: one time that tasks held a worker.

use std::{fmt, time::Duration};

use super::judge::POLLS_BETWEEN;

/// A worker of a runtime that did not come back for longer than the limit: what is known of it.
///
/// Plain data; [`Display`](fmt::Display) says it in a sentence, with the change to make.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// What this is a case of.
    pub verdict: Verdict,
    /// What the worker's thread does meanwhile.
    pub activity: Activity,
    /// Whether the rest of the runtime goes on.
    pub scope: Scope,
    /// For how long tasks have held the worker: at least. Without the time in which other threads had its processor.
    pub held_for: Duration,
    /// The limit that was exceeded.
    pub limit: Duration,
    /// For how long the thread has run within that time; `None` where the system does not tell.
    pub cpu: Option<Duration>,
    /// Which worker of the runtime: its index in tokio's [`RuntimeMetrics`](tokio::runtime::RuntimeMetrics).
    pub worker: usize,
    /// How many workers the runtime has.
    pub workers: usize,
    /// The name of the worker's thread, if it has one and was seen at work before.
    pub thread_name: Option<String>,
    /// What the system calls that thread (`ps -L`, `gdb`, `perf`); Linux only.
    pub tid: Option<u32>,
    /// The function of the kernel in which the thread waits, such as `hrtimer_nanosleep` or `futex_do_wait`; Linux only, and only where
    /// the kernel tells.
    pub waits_in: Option<String>,
}

/// What is certain about a [`Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Tasks block the worker: they make its thread wait, or nothing that the runtime should poll was polled for the limit, or one poll
    /// must have taken the limit.
    Blocked,
    /// The worker computes without a pause, and another one answers: either one poll takes all of the time, or some long ones do, at most
    /// 244 of them (with tokio's default `event_interval`). Which of the two it is cannot be told from outside.
    Busy,
}

/// What a held worker's thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// It waits most of the time: for a file, a socket, a lock, a timer, another thread.
    Waiting,
    /// It runs most of the time.
    Computing,
    /// The system does not tell, or the thread has not been seen at work before.
    Unknown,
}

/// How much of a runtime a [`Hold`] stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// One worker, and the tasks that only it can run: other workers answer, or may.
    Worker,
    /// The runtime: no worker has polled a task that was woken meanwhile.
    Runtime,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_worker(f)?;
        let millis = self.held_for.as_millis();
        match self.verdict {
            Verdict::Blocked => write!(f, " has been held for {millis} ms by a task that {}", self.doing())?,
            Verdict::Busy => {
                let each = self.held_for / POLLS_BETWEEN;
                write!(
                    f,
                    " has been busy for {millis} ms without a pause, with one task or with polls of {each:.1?} and more"
                )?;
            }
        }
        self.write_details(f)?;
        if self.scope == Scope::Runtime {
            f.write_str("; the runtime polls no other task meanwhile")?;
        }
        write!(f, ": {}", self.advice())
    }
}

impl Hold {
    fn write_worker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} of {}", self.worker, self.workers)?;
        match (&self.thread_name, self.tid) {
            (Some(name), Some(tid)) => write!(f, " (thread {name:?}, tid {tid})"),
            (Some(name), None) => write!(f, " (thread {name:?})"),
            (None, Some(tid)) => write!(f, " (tid {tid})"),
            (None, None) => Ok(()),
        }
    }

    fn write_details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " (limit {} ms", self.limit.as_millis())?;
        if let Some(cpu) = self.cpu {
            let percent = cpu.as_micros() * 100 / self.held_for.as_micros().max(1);
            write!(f, ", {} % CPU", percent.min(100))?;
        }
        if let Some(function) = &self.waits_in {
            write!(f, ", in {function}")?;
        }
        f.write_str(")")
    }

    const fn doing(&self) -> &'static str {
        match self.activity {
            Activity::Waiting => "waits",
            Activity::Computing => "computes",
            Activity::Unknown => "does not return",
        }
    }

    const fn advice(&self) -> &'static str {
        match self.activity {
            Activity::Waiting => "move what waits to run_in_thread_pool, or await an async version of it",
            Activity::Computing => "move what computes to ThreadPool::cpu()",
            Activity::Unknown => {
                "move what waits to run_in_thread_pool, and what computes to ThreadPool::cpu()"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold() -> Hold {
        Hold {
            verdict: Verdict::Blocked,
            activity: Activity::Waiting,
            scope: Scope::Worker,
            held_for: Duration::from_micros(312_900),
            limit: Duration::from_millis(100),
            cpu: Some(Duration::from_micros(80)),
            worker: 1,
            workers: 8,
            thread_name: Some("tokio-rt-worker".into()),
            tid: Some(4242),
            waits_in: Some("hrtimer_nanosleep".into()),
        }
    }

    #[test]
    fn what_waits_is_sent_to_the_thread_pool() {
        assert_eq!(
            hold().to_string(),
            "worker 1 of 8 (thread \"tokio-rt-worker\", tid 4242) has been held for 312 ms by a task that waits (limit 100 ms, \
             0 % CPU, in hrtimer_nanosleep): move what waits to run_in_thread_pool, or await an async version of it"
        );
    }

    #[test]
    fn what_computes_is_sent_to_the_cpu_pool() {
        let hold = Hold {
            activity: Activity::Computing,
            scope: Scope::Runtime,
            cpu: Some(Duration::from_millis(300)),
            workers: 2,
            thread_name: None,
            waits_in: None,
            ..hold()
        };
        assert_eq!(
            hold.to_string(),
            "worker 1 of 2 (tid 4242) has been held for 312 ms by a task that computes (limit 100 ms, 95 % CPU); the runtime polls \
             no other task meanwhile: move what computes to ThreadPool::cpu()"
        );
    }

    #[test]
    fn what_cannot_be_told_is_not_said() {
        let hold = Hold {
            verdict: Verdict::Busy,
            activity: Activity::Unknown,
            cpu: None,
            tid: None,
            waits_in: None,
            ..hold()
        };
        assert_eq!(
            hold.to_string(),
            "worker 1 of 8 (thread \"tokio-rt-worker\") has been busy for 312 ms without a pause, with one task or with polls of \
             1.3ms and more (limit 100 ms): move what waits to run_in_thread_pool, and what computes to ThreadPool::cpu()"
        );
    }
}
