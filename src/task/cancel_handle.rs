//! [`CancelHandle`]: cancels a task from elsewhere.

use std::fmt;

use super::cell::AnyTask;
use crate::{TaskId, counted::Weak};

/// Cancels a task, without being able to await it.
///
/// Obtained from [`Task::cancel_handle`](crate::Task::cancel_handle). Keeps neither the task nor its result alive;
/// dropping it does nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::run_in_process_pool;
///
/// let task = run_in_process_pool(|()| loop { std::hint::spin_loop() }, ());
/// let handle = task.cancel_handle();
/// tokio::spawn(async move { handle.cancel() });
/// let result: Result<(), _> = task.await;
/// assert!(result.unwrap_err().is_cancelled());
/// # }
/// ```
#[derive(Clone)]
pub struct CancelHandle {
    id: TaskId,
    task: Weak<dyn AnyTask>,
}

impl CancelHandle {
    pub(crate) fn new(id: TaskId, task: Weak<dyn AnyTask>) -> Self {
        Self { id, task }
    }

    /// The id of the task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Cancels the task, as [`Task::cancel`](crate::Task::cancel) does. Says whether this call did it.
    pub fn cancel(&self) -> bool {
        self.task.upgrade().is_some_and(|task| task.cancel())
    }

    /// Whether the task has finished, or is gone.
    pub fn is_finished(&self) -> bool {
        self.task.upgrade().is_none_or(|task| task.is_finished())
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
