//! What can go wrong, as values: [`TaskError`] for a task, [`Refused`] for a job that was not taken,
//! [`BuildError`] for a pool that cannot be built, [`JobError`] for the job's own failures.
//!
//! Errors are opaque. Each says what it is by `kind()` or `is_*()`, and its message names the task, the operand
//! and the limit.

mod build_error;
mod cancelled;
mod job_error;
mod kind;
mod refused;
mod task_error;
mod worker_exit;

pub use build_error::BuildError;
pub use cancelled::Cancelled;
pub use job_error::{IntoJobError, JobError, fallible};
pub use kind::TaskErrorKind;
pub use refused::Refused;
pub use task_error::TaskError;
pub(crate) use task_error::{Operand, PanicReport, TaskLabel, TaskName};
pub(crate) use worker_exit::ExitCause;
pub use worker_exit::WorkerExit;
