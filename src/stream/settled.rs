//! [`Settled`]: what `gather(…).settled().await` waits on.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::FusedFuture;

use super::gather::Gather;

/// Collects all outputs of a [`Gather`] in input order, errors among them. Made by [`Gather::settled`].
///
/// Outputs that the gather has yielded as a stream before are not in it.
///
/// # Panics
///
/// Passes on the panic of a future. Panics when polled again after that, or after it was ready.
///
/// # Cancel safety
///
/// Dropping it drops all futures, which cancels tasks, and all outputs received so far. To keep both, hold the
/// [`Gather`] and iterate over it.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::gather;
///
/// let lengths = gather(["a", "bb"].map(|text| async move { text.len() })).settled().await;
/// assert_eq!(lengths, [1, 2]);
/// # }
/// ```
#[must_use = "dropping it drops the gathered futures, which cancels their tasks; `.await` it"]
pub struct Settled<F: Future> {
    /// Absent once ready.
    gather: Option<Gather<F>>,
}

impl<F: Future> Settled<F> {
    pub(super) fn new(gather: Gather<F>) -> Self {
        Self { gather: Some(gather) }
    }
}

impl<F: Future> Future for Settled<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<F::Output>> {
        let gather = self.gather.as_mut().expect("not polled again after it was ready");
        ready!(gather.poll_until(cx, |_| false));
        Poll::Ready(self.gather.take().into_iter().flat_map(Gather::into_outputs).collect())
    }
}

impl<F: Future> FusedFuture for Settled<F> {
    fn is_terminated(&self) -> bool {
        self.gather.is_none()
    }
}

// As for `Gather`: outputs are never pinned.
impl<F: Future> Unpin for Settled<F> {}

impl<F: Future> fmt::Debug for Settled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").field("gather", &self.gather).finish_non_exhaustive()
    }
}
