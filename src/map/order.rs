//! In which order a map yields: [`Ordered`] or [`Unordered`].

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{
    Batch, Finished, Outcome,
    remainder::{Nudge, Remainder},
};
use crate::{AsCompleted, Task, TaskError, panic::drop_shielded};

/// Marks a map that yields results in the order of its inputs.
#[derive(Debug)]
pub enum Ordered {}

/// Marks a map that yields results as they are finished, with the index of their input.
#[derive(Debug)]
pub enum Unordered {}

/// The order of a map: [`Ordered`] or [`Unordered`]. Sealed.
pub trait Arrange<R>: sealed::Order {
    /// What the stream yields.
    type Item;

    #[doc(hidden)]
    #[expect(private_bounds, reason = "the trait is sealed: nobody outside can name or use this")]
    type Tasks: Arrangement<R, Item = Self::Item>;
}

mod sealed {
    pub trait Order {}
    impl Order for super::Ordered {}
    impl Order for super::Unordered {}
}

/// Items that were started and not yielded.
pub(super) trait Arrangement<R>: Default {
    type Item;

    /// How many items there are.
    fn len(&self) -> usize;

    fn push(&mut self, task: Task<R>);

    fn push_batch(&mut self, batch: Arc<dyn Batch<R>>);

    /// The next result; `None` while there is no item.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>>;

    /// `outcome` as the item of the first input that has not been yielded.
    fn first_missing(&self, outcome: Result<R, TaskError>) -> Self::Item;

    fn collect(items: InOrder<R>) -> Self;

    fn is_failure(item: &Self::Item) -> bool;
}

impl<R> Arrange<R> for Ordered {
    type Item = Result<R, TaskError>;
    type Tasks = InOrder<R>;
}

impl<R> Arrange<R> for Unordered {
    type Item = (usize, Result<R, TaskError>);
    type Tasks = AsFinished<R>;
}

/// Items in the order of their inputs: only the first piece is ever polled, so one waker is registered at a time.
pub struct InOrder<R> {
    pieces: VecDeque<Piece<R>>,
    /// How many items there are.
    len: usize,
    /// Items that have been yielded.
    yielded: usize,
    /// What was taken of the first piece, from the next item on; empty places are of items that have not finished.
    taken: VecDeque<Option<Outcome<R>>>,
    /// The place of the next item in the first piece.
    next: u32,
    /// Room for what is taken; empty in between.
    outcomes: Vec<Finished<R>>,
    nudge: Nudge,
}

enum Piece<R> {
    One(Task<R>),
    Many(Remainder<R>),
}

impl<R> Default for InOrder<R> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            len: 0,
            yielded: 0,
            taken: VecDeque::new(),
            next: 0,
            outcomes: Vec::new(),
            nudge: Nudge::default(),
        }
    }
}

impl<R> Drop for InOrder<R> {
    /// Last come, first cancelled: if the job that runs were stopped first, its worker would begin the next one in vain.
    fn drop(&mut self) {
        while self.pieces.pop_back().is_some() {}
        drop_shielded(std::mem::take(&mut self.taken));
    }
}

impl<R> InOrder<R> {
    /// Waits for the next item of the first piece.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<R>>> {
        loop {
            let batch = match self.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::One(task)) => {
                    let outcome = ready!(Pin::new(task).poll(cx));
                    self.pieces.pop_front();
                    return Poll::Ready(Some(outcome));
                }
                Some(Piece::Many(batch)) => batch,
            };
            if batch.left() == 0 {
                self.pieces.pop_front();
                self.next = 0;
                continue;
            }
            ready!(batch.poll_take(&mut self.outcomes, &mut self.nudge, cx));
            self.sort_in();
            if let Some(outcome) = self.pop_taken() {
                return Poll::Ready(Some(outcome));
            }
        }
    }

    /// Sorts in what was taken of the first piece, which may have been run by several workers.
    fn sort_in(&mut self) {
        for (place, outcome) in self.outcomes.drain(..) {
            let at = (place - self.next) as usize;
            if at == self.taken.len() {
                self.taken.push_back(Some(outcome));
                continue;
            }
            if at > self.taken.len() {
                self.taken.resize_with(at + 1, || None);
            }
            self.taken[at] = Some(outcome);
        }
    }

    fn pop_taken(&mut self) -> Option<Outcome<R>> {
        let outcome = self.taken.front_mut()?.take()?;
        self.taken.pop_front();
        self.next += 1;
        Some(outcome)
    }
}

