//! [`TaskStatus`]: how far a task has come.

/// How far a task has come.
///
/// Obtained from [`Task::status`](crate::Task::status); a snapshot, which may be over when it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskStatus {
    /// The job waits for a worker.
    Queued,
    /// A worker runs the job.
    Running,
    /// The outcome is known.
    Finished,
}
