//! [`Map`]: a function over many inputs, as a stream of results.
//!
//! A map knows a pool only through [`Feed`], which waits for room and starts jobs. What it pulled and has not yielded is
//! bounded by `in_flight`, so a slow consumer pauses the pool, and an endless input is fine.
//!
//! ```text
//! inputs ──pull──▶ waiting for room ──▶ gathered ──start──▶ pieces ──yield──▶
//!        (one at a time, only when polled)  └── at most in_flight together ──┘
//! ```
//!
//! # Chunks
//!
//! Items travel several at a time, as one [`Batch`], or alone, as a `Task`: up to *n* with `chunk_size(n)`, else as the next section
//! says. A batch is only a matter of transport:
//!
//! 1. Each item has its own outcome, id and place in a bounded pool. Its outcome can be taken before the next item of the
//!    batch begins, and its error, panic or worker's death costs no other item anything.
//! 2. A batch is never waited for. It goes off when it is full, when the input has nothing more at this moment, or when the pool
//!    has no more room. Only room for a whole chunk within `in_flight` is waited for, or else each item that is yielded
//!    would be followed by a batch of one; then as much goes off as there is room for.
//! 3. Items of a batch begin in their order. When the batch is cancelled, none of them begins any more.
//! 4. Outcomes are taken many at a time, and whoever waits for them is woken for many at a time ([`Remainder`]): at the latest some
//!    250 µs after the first, at the end of the batch, or, when an item takes long unexpectedly, by a timer after
//!    a [`remainder::Nudge`]. To wake for every item would take longer than a small item runs.
//! 5. Where items have a `run_timeout` or a `queue_timeout` they travel alone, because that needs a clock and an ending for each
//!    item, which only tasks have. On processes also where there is a retry, and where the pool looks at each job by itself.
//!
//! # Their size, where it is automatic
//!
//! [`size`] has the rule, a pure function; [`Sizing`] remembers what it is applied to. Workers measure what items run, alone or in a
//! batch, and tell the map's [`Pace`](crate::metrics::Pace); the map looks there before each chunk.
//!
//! ```text
//! probing ──something was measured──▶ growing ──as many as make the hand-off cheap──▶ steady
//!                                        ▲                                              │
//!                                        └──────────── items become quicker ────────────┘
//! any ──items become slower──▶ steady, with smaller chunks
//! ```
//!
//! 1. *Probing*: items travel alone, 64 or four for each worker at once, until one has been measured.
//! 2. *Growing*: no more items travel together than have been measured, so that a chunk about doubles what is known.
//! 3. *Steady*: a chunk is 50 times the work that its hand-off costs, by the mean of the last few thousand items. One that takes long now
//!    and then has its share in that mean: where one in a thousand takes as long as the thousand together, chunks are half as large.
//! 4. An input that takes long to pull counts as an item that takes long to run, so that the first of a chunk is not waited for the
//!    last. That also bounds what is in memory: inputs that were made or read with some effort are not pulled by the thousand.
//! 5. What is in flight by default follows the size of the chunks, at once when they grow and by halves when they become smaller.

mod batch;
mod feed;
mod order;
mod remainder;
pub(crate) mod size;
mod sizing;
mod source;

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::{FusedStream, Stream};

pub(crate) use batch::{Batch, Finished, Outcome};
pub(crate) use feed::{Chunks, Feed, Inputs, Placed, PoolFeed, Setup, Singly, Started};
use order::{Arrange, Arrangement, AsFinished};
pub use order::{Ordered, Unordered};
pub(crate) use size::{Known, MOST_IN_FLIGHT, chunk_for};
use sizing::{Situation, Sizing};
pub use source::FromStream;
pub(crate) use source::Source;

#[cfg(feature = "progress")]
use crate::progress::Judge;
use crate::{
    Priority, TaskError, TaskId,
    error::{TaskLabel, TaskName},
    progress::Shown,
    timer::Delay,
};

