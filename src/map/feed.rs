//! [`Feed`]: how a map starts the job of one input.

use std::{
    future::Future,
    marker::PhantomData,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    Task, TaskError,
    pool::{Entering, Start, Takes, Ticket, Turn},
    task::{Options, label},
};

/// What all items of a map have in common.
pub(crate) struct Setup {
    pub(super) function: &'static str,
    pub(super) options: Options,
    at: &'static Location<'static>,
}

impl Setup {
    pub(super) fn new(function: &'static str, at: &'static Location<'static>) -> Self {
        Self { function, options: Options::default(), at }
    }
}

/// Starts jobs for a map, in whichever pool.
pub(crate) trait Feed<A, R> {
    /// Starts the job of `input`, or gives it back and arranges for a wake-up when there may be room.
    fn poll_start(&mut self, input: A, setup: &Setup, cx: &mut Context<'_>) -> Result<Task<R>, A>;

    /// Gives up a place in the line.
    fn leave_line(&mut self);

    /// How many workers the pool may have. None: jobs run on the polling thread, as they are started.
    fn workers(&self) -> usize;
}

/// Starts jobs in a pool: `make` turns an input into what the pool takes.
pub(crate) struct PoolFeed<P, M, J> {
    pool: P,
    make: M,
    workers: fn(&P) -> usize,
    /// The place in the line for room, while the pool is full.
    entering: Option<Entering>,
    job: PhantomData<fn() -> J>,
}

impl<P, M, J> PoolFeed<P, M, J> {
    pub(crate) fn new(pool: P, workers: fn(&P) -> usize, make: M) -> Self {
        Self { pool, make, workers, entering: None, job: PhantomData }
    }
}

impl<P, M, J, A> Feed<A, P::Output> for PoolFeed<P, M, J>
where
    P: Takes<J>,
    M: FnMut(A) -> J,
{
    fn poll_start(&mut self, input: A, setup: &Setup, cx: &mut Context<'_>) -> Result<Task<P::Output>, A> {
        // A map may be left unpolled at any time, so it keeps no place from others.
        let entering = self.entering.get_or_insert_with(|| self.pool.admission().enter(Turn::Yielded));
        let Poll::Ready(entered) = Pin::new(entering).poll(cx) else { return Err(input) };
        self.entering = None;
        let mut options = setup.options.clone();
        let label = label(setup.function, &mut options, setup.at);
        Ok(match entered {
            Ok(place) => self.pool.start((self.make)(input), Ticket { label, options, place }),
            Err(why) => {
                let error: TaskError = self.pool.refusal(&label, why);
                Task::refused(error, label)
            }
        })
    }

    fn leave_line(&mut self) {
        self.entering = None;
    }

    fn workers(&self) -> usize {
        (self.workers)(&self.pool)
    }
}
