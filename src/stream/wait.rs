//! [`wait`]: until the first, the first error, or all.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::FusedFuture;

use super::{
    budget,
    racing::{Racing, Reaped},
    return_when::ReturnWhen,
    waited::Waited,
};

/// Waits until the first of `futures` has finished, the first has failed, or all have finished.
///
/// Returns what has finished and the futures that have not, so that nothing is lost; pass `tasks.iter_mut()` to keep the
/// futures where they are. Futures that are not `Unpin` are passed as `pin!(…)` or `Box::pin(…)`. With no futures it is
/// ready at once.
///
/// For a whole sequence of outputs, [`as_completed`](crate::as_completed) is cheaper than one `wait` after another:
/// each `wait` polls all of its futures anew.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::{ReturnWhen, Waited, wait};
///
/// let (_sender, receiver) = tokio::sync::oneshot::channel::<&str>();
/// let (sender, other) = tokio::sync::oneshot::channel();
/// sender.send("hello").unwrap();
///
/// let Waited { done, pending } = wait([receiver, other], ReturnWhen::FirstCompleted).await;
/// assert_eq!(done, [(1, Ok("hello"))]);
/// assert_eq!(pending.len(), 1);
/// # }
/// ```
///
/// Keeping the tasks:
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::{ReturnWhen, wait};
///
/// let mut tasks: Vec<_> = (0..3).map(|n| tokio::spawn(async move { n })).collect();
/// let waited = wait(tasks.iter_mut(), ReturnWhen::AllCompleted).await;
/// assert_eq!(waited.done.len(), 3);
/// assert!(tasks.iter().all(|task| task.is_finished()));
/// # }
/// ```
pub fn wait<I, T, E>(futures: I, until: ReturnWhen) -> Wait<I::Item>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>> + Unpin,
{
    let mut racing = Racing::new();
    racing.extend(futures);
    Wait { racing, until, is_met: false, done: Vec::new(), is_ready: false }
}

/// Waits for some of many futures. Made by [`wait`].
///
/// Everything that has finished by then is among [`Waited::done`], not only what ended the wait.
///
/// # Panics
///
/// Passes on the panic of a future. That future is dropped; polled again, the wait goes on with the others. Panics when
/// polled after it was ready.
///
/// # Cancel safety
///
/// Dropping it drops all futures, which cancels tasks, and all outputs received so far. With `tasks.iter_mut()` it
/// drops mere borrows, and no task is cancelled; but a task whose output was already received must not be polled again.
#[must_use = "dropping it drops the futures, which cancels their tasks; `.await` it"]
pub struct Wait<F: Future> {
    racing: Racing<F>,
    until: ReturnWhen,
    /// Whether `done` holds what `until` asks for.
    is_met: bool,
    done: Vec<(usize, F::Output)>,
    is_ready: bool,
}

impl<F, T, E> Wait<F>
where
    F: Future<Output = Result<T, E>> + Unpin,
{
    /// Reaps all that has finished. Returns whether all of it has been seen.
    fn reap(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(reaped) = self.racing.poll_reap(cx) {
            let Reaped::Output(position, output) = reaped else { return true };
            self.is_met |= self.until.is_met_by(&output);
            self.done.push((position, output));
        }
        // Out of budget there may be more, in the next turn. But futures that spend every turn's budget would hold up the
        // others' outputs for ever: it is enough that each has been polled.
        budget::is_left() || self.racing.has_gone_round()
    }
}

impl<F, T, E> Future for Wait<F>
where
    F: Future<Output = Result<T, E>> + Unpin,
{
    type Output = Waited<F>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited<F>> {
        assert!(!self.is_ready, "polled again after it was ready");
        let has_seen_all = self.reap(cx);
        if self.racing.is_empty() || (self.is_met && has_seen_all) {
            self.is_ready = true;
            let (done, pending) = (std::mem::take(&mut self.done), self.racing.take());
            return Poll::Ready(Waited { done, pending });
        }
        Poll::Pending
    }
}

impl<F, T, E> FusedFuture for Wait<F>
where
    F: Future<Output = Result<T, E>> + Unpin,
{
    fn is_terminated(&self) -> bool {
        self.is_ready
    }
}

// Futures are pinned in `Racing`'s own allocations, and outputs are never pinned.
impl<F: Future> Unpin for Wait<F> {}

impl<F: Future> fmt::Debug for Wait<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("until", &self.until)
            .field("done", &self.done.len())
            .field("pending", &self.racing.len())
            .finish_non_exhaustive()
    }
}
