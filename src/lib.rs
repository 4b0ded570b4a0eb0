//! Blocking and CPU-heavy work, off the async runtime, as standard Rust futures.
mod error;
mod metrics;
mod panic;
mod pool;
mod sync;
mod task;
mod timer;
mod wire;

pub use error::{
    BuildError, Cancelled, IntoJobError, JobError, Refused, TaskError, TaskErrorKind, WorkerExit, fallible,
};
pub use metrics::{Distribution, Metrics};
pub use pool::{Closing, Job, Shutdown, ShutdownReport, Submit};
pub use task::{CancelHandle, Flatten, Task, TaskId, TaskStatus, checkpoint, is_cancelled};
#[cfg(feature = "json")]
pub use wire::Json;
pub use wire::Payload;
