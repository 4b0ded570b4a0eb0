//! [`Submit`]: waits for room in a pool, then starts a job.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::FusedFuture;

use super::{
    Start, Takes, Ticket,
    admission::{Entering, Turn},
};
use crate::{
    Refused, Task,
    error::TaskLabel,
    task::{Options, label},
};

/// Future returned by `submit`: resolves to the task as soon as the pool has room for the job.
///
/// Waiting is first come, first served. The future owns a handle of the pool. It does nothing before it is polled.
///
/// # Errors
///
/// [`Refused`], with the job in it, when the pool is closed.
///
/// # Cancel safety
///
/// Dropped before it resolves, it drops the job, which has not started, and gives up its place in the line.
#[must_use = "a job is submitted only when this is awaited"]
pub struct Submit<P, J> {
    pool: P,
    /// `None` once it has resolved.
    waiting: Option<Waiting<J>>,
}

struct Waiting<J> {
    job: J,
    label: TaskLabel,
    options: Options,
    /// The place in the line, taken at the first poll.
    entering: Option<Entering>,
}

impl<P: Takes<J>, J> Submit<P, J> {
    pub(crate) fn new(pool: P, job: J, mut options: Options, at: &'static Location<'static>) -> Self {
        let label = label(P::default_name(), &mut options, at);
        Self { pool, waiting: Some(Waiting { job, label, options, entering: None }) }
    }
}

// The job is moved in and out, and never pinned.
impl<P, J> Unpin for Submit<P, J> {}

impl<P: Takes<J>, J> Future for Submit<P, J> {
    type Output = Result<Task<P::Output>, Refused<J>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { pool, waiting } = self.get_mut();
        let line = waiting.as_mut().expect("`Submit` must not be polled after it has resolved");
        let entering = line.entering.get_or_insert_with(|| pool.admission().enter(Turn::Kept));
        let entered = ready!(Pin::new(entering).poll(cx));
        let Waiting { job, label, options, .. } = waiting.take().expect("looked at above");
        Poll::Ready(match entered {
            Ok(place) => Ok(pool.start(job, Ticket { label, options, place })),
            Err(why) => Err(Refused::new(job, pool.refusal(&label, why))),
        })
    }
}

impl<P: Takes<J>, J> FusedFuture for Submit<P, J> {
    fn is_terminated(&self) -> bool {
        self.waiting.is_none()
    }
}

impl<P, J> fmt::Debug for Submit<P, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.waiting.as_ref().map(|waiting| &waiting.label);
        f.debug_struct("Submit").field("task", &label).finish_non_exhaustive()
    }
}
