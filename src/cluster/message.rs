//! What travels between a client and a node, apart from the engine that carries it: [`Request`], [`Reply`].
//!
//! Pure: to and from pairs of header and value, and a body. Names of headers begin with `Hl-`. Unknown headers are ignored, so that versions
//! can be mixed; [`VERSION`] changes when that is not enough.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub(super) const VERSION: u32 = 1;

/// A job, on its way to a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// `{client}-{number}`: unique among all jobs of all clients.
    pub(super) id: String,
    /// How often the id was withdrawn and used again.
    pub(super) resubmission: u32,
    /// Whose results these are.
    pub(super) client: String,
    /// The registered name of the function.
    pub(super) job: String,
    /// What its types look like where it was submitted.
    pub(super) fingerprint: u64,
    pub(super) queue: String,
    /// Nobody wants the result after that.
    pub(super) deadline: Option<SystemTime>,
    /// It must have begun by then.
    pub(super) queue_deadline: Option<SystemTime>,
    pub(super) run_timeout: Option<Duration>,
    /// How often it may be run again after a worker, or a node, has died under it.
    pub(super) retries: u32,
    /// The trace context, as W3C writes it.
    pub(super) traceparent: Option<String>,
    pub(super) argument: Content,
}

/// Bytes, or where they are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Here(Bytes),
    /// An object in the bucket for payloads.
    Stored {
        object: String,
        len: u64,
    },
}

/// What a node says of a job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// Of the request.
    pub(super) id: String,
    /// Which node it was.
    pub(super) node: String,
    /// Which run it was, from 1.
    pub(super) attempt: u32,
    /// How long it ran there, the last time.
    pub(super) ran: Duration,
    pub(super) answer: Answer,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// The encoded result.
    Value(Content),
    Failed(Failure),
    /// This node cannot run it; others may. `count` nodes have said so by now, `has` is what the last one has instead.
    Refused {
        count: u32,
        has: String,
    },
}

/// Why a job has no result. Travels as JSON, so that versions can be mixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    Panicked {
        message: String,
        location: Option<String>,
        backtrace: Option<String>,
    },
    /// The worker's end in words comes from these: see `WorkerExit`.
    WorkerDied {
        pid: u32,
        code: Option<i32>,
        signal: Option<i32>,
        stderr_tail: String,
        note: Option<String>,
    },
    /// `limit` is the name of the setting.
    TimedOut {
        limit: String,
        after_ms: u64,
    },
    Cancelled,
    ArgumentNotDecodable {
        why: String,
    },
    ResultNotEncodable {
        why: String,
    },
    ResultTooLarge {
        size: u64,
        limit: u64,
    },
    Unavailable {
        why: String,
    },
}

/// A message without its subject.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Envelope {
    pub(super) headers: Vec<(Cow<'static, str>, String)>,
    pub(super) body: Bytes,
}

impl Envelope {
    /// The value of a header, if it is there.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Request {
    /// What the server drops copies by.
    pub(super) fn message_id(&self) -> String {
        format!("{}.{}", self.id, self.resubmission)
    }

    pub(super) fn to_envelope(&self) -> Envelope {
        todo!()
    }

    /// # Errors
    ///
    /// What is missing or cannot be read, by the name of its header.
    pub(super) fn from_envelope(_envelope: &Envelope) -> Result<Self, String> {
        todo!()
    }
}

impl Reply {
    pub(super) fn to_envelope(&self) -> Envelope {
        todo!()
    }

    /// # Errors
    ///
    /// What is missing or cannot be read, by the name of its header.
    pub(super) fn from_envelope(_envelope: &Envelope) -> Result<Self, String> {
        todo!()
    }
}