impl<R> Arrangement<R> for InOrder<R> {
    type Item = Result<R, TaskError>;

    fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, task: Task<R>) {
        self.len += 1;
        self.pieces.push_back(Piece::One(task));
    }

    fn push_batch(&mut self, batch: Arc<dyn Batch<R>>) {
        self.len += batch.len();
        self.pieces.push_back(Piece::Many(Remainder::new(batch)));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.taken.front().is_some_and(Option::is_some) {
            // Yielding many items that have finished must not hold the runtime's thread for ever.
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        let outcome = match self.pop_taken() {
            Some(outcome) => outcome,
            None => match ready!(self.poll_first(cx)) {
                Some(outcome) => outcome,
                None => return Poll::Ready(None),
            },
        };
        self.len -= 1;
        self.yielded += 1;
        Poll::Ready(Some(outcome))
    }

    fn first_missing(&self, outcome: Result<R, TaskError>) -> Self::Item {
        outcome
    }

    fn collect(items: InOrder<R>) -> Self {
        items
    }

    fn is_failure(item: &Self::Item) -> bool {
        item.is_err()
    }
}

impl<R> fmt::Debug for InOrder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InOrder").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Items in the order in which they finish.
pub struct AsFinished<R> {
    units: AsCompleted<Unit<R>>,
    /// How many items there are.
    len: usize,
    /// The input of the next item that is started.
    started: usize,
    /// Outcomes taken and not yielded, with their inputs.
    taken: VecDeque<(usize, Outcome<R>)>,
    yielded: Yielded,
}

impl<R> Default for AsFinished<R> {
    fn default() -> Self {
        Self {
            units: AsCompleted::new(),
            len: 0,
            started: 0,
            taken: VecDeque::new(),
            yielded: Yielded::default(),
        }
    }
}

impl<R> Drop for AsFinished<R> {
    fn drop(&mut self) {
        drop_shielded(std::mem::take(&mut self.taken));
    }
}

impl<R> AsFinished<R> {
    fn push_unit(&mut self, work: Piece<R>, items: usize) {
        self.units.push(Unit { first: self.started, work: Some(work), nudge: Nudge::default() });
        self.started += items;
        self.len += items;
    }
}

impl<R> Arrangement<R> for AsFinished<R> {
    type Item = (usize, Result<R, TaskError>);

    fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, task: Task<R>) {
        self.push_unit(Piece::One(task), 1);
    }

    fn push_batch(&mut self, batch: Arc<dyn Batch<R>>) {
        let items = batch.len();
        self.push_unit(Piece::Many(Remainder::new(batch)), items);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.taken.is_empty() {
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        while self.taken.is_empty() {
            let Some((_, done)) = ready!(Pin::new(&mut self.units).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            match done {
                Done::One(item) => self.taken.push_back(item),
                Done::Many { first, batch, outcomes } => {
                    let numbered =
                        outcomes.into_iter().map(|(place, outcome)| (first + place as usize, outcome));
                    self.taken.extend(numbered);
                    if batch.left() > 0 {
                        self.units.push(Unit {
                            first,
                            work: Some(Piece::Many(batch)),
                            nudge: Nudge::default(),
                        });
                    }
                }
            }
        }
        let item = self.taken.pop_front();
        if let Some((index, _)) = item {
            self.len -= 1;
            self.yielded.insert(index);
        }
        Poll::Ready(item)
    }

    fn first_missing(&self, outcome: Result<R, TaskError>) -> Self::Item {
        (self.yielded.first_missing(), outcome)
    }

    fn collect(mut items: InOrder<R>) -> Self {
        let mut this = Self::default();
        this.yielded = Yielded::all_before(items.yielded);
        // What was taken belongs to the first piece, whose items are numbered from its beginning on.
        let begun = items.yielded - items.next as usize;
        this.started = begun;
        for (place, outcome) in std::mem::take(&mut items.taken).into_iter().enumerate() {
            this.taken.extend(outcome.map(|outcome| (items.yielded + place, outcome)));
        }
        this.len = this.taken.len();
        for piece in std::mem::take(&mut items.pieces) {
            match piece {
                Piece::One(task) => this.push(task),
                Piece::Many(batch) => {
                    let (all, left) = (batch.all(), batch.left());
                    if left > 0 {
                        this.push_unit(Piece::Many(batch), all);
                        this.len -= all - left;
                    } else {
                        this.started += all;
                    }
                }
            }
        }
        this
    }

    fn is_failure((_, outcome): &Self::Item) -> bool {
        outcome.is_err()
    }
}

impl<R> fmt::Debug for AsFinished<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsFinished").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A piece as a future: of one outcome, or of some outcomes and the rest of the piece.
struct Unit<R> {
    /// The input of its first item.
    first: usize,
    /// Absent once ready.
    work: Option<Piece<R>>,
    nudge: Nudge,
}

enum Done<R> {
    One((usize, Outcome<R>)),
    Many { first: usize, batch: Remainder<R>, outcomes: Vec<Finished<R>> },
}

impl<R> Unpin for Unit<R> {}

impl<R> Future for Unit<R> {
    type Output = Done<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done<R>> {
        let Self { first, work, nudge } = &mut *self;
        let first = *first;
        let mut outcomes = Vec::new();
        match work.as_mut().expect("not polled again after it was ready") {
            Piece::One(task) => {
                let outcome = ready!(Pin::new(task).poll(cx));
                *work = None;
                return Poll::Ready(Done::One((first, outcome)));
            }
            Piece::Many(batch) => ready!(batch.poll_take(&mut outcomes, nudge, cx)),
        }
        match work.take() {
            Some(Piece::Many(batch)) => Poll::Ready(Done::Many { first, batch, outcomes }),
            _ => unreachable!("it was a batch just now"),
        }
    }
}

/// Which inputs have been yielded: all before `first`, and behind it those whose bit is set.
#[derive(Debug, Default)]
struct Yielded {
    /// A multiple of 64.
    first: usize,
    later: VecDeque<u64>,
}

impl Yielded {
    fn all_before(input: usize) -> Self {
        let mut yielded = Self { first: input / 64 * 64, later: VecDeque::new() };
        (yielded.first..input).for_each(|input| yielded.insert(input));
        yielded
    }

    fn insert(&mut self, input: usize) {
        let at = input - self.first;
        if at / 64 >= self.later.len() {
            self.later.resize(at / 64 + 1, 0);
        }
        self.later[at / 64] |= 1 << (at % 64);
        while self.later.front() == Some(&u64::MAX) {
            self.later.pop_front();
            self.first += 64;
        }
    }

    fn first_missing(&self) -> usize {
        self.first + self.later.front().map_or(0, |word| word.trailing_ones() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_input_that_was_not_yielded_is_known() {
        let mut yielded = Yielded::default();
        assert_eq!(yielded.first_missing(), 0);
        for input in (0..300).rev().filter(|input| *input != 7 && *input != 200) {
            yielded.insert(input);
        }
        assert_eq!(yielded.first_missing(), 7);
        yielded.insert(7);
        assert_eq!((yielded.first_missing(), yielded.first), (200, 192));
        assert_eq!(Yielded::all_before(130).first_missing(), 130);
        assert_eq!(Yielded::all_before(128).first_missing(), 128);
    }
}
