//! Blocking and CPU-heavy work, off the async runtime, as standard Rust futures.
mod error;
mod panic;
mod sync;
mod task;
mod timer;

pub use error::{
    BuildError, Cancelled, IntoJobError, JobError, Refused, TaskError, TaskErrorKind, WorkerExit, fallible,
};
pub use task::TaskId;
