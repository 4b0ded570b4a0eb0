//! [`Gathered`]: what `gather(…).await` waits on.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::FusedFuture;

use super::{fallible::Fallible, gather::Gather};

/// Collects the values of a [`Gather`] in input order, or returns the first error to occur. Made by `gather(…).await`.
///
/// Values that the gather has yielded as a stream before are not in it. An error that the gather has received but not
/// yielded counts as having occurred.
///
/// # Errors
///
/// The first error to occur, not the first in input order, as soon as it occurs. The other futures are dropped, which
/// cancels tasks, before it is returned.
///
/// # Panics
///
/// Passes on the panic of a future. Panics when polled again after that, or after it was ready.
///
/// # Cancel safety
///
/// Dropping it drops all futures, which cancels tasks, and all values received so far. To keep both, hold the
/// [`Gather`] and iterate over it.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use std::future::{pending, ready};
///
/// use futures::FutureExt;
/// use heavylift::gather;
///
/// // The second fails while the first would take for ever.
/// let futures = [pending().left_future(), ready(Err::<(), _>("no luck")).right_future()];
/// assert_eq!(gather(futures).await, Err("no luck"));
/// # }
/// ```
#[must_use = "dropping it drops the gathered futures, which cancels their tasks; `.await` it"]
pub struct Gathered<F: Future> {
    /// Absent once ready.
    gather: Option<Gather<F>>,
    /// An error that was received before; returned by the first poll.
    failure: Option<F::Output>,
}

impl<F> Gathered<F>
where
    F: Future,
    F::Output: Fallible,
{
    pub(super) fn new(mut gather: Gather<F>) -> Self {
        let failure = gather.take_if(Fallible::is_failure);
        Self { gather: Some(gather), failure }
    }

    /// Is ready with the output that ends it early, if there is one, or when all have been received.
    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(failure));
        }
        let gather = self.gather.as_mut().expect("not polled again after it was ready");
        gather.poll_until(cx, Fallible::is_failure)
    }
}

impl<F> Future for Gathered<F>
where
    F: Future,
    F::Output: Fallible,
{
    type Output = Result<Vec<<F::Output as Fallible>::Value>, <F::Output as Fallible>::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let failure = ready!(self.poll_failure(cx));
        // Taken out, so that all futures are gone by the time that the caller sees the output.
        let gather = self.gather.take().expect("not polled again after it was ready");
        if let Some(failure) = failure {
            drop(gather);
            return Poll::Ready(failure.into_result().map(|value| vec![value]));
        }
        Poll::Ready(gather.into_outputs().map(Fallible::into_result).collect())
    }
}

impl<F> FusedFuture for Gathered<F>
where
    F: Future,
    F::Output: Fallible,
{
    fn is_terminated(&self) -> bool {
        self.gather.is_none()
    }
}

// As for `Gather`: outputs are never pinned.
impl<F: Future> Unpin for Gathered<F> {}

impl<F: Future> fmt::Debug for Gathered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathered").field("gather", &self.gather).finish_non_exhaustive()
    }
}
