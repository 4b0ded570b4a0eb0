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

/// So many items that have been taken together cost one unit of the runtime's budget: each takes a few nanoseconds, less than to ask.
const ITEMS_PER_UNIT: usize = 16;

/// Items in the order of their inputs: only the first piece is ever polled, so one waker is registered at a time.
pub struct InOrder<R> {
    pieces: VecDeque<Piece<R>>,
    /// How many items there are.
    len: usize,
    /// Items that have been yielded.
    yielded: usize,
    /// What was taken of the first piece and is in order, as most is: empty, or the first is the next item.
    taken: VecDeque<Finished<R>>,
    /// What was not, from the next item on; empty places are of items that have not finished. Empty while anything is in order.
    sorted: VecDeque<Option<Outcome<R>>>,
    /// The place of the next item in the first piece.
    next: u32,
    nudge: Nudge,
}

enum Piece<R> {
    One(Task<R>),
    Many(Remainder<R>),
}

/// What there is of the first piece.
enum First<R> {
    Nothing,
    Single(Outcome<R>),
    Taken,
}

impl<R> Default for InOrder<R> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            len: 0,
            yielded: 0,
            taken: VecDeque::new(),
            sorted: VecDeque::new(),
            next: 0,
            nudge: Nudge::default(),
        }
    }
}

impl<R> Drop for InOrder<R> {
    /// Last come, first cancelled: if the job that runs were stopped first, its worker would begin the next one in vain.
    fn drop(&mut self) {
        while self.pieces.pop_back().is_some() {}
        drop_shielded((std::mem::take(&mut self.taken), std::mem::take(&mut self.sorted)));
    }
}

impl<R> InOrder<R> {
    fn note_yielded(&mut self) {
        self.len -= 1;
        self.yielded += 1;
    }

    /// Waits for items of the first piece, and takes them. Returns the outcome at once if it is a single item.
    #[inline(never)]
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<First<R>> {
        loop {
            let batch = match self.pieces.front_mut() {
                None => return Poll::Ready(First::Nothing),
                Some(Piece::One(task)) => {
                    let outcome = ready!(Pin::new(task).poll(cx));
                    self.pieces.pop_front();
                    return Poll::Ready(First::Single(outcome));
                }
                Some(Piece::Many(batch)) => batch,
            };
            if batch.left() == 0 {
                self.pieces.pop_front();
                self.next = 0;
                continue;
            }
            // Nothing is in order, or it would have been yielded; whoever fills the buffer finds it as large as the last one.
            let mut outcomes = std::mem::take(&mut self.taken).into();
            let taken = batch.poll_take(&mut outcomes, &mut self.nudge, cx);
            self.taken = outcomes.into();
            ready!(taken);
            self.keep_order();
            if self.has_next() {
                return Poll::Ready(First::Taken);
            }
        }
    }

    /// Sorts what was taken of the first piece where it is not in order, for several workers may have run it.
    #[inline]
    fn keep_order(&mut self) {
        if self.taken.front().is_some_and(|(first, _)| *first != self.next || !self.sorted.is_empty()) {
            self.sort();
        }
    }

    #[cold]
    fn sort(&mut self) {
        for (place, outcome) in self.taken.drain(..) {
            let at = (place - self.next) as usize;
            if at >= self.sorted.len() {
                self.sorted.resize_with(at + 1, || None);
            }
            self.sorted[at] = Some(outcome);
        }
    }

    /// Whether the next item has been taken.
    fn has_next(&self) -> bool {
        !self.taken.is_empty() || self.sorted.front().is_some_and(Option::is_some)
    }

    #[inline]
    fn pop_taken(&mut self) -> Option<Outcome<R>> {
        let outcome = match self.taken.pop_front() {
            Some((_, outcome)) => outcome,
            None => {
                let outcome = self.sorted.front_mut()?.take()?;
                self.sorted.pop_front();
                outcome
            }
        };
        self.next += 1;
        self.keep_order();
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

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.has_next() {
            match ready!(self.poll_first(cx)) {
                First::Nothing => return Poll::Ready(None),
                First::Single(outcome) => {
                    self.note_yielded();
                    return Poll::Ready(Some(outcome));
                }
                First::Taken => {}
            }
        }
        if self.yielded.is_multiple_of(ITEMS_PER_UNIT) {
            // Yielding many items that have finished must not hold the runtime's thread for ever.
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        self.note_yielded();
        Poll::Ready(self.pop_taken())
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
        let taken = std::mem::take(&mut items.taken).into_iter();
        this.taken.extend(taken.map(|(place, outcome)| (begun + place as usize, outcome)));
        for (place, outcome) in std::mem::take(&mut items.sorted).into_iter().enumerate() {
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
    use std::{
        sync::{Mutex, PoisonError},
        task::Waker,
    };

    use proptest::prelude::*;

    use super::*;

    /// A batch of which all parts are there, in that order.
    struct Given {
        len: usize,
        parts: Mutex<VecDeque<Vec<u32>>>,
    }

    impl Given {
        /// The items of `order`, each of which tells its input, in parts of such lengths.
        fn started(order: &[u32], mut lengths: impl Iterator<Item = usize>) -> Arc<dyn Batch<u32>> {
            let (mut parts, mut rest) = (VecDeque::new(), order);
            while !rest.is_empty() {
                let (part, others) = rest.split_at(lengths.next().unwrap_or(1).min(rest.len()));
                parts.push_back(part.to_vec());
                rest = others;
            }
            Arc::new(Self { len: order.len(), parts: Mutex::new(parts) })
        }
    }

    impl Batch<u32> for Given {
        fn len(&self) -> usize {
            self.len
        }

        fn poll_take(&self, outcomes: &mut Vec<Finished<u32>>, _cx: &mut Context<'_>) -> Poll<()> {
            let part = self.parts.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            outcomes.extend(part.into_iter().flatten().map(|place| (place, Ok(place))));
            Poll::Ready(())
        }

        fn hurry(self: Arc<Self>) {}

        fn cancel(&self) {}
    }

    /// The next item of a map whose items are all there.
    fn next<T>(tasks: &mut impl Arrangement<u32, Item = T>) -> Option<T> {
        match tasks.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => item,
            Poll::Pending => panic!("everything is there"),
        }
    }

    proptest! {
        #[test]
        fn items_that_finish_in_any_order_come_in_that_of_their_inputs(
            orders in prop::collection::vec((1..40u32).prop_flat_map(|len| Just((0..len).collect::<Vec<_>>()).prop_shuffle()), 1..4),
            lengths in prop::collection::vec(1..9usize, 1..9),
            sorted: bool,
            before in 0..50usize,
        ) {
            let mut tasks = InOrder::default();
            let mut inputs = Vec::new();
            for mut order in orders {
                if sorted {
                    order.sort_unstable();
                }
                tasks.push_batch(Given::started(&order, lengths.iter().copied().cycle()));
                inputs.extend(0..order.len() as u32);
            }
            // Also where the rest is to come as it finishes.
            let before = before.min(inputs.len());
            for input in &inputs[..before] {
                prop_assert_eq!(next(&mut tasks).and_then(Result::ok), Some(*input));
            }
            let mut rest = AsFinished::collect(tasks);
            let mut places = Vec::new();
            while let Some((place, outcome)) = next(&mut rest) {
                prop_assert_eq!(outcome.ok(), Some(inputs[place]));
                places.push(place);
            }
            places.sort_unstable();
            prop_assert_eq!(places, (before..inputs.len()).collect::<Vec<_>>());
        }
    }

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