/// Stream returned by `map` and `map_stream`: the results of one function over many inputs.
///
/// Starts nothing before it is polled, and pulls its inputs only when polled, on the polling task. Results come in the order of
/// the inputs; [`unordered`](Self::unordered) yields them as they are finished, with the index of their input. Each item's
/// error is its own and does not end the stream.
///
/// On a pool with a bounded queue it waits for room, in line with everybody else. If it is not polled when its turn comes,
/// others go first: a map that nobody polls holds up nobody, and maps can feed one another on the same pool.
///
/// # Cancel safety
///
/// Dropping the stream cancels every job that was started and not yielded. `next()` on `&mut` is cancel safe: nothing is lost
/// when it is dropped.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use futures::TryStreamExt;
/// use heavylift::ThreadPool;
///
/// let factor = 3;
/// let tripled: Vec<u64> = ThreadPool::cpu().map(move |n: u64| n * factor, 1..=4).try_collect().await?;
/// assert_eq!(tripled, [3, 6, 9, 12]);
/// # Ok(())
/// # }
/// ```
#[must_use = "a map starts nothing before it is polled"]
pub struct Map<I: Source, R, O: Arrange<R> = Ordered> {
    /// `None` once the inputs are at their end.
    inputs: Option<I>,
    feed: Box<dyn Feed<I::Item, R> + Send>,
    setup: Setup,
    /// Pulled, and waiting for room.
    pulled: Option<I::Item>,
    /// Pulled and let in, to travel together.
    gathered: Inputs<I::Item>,
    tasks: O::Tasks,
    sizing: Sizing,
    limit: Option<(Delay, Duration)>,
    at: &'static Location<'static>,
    /// How many results have been yielded.
    completed: usize,
    shown: Shown<O::Item>,
}

// Inputs are moved out of their iterator and never pinned; a stream of inputs is pinned on the heap.
impl<I: Source, R, O: Arrange<R>> Unpin for Map<I, R, O> {}

impl<I: Source, R> Map<I, R, Ordered> {
    pub(crate) fn new(
        inputs: I,
        feed: Box<dyn Feed<I::Item, R> + Send>,
        name: &'static str,
        at: &'static Location<'static>,
    ) -> Self {
        Self {
            inputs: Some(inputs),
            feed,
            setup: Setup::new(name, at),
            pulled: None,
            gathered: Inputs::default(),
            tasks: Default::default(),
            sizing: Sizing::default(),
            limit: None,
            at,
            completed: 0,
            shown: Shown::default(),
        }
    }

    /// Yields results as they are finished, each with the index of its input.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use futures::StreamExt;
    /// use heavylift::ProcessPool;
    ///
    /// let mut squares = ProcessPool::global().map(|n: u32| n * n, [5, 6, 7]).unordered();
    /// while let Some((index, square)) = squares.next().await {
    ///     assert_eq!(square?, [25, 36, 49][index]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn unordered(self) -> Map<I, R, Unordered> {
        let Self { inputs, feed, setup, pulled, gathered, tasks, sizing, limit, at, completed, shown } = self;
        let tasks = Arrangement::collect(tasks);
        let shown = shown.judged_by(AsFinished::is_failure);
        Map { inputs, feed, setup, pulled, gathered, tasks, sizing, limit, at, completed, shown }
    }
}

impl<I: Source, R, O: Arrange<R>> Map<I, R, O> {
    /// How many items may be pulled and not yet yielded. Default: `max(64, 4 × workers × chunk)`.
    ///
    /// The chunk is what was given as [`chunk_size`](Self::chunk_size). Where that is automatic it is the chunk of this moment, 1 at
    /// first, and no more than 16 384 items are in flight for its sake: that many only where they take a few microseconds at most.
    ///
    /// With [`Inline`](struct@crate::Inline) it is always 1: each result is yielded before the next job runs.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    #[track_caller]
    pub fn in_flight(mut self, items: usize) -> Self {
        assert!(items > 0, "in_flight(0) would never start anything");
        self.sizing.set_in_flight(items);
        self
    }

    /// How many items travel together at most. Default: automatic, from 1 to 1024, by how long they take.
    ///
    /// Only a matter of transport: each item has its own result, error, panic and time limit, and a chunk is never waited for: if
    /// the input has nothing more at this moment, or a bounded pool no more room, what there is goes off.
    ///
    /// Worth it for small items: in chunks of 1000 on threads, one of 20 ns costs about as much again, where it costs half a
    /// microsecond alone. The items of a chunk run one after the other, while other jobs wait for a worker: as much work as takes
    /// some 50 µs to 1 ms is a good chunk. If one of them takes far longer than the others, idle threads take over what waits
    /// behind it; a process runs its chunk to the end. Where items have a `run_timeout` or a `queue_timeout` they travel alone.
    ///
    /// # Automatic size
    ///
    /// The first items travel alone and are measured. Then as many travel together as take 250 µs on threads and 1 ms in
    /// processes, but no more than have been measured, than are half of each worker's part of [`in_flight`](Self::in_flight) or of
    /// what is still to come, and than 1024. The size follows the mean of the last few thousand items, up and down, so it also does
    /// where a few take far longer than the others. Items that take more than 50 µs on threads, or 200 µs in processes, travel
    /// alone; so do inputs that take that long to pull.
    ///
    /// Give a size, 1 for none, where items wait for one another, or where one in very many takes far longer than the others and
    /// its neighbours must not wait for it in a process.
    ///
    /// # In processes
    ///
    /// An item's result is published before the next item begins: a death costs the item that ran, those before it
    /// are finished, and those behind it run elsewhere. A chunk holds as many items as fit into 2 KiB there; items that take more
    /// than 256 bytes or name shared memory travel alone, and so do all where there is a [`retry`](Self::retry) or the pool has
    /// `max_tasks_per_worker`, `max_memory_per_worker` or tells output with its task. Cancelling a map kills the workers that run its chunks.
    ///
    /// Results may come up to about a millisecond later than they are ready, many at a time. Chunks are never larger than half of
    /// [`in_flight`](Self::in_flight).
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    #[track_caller]
    pub fn chunk_size(mut self, items: usize) -> Self {
        assert!(items > 0, "chunk_size(0) would never start anything");
        self.sizing.set_chunk_size(items);
        self.setup.is_automatic = false;
        self
    }

