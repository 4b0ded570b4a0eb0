//! Documentation, without items: jobs as spans of [`tracing`](https://docs.rs/tracing), and what workers say as events. Needs the feature
//! `tracing`.
//!
//! # A span for each job
//!
//! Each job of each pool has a span `heavylift.job`, target `heavylift`, level `INFO`. It is a child of the span that is current where
//! the task is made: where `run` is called, where the future of `submit` resolves, where a `map` is polled. So what is started inside
//! a job is below that job. On threads, those of [`RayonPool`](crate::RayonPool) included, and with [`Inline`](struct@crate::Inline)
//! the job runs inside its span; the code of a job in a process runs elsewhere: see below.
//!
//! | field | |
//! |---|---|
//! | `pool`, `kind` | the pool's name; `thread`, `process`, `rayon`, `cluster` or `inline` |
//! | `name`, `task` | name and id of the task; of a chunk, those of its first item |
//! | `items` | how many items of a map travel together; absent for any other job |
//! | `worker`, `pid` | number of the worker that began it last; on a process pool also its pid |
//! | `queue_wait_ns` | nanoseconds from the submission to its beginning |
//! | `run_time_ns` | nanoseconds that it ran, the last time; until it was ended, if it goes on after that |
//! | `tries` | how often it began, if more than once |
//! | `outcome` | `succeeded`, or the [kind](crate::TaskErrorKind) of the error: `cancelled`, `timed_out`, `panicked`, `worker_died`, `overloaded`, `closed`, `encode`, `decode`, `too_large`, `unavailable` |
//! | `error` | the error in words, if there is one |
//!
//! From `worker` on they are recorded when the task finishes: once, before anybody can see its outcome, whatever ends it, also if it
//! never began. Then the span closes, before the task resolves; but a thread that runs a job which was cancelled or timed out keeps
//! it open until the job returns, and lines and events that are still on their way from a worker process keep it open until they have
//! come. A refused job that is [handed back](crate::Refused) was no task, and has no span; a task that a full or closed pool
//! finishes at once has one.
//!
//! With the feature `opentelemetry` there are also `otel.name`, the task's name, and for failures `otel.status_code` and
//! `otel.status_description`, which [tracing-opentelemetry](https://docs.rs/tracing-opentelemetry) makes name and status of the exported
//! span.
//!
//! # Items of a map
//!
//! An item that travels alone is a job, with a span. Items that travel together have one span, with their number: they may take 20 ns
//! each, of which a span would be a multiple. Its outcome is that of the first item that fails, else `succeeded`. When others take a
//! part of a chunk, or a worker dies under it and what has not begun goes on elsewhere, it stays the same span.
//!
//! # What it costs
//!
//! Without the feature: nothing. With it, and nobody interested (no subscriber, or one whose filter turns off `INFO` or the target
//! `heavylift`): one look at the level, or at what the callsite remembers, for each job or chunk. Otherwise what the subscriber takes
//! for a span: some 0.4 µs with nothing but a registry, where that was measured. The filter `heavylift=warn` turns the spans off and leaves all else.
//!
//! The subscriber is foreign code: it is called under no lock, and its panics end here. One that blocks holds up who submits a job, and
//! who ends it.
//!
//! # What workers say
//!
//! With [`Output::Tracing`](crate::Output::Tracing) the events of jobs in worker processes, and what these print, become events in the
//! program, below the span of the job that ran, with worker and task.
//!
//! # In worker processes
//!
//! A worker whose `initializer` sets a subscriber of its own keeps what is said there; each job, or chunk, then runs inside a span
//! `heavylift.run`, target `heavylift`, level `INFO`, with the fields `worker` (`{pool}-{number}`) and `task`.
//!
//! With the feature `opentelemetry` the [trace context](https://www.w3.org/TR/trace-context/) of the job's span crosses with the call,
//! if a layer of tracing-opentelemetry has given it one. In the worker it is the remote parent of `heavylift.run`, where a layer is
//! there, too: so the exported spans of both processes are one tree. Who has no subscriber there, but calls others, passes on
//! [`worker::traceparent`](crate::worker::traceparent). A call without a context carries nothing more than without the feature.
//!
//! A worker may be killed at any time, and its exit flushes nothing: let it export each span as it ends, or flush in the job.

#[cfg_attr(not(feature = "opentelemetry"), path = "no_context.rs")]
mod context;
#[cfg(all(feature = "tracing", target_os = "linux"))]
mod run;
#[cfg_attr(not(feature = "tracing"), path = "nothing.rs")]
mod span;

pub(crate) use context::Note;
#[cfg(feature = "nats")]
pub(crate) use context::below;
#[cfg(all(feature = "opentelemetry", target_os = "linux"))]
pub(crate) use context::set_current;
#[cfg(feature = "opentelemetry")]
pub(crate) use context::{traceparent, tracestate};
#[cfg(all(feature = "tracing", target_os = "linux"))]
pub(crate) use run::run_inside;
pub(crate) use span::{JobSpan, SpanSlot};
