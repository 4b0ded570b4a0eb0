//! Blocking and CPU-heavy work, off the async runtime, as standard Rust futures.
mod error;
mod panic;
mod process;
mod sync;
mod task;

pub use error::{
    BuildError, Cancelled, IntoJobError, JobError, Refused, TaskError, TaskErrorKind, WorkerExit, fallible,
};
pub use task::TaskId;
