//! Shared memory that outlives whoever dies.
