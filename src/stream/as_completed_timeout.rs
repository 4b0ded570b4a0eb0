//! [`AsCompletedTimeout`]: [`AsCompleted`](super::AsCompleted) with a time limit over all.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{FusedStream, Stream};

use super::{
    racing::{Racing, Reaped},
    unfinished::Unfinished,
};
#[cfg(feature = "progress")]
use crate::progress::Judge;
use crate::{progress::Shown, timer::Delay};

/// A [`Stream`] of the outputs of many futures in the order in which they finish, until a time limit. Made by
/// [`AsCompleted::timeout`](crate::AsCompleted::timeout).
///
/// When no future is left it yields `None`, and goes on when more are pushed. When the time is up while futures are
/// unfinished, it drops them, yields one [`Unfinished`], and has ended for good.
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
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::Unfinished> {
/// use std::time::Duration;
///
/// use futures::TryStreamExt;
/// use heavylift::as_completed;
///
/// let mut squares = as_completed([2, 3].map(|n| async move { n * n })).timeout(Duration::from_secs(60));
/// while let Some((position, square)) = squares.try_next().await? {
///     println!("{position}: {square}");
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it drops the futures that have not finished, which cancels their tasks; iterate over it"]
pub struct AsCompletedTimeout<F: Future> {
    racing: Racing<F>,
    shown: Shown<F::Output>,
    /// Futures that were dropped unfinished.
    late: usize,
    after: Duration,
    /// Absent once the time is up.
    delay: Option<Delay>,
}

impl<F: Future> AsCompletedTimeout<F> {
    pub(super) fn new(racing: Racing<F>, shown: Shown<F::Output>, after: Duration) -> Self {
        Self { racing, shown, late: 0, after, delay: Some(Delay::new(after)) }
    }

    /// Adds a future and returns its position, which is one more than that of the future before.
    ///
    /// The limit does not move. Once it has ended the stream, the future is dropped at once.
    ///
    /// # Panics
    ///
    /// Passes on a panic of `into_future`.
    pub fn push(&mut self, future: impl IntoFuture<IntoFuture = F>) -> usize {
        let position = self.racing.push(future.into_future());
        if self.delay.is_none() {
            self.late += self.racing.len();
            self.racing.clear();
        } else if self.shown.grows() {
            self.shown.look(Some(self.total()));
        }
        position
    }

    /// How many futures have finished and been yielded; one that panicked counts, too, and one that missed the limit does not.
    pub fn completed(&self) -> usize {
        self.racing.pushed() - self.racing.len() - self.late
    }

    /// How many futures there have been in all, pushed ones included.
    pub fn total(&self) -> usize {
        self.racing.pushed()
    }

    /// How many outputs have not been yielded yet. 0 once the time is up.
    pub fn len(&self) -> usize {
        self.racing.len()
    }

    /// Whether no output is left to be yielded.
    pub fn is_empty(&self) -> bool {
        self.racing.is_empty()
    }

    /// Drops what is unfinished, and says how much that was.
    fn expire(&mut self) -> Unfinished {
        self.delay = None;
        self.late = self.racing.len();
        let unfinished = Unfinished::new(self.late, self.racing.pushed(), self.after);
        self.racing.clear();
        self.shown.missed(self.late);
        self.shown.cut_short();
        unfinished
    }
}

#[cfg(feature = "progress")]
impl<F: Future> AsCompletedTimeout<F> {
    /// As [`AsCompleted::progress_with`](crate::AsCompleted::progress_with); futures that miss the limit count as failures. Needs the feature
    /// `progress`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// use futures::StreamExt;
    /// use heavylift::{as_completed, progress::bar};
    ///
    /// let bar = bar();
    /// let lengths = as_completed(["a", "", "b"].map(|text| async { text.len() })).timeout(Duration::from_secs(60));
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
impl<F, T, E> AsCompletedTimeout<F>
where
    F: Future<Output = Result<T, E>>,
{
    /// As [`AsCompleted::progress`](crate::AsCompleted::progress); futures that miss the limit count as failures. Needs the
    /// feature `progress`.
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        self.shown = Shown::on(bar, self.completed(), Some(self.total()), Judge::Ours(Result::is_err));
        self
    }
}

// Futures are pinned in `Racing`'s own allocations, and outputs are never pinned.
impl<F: Future> Unpin for AsCompletedTimeout<F> {}

impl<F: Future> Stream for AsCompletedTimeout<F> {
    type Item = Result<(usize, F::Output), Unfinished>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(delay) = this.delay.as_mut().filter(|_| !this.racing.is_empty()) else {
            this.shown.end(Some(this.total()));
            return Poll::Ready(None);
        };
        Poll::Ready(match ready!(this.racing.poll_shown(Some(delay), &mut this.shown, cx)) {
            Reaped::Output(position, output) => Some(Ok((position, output))),
            Reaped::Expired => Some(Err(this.expire())),
            Reaped::Empty => None,
        })
    }

    /// The limit may cut the stream down to one [`Unfinished`].
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len().min(1), Some(self.len()))
    }
}

impl<F: Future> FusedStream for AsCompletedTimeout<F> {
    /// Whether the stream is empty; before the limit, `false` again after a push.
    fn is_terminated(&self) -> bool {
        self.is_empty()
    }
}

impl<F: Future> fmt::Debug for AsCompletedTimeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompletedTimeout")
            .field("len", &self.len())
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
