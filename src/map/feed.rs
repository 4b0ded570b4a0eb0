//! [`Feed`]: how a map starts the jobs of its inputs.

use std::{
    future::Future,
    iter,
    marker::PhantomData,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use super::Batch;
use crate::{
    Task,
    error::TaskLabel,
    metrics::Pace,
    pool::{Entering, NoRoom, Place, Places, Start, Takes, Ticket, Turn},
    task::{Options, label},
};

/// What all items of a map have in common.
pub(crate) struct Setup {
    pub(crate) function: &'static str,
    pub(crate) options: Options,
    pub(crate) at: &'static Location<'static>,
    /// How long items run.
    pub(crate) pace: Arc<Pace>,
    /// Whether the size of chunks follows the pace, so that also items that travel alone are to be measured.
    pub(super) is_automatic: bool,
}

impl Setup {
    pub(crate) fn new(function: &'static str, at: &'static Location<'static>) -> Self {
        Self { function, options: Options::default(), at, pace: Arc::default(), is_automatic: true }
    }

    /// What comes with a job of items that were let in.
    pub(crate) fn ticket(&self, place: Place) -> Ticket {
        let (label, options) = self.label();
        Ticket { label, options, place }
    }

    fn label(&self) -> (TaskLabel, Options) {
        let mut options = self.options.clone();
        options.pace = self.is_automatic.then(|| self.pace.clone());
        (label(self.function, &mut options, self.at), options)
    }
}

/// Starts jobs for a map, in whichever pool.
pub(crate) trait Feed<A, R> {
    /// Waits for room for one item.
    fn poll_enter(&mut self, cx: &mut Context<'_>) -> Poll<Result<Place, NoRoom>>;

    /// Room for up to `most` more items, at least for one, if there is some.
    fn try_enter(&mut self, most: usize) -> Option<Places>;

    /// Starts the job of an item that was let in.
    fn start(&mut self, input: A, place: Place, setup: &Setup) -> Task<R>;

    /// Whether items can travel together.
    fn takes_chunks(&self, setup: &Setup) -> bool;

    /// Starts the jobs of items that were let in, and returns them in their order. Only called where they can travel together.
    fn start_batch(&mut self, inputs: Inputs<A>, setup: &Setup) -> Vec<Started<R>>;

    /// A task of an item that was not let in.
    fn refuse(&mut self, why: NoRoom, setup: &Setup) -> Task<R>;

    /// Gives up a place in the line.
    fn leave_line(&mut self);

    /// How many workers the pool may have. None: jobs run on the polling thread, as they are started.
    fn workers(&self) -> usize;

    /// What it costs to hand over a job where many are under way, in the time of all who take part.
    fn hand_off(&self) -> Duration;
}

/// How a pool runs many items as one job, if it does.
pub(crate) trait Chunks<A, R> {
    /// Whether it does so with jobs that were told this.
    fn take(&self, setup: &Setup) -> bool;

    /// What it costs to hand over a job where many are under way, in the time of all who take part.
    fn hand_off(&self) -> Duration;

    /// Starts the jobs of these items, and returns them in their order.
    fn start(&mut self, inputs: Inputs<A>, setup: &Setup) -> Vec<Started<R>>;
}

/// The inputs of items that were let in, and their places in the pool.
pub(crate) struct Inputs<A> {
    pub(crate) inputs: Vec<A>,
    /// As many; more only while inputs are pulled.
    pub(crate) places: Places,
}

/// Each input with its place.
pub(crate) type Placed<A> = iter::Zip<vec::IntoIter<A>, Places>;

impl<A> Inputs<A> {
    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    pub(crate) fn push(&mut self, input: A, place: Place) {
        self.places.append(place.into());
        self.inputs.push(input);
    }
}

impl<A> IntoIterator for Inputs<A> {
    type Item = (A, Place);
    type IntoIter = Placed<A>;

    fn into_iter(self) -> Placed<A> {
        self.inputs.into_iter().zip(self.places)
    }
}

impl<A> Default for Inputs<A> {
    fn default() -> Self {
        Self { inputs: Vec::new(), places: Places::default() }
    }
}

/// One item, or several that travel together.
pub(crate) enum Started<R> {
    One(Task<R>),
    Many(Arc<dyn Batch<R>>),
}

impl<R> Started<R> {
    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(batch) => batch.len(),
        }
    }
}

/// Every item is a job of its own.
pub(crate) struct Singly;

impl<A, R> Chunks<A, R> for Singly {
    fn take(&self, _setup: &Setup) -> bool {
        false
    }

    fn hand_off(&self) -> Duration {
        Duration::ZERO
    }

    fn start(&mut self, _inputs: Inputs<A>, _setup: &Setup) -> Vec<Started<R>> {
        unreachable!("it takes no chunks")
    }
}

/// Starts jobs in a pool: `make` turns an input into what the pool takes, `chunks` takes many together.
pub(crate) struct PoolFeed<P, M, J, C> {
    pool: P,
    make: M,
    chunks: C,
    workers: fn(&P) -> usize,
    /// The place in the line for room, while the pool is full.
    entering: Option<Entering>,
    job: PhantomData<fn() -> J>,
}

impl<P, M, J, C> PoolFeed<P, M, J, C> {
    pub(crate) fn new(pool: P, workers: fn(&P) -> usize, make: M, chunks: C) -> Self {
        Self { pool, make, chunks, workers, entering: None, job: PhantomData }
    }
}

impl<P, M, J, C, A> Feed<A, P::Output> for PoolFeed<P, M, J, C>
where
    P: Takes<J>,
    M: FnMut(A) -> J,
    C: Chunks<A, P::Output>,
{
    fn poll_enter(&mut self, cx: &mut Context<'_>) -> Poll<Result<Place, NoRoom>> {
        // A map may be left unpolled at any time, so it keeps no place from others.
        let entering = self.entering.get_or_insert_with(|| self.pool.admission().enter(Turn::Yielded));
        let entered = std::task::ready!(Pin::new(entering).poll(cx));
        self.entering = None;
        Poll::Ready(entered)
    }

    fn try_enter(&mut self, most: usize) -> Option<Places> {
        self.pool.admission().try_enter_together(most).ok()
    }

    fn start(&mut self, input: A, place: Place, setup: &Setup) -> Task<P::Output> {
        self.pool.start((self.make)(input), setup.ticket(place))
    }

    fn takes_chunks(&self, setup: &Setup) -> bool {
        self.chunks.take(setup)
    }

    fn start_batch(&mut self, inputs: Inputs<A>, setup: &Setup) -> Vec<Started<P::Output>> {
        self.chunks.start(inputs, setup)
    }

    fn refuse(&mut self, why: NoRoom, setup: &Setup) -> Task<P::Output> {
        let (label, _) = setup.label();
        self.pool.refuse(self.pool.refusal(&label, why), label)
    }

    fn leave_line(&mut self) {
        self.entering = None;
    }

    fn workers(&self) -> usize {
        (self.workers)(&self.pool)
    }

    fn hand_off(&self) -> Duration {
        self.chunks.hand_off()
    }
}
