//! The same functions on other machines, through [NATS](https://nats.io) with JetStream. Needs the feature `nats`.

mod access;
mod content;
mod engine;
mod error;
mod message;
mod names;
mod perform;
mod registry;
mod schema;
mod thread;
mod topology;

pub use access::{Credentials, Tls};
pub use error::{ClusterError, ClusterErrorKind};

/// What `#[heavylift::job]` writes names these.
#[doc(hidden)]
pub mod __private {
    pub use linkme;

    pub use super::registry::{JOBS, Registered};
}
