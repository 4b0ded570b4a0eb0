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
#[cfg(feature = "progress")]
use crate::progress::Judge;
use crate::progress::Shown;

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
    F: Future,
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
pub struct AsCompleted<F: Future> {
    racing: Racing<F>,
    shown: Shown<F::Output>,
}

impl<F: Future> AsCompleted<F> {
    /// Starts empty, to be filled by [`push`](Self::push) or `extend`.
    pub fn new() -> Self {
        Self { racing: Racing::new(), shown: Shown::default() }
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
        let position = self.racing.push(future.into_future());
        if self.shown.grows() {
            self.shown.look(Some(self.total()));
        }
        position
    }

    /// How many futures have finished and been yielded; one that panicked counts, too.
    ///
    /// # Examples
    ///
    /// With [`total`](Self::total) it tells any bar how far the stream is, here one of indicatif:
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use futures::StreamExt;
    /// use heavylift::as_completed;
    ///
    /// let mut squares = as_completed((0..100).map(|n| async move { n * n }));
    /// let bar = indicatif::ProgressBar::new(squares.total() as u64);
    /// while let Some((_, square)) = squares.next().await {
    ///     bar.set_position(squares.completed() as u64);
    /// }
    /// assert_eq!((bar.position(), bar.length()), (100, Some(100)));
    /// # }
    /// ```
    pub fn completed(&self) -> usize {
        self.racing.pushed() - self.racing.len()
    }

    /// How many futures there have been in all, pushed ones included.
    pub fn total(&self) -> usize {
        self.racing.pushed()
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
        AsCompletedTimeout::new(self.racing, self.shown, after)
    }
}

#[cfg(feature = "progress")]
impl<F: Future> AsCompleted<F> {
    /// Shows on a bar how many outputs have been yielded, also where they are no `Result`. Needs the feature `progress`.
    ///
    /// `is_failure` says which of them to count as failures in the bar's message; it is called once for each. Else as
    /// [`progress`](Self::progress).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use futures::StreamExt;
    /// use heavylift::{as_completed, progress::bar};
    ///
    /// let bar = bar();
    /// let lengths = as_completed(["a", "", "b"].map(|text| async { text.len() }));
    /// assert_eq!(lengths.progress_with(bar.clone(), |&length| length == 0).count().await, 3);
    /// assert_eq!((bar.position(), bar.message()), (3, "1 failed".to_owned()));
    /// # }
    /// ```
    pub fn progress_with(mut self, bar: indicatif::ProgressBar, is_failure: fn(&F::Output) -> bool) -> Self {
        self.shown = Shown::on(bar, self.completed(), Some(self.total()), Judge::Given(is_failure));
        self
    }
}

#[cfg(feature = "progress")]
impl<F, T, E> AsCompleted<F>
where
    F: Future<Output = Result<T, E>>,
{
    /// Shows on a bar how many outputs have been yielded, and how many of them are errors. Needs the feature `progress`.
    ///
    /// The bar's length becomes the number of futures; a push makes it longer, and after the end starts it again. See
    /// [`progress`](crate::progress). For outputs that are no `Result` there is [`progress_with`](Self::progress_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use futures::StreamExt;
    /// use heavylift::{as_completed, progress::bar};
    ///
    /// let bar = bar();
    /// let numbers = ["1", "x", "3"].map(|text| async move { text.parse::<u32>() });
    /// assert_eq!(as_completed(numbers).progress(bar.clone()).count().await, 3);
    /// assert_eq!((bar.position(), bar.length(), bar.message()), (3, Some(3), "1 failed".to_owned()));
    /// # }
    /// ```
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        self.shown = Shown::on(bar, self.completed(), Some(self.total()), Judge::Ours(Result::is_err));
        self
    }
}

impl<F: Future> Default for AsCompleted<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Future, T: IntoFuture<IntoFuture = F>> Extend<T> for AsCompleted<F> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, futures: I) {
        self.racing.extend(futures);
        if self.shown.grows() {
            self.shown.look(Some(self.total()));
        }
    }
}

impl<F: Future, T: IntoFuture<IntoFuture = F>> FromIterator<T> for AsCompleted<F> {
    fn from_iter<I: IntoIterator<Item = T>>(futures: I) -> Self {
        let mut this = Self::new();
        this.extend(futures);
        this
    }
}

// Futures are pinned in `Racing`'s own allocations, and outputs are never pinned.
impl<F: Future> Unpin for AsCompleted<F> {}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = (usize, F::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_empty() {
            this.shown.end(Some(this.total()));
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(this.racing.poll_shown(None, &mut this.shown, cx)) {
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

impl<F: Future> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("len", &self.len()).finish_non_exhaustive()
    }
}
