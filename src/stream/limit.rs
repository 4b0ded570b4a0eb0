//! [`Limit`]: the one time limit over a whole gather.

use std::{panic::Location, time::Duration};

use crate::{
    TaskError, TaskId,
    error::{TaskLabel, TaskName},
    timer::Delay,
};

/// A deadline, and how a position that misses it ends.
pub(super) struct Limit<O> {
    pub(super) delay: Delay,
    after: Duration,
    label: TaskLabel,
    /// A plain function, so that only `timeout` itself, not every user of `Gather`, must know the error type.
    output: fn(TaskError) -> O,
}

impl<T, E: From<TaskError>> Limit<Result<T, E>> {
    /// Counts from now on. Errors name `caller` as the line that they came from.
    pub(super) fn new(after: Duration, caller: &'static Location<'static>) -> Self {
        let name = TaskName::OfFunction("gather");
        let label = TaskLabel { id: TaskId::next(), name, submitted_at: caller };
        Self { delay: Delay::new(after), after, label, output: |error| Err(error.into()) }
    }
}

impl<O> Limit<O> {
    /// The output of one position that misses the limit.
    pub(super) fn output(&self) -> O {
        (self.output)(TaskError::timed_out(self.label.clone(), "timeout", self.after))
    }
}
