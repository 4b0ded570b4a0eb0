//! The cluster, with servers of its own: see `server`.

mod server;
mod topology;
