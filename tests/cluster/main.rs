//! The cluster, with servers of its own: see `server`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod certificates;
mod faults;
mod hosts;
#[path = "../../examples/cluster/jobs.rs"]
mod jobs;
mod named;
mod network;
mod node;
mod permissions;
mod pool;
mod server;
mod topology;
