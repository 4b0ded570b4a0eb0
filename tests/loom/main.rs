//! Models of the concurrent protocols, checked by loom on every `cargo test`.
//!
//! Each module includes the protocol's own source files. They import their primitives from `crate::sync`, which
//! here is made of loom's. To see more of a failure: `LOOM_LOG=trace LOOM_LOCATION=1`.
#![allow(dead_code, reason = "the models use a part of what the included files offer")]
#![allow(clippy::unwrap_used, reason = "a model that cannot go on fails")]

mod assigned;
mod counted;
mod panic;
mod pool;
#[path = "../../src/prefetch.rs"]
mod prefetch;
mod progress;
mod ring;
mod sync;
mod task;
mod woken;

/// Runs `body` under every schedule with at most two preemptions: enough for all that was ever found here, and
/// quick enough to be run always.
///
/// `LOOM_MAX_PREEMPTIONS=3` looks deeper and takes minutes: for whoever changes a protocol.
fn check(body: impl Fn() + Sync + Send + 'static) {
    check_with(2, body);
}

/// As [`check`], with another number of preemptions.
fn check_with(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(body);
}
