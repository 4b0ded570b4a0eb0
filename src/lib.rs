//! Blocking and CPU-heavy work, off the async runtime, as standard Rust futures.
mod error;
mod executor;
mod map;
mod metrics;
mod panic;
mod pool;
#[cfg(target_os = "linux")]
mod process;
mod stream;
mod sync;
mod task;
mod thread;
mod timer;
mod wire;

pub use error::{
    BuildError, Cancelled, IntoJobError, JobError, Refused, TaskError, TaskErrorKind, WorkerExit, fallible,
};
pub use executor::{AnyExecutor, Executor, Inline};
pub use map::{Map, Ordered, Unordered};
pub use metrics::{Distribution, Metrics};
pub use pool::{Closing, Job, Shutdown, ShutdownReport, Submit};
#[cfg(target_os = "linux")]
pub use process::{ProcessPool, ProcessPoolBuilder, run_in_process_pool, worker};
pub use stream::{
    AsCompleted, AsCompletedTimeout, Fallible, Gather, Gathered, ReturnWhen, Settled, Unfinished, Wait,
    Waited, as_completed, gather, wait,
};
pub use task::{CancelHandle, Flatten, Task, TaskId, TaskStatus, checkpoint, is_cancelled};
pub use thread::{ThreadPool, ThreadPoolBuilder, run_in_thread_pool};
#[cfg(feature = "json")]
pub use wire::Json;
pub use wire::Payload;
