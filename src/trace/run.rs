//! The span in which a job runs in a worker process, where a subscriber is interested.

use tracing::Span;

use super::span::is_off;
use crate::panic::{drop_shielded, shield};

/// Runs a job, which does not unwind, inside a span of this worker.
pub(crate) fn run_inside<R>(worker: &str, task: u64, job: impl FnOnce() -> R) -> R {
    if is_off() {
        return job();
    }
    let mut span = Span::none();
    shield(|| span = new_span(worker, task));
    let mut entered = None;
    shield(|| entered = Some(span.enter()));
    let result = job();
    drop_shielded(entered);
    drop_shielded(span);
    result
}

fn new_span(worker: &str, task: u64) -> Span {
    let task = i64::try_from(task).unwrap_or(i64::MAX);
    let span = tracing::info_span!(target: "heavylift", "heavylift.run", worker, task);
    #[cfg(feature = "opentelemetry")]
    if let Some(parent) = super::context::remote_parent() {
        use tracing_opentelemetry::OpenTelemetrySpanExt;
        // An error means that nobody exports.
        let _ = span.set_parent(parent);
    }
    span
}
