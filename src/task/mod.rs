//! The handle of a job, its state and its cancellation.
//!
//! A task is one piece of memory, a [`cell::Cell`]: the state word with the job and the outcome ([`core`]), its label and limits, and
//! a seat in which its executor keeps what it needs. [`Task`] is the caller's end of it.

mod blocking;
mod cancel_handle;
mod cell;
mod core;
mod current;
mod flatten;
mod id;
mod options;
mod priority;
mod status;
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
pub(crate) mod together;

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::FusedFuture;

pub(crate) use blocking::{assert_may_block, wait as block_on};
pub use cancel_handle::CancelHandle;
pub(crate) use cell::{AnyTask, Cell, Left, Seat, TaskCell, Whose, label};
#[cfg(feature = "rayon")]
pub(crate) use current::outside;
pub use current::{CancelFlag, checkpoint, is_cancelled, with_cancel_flag};
pub(crate) use current::{StopSignal, enter};
pub use flatten::Flatten;
pub use id::TaskId;
pub(crate) use options::Options;
pub use priority::Priority;
pub use status::TaskStatus;

use crate::{
    TaskError,
    counted::{Counted, unsize},
    error::TaskLabel,
    panic::drop_shielded,
    trace::JobSpan,
};

/// A job that was handed to a pool: a future of its result.
///
/// The job starts without the task being awaited. A task can be awaited on any runtime and on none, moved between
/// threads, used in `select!` and in `tokio::time::timeout`, and waited for by blocking.
///
/// **Dropping a task cancels it.** A queued job never starts; a job in a process is ended by killing its worker; a job in
/// a thread cannot be stopped, but sees [`is_cancelled`], and its result is dropped. [`detach`](Self::detach) lets the job
/// run instead.
///
/// # Errors
///
/// Resolves to a [`TaskError`] when there is no value: see [`TaskErrorKind`](crate::TaskErrorKind).
///
/// # Panics
///
/// When polled again after it has resolved.
///
/// # Cancel safety
///
/// A dropped task is cancelled, and its result, if there is one, is lost. `&mut task` in `select!` or `timeout` cancels
/// nothing and loses nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::run_in_thread_pool;
///
/// let task = run_in_thread_pool(|| (1..=10u64).product::<u64>());
/// assert_eq!(task.await?, 3_628_800);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a task cancels it; call `detach` to let it run"]
pub struct Task<T> {
    cell: Counted<dyn TaskCell<T>>,
    /// Whether the outcome has been handed out, or nobody waits for it any more.
    is_over: bool,
}

impl<T> Task<T> {
    pub(crate) fn new<S: Seat<Output = T>>(cell: Counted<Cell<S>>) -> Self {
        Self { cell: unsize!(cell => dyn TaskCell<T>), is_over: false }
    }

    /// Makes a task that is finished with `error`.
    pub(crate) fn refused(error: TaskError, label: TaskLabel, span: JobSpan) -> Self
    where
        T: Send + 'static,
    {
        Self::new(cell::refused(error, label, span))
    }

    /// The id of the task: unique in this program.
    pub fn id(&self) -> TaskId {
        self.cell.label().id
    }

    /// The name of the task: as given to the job's builder, otherwise the type name of its function.
    pub fn name(&self) -> &str {
        self.cell.label().name.as_str()
    }

    /// The line that started the job.
    pub fn submitted_at(&self) -> &'static Location<'static> {
        self.cell.label().submitted_at
    }

    /// How far the task has come.
    pub fn status(&self) -> TaskStatus {
        if self.is_over { TaskStatus::Finished } else { self.cell.status() }
    }

    /// Whether the outcome is known.
    pub fn is_finished(&self) -> bool {
        self.is_over || self.cell.is_finished()
    }

    /// Cancels the task: it finishes as cancelled at once, unless it has finished already. Says whether this call did it.
    ///
    /// A queued job never starts and is dropped. A job in a process is stopped by killing its worker, which costs no
    /// other task anything. A job in a thread goes on, sees [`is_cancelled`], and its value is dropped.
    pub fn cancel(&self) -> bool {
        !self.is_over && self.cell.cancel()
    }

    /// Returns a handle that can cancel the task from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(self.id(), unsize!(self.cell.downgrade() => dyn AnyTask))
    }

    /// Lets the job run to its end without anybody waiting for it. Its result is dropped; its panic is reported by the
    /// panic hook.
    ///
    /// A detached job does not keep the program alive: await [`shutdown`](crate::ThreadPool::shutdown) for that.
    pub fn detach(mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.cell.detach();
        }
    }

    /// Calls `callback` once with the outcome: on the thread that finishes the task, before whoever awaits it is woken, or
    /// here and now if the task has finished.
    ///
    /// The callback must not block: it holds up a worker. Blocking calls of this crate panic in it. A panic in it is
    /// reported by the panic hook and hurts nobody. Several callbacks run in the order of registration. After the
    /// outcome has been handed out (the task has resolved) there is nothing to call it with, and it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let task = heavylift::run_in_thread_pool(|| 6 * 7);
    /// task.on_done(move |outcome| {
    ///     let _ = sender.send(outcome.as_ref().ok().copied());
    /// });
    /// assert_eq!(task.await?, 42);
    /// assert_eq!(receiver.try_recv(), Ok(Some(42))); // it ran before the await resolved
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_done(&self, callback: impl FnOnce(&Result<T, TaskError>) + Send + 'static) {
        if !self.is_over {
            self.cell.on_done(Box::new(move |outcome| blocking::as_callback(|| callback(outcome))));
        }
    }

    /// Blocks this thread until the task has finished, and returns its outcome. Needs no runtime.
    ///
    /// In a job that waits for a queued task of its own thread pool, runs that task right here, so that it cannot wait for
    /// ever.
    ///
    /// # Errors
    ///
    /// As awaiting the task.
    ///
    /// # Panics
    ///
    /// On a thread that drives async tasks, as tokio's `blocking_recv` does; inside [`on_done`](Self::on_done); when the
    /// task has been awaited to its end before.
    #[track_caller]
    pub fn blocking_wait(mut self) -> Result<T, TaskError> {
        assert_may_block();
        self.help();
        self.blocking_poll(None).expect("a wait without a deadline ends with an outcome")
    }

    /// Blocks this thread until the task has finished or `limit` is over; `None` then, and the task goes on.
    ///
    /// # Panics
    ///
    /// As [`blocking_wait`](Self::blocking_wait).
    #[track_caller]
    pub fn blocking_wait_timeout(&mut self, limit: Duration) -> Option<Result<T, TaskError>> {
        assert_may_block();
        self.blocking_poll(Instant::now().checked_add(limit))
    }

    fn blocking_poll(&mut self, deadline: Option<Instant>) -> Option<Result<T, TaskError>> {
        // Outside the cooperative budget, which nobody would renew while this thread waits.
        block_on(tokio::task::coop::unconstrained(self), deadline)
    }

    fn help(&self) {
        if !self.is_over {
            self.cell.help();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.is_over, "a task must not be polled after it has resolved");
        // Awaiting many finished tasks in a row must not hold the runtime's thread for ever.
        let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let outcome = std::task::ready!(self.cell.poll(cx));
        budget.made_progress();
        self.is_over = true;
        Poll::Ready(outcome)
    }
}

impl<T> FusedFuture for Task<T> {
    fn is_terminated(&self) -> bool {
        self.is_over
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if !self.cell.is_finished() {
            self.cell.cancel();
        }
        // The value that nobody took, whose `Drop` is foreign code.
        drop_shielded(self.cell.take());
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
