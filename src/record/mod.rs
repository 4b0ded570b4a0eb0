//! What the workers of a pool do, job by job, recorded while somebody looks.
//!
//! ```text
//!  worker ──ran──┐                       ┌─ Shelf (one per shard, a lock of its own) ─┐   full block
//!  keeper ──ran──┼─▶ Recorders ──looks?──┤   Block of recorder 1 │ Block of 2 │ …      ├──────────────▶ Recorder 1, 2, …
//!  canceller ────┘   (in Counters)       └────────────────────────────────────────────┘                  │ the last blocks
//!                                                                                                         ▼
//!                        attach ──▶ Attached (one per recorder; detaches on drop) ──────────────────▶ take, copy
//! ```
//!
//! 1. While nobody looks it costs two relaxed loads and branches for each job, when it is submitted and when it has run, or for each
//!    part of a chunk whose time is measured; two plain stores to the [`Spot`] of a worker thread; and three words of memory for each
//!    pool.
//! 2. While somebody looks a job is one [`JobRecord`], made by the thread that ends it and put into that thread's [`Shards`] shard, under a
//!    lock that others want only when they attach, detach or read. A lock that all workers want is taken once for each full block.
//! 3. What was recorded is seen by whoever has seen the task finished: a job is recorded before its outcome can be seen, and a record
//!    that has been made lies on a shelf or with its recorder. (Exceptions by nature: a job that goes on although its task has
//!    finished is recorded once more when it ends. And items that run some together are recorded when their part of a chunk ends,
//!    before which some can be seen; what fails of them is recorded before that.)
//! 4. A recorder holds no more than its limit: blocks on shelves count as full. What it drops is the oldest, and it counts it.
//! 5. Any number of recorders, attached and detached at any time. Each has what was recorded while it was attached; whoever records at
//!    that very moment may miss it or not. The level says only whether it is worthwhile to look at the shelves, under whose locks it
//!    is decided.
//! 6. In a copy of the program, made by `fork`, nothing is recorded of the pools that it has inherited, and none of their locks is
//!    taken: whoever attaches has forks watched.
//! 7. Locks: `members`, then a shelf, then a recorder's; a shelf may be taken under any lock of a pool's or a chunk's. No foreign code
//!    runs under them: texts are made before and dropped after.
//!
//! [`Lane`] is the other half: what each worker does at this moment, read from the pool's own state by who wants to know.
//!
//! [`Shards`]: crate::shards::Shards

mod event;
mod lane;
mod recorder;
mod recorders;
#[cfg(test)]
mod tests;

pub(crate) use event::{Change, Ending, Failure, JobRecord, Queued, Run, Stage, UNKNOWN, WorkerRecord};
pub(crate) use lane::{Lane, LaneState, Running, Spot};
pub(crate) use recorder::{Attached, Place, Recorded, Scope, Taken};
pub(crate) use recorders::Recorders;
#[cfg(target_os = "linux")]
pub(crate) use recorders::note_copy;
