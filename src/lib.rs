//! Blocking and CPU-heavy work, off the async runtime, as standard Rust futures.
//!
//! [`run_in_thread_pool`] runs a closure on a pool of threads. [`run_in_process_pool`] runs a plain function in a pool of managed
//! child processes, with nothing to set up: no `init()`, no macro, no registration. Both return a [`Task`], a future that can
//! be awaited on any runtime and on none. [`gather`], [`as_completed`], [`wait`] and `map` collect results.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> anyhow::Result<()> {
//! use heavylift::{gather, run_in_process_pool, run_in_thread_pool};
//!
//! fn count_primes(limit: u64) -> usize {
//!     (2..limit).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
//! }
//!
//! let text = run_in_thread_pool(|| std::fs::read_to_string("Cargo.toml")).flatten().await?; // blocking I/O
//! let primes = run_in_process_pool(count_primes, 1_000).await?; // another process
//! let counts = gather((1..4u64).map(|n| run_in_process_pool(count_primes, n * 100))).await?; // input order
//! assert!(text.contains("heavylift"));
//! assert_eq!((primes, counts), (168, vec![25, 46, 62]));
//! # Ok(())
//! # }
//! ```
//!
//! # Which executor
//!
//! | work | use | why |
//! |---|---|---|
//! | async I/O with an async library | `.await` it; `tokio::spawn` | needs no hand-off |
//! | less than about 10 µs of CPU | inline ([`Inline`](struct@crate::Inline) behind an [`Executor`]) | a hand-off costs more |
//! | blocking calls: files, databases, DNS, FFI that waits | [`ThreadPool::global`], elastic | waiting needs threads, not cores |
//! | CPU-bound, 10 µs to seconds | [`ThreadPool::cpu`], as many threads as cores | does not starve the runtime or oversubscribe |
//! | data-parallel inside one job | `run_in_rayon` (feature `rayon`), or rayon inside a job of the CPU pool | work stealing over slices |
//! | must be killable, may crash or leak, untrusted input, a library that is not thread-safe | [`ProcessPool`] | a thread can be neither stopped nor isolated |
//! | many small items | `map` | bounded, in order, one call |
//! | runs for ever | a named thread of its own | would occupy a worker for good |
//! | more than one machine can do in time | `ClusterPool` (feature `nats`) | the same functions on nodes of other machines, through NATS |
//!
//! What a pool that works has seen tells whether the choice was right: [`ThreadPool::advice`] and [`ProcessPool::advice`].
//! What its workers did, job by job, is a picture: [`ThreadPool::record`] and [`ProcessPool::record`].
//!
//! A library that is already parallel inside (polars, rayon, BLAS) is called once, from one job: wrapping each of its small calls
//! in a job only adds cost.
//!
//! [`guidance::watch`] says when work is still on the runtime that belongs on a pool.
//!
//! # What happens to the work
//!
//! | | queued job | running in a thread | running in a process |
//! |---|---|---|---|
//! | drop the [`Task`], [`cancel`](Task::cancel) | never starts; its closure is dropped | goes on, sees [`is_cancelled`]; its value is dropped | the worker is killed and replaced; no other task is touched |
//! | `queue_timeout` | never starts; timed out | – | – |
//! | `run_timeout`, counted from the job's start | – | as cancel, but timed out | killed, timed out |
//! | panic | – | caught, with message, location and payload | caught, with message, location and backtrace; the worker lives on |
//! | exit, abort, signal, stack overflow | – | ends the program, as everywhere in Rust | that task alone: [worker died](TaskError::is_worker_died) |
//! | argument or result cannot be encoded or decoded, or is too large | that task alone | | |
//! | last handle of the pool dropped | runs, if a task or a detached job wants it | | |
//! | the program ends, in whatever way | cut off | ends with the program | no worker is left |
//!
//! On a cluster a job runs in a thread or a process of a node, and is stopped there; what else can happen to it is a table in `cluster`.
//!
//! So `tokio::time::timeout(limit, task)` really stops the work on a process pool, and asks it to stop on a thread pool. `&mut task`
//! in `timeout` or `select!` cancels nothing.
//!
//! # What is not offered, and what to write instead
//!
//! * Jobs that borrow: unsound once a future can be dropped. Use `rayon::scope` inside a job of `run_in_rayon`, or move the data in
//!   and out.
//! * Async jobs: `run(|| async { … })` makes a future and runs nothing. Use `Handle::current().block_on(…)` inside the job.
//! * Waiting for tasks of different types: `tokio::try_join!`.
//! * Work that outlives a drop: [`Task::detach`], or `tokio::spawn(task)`.
//!
//! # Seen from outside
//!
//! [`ThreadPool::metrics`] and its twins tell what a pool does and has done, [`ThreadPool::advice`] what should be changed about it, and
//! [`ThreadPool::record`] what its workers do, job by job, as a [`Timeline`]: a picture, a trace for Perfetto, or plain data. The rest comes by
//! features: `metrics` (for exporters), `tracing` and `opentelemetry` (spans), `dashboard` (a page), `progress` (a bar). While nobody looks,
//! each costs a job a look at a flag, or nothing. [`Inline`](struct@crate::Inline), which has no workers, has `metrics` alone.
//!
//! # Features
//!
//! * `auto-start` (default): worker processes start without a line in `main`. Without it, [`worker::init`] is the first line.
//! * `dashboard`: `dashboard` shows all pools of the program live, on a page of its own or within a service.
//! * `json`: `Json<T>` carries values of any serde type into processes.
//! * `metrics`: `metrics::report` tells the figures of all pools to whatever exporter the program has.
//! * `nats`: `ClusterPool` and `Node` run the functions that `#[heavylift::job]` names on other machines, through NATS: see `cluster`. Needs
//!   Rust 1.89.
//! * `opentelemetry`: trace contexts cross into worker processes: see `trace`.
//! * `progress`: `.progress(bar)` shows on a bar of indicatif how far a `map`, a `gather` or an `as_completed` is.
//! * `rayon`: `run_in_rayon` and `RayonPool` run jobs that are parallel inside on rayon's threads.
//! * `serde`: the plain data of [`guidance`] can be serialized.
//! * `tracing`: each job is a span, and [`Output`] can make events of what worker processes say and print: see `trace`.

