//! [`gather`]: many futures, their outputs in input order.

use std::{
    fmt,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{FusedStream, Stream};

use super::{
    budget,
    fallible::Fallible,
    gathered::Gathered,
    limit::Limit,
    racing::{Racing, Reaped},
    settled::Settled,
};
#[cfg(feature = "progress")]
use crate::progress::Judge;
use crate::{TaskError, prefetch::prefetch, progress::Shown};

/// Runs `futures` concurrently and returns their outputs in input order.
///
/// Three ways to consume it:
///
/// | | gives | at an error |
/// |---|---|---|
/// | `gather(f).await` | `Result<Vec<T>, E>` | returns the first error to occur, drops the rest |
/// | `gather(f).settled().await` | `Vec<Output>`, of any output type | it is one of the outputs |
/// | as a [`Stream`] | each output as soon as all before it have been yielded | it is an item; the stream goes on |
///
/// It takes tasks, `JoinHandle`s, `async` blocks, nested gathers: all that is `IntoFuture`, of one type. Futures of
/// different types: `tokio::try_join!`. Outputs as they come: [`as_completed`](crate::as_completed).
///
/// Only futures that were woken are polled again, so the cost is linear in their number. All futures are held at
/// once, and outputs that arrive early are held until it is their turn; to start a long list of jobs bit by bit, use a
/// pool's `map`.
///
/// # Panics
///
/// Calls `into_iter`, `next` and `into_future` of what it is given, and passes their panics on.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// use heavylift::gather;
///
/// let squares = gather((0..4_u64).map(|n| async move { std::io::Result::Ok(n * n) })).await?;
/// assert_eq!(squares, [0, 1, 4, 9]);
/// # Ok(())
/// # }
/// ```
///
/// The first failure ends it:
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// use heavylift::gather;
///
/// let numbers = gather(["1", "x", "3"].map(|text| async move { text.parse::<u32>() })).await;
/// assert_eq!(numbers.unwrap_err().to_string(), "invalid digit found in string");
/// # }
/// ```
pub fn gather<I, F>(futures: I) -> Gather<F>
where
    I: IntoIterator,
    I::Item: IntoFuture<IntoFuture = F>,
    F: Future,
{
    let mut racing = Racing::new();
    racing.extend(futures);
    let mut received = Vec::new();
    received.resize_with(racing.pushed(), || None);
    Gather { racing, received, next: 0, buffered: 0, completed: 0, limit: None, shown: Shown::default() }
}

/// Many futures, their outputs in input order. Made by [`gather`].
///
/// A [`Stream`] of the outputs; `.await` collects them and fails fast; [`settled`](Self::settled) collects them all.
///
/// # Panics
///
/// The panic of a future passes through to whoever polls. That future is dropped then, and its output is missing; the
/// others are untouched. Polled again, the stream leaves the position out.
///
/// # Cancel safety
///
/// Taking the next item is cancel safe. Dropping the gather itself drops all of its futures, which cancels tasks, and
/// the outputs that were received but not yielded. What a future has done by then stays done.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::StreamExt;
/// use heavylift::gather;
///
/// let mut lengths = gather(["a", "bb"].map(|text| tokio::spawn(async move { text.len() })));
/// while let Some(length) = lengths.next().await {
///     println!("{} ({} of {} done)", length?, lengths.completed(), lengths.total());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a gather drops its futures, which cancels their tasks; `.await` it or iterate over it"]
pub struct Gather<F: Future> {
    /// The futures that have not finished.
    racing: Racing<F>,
    /// By position: what was received and not yet yielded. Empty, before `next`, where it was yielded.
    received: Vec<Option<F::Output>>,
    /// The position to yield next.
    next: usize,
    /// How many of `received` are full.
    buffered: usize,
    completed: usize,
    limit: Option<Limit<F::Output>>,
    shown: Shown<F::Output>,
}

impl<F: Future> Gather<F> {
    /// Returns the future of all values that `.await` would wait on, where a name for it is needed.
    ///
    /// The same as [`IntoFuture::into_future`]; a method of its own because `StreamExt` has one of that name, too.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt; // would be ambiguous otherwise
    /// use heavylift::gather;
    ///
    /// let sum = tokio::spawn(gather([async { Ok::<_, std::fmt::Error>(1) }]).into_future());
    /// assert_eq!(sum.await??, [1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_future(self) -> Gathered<F>
    where
        F::Output: Fallible,
    {
        Gathered::new(self)
    }

    /// Waits for all outputs, whatever they are; an error among them ends nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use heavylift::gather;
    ///
    /// let numbers = gather(["1", "x", "3"].map(|text| async move { text.parse::<u32>() })).settled().await;
    /// assert_eq!(numbers[0], Ok(1));
    /// assert!(numbers[1].is_err());
    /// assert_eq!(numbers[2], Ok(3));
    /// # }
    /// ```
    pub fn settled(self) -> Settled<F> {
        Settled::new(self)
    }

    /// How many outputs have not been yielded yet.
    pub fn len(&self) -> usize {
        self.buffered + self.racing.len()
    }

    /// Whether all outputs have been yielded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many futures are known to have finished, yielded or not.
    ///
    /// It grows only while the gather is polled. Futures that miss the [`timeout`](Self::timeout) are not counted.
    pub fn completed(&self) -> usize {
        self.completed
    }

    /// How many futures there were at first.
    pub fn total(&self) -> usize {
        self.received.len()
    }
}

impl<F, T, E> Gather<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<TaskError>,
{
    /// Sets one time limit over all futures together, counted from this call.
    ///
    /// At its end the futures that have not finished are dropped, which cancels tasks, and each of them gives a
    /// [`TaskError`] that [`is_timed_out`](TaskError::is_timed_out). What has finished by then still counts. The end
    /// is noticed when the gather is polled, and it is woken for it; this needs no timer of the runtime. A second call
    /// replaces the first; a duration that the clock cannot express is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use std::{future::pending, time::Duration};
    ///
    /// use heavylift::{TaskError, gather};
    ///
    /// let tasks = [pending::<Result<(), TaskError>>()];
    /// let error = gather(tasks).timeout(Duration::from_millis(1)).await.unwrap_err();
    /// assert!(error.is_timed_out());
    /// # }
    /// ```
    #[track_caller]
    pub fn timeout(mut self, after: Duration) -> Self {
        self.limit = Some(Limit::new(after, Location::caller()));
        self
    }
}

#[cfg(feature = "progress")]
impl<F: Future> Gather<F> {
    /// Shows on a bar how many futures have finished, also for outputs that are no `Result`. Needs the feature `progress`.
    ///
    /// `is_failure` says which of them to count as failures in the bar's message; it is called once for each. Else as
    /// [`progress`](Self::progress).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use heavylift::{gather, progress::bar};
    ///
    /// let lengths = gather(["a", ""].map(|text| async { text.len() }));
    /// assert_eq!(lengths.progress_with(bar(), |&length| length == 0).settled().await, [1, 0]);
    /// # }
    /// ```
    pub fn progress_with(mut self, bar: indicatif::ProgressBar, is_failure: fn(&F::Output) -> bool) -> Self {
        self.shown = Shown::on(bar, self.completed, Some(self.total()), Judge::Given(is_failure));
        self
    }
}

#[cfg(feature = "progress")]
impl<F, T, E> Gather<F>
where
    F: Future<Output = Result<T, E>>,
{
    /// Shows on a bar how many futures have finished, yielded or not, and how many of them failed. Needs the feature `progress`.
    ///
    /// The bar's length becomes the number of futures. See [`progress`](crate::progress). For outputs that are no `Result` there is
    /// [`progress_with`](Self::progress_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use heavylift::{gather, progress::bar};
    ///
    /// let bar = bar();
    /// let numbers = gather(["1", "x", "3"].map(|text| async move { text.parse::<u32>() }));
    /// assert_eq!(numbers.progress(bar.clone()).settled().await.len(), 3);
    /// assert_eq!((bar.position(), bar.length(), bar.message()), (3, Some(3), "1 failed".to_owned()));
    /// # }
    /// ```
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        self.shown = Shown::on(bar, self.completed, Some(self.total()), Judge::Ours(Result::is_err));
        self
    }
}

