//! The cluster, with servers of its own: see `server`.

mod certificates;
#[path = "../../examples/cluster/jobs.rs"]
mod jobs;
mod named;
mod node;
mod permissions;
mod pool;
mod server;
mod topology;