    /// Limits the time that each item may run, as [`Job::run_timeout`](crate::Job::run_timeout) does. Default: the pool's.
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.setup.options.run_timeout = Some(limit);
        self
    }

    /// Has each item run again, at most `times` times, when its worker process dies under it, as
    /// [`Job::retry`](crate::Job::retry) does. Default: 0. No effect on a thread pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt;
    /// use heavylift::ProcessPool;
    ///
    /// let pool = ProcessPool::builder().max_workers(1).build()?;
    /// let halves = |n: u32| if n == 3 { std::process::abort() } else { n / 2 };
    /// let outcomes: Vec<_> = pool.map(halves, [2, 3, 4]).retry(1).collect().await;
    /// assert_eq!(outcomes[1].as_ref().unwrap_err().dead_workers().len(), 2);
    /// assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry(mut self, times: u32) -> Self {
        self.setup.options.retry = times;
        self
    }

    /// Which priority each item's job has among those that wait, as [`Job::priority`](crate::Job::priority) does. Default:
    /// [`Priority::Normal`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use futures::TryStreamExt;
    /// use heavylift::{Priority, ThreadPool};
    ///
    /// let background = ThreadPool::cpu().map(|n: u64| n * n, 1..=3).priority(Priority::Low);
    /// assert_eq!(background.try_collect::<Vec<_>>().await?, [1, 4, 9]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn priority(mut self, priority: Priority) -> Self {
        self.setup.options.priority = priority;
        self
    }

    /// Names each item's task. Default: the type name of the function.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.setup.options.name = Some(name.into());
        self
    }

    /// Limits the time for the whole map, counted from this call on. Needs no tokio timer.
    ///
    /// When it is over, what has finished is still yielded; then comes one error that is timed out, everything else is dropped
    /// (which cancels it), and the stream is at its end.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some((Delay::new(limit), limit));
        self
    }

    /// Shows on a bar how far the map is. Needs the feature `progress`.
    ///
    /// The bar's length becomes the [`total`](Self::total), as soon as that is known, its position the number of results
    /// that have been yielded, and its message how many of these are errors. See [`progress`](crate::progress).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use futures::StreamExt;
    /// use heavylift::{ThreadPool, progress::bar};
    ///
    /// let bar = bar();
    /// let tenths = ThreadPool::cpu().map(|n: u32| 10 / n, 0..=10).progress(bar.clone());
    /// assert_eq!(tenths.filter_map(async |tenth| tenth.ok()).count().await, 10);
    /// assert_eq!((bar.position(), bar.message()), (11, "1 failed".to_owned()));
    /// assert!(bar.is_finished());
    /// # }
    /// ```
    #[cfg(feature = "progress")]
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        self.shown = Shown::on(bar, self.completed, self.total(), Judge::Ours(O::Tasks::is_failure));
        self
    }

    /// How many results have been yielded.
    ///
    /// # Examples
    ///
    /// With [`total`](Self::total) it tells any bar how far the map is, here one of indicatif:
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), heavylift::TaskError> {
    /// use futures::TryStreamExt;
    /// use heavylift::ThreadPool;
    ///
    /// let mut squares = ThreadPool::cpu().map(|n: u64| n * n, 1..=100);
    /// let bar = indicatif::ProgressBar::new(squares.total().unwrap_or(0) as u64);
    /// while let Some(_square) = squares.try_next().await? {
    ///     bar.set_position(squares.completed() as u64);
    /// }
    /// assert_eq!((bar.position(), bar.length()), (100, Some(100)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn completed(&self) -> usize {
        self.completed
    }

    /// How many results there are in all: yielded, under way, and of inputs that are still to come. `None` while the inputs do not tell
    /// how many these are, as some iterators and most streams do not.
    ///
    /// Of a map that has ended at its [`timeout`](Self::timeout), what it has yielded.
    pub fn total(&self) -> Option<usize> {
        let (least, most) = self.inputs.as_ref().map_or((0, Some(0)), Source::size_hint);
        let remaining = most.filter(|&most| most == least)?;
        (self.completed + self.pending()).checked_add(remaining)
    }

    /// How many results have not been yielded of the items pulled so far.
    fn pending(&self) -> usize {
        self.tasks.len() + self.gathered.len() + usize::from(self.pulled.is_some())
    }

    /// Pulls inputs and starts their jobs, as far as there is room.
    #[inline(never)]
    fn fill(&mut self, cx: &mut Context<'_>) {
        let (workers, takes_chunks) = (self.feed.workers(), self.feed.takes_chunks(&self.setup));
        let mut has_begun = false;
        loop {
            self.sizing.renew(Situation {
                workers,
                takes_chunks,
                hand_off: self.feed.hand_off(),
                runs: self.setup.pace.recent(),
                remaining: self.inputs.as_ref().map_or(Some(0), |inputs| inputs.size_hint().1),
            });
            // The last one may be smaller, so that as much is in flight as may be.
            let (chunk, room) = (self.sizing.chunk(), self.sizing.room(self.tasks.len()));
            if room == 0 || room < chunk && !has_begun || !self.start_some(chunk.min(room), cx) {
                return;
            }
            has_begun = true;
        }
    }

    /// Starts the jobs of up to `chunk` items. Returns whether there may be more at this moment.
    fn start_some(&mut self, chunk: usize, cx: &mut Context<'_>) -> bool {
        if chunk == 1 && self.gathered.len() == 0 {
            return self.start_one(cx);
        }
        let begun = self.clock();
        let more = self.gather(chunk, cx);
        self.sizing.note_pulls(self.gathered.len(), begun);
        match self.gathered.len() {
            0 => {}
            1 => {
                let gathered = std::mem::take(&mut self.gathered);
                let (input, place) = gathered.into_iter().next().expect("there is one");
                self.tasks.push(self.feed.start(input, place, &self.setup));
            }
            _ => {
                let gathered = std::mem::take(&mut self.gathered);
                let items = gathered.len();
                let started = self.feed.start_batch(gathered, &self.setup);
                self.sizing.note_jobs(
                    items,
                    started.len(),
                    started.iter().map(Started::len).max().unwrap_or(0),
                );
                for started in started {
                    match started {
                        Started::One(task) => self.tasks.push(task),
                        Started::Many(batch) => self.tasks.push_batch(batch),
                    }
                }
            }
        }
        more
    }

    /// The time, where it is of interest how long a pull takes.
    fn clock(&self) -> Option<Instant> {
        self.sizing.is_automatic().then(Instant::now)
    }

    fn start_one(&mut self, cx: &mut Context<'_>) -> bool {
        let begun = self.clock();
        let Some(input) = self.pull(cx) else { return false };
        self.sizing.note_pulls(1, begun);
        self.sizing.note_jobs(1, 1, 1);
        match self.feed.poll_enter(cx) {
            Poll::Ready(Ok(place)) => self.tasks.push(self.feed.start(input, place, &self.setup)),
            Poll::Ready(Err(why)) => self.tasks.push(self.feed.refuse(why, &self.setup)),
            Poll::Pending => {
                self.pulled = Some(input);
                return false;
            }
        }
        true
    }

    /// Pulls and lets in what is to travel together. Returns whether there may be more at this moment.
    fn gather(&mut self, chunk: usize, cx: &mut Context<'_>) -> bool {
        let announced = self.inputs.as_ref().map_or(0, |inputs| inputs.size_hint().0);
        self.gathered.inputs.reserve(chunk.min(announced));
        if self.gathered.len() == 0 {
            // Only the first waits for room: what is gathered is to go off.
            let Some(input) = self.pull(cx) else { return false };
            match self.feed.poll_enter(cx) {
                Poll::Ready(Ok(place)) => self.gathered.push(input, place),
                // Whether another may be pulled is looked at anew: a closed pool refuses all of them at once.
                Poll::Ready(Err(why)) => {
                    self.tasks.push(self.feed.refuse(why, &self.setup));
                    return true;
                }
                Poll::Pending => {
                    self.pulled = Some(input);
                    return false;
                }
            }
        }
        while self.gathered.len() < chunk {
            // Before the inputs come: to pull one may panic, and none is to be without its place.
            if self.gathered.places.len() == self.gathered.len() {
                let Some(places) = self.feed.try_enter(chunk - self.gathered.len()) else { return true };
                self.gathered.places.append(places);
            }
            while self.gathered.len() < chunk.min(self.gathered.places.len()) {
                let Some(input) = self.pull(cx) else {
                    self.gathered.places.truncate(self.gathered.len());
                    return false;
                };
                self.gathered.inputs.push(input);
            }
        }
        true
    }

    /// The next input, if there is one at this moment.
    fn pull(&mut self, cx: &mut Context<'_>) -> Option<I::Item> {
        if let Some(input) = self.pulled.take() {
            return Some(input);
        }
        match self.inputs.as_mut()?.poll_next_input(cx) {
            Poll::Ready(Some(input)) => Some(input),
            Poll::Ready(None) => {
                self.inputs = None;
                None
            }
            Poll::Pending => None,
        }
    }

    /// Whether the time limit is over. Looked at first: a map that is never out of results must end, too.
    fn has_expired(&mut self, cx: &mut Context<'_>) -> bool {
        self.limit.as_mut().is_some_and(|(delay, _)| Pin::new(delay).poll(cx).is_ready())
    }

    /// Takes note of an item that is yielded.
    fn note(&mut self, item: &O::Item) {
        self.completed += 1;
        if self.shown.came(item) {
            self.shown.look(self.total());
        }
        // Who takes as many items as there are need not ask for another one.
        if self.is_done() && self.shown.has_news() {
            self.shown.show(self.total());
        }
    }

    /// Ends the stream because the time limit is over, and returns the last item, which says so.
    fn time_out(&mut self) -> O::Item {
        let name = self.setup.options.name.clone();
        let label = TaskLabel {
            id: TaskId::next(),
            name: name.map_or(TaskName::OfFunction(self.setup.function), TaskName::given),
            submitted_at: self.at,
        };
        let limit = self.limit.as_ref().map_or(Duration::ZERO, |(_, limit)| *limit);
        let item = self.tasks.first_missing(Err(TaskError::timed_out(label, "timeout", limit)));
        self.stop();
        self.completed += 1;
        self.shown.came(&item);
        self.shown.cut_short();
        item
    }

    /// Ends the stream: drops the inputs, and cancels what is under way.
    fn stop(&mut self) {
        self.inputs = None;
        self.pulled = None;
        self.gathered = Inputs::default();
        self.tasks = O::Tasks::default();
        self.feed.leave_line();
    }

    fn is_done(&self) -> bool {
        self.inputs.is_none() && self.pending() == 0
    }
}

