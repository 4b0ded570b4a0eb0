//! The same functions on other machines, through [NATS](https://nats.io) with JetStream. Needs the feature `nats`.

mod access;
mod builder;
mod client;
mod content;
mod delivery;
mod engine;
mod error;
mod failure;
mod map;
mod message;
mod names;
mod node;
mod perform;
mod pool;
mod registry;
mod schema;
mod seat;
#[cfg(test)]
#[path = "../../tests/cluster/server.rs"]
mod server;
mod shared;
mod thread;
mod topology;

pub use access::{Credentials, Tls};
pub use builder::ClusterPoolBuilder;
pub use delivery::Delivery;
pub use error::{ClusterError, ClusterErrorKind};
pub use node::{Node, NodeBuilder, NodeMetrics, NodeReport};
pub use pool::ClusterPool;

/// What `#[heavylift::job]` writes names these.
#[doc(hidden)]
pub mod __private {
    pub use linkme;

    pub use super::registry::{JOBS, Registered};
}
pub use topology::{Topology, TopologyReport, ensure_topology};
