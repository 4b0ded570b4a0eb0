//! Blocking and CPU-heavy work, off the async runtime, as standard Rust futures.
mod error;
mod panic;
mod stream;
mod sync;
mod task;
mod timer;

pub use error::{
    BuildError, Cancelled, IntoJobError, JobError, Refused, TaskError, TaskErrorKind, WorkerExit, fallible,
};
pub use stream::{
    AsCompleted, AsCompletedTimeout, Fallible, Gather, Gathered, ReturnWhen, Settled, Unfinished, Wait,
    Waited, as_completed, gather, wait,
};
pub use task::TaskId;