impl<I: Source, R, O: Arrange<R>> Stream for Map<I, R, O> {
    type Item = O::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O::Item>> {
        let this = &mut *self;
        if this.is_done() {
            this.shown.end(this.total());
            return Poll::Ready(None);
        }
        let expired = this.has_expired(cx);
        // By what was last worked out, which asks the pool: not done for each item that is yielded.
        if !expired && this.sizing.has_room(this.tasks.len()) {
            this.fill(cx);
        }
        match this.tasks.poll_next(cx) {
            Poll::Ready(Some(item)) => {
                this.note(&item);
                return Poll::Ready(Some(item));
            }
            Poll::Ready(None) if this.is_done() => {
                this.shown.end(this.total());
                return Poll::Ready(None);
            }
            _ => {}
        }
        if !expired {
            if this.shown.has_news() {
                this.shown.show(this.total());
            }
            return Poll::Pending;
        }
        // Without budget nobody can tell whether something has finished: then there is another turn, which this asks for.
        ready!(tokio::task::coop::poll_proceed(cx).map(drop));
        Poll::Ready(Some(this.time_out()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (low, high) = self.inputs.as_ref().map_or((0, Some(0)), Source::size_hint);
        let pending = self.pending();
        // The limit may cut it short at any time.
        let low = if self.limit.is_some() { 0 } else { low.saturating_add(pending) };
        let high = high.and_then(|high| high.checked_add(pending));
        // An empty map that is timed out still says so, before its end.
        let may_expire = self.limit.is_some() && !self.is_done();
        (low, high.map(|high| if may_expire { high.max(1) } else { high }))
    }
}

impl<I: Source, R, O: Arrange<R>> FusedStream for Map<I, R, O> {
    fn is_terminated(&self) -> bool {
        self.is_done()
    }
}

impl<I: Source, R, O: Arrange<R>> fmt::Debug for Map<I, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("function", &self.setup.function)
            .field("pending", &self.pending())
            .field("in_flight", &self.sizing.most(self.feed.workers()))
            .finish_non_exhaustive()
    }
}
