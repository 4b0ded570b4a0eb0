//! [`Shutdown`], and [`Closing`]: the future of a shutdown.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::ShutdownReport;
use crate::{
    task::{assert_may_block, block_on},
    timer::Delay,
};

/// What a shutdown does with the jobs that the pool has. New ones are refused in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// Finishes everything that is queued or running.
    Drain,
    /// Cancels what is queued, finishes what is running.
    CancelQueued,
    /// Cancels everything. Jobs in processes are killed; jobs in threads are asked to stop, and not waited for.
    Kill,
}

/// A pool, as its [`Closing`] sees it.
pub(crate) trait Closable: Send + Sync {
    /// Ready when the shutdown has come to its end.
    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()>;

    /// Cancels everything that is left, and says how many jobs that were.
    fn give_up(&self) -> u64;

    /// What became of the tasks since the shutdown was asked for.
    fn report(&self) -> ShutdownReport;
}

/// Future returned by `shutdown`: resolves when the pool has come to its end.
///
/// The pool is closed by the call itself, whether this is polled or not. Every task finishes, so this resolves unless a job
/// runs for ever; [`timeout`](Self::timeout) bounds that.
///
/// # Cancel safety
///
/// Cancel safe: dropping it takes nothing back, and `shutdown` can be called again to wait again.
#[must_use = "the pool closes anyway; await this to wait for the end of its work"]
pub struct Closing {
    pool: Arc<dyn Closable>,
    limit: Option<Delay>,
}

impl Closing {
    pub(crate) fn new(pool: Arc<dyn Closable>) -> Self {
        Self { pool, limit: None }
    }

    /// Limits the wait, from now on: what has not ended by then is cancelled, killed or asked to stop, counted as
    /// [`abandoned`](ShutdownReport::abandoned), and not waited for. Default: none.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(Delay::new(limit));
        self
    }

    /// Blocks this thread until the pool has come to its end. Needs no runtime.
    ///
    /// # Panics
    ///
    /// On a thread that drives async tasks, and inside `on_done`.
    #[track_caller]
    pub fn blocking_wait(self) -> ShutdownReport {
        assert_may_block();
        block_on(self, None).expect("a wait without a deadline ends with a report")
    }
}

impl Future for Closing {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ShutdownReport> {
        if self.pool.poll_closed(cx).is_ready() {
            return Poll::Ready(self.pool.report());
        }
        let Some(limit) = &mut self.limit else { return Poll::Pending };
        if Pin::new(limit).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let abandoned = self.pool.give_up();
        Poll::Ready(ShutdownReport { abandoned, ..self.pool.report() })
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}