/// What [`Gathered`] and [`Settled`] need.
impl<F: Future> Gather<F> {
    /// Receives outputs until `stop` says so of one, and returns it; `None` once no future is unfinished.
    ///
    /// Looks only at what arrives during the call: each output is judged once.
    pub(super) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        stop: impl Fn(&F::Output) -> bool,
    ) -> Poll<Option<F::Output>> {
        while !self.racing.is_empty() {
            let position = ready!(self.poll_receive(cx));
            if self.received[position].as_ref().is_some_and(&stop) {
                return Poll::Ready(self.take(position));
            }
        }
        Poll::Ready(None)
    }

    /// Takes the first output in input order that was received, was not yielded, and is as `wanted` says.
    pub(super) fn take_if(&mut self, wanted: impl Fn(&F::Output) -> bool) -> Option<F::Output> {
        let position = self.received.iter().position(|output| output.as_ref().is_some_and(&wanted))?;
        self.take(position)
    }

    /// The outputs that were not yielded, in input order. Only called when no future is unfinished.
    pub(super) fn into_outputs(self) -> impl Iterator<Item = F::Output> {
        let expected = self.received.len() - self.next;
        assert_eq!(self.buffered, expected, "polled again after one of its futures has panicked");
        self.received.into_iter().skip(self.next).flatten()
    }

    fn take(&mut self, position: usize) -> Option<F::Output> {
        let output = self.received.get_mut(position)?.take()?;
        self.buffered -= 1;
        Some(output)
    }

    /// Receives one output, or, when the time is up, those of all futures. Returns its position, or the first.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let limit = self.limit.as_mut().map(|limit| &mut limit.delay);
        Poll::Ready(match ready!(self.racing.poll_shown(limit, &mut self.shown, cx)) {
            Reaped::Output(position, output) => {
                self.completed += 1;
                self.receive(position, output);
                position
            }
            Reaped::Expired => self.expire(),
            Reaped::Empty => unreachable!("only polled while a future is unfinished"),
        })
    }

    fn receive(&mut self, position: usize, output: F::Output) {
        self.racing.soon().and_then(|soon| self.received.get(soon)).into_iter().for_each(prefetch);
        self.received[position] = Some(output);
        self.buffered += 1;
    }

    /// Ends every unfinished future as timed out, and returns the first of their positions.
    fn expire(&mut self) -> usize {
        let late: Vec<_> = self.racing.positions().collect();
        if let Some(limit) = self.limit.take() {
            late.iter().for_each(|&position| self.receive(position, limit.output()));
        }
        self.racing.clear();
        self.shown.missed(late.len());
        late.into_iter().min().unwrap_or(0)
    }
}

