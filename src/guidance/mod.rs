//! Choice guidance: which executor suits which work.
//!
//! The module lies above the pools, and no pool knows it. [`ThreadPool::advice`](crate::ThreadPool::advice) and
//! [`ProcessPool::advice`](crate::ProcessPool::advice) tell from a pool's own metrics what should be changed: see [`PoolAdvice`].

mod live;

pub use live::{PoolAdvice, PoolEvidence, PoolFinding, PoolKind, PoolRule};
