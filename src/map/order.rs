//! In which order a map yields: [`Ordered`] or [`Unordered`].

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use crate::{AsCompleted, Task, TaskError};

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

/// Tasks that were started and not yielded.
pub(super) trait Arrangement<R>: Default {
    type Item;

    fn len(&self) -> usize;

    fn push(&mut self, task: Task<R>);

    /// The next result; `None` while there is no task.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>>;

    /// `outcome` as the item of the first input that has not been yielded.
    fn first_missing(&self, outcome: Result<R, TaskError>) -> Self::Item;

    fn collect(mut tasks: InOrder<R>) -> Self {
        let mut collected = Self::default();
        std::mem::take(&mut tasks.tasks).into_iter().for_each(|task| collected.push(task));
        collected
    }
}

impl<R> Arrange<R> for Ordered {
    type Item = Result<R, TaskError>;
    type Tasks = InOrder<R>;
}

impl<R> Arrange<R> for Unordered {
    type Item = (usize, Result<R, TaskError>);
    type Tasks = AsFinished<R>;
}

/// Tasks in the order of their inputs: only the first is ever polled, so one waker is registered at a time.
pub struct InOrder<R> {
    tasks: VecDeque<Task<R>>,
}

impl<R> Default for InOrder<R> {
    fn default() -> Self {
        Self { tasks: VecDeque::new() }
    }
}

impl<R> Drop for InOrder<R> {
    /// Last come, first cancelled: if the job that runs were stopped first, its worker would begin the next one in vain.
    fn drop(&mut self) {
        while self.tasks.pop_back().is_some() {}
    }
}

impl<R> Arrangement<R> for InOrder<R> {
    type Item = Result<R, TaskError>;

    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn push(&mut self, task: Task<R>) {
        self.tasks.push_back(task);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(first) = self.tasks.front_mut() else { return Poll::Ready(None) };
        let outcome = ready!(Pin::new(first).poll(cx));
        self.tasks.pop_front();
        Poll::Ready(Some(outcome))
    }

    fn first_missing(&self, outcome: Result<R, TaskError>) -> Self::Item {
        outcome
    }
}

impl<R> fmt::Debug for InOrder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InOrder").field("len", &self.tasks.len()).finish()
    }
}

/// Tasks in the order in which they finish.
pub struct AsFinished<R> {
    tasks: AsCompleted<Task<R>>,
    /// Which of the inputs pushed have been yielded: all before `first`, and those of `later` behind it.
    first: usize,
    later: std::collections::BTreeSet<usize>,
}

impl<R> Default for AsFinished<R> {
    fn default() -> Self {
        Self { tasks: AsCompleted::new(), first: 0, later: std::collections::BTreeSet::new() }
    }
}

impl<R> Arrangement<R> for AsFinished<R> {
    type Item = (usize, Result<R, TaskError>);

    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn push(&mut self, task: Task<R>) {
        self.tasks.push(task);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(Pin::new(&mut self.tasks).poll_next(cx));
        if let Some((index, _)) = item {
            self.later.insert(index);
            while self.later.remove(&self.first) {
                self.first += 1;
            }
        }
        Poll::Ready(item)
    }

    fn first_missing(&self, outcome: Result<R, TaskError>) -> Self::Item {
        (self.first, outcome)
    }
}

impl<R> fmt::Debug for AsFinished<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsFinished").field("len", &self.tasks.len()).finish()
    }
}