// What `#[heavylift::job]` writes calls this crate by its name, also in the crate's own tests.
#[cfg(all(test, feature = "nats"))]
extern crate self as heavylift;

mod clock;
#[cfg(feature = "nats")]
pub mod cluster;
#[cfg(unix)]
mod counted;
mod ctrl_c;
#[cfg(feature = "dashboard")]
pub mod dashboard;
mod error;
mod executor;
pub mod guidance;
#[cfg(feature = "nats")]
pub mod job;
mod map;
pub mod metrics;
mod no_capture;
mod panic;
mod pause;
mod pool;
mod prefetch;
mod process;
#[cfg(feature = "progress")]
pub mod progress;
#[cfg(not(feature = "progress"))]
mod progress;
#[cfg(feature = "rayon")]
mod rayon_pool;
mod record;
mod shards;
mod shared_memory;
mod stream;
mod sync;
mod task;
mod text;
mod thread;
mod timeline;
mod timer;
#[cfg(feature = "tracing")]
pub mod trace;
#[cfg(not(feature = "tracing"))]
mod trace;
mod wire;

#[cfg(feature = "nats")]
pub use cluster::{ClusterPool, Node};
#[cfg(unix)]
pub use ctrl_c::{ShutdownOnCtrlC, shutdown_on_ctrl_c};
pub use error::{
    BuildError, Cancelled, IntoJobError, JobError, Refused, TaskError, TaskErrorKind, WorkerExit, fallible,
};
pub use executor::{AnyExecutor, Executor, Inline};
pub use guidance::{Advice, Machine, Profile, Workload, advise, run};
/// Gives a function a name, by which the nodes of a cluster know it. Needs the feature `nats`.
///
/// The function stays what it is: it can be called, tested, and run on every pool. Besides, it is entered into a list of all
/// functions of the program that have a name, which is complete before `main`. [`cluster`] says what happens to it there.
///
/// # The name
///
/// Without more it is the path of the function, with that of its crate: `thumbs::scale::shrink`. So a function that two programs share, one
/// that submits jobs and one that serves them, stands in a library of both. `name = "…"` gives it another name, which then stays when the
/// function moves: 1 to 200 characters, of letters, digits and punctuation of ASCII, without spaces, `*` and `>`.
///
/// Two functions with one name are an error when a cluster pool or a node starts.
///
/// # What can have a name
///
/// A plain function with one argument (a tuple for more, `_: ()` for none), whose argument and result are
/// [payloads](Payload): no method, not generic, not async, not unsafe. Everything else does not compile, and the message says what to
/// do.
///
/// What the types of the argument and the result look like goes along with each job: where they differ between the program and a node, the node
/// refuses the job, and leaves it to one that was built from the same version.
///
/// # A library that is linked
///
/// A function is in the list if its crate is linked into the program. The compiler leaves out a crate of which nothing is used: a node
/// that only serves the functions of `thumbs` says `use thumbs as _;`.
///
/// The entry is put into the list by a link section, which the lint `unsafe_code` counts as unsafe. The attribute allows it for
/// the entry; a crate that *forbids* the lint cannot use the attribute, one that denies it can. The crate `heavylift` must go by this name.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{run_in_process_pool, run_in_thread_pool};
///
/// #[heavylift::job]
/// fn double(n: u64) -> u64 {
///     n * 2
/// }
///
/// #[heavylift::job(name = "text.count")]
/// fn count((text, word): (String, String)) -> usize {
///     text.split_whitespace().filter(|other| *other == word).count()
/// }
///
/// assert_eq!(double(4), 8);
/// assert_eq!(run_in_process_pool(double, 4).await?, 8);
/// let words = ("to be or not to be".to_owned(), "be".to_owned());
/// assert_eq!(run_in_thread_pool(|| count(words)).await?, 2);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "nats")]
pub use heavylift_macros::job;
pub use map::{FromStream, Map, Ordered, Unordered};
pub use metrics::{Distribution, JobGroup, Metrics, PayloadUse, ProcessorUse};
pub use pool::{Closing, Job, Shutdown, ShutdownReport, Submit};
pub use process::{
    Capabilities, Capability, Output, ProcessPool, ProcessPoolBuilder, run_in_process_pool, worker,
};
#[cfg(feature = "rayon")]
pub use rayon_pool::{RayonPool, RayonPoolBuilder, run_in_rayon};
pub use shared_memory::{Shared, SharedBytes};
pub use stream::{
    AsCompleted, AsCompletedTimeout, Fallible, Gather, Gathered, ReturnWhen, Settled, Unfinished, Wait,
    Waited, as_completed, gather, wait,
};
pub use task::{
    CancelFlag, CancelHandle, Flatten, Priority, Task, TaskId, TaskStatus, checkpoint, is_cancelled,
    with_cancel_flag,
};
pub use thread::{ThreadPool, ThreadPoolBuilder, run_in_thread_pool};
pub use timeline::{JobEnd, RecordedJob, RecordedWorker, Recording, Timeline, WorkerEnd};
#[cfg(feature = "json")]
pub use wire::Json;
pub use wire::Payload;

/// Runs the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Runs the examples of docs/choosing.md.
#[cfg(doctest)]
#[doc = include_str!("../docs/choosing.md")]
struct Choosing;

/// Compiles the examples of docs/cluster/README.md.
#[cfg(all(doctest, feature = "nats"))]
#[doc = include_str!("../docs/cluster/README.md")]
struct ClusterOperations;
