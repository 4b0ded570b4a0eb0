//! The program's side: the only scheduler.
//!
//! Threads of one pool, all started on first use: a *manager*, which starts the zygote and has it fork workers; a *keeper*
//! for each worker, which alone sends to it and hears of its death; a *copier*, which passes standard error on.
//!
//! Locks, in the order in which they may be nested: the pool's schedule, then a worker's link. Neither is held while foreign
//! code runs, while something is awaited, or while a payload of any size is copied.

mod backoff;
mod copier;
mod homes;
mod keeper;
mod link;
mod manager;
mod queue;
mod retry;
mod schedule;
mod seat;
mod shared;
mod waiting;
mod worker;
mod zygote;

pub(super) use super::child::depth;
pub(super) use seat::{Call, ProcessSeat};
pub(super) use shared::Shared;
