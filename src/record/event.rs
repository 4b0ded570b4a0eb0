//! What is recorded: [`JobRecord`], [`WorkerRecord`] and [`Queued`].

use std::sync::Arc;

use crate::{
    TaskError, TaskErrorKind, TaskId, clock::Stamp, error::TaskLabel, error::TaskName, text::beginning,
};

/// No worker, or nobody knows which.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// A text longer than this, in bytes, is cut.
const LONGEST_TEXT: usize = 512;

/// A run of a job, or the end of a task whose job did not run to its end.
#[derive(Debug, Clone)]
pub(crate) struct JobRecord {
    /// The task; of several items of a map the first one's.
    pub(crate) id: TaskId,
    pub(crate) name: TaskName,
    /// Zero where that is not known.
    pub(crate) submitted: Stamp,
    /// When a worker began it; when it ended, if it never began.
    pub(crate) begun: Stamp,
    pub(crate) ended: Stamp,
    /// The worker's serial number: see [`WorkerRecord`]. [`UNKNOWN`] where there is none.
    pub(crate) worker: u32,
    /// How many items of a map these are; 1 for any other job.
    pub(crate) items: u32,
    /// Absent where the job ran and returned a value.
    pub(crate) failure: Option<Arc<Failure>>,
}

/// What is unusual about a job's end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) kind: TaskErrorKind,
    /// The error's message, cut if it is long. Empty for `Stage::Outlived`.
    pub(crate) text: Box<str>,
}

/// How far the job had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It ran, and that was its end.
    Ran,
    /// It never began: it has no worker and no run.
    NeverBegan,
    /// It runs on, in a thread; `Outlived` follows. It has no run yet.
    Abandoned,
    /// It was abandoned and has ended now. Its task is known from the record before; the kind says nothing.
    Outlived,
    /// One item of several that ran together, which are recorded as a whole, too.
    Item,
}

/// A run that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) label: &'a TaskLabel,
    pub(crate) submitted: Stamp,
    pub(crate) begun: Stamp,
    pub(crate) ended: Stamp,
    pub(crate) worker: u32,
    pub(crate) items: u32,
}

impl JobRecord {
    pub(super) fn of_run(run: Run<'_>, failure: Option<Arc<Failure>>) -> Self {
        let Run { label, submitted, begun, ended, worker, items } = run;
        Self { id: label.id, name: label.name.clone(), submitted, begun, ended, worker, items, failure }
    }

    /// How much memory it takes, in records that have no text of their own.
    pub(super) fn weight(&self) -> usize {
        let text = self.failure.as_ref().map_or(0, |failure| size_of::<Failure>() + failure.text.len());
        1 + text.div_ceil(size_of::<Self>())
    }
}

impl Failure {
    pub(crate) fn new(stage: Stage, error: &TaskError) -> Arc<Self> {
        // What an error shows may be foreign.
        let text = crate::panic::catch(|| error.to_string()).unwrap_or_default();
        Self::with_text(stage, error.kind(), &text)
    }

    pub(crate) fn with_text(stage: Stage, kind: TaskErrorKind, text: &str) -> Arc<Self> {
        Arc::new(Self { stage, kind, text: beginning(text, LONGEST_TEXT).into() })
    }
}

/// Something that happened to a worker.
#[derive(Debug, Clone)]
pub(crate) struct WorkerRecord {
    /// Tells the worker from all others that its pool has had. On threads the same as the number.
    pub(crate) worker: u32,
    /// Its place in the pool, which it leaves to another.
    pub(crate) number: u32,
    /// The process, if it is one.
    pub(crate) pid: Option<u32>,
    pub(crate) at: Stamp,
    pub(crate) what: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was started, at this time; which may be before the recording began.
    Started,
    Ended(Ending),
}

/// Why a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
pub(crate) enum Ending {
    /// Nothing was left to do for it, or the pool came to its end.
    Retired,
    /// It was replaced on schedule.
    Recycled,
    /// It was killed to stop its job.
    Killed(Arc<str>),
    /// It died unasked, broke a rule or did not start: says how.
    Died(Arc<str>),
}

/// How many jobs waited at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) at: Stamp,
    pub(crate) jobs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million of them are 64 MiB, which is promised in the documentation of `Recording`.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_record_takes_64_bytes() {
        assert_eq!(size_of::<JobRecord>(), 64);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let cut = |text: &str| Failure::with_text(Stage::Ran, TaskErrorKind::Panicked, text).text.clone();
        assert_eq!(&*cut("short"), "short");
        assert_eq!(cut(&"x".repeat(600)).len(), LONGEST_TEXT);
        assert_eq!(cut(&"€".repeat(300)).len(), 510);
    }
}
