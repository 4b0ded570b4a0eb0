//! The cluster, with servers of its own: see `server`.

#[path = "../../examples/cluster/jobs.rs"]
mod jobs;
mod named;
mod node;
mod pool;
mod server;
mod topology;
