//! The handle of a job, its state and its cancellation.
mod id;
pub use id::TaskId;
