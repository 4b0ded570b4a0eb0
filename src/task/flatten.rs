//! [`Flatten`]: a task of a `Result`, with both errors in one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::FusedFuture;

use super::Task;
use crate::TaskError;

impl<T, E: From<TaskError>> Task<Result<T, E>> {
    /// Returns a future of the job's own result, with the task's error converted into the job's error type.
    ///
    /// Cancels the task when dropped, as the task itself does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// use heavylift::run_in_thread_pool;
    ///
    /// let text = run_in_thread_pool(|| std::fs::read_to_string("Cargo.toml")).flatten().await?;
    /// assert!(text.contains("heavylift"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn flatten(self) -> Flatten<T, E> {
        Flatten { task: self }
    }
}

/// Future returned by [`Task::flatten`].
#[must_use = "dropping it cancels the task; call `detach` on the task to let it run"]
pub struct Flatten<T, E> {
    task: Task<Result<T, E>>,
}

impl<T, E: From<TaskError>> Future for Flatten<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.task).poll(cx)).unwrap_or_else(|error| Err(error.into())))
    }
}

impl<T, E: From<TaskError>> FusedFuture for Flatten<T, E> {
    fn is_terminated(&self) -> bool {
        self.task.is_terminated()
    }
}

impl<T, E> fmt::Debug for Flatten<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flatten").field("task", &self.task).finish()
    }
}
