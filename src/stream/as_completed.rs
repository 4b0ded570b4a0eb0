//! [`as_completed`]: many futures, their outputs as they come.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{FusedStream, Stream};

use super::{
    as_completed_timeout::AsCompletedTimeout,
    racing::{Racing, Reaped},
};

/// Runs `futures` concurrently and yields each output as it comes, with the input position of its future.
///
/// It takes tasks, `JoinHandle`s, `async` blocks: all that is `IntoFuture`, of one type. More can be
/// [pushed](AsCompleted::push) while iterating. Outputs in input order: [`gather`](crate::gather).
///
/// # Panics
///
/// Calls `into_iter`, `next` and `into_future` of what it is given, and passes their panics on.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), tokio::task::JoinError> {
/// use futures::StreamExt;
/// use heavylift::as_completed;
///
/// let words = ["one", "three"];
/// let mut lengths = as_completed(words.map(|word| tokio::spawn(async move { word.len() })));
/// while let Some((position, length)) = lengths.next().await {
///     println!("{} has {} letters", words[position], length?);
/// }
/// # Ok(())
/// # }
/// ```
pub fn as_completed<I, F>(futures: I) -> AsCompleted<F>
where
    I: IntoIterator,
    I::Item: IntoFuture<IntoFuture = F>,
{
    futures.into_iter().collect()
}

/// A [`Stream`] of the outputs of many futures in the order in which they finish, each with the input position of its
/// future. Made by [`as_completed`], by [`new`](Self::new) or by `collect`.
///
/// When no future is left it yields `None`, and goes on when more are pushed.
///
/// # Panics
///
/// The panic of a future passes through to whoever polls. That future is dropped then, and its position never comes;
/// the others are untouched, and the stream can be polled again.
///
/// # Cancel safety
///
/// Taking the next item is cancel safe. Dropping the stream itself drops all futures that have not finished, which
/// cancels tasks. What a future has done by then stays done.
///
/// # Examples
///
/// A queue that feeds itself, at most two at a time:
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use futures::StreamExt;
/// use heavylift::AsCompleted;
///
/// let halve = |n: u32| async move { n / 2 };
/// let mut running = AsCompleted::from_iter([100, 60].map(halve));
/// let mut steps = 0;
/// while let Some((_, n)) = running.next().await {
///     steps += 1;
///     if n > 0 {
///         running.push(halve(n));
///     }
/// }
/// assert_eq!(steps, 7 + 6);
/// # }
/// ```
#[must_use = "dropping it drops the futures that have not finished, which cancels their tasks; iterate over it"]
pub struct AsCompleted<F> {
    racing: Racing<F>,
}

impl<F> AsCompleted<F> {
    /// Starts empty, to be filled by [`push`](Self::push) or `extend`.
    pub fn new() -> Self {
        Self { racing: Racing::new() }
    }

    /// Adds a future and returns its position, which is one more than that of the future before.
    ///
    /// Allowed at any time, also after `None`. The future is polled from the stream's next poll on.
    ///
    /// # Panics
    ///
    /// Passes on a panic of `into_future`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use futures::StreamExt;
    /// use heavylift::as_completed;
    ///
    /// let mut stream = as_completed([std::future::ready("first")]);
    /// assert_eq!(stream.next().await, Some((0, "first")));
    /// assert_eq!(stream.next().await, None);
    /// assert_eq!(stream.push(std::future::ready("second")), 1);
    /// assert_eq!(stream.next().await, Some((1, "second")));
    /// # }
    /// ```
    pub fn push(&mut self, future: impl IntoFuture<IntoFuture = F>) -> usize {
        self.racing.push(future.into_future())
    }

    /// How many outputs have not been yielded yet.
    pub fn len(&self) -> usize {
        self.racing.len()
    }

    /// Whether all outputs have been yielded.
    pub fn is_empty(&self) -> bool {
        self.racing.is_empty()
    }

    /// Sets one time limit over all futures together, counted from this call.
    ///
    /// At its end the futures that have not finished are dropped, which cancels tasks, and the stream yields one
    /// [`Unfinished`](crate::Unfinished) and ends. What has finished by then is still yielded before. This needs no
    /// timer of the runtime; a duration that the clock cannot express is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use std::{future, time::Duration};
    ///
    /// use futures::{FutureExt, StreamExt};
    /// use heavylift::as_completed;
    ///
    /// let futures = [future::ready(7).left_future(), future::pending().right_future()];
    /// let mut stream = as_completed(futures).timeout(Duration::from_millis(1));
    /// assert_eq!(stream.next().await, Some(Ok((0, 7))));
    /// let late = stream.next().await.and_then(Result::err);
    /// assert_eq!(late.map(|late| late.to_string()).as_deref(), Some("1 of 2 futures unfinished after 1ms"));
    /// assert_eq!(stream.next().await, None);
    /// # }
    /// ```
    pub fn timeout(self, after: Duration) -> AsCompletedTimeout<F> {
        AsCompletedTimeout::new(self.racing, after)
    }
}

impl<F> Default for AsCompleted<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F, T: IntoFuture<IntoFuture = F>> Extend<T> for AsCompleted<F> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, futures: I) {
        self.racing.extend(futures);
    }
}

impl<F, T: IntoFuture<IntoFuture = F>> FromIterator<T> for AsCompleted<F> {
    fn from_iter<I: IntoIterator<Item = T>>(futures: I) -> Self {
        let mut this = Self::new();
        this.extend(futures);
        this
    }
}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = (usize, F::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.racing.poll_reap(cx)) {
            Reaped::Output(position, output) => Some((position, output)),
            Reaped::Expired | Reaped::Empty => None,
        })
    }

    /// Exact, unless more is pushed.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<F: Future> FusedStream for AsCompleted<F> {
    /// Whether the stream is empty; `false` again after a push.
    fn is_terminated(&self) -> bool {
        self.is_empty()
    }
}

impl<F> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("len", &self.len()).finish_non_exhaustive()
    }
}
