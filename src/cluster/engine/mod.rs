//! [`Engine`]: what the cluster needs of a message system, on NATS with JetStream. The only place that names async-nats.
//!
//! Every call has a time limit ([`TIME_LIMIT`]) and is one try: whoever calls decides whether to try again.
//!
//! | file | of it |
//! |---|---|
//! | `connection` | made, kept, closed |
//! | `watch` | what the connection tells of itself, complaints of permissions among it |
//! | `request` | messages with an answer, without one, into a stream; subscriptions |
//! | `client`, `results` | jobs into the queue, what becomes of them |
//! | `node`, `pull`, `acker` | jobs out of the queue, their leases, their answers |
//! | `janitor` | what the servers gave up, what they left behind |
//! | `objects` | payloads that are too large for a message |
//! | `admin` | streams and consumers |
//! | `errors` | what all of them say when they fail |

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

mod acker;
mod admin;
mod client;
mod connection;
mod errors;
mod janitor;
mod node;
mod objects;
mod pull;
mod request;
mod results;
mod watch;

#[cfg(test)]
mod tests;

pub(super) use janitor::GivenUp;
pub(super) use node::{Call, Calls};
pub(super) use pull::Delivery;
pub(super) use results::Results;

/// How long one request may take.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(2);

/// A connection. Cheap to clone. Used from the thread of its pool or node only.
#[derive(Clone)]
pub(super) struct Engine {
    shared: Arc<connection::Shared>,
}

/// Why a call has failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum EngineError {
    /// The connection is lost, the server starts, a leader is being elected, no answer came in time: try again.
    Lost(String),
    /// The queue holds as many messages, or bytes, as it may.
    Full(String),
    /// The message is larger than the server takes.
    TooLarge { size: u64, limit: u64 },
    /// The server does not permit it: the text names the subject.
    Denied(String),
    /// Anything else that will not change by trying again.
    Failed(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) | Self::Full(why) | Self::Denied(why) | Self::Failed(why) => f.write_str(why),
            Self::TooLarge { size, limit } => write!(f, "{size} bytes, where the server takes {limit}"),
        }
    }
}

/// What became of a message for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    Stored,
    /// One with the same id is there already: this one, sent before, or another.
    Copy,
    /// Something else was published under its subject meanwhile.
    Overtaken,
}

/// Something that is over when its sender, a background task of the engine's or the connection, ends.
pub(super) type Notes = tokio::sync::mpsc::UnboundedReceiver<Note>;

/// A small message without a reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    /// The last token of its subject.
    pub(super) about: String,
    pub(super) body: Bytes,
}