impl<F: Future> Stream for Gather<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = &mut *self;
        if this.received.get(this.next).is_some_and(Option::is_some) {
            ready!(budget::poll_spend(cx));
        }
        while this.next < this.received.len() {
            if let Some(output) = this.take(this.next) {
                this.next += 1;
                return Poll::Ready(Some(output));
            }
            if this.racing.is_empty() {
                // Neither received nor outstanding: its future has panicked.
                this.next += 1;
            } else {
                ready!(this.poll_receive(cx));
            }
        }
        this.shown.end(Some(this.total()));
        Poll::Ready(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<F: Future> FusedStream for Gather<F> {
    fn is_terminated(&self) -> bool {
        self.is_empty()
    }
}

impl<F> IntoFuture for Gather<F>
where
    F: Future,
    // Outputs that are no `Result`: `gather(…).settled().await` (rustc shows this line when `.await` does not fit).
    F::Output: Fallible,
{
    type Output = <Gathered<F> as Future>::Output;
    type IntoFuture = Gathered<F>;

    fn into_future(self) -> Gathered<F> {
        Gathered::new(self)
    }
}

// Futures are pinned in `Racing`'s own allocations, and outputs are never pinned.
impl<F: Future> Unpin for Gather<F> {}

impl<F: Future> fmt::Debug for Gather<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("len", &self.len())
            .field("completed", &self.completed())
            .field("total", &self.total())
            .finish_non_exhaustive()
    }
}
