//! [`RecordedJob`] and [`RecordedWorker`]: what a timeline tells of one of each.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    TaskErrorKind, TaskId,
    error::TaskName,
    record::{Failure, UNKNOWN},
};

/// How a recorded job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobEnd {
    /// It returned a value.
    Value,
    /// Its task finished without a value.
    Failed(TaskErrorKind),
    /// It ran when the recording was stopped.
    Running,
}

impl JobEnd {
    /// Its name for machines.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Value => "succeeded",
            Self::Running => "running",
            Self::Failed(kind) => kind.label(),
        }
    }
}

impl fmt::Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::Running => "running",
            Self::Failed(kind) => kind.words(),
        })
    }
}

/// A run of a job, or a job that never began. Obtained from [`Timeline::jobs`](crate::Timeline::jobs).
#[derive(Clone)]
pub struct RecordedJob {
    pub(super) id: TaskId,
    pub(super) name: TaskName,
    /// In nanoseconds; the largest number is none.
    pub(super) waited: u64,
    pub(super) ended: u64,
    pub(super) ran: u64,
    pub(super) lane: u32,
    pub(super) pid: u32,
    pub(super) items: u32,
    pub(super) is_running: bool,
    pub(super) failure: Option<Arc<Failure>>,
}

impl RecordedJob {
    /// The id of the task; of items of a `map` that ran together the first one's.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The name of the task: as given, otherwise the type name of its function.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// How many items of a `map` these are; 1 for any other job.
    pub fn items(&self) -> u32 {
        self.items
    }

    /// The number of the worker that ran it. `None` if it never began, or for an item whose run is not known.
    pub fn worker(&self) -> Option<u32> {
        (self.lane != UNKNOWN).then_some(self.lane)
    }

    /// The id of the worker's process, if it is one.
    pub fn pid(&self) -> Option<u32> {
        (self.pid != 0).then_some(self.pid)
    }

    /// How long it waited before it began, or before it was given up. `None` where that is not known: of what still runs, and of
    /// what was refused or could not be sent.
    pub fn waited(&self) -> Option<Duration> {
        (self.waited != u64::MAX).then(|| Duration::from_nanos(self.waited))
    }

    /// How long it ran, as far as it has. Zero if it never began.
    pub fn ran(&self) -> Duration {
        Duration::from_nanos(self.ran)
    }

    /// When it ended, counted from the beginning of the recording.
    pub fn ended(&self) -> Duration {
        Duration::from_nanos(self.ended)
    }

    /// When it began, counted from the beginning of the recording; zero if that was before.
    pub fn begun(&self) -> Duration {
        Duration::from_nanos(self.begun_nanos())
    }

    /// How it ended.
    ///
    /// A job in a thread that ran on after its task had been cancelled or timed out has its run to its own end, and the end of
    /// its task.
    pub fn end(&self) -> JobEnd {
        match &self.failure {
            Some(failure) => JobEnd::Failed(failure.kind),
            None if self.is_running => JobEnd::Running,
            None => JobEnd::Value,
        }
    }

    /// The message of the error, cut at 512 bytes; `None` where there is a value, or none yet.
    pub fn error(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| &*failure.text)
    }

    pub(super) fn begun_nanos(&self) -> u64 {
        self.ended.saturating_sub(self.ran)
    }
}

impl fmt::Debug for RecordedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedJob")
            .field("id", &self.id)
            .field("name", &self.name())
            .field("worker", &self.worker())
            .field("begun", &self.begun())
            .field("ran", &self.ran())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

/// Why a recorded worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerEnd {
    /// There was nothing left for it to do, or its pool came to its end.
    Retired,
    /// It was replaced on schedule.
    Recycled,
    /// It was killed to stop its job.
    Killed,
    /// It died unasked, broke a rule of its pool, or did not start.
    Died,
}

/// A worker: a thread or a process. Obtained from [`Timeline::workers`](crate::Timeline::workers).
#[derive(Debug, Clone)]
pub struct RecordedWorker {
    pub(super) number: u32,
    pub(super) pid: Option<u32>,
    pub(super) started: Option<u64>,
    pub(super) ended: Option<u64>,
    pub(super) end: Option<WorkerEnd>,
    pub(super) why: Option<Arc<str>>,
}

impl RecordedWorker {
    pub(super) fn new(number: u32, pid: Option<u32>, started: Option<u64>) -> Self {
        Self { number, pid, started, ended: None, end: None, why: None }
    }

    /// Its number in the pool, which one that takes its place may have after it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The id of its process, if it is one.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// When it was started, counted from the beginning of the recording; `None` if it was there before.
    pub fn started(&self) -> Option<Duration> {
        self.started.map(Duration::from_nanos)
    }

    /// When it ended; `None` if it was there to the end of the recording.
    pub fn ended(&self) -> Option<Duration> {
        self.ended.map(Duration::from_nanos)
    }

    /// Why it ended.
    pub fn end(&self) -> Option<WorkerEnd> {
        self.end
    }

    /// More about its end: the task that it was killed for, or how it died.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }
}
