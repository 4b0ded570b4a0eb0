//! Models of the concurrent protocols, checked by loom on every `cargo test`.
//!
//! Each module includes the protocol's own source files. They import their primitives from `crate::sync`,
//! which here is made of loom's.
#![allow(clippy::unwrap_used, reason = "everything here is a test, its helpers included")]
#![allow(dead_code, reason = "the models use a part of what the included files offer")]

mod ring;
mod sync;

/// Runs `body` under every schedule with at most two preemptions, which takes seconds for a whole file of
/// models.
///
/// `LOOM_MAX_PREEMPTIONS=3` looks deeper and takes minutes: for whoever changes a protocol.
fn check(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(body);
}
