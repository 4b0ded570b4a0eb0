//! The program's side: the only scheduler.
//!
//! Threads of one pool, all started on first use: a *manager*, which starts the zygote and has it fork workers; a *keeper*
//! for each worker, which alone sends to it and hears of its death; a *copier*, which hands on what they print.
//!
//! Locks, in the order in which they may be nested: the pool's schedule, then a worker's link. Neither is held while foreign
//! code runs, while something is awaited, or while a payload of any size is copied.

mod arrivals;
mod assigned;
mod backoff;
mod batch;
mod copier;
mod direct;
mod forgotten;
mod homes;
mod keeper;
mod known;
#[cfg(feature = "tracing")]
mod lines;
mod link;
mod manager;
mod queue;
#[cfg(feature = "tracing")]
mod relay;
mod retry;
mod schedule;
mod seat;
mod shared;
mod sink;
mod term;
mod waiting;
mod worker;
mod zygote;

pub(super) use super::child::depth;
pub(super) use batch::{ItemBatch, Items, Then};
pub(super) use seat::{Call, ProcessJob, ProcessSeat};
pub(super) use shared::Shared;

/// Whether an error of a worker's socket says that the other end is gone.
fn is_disconnect(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}
