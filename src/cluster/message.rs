//! What travels between a client and a node, apart from the engine that carries it: [`Request`], [`Reply`].
//!
//! Pure: to and from pairs of header and value, and a body. The body is the encoded argument or result; of a failure and of a
//! refusal, which hold foreign text, it is JSON. Everything else is a header, as text: times in milliseconds since 1970, durations in nanoseconds,
//! the fingerprint in hexadecimal.
//!
//! 1. Unknown headers, and unknown fields of the JSON, are ignored, so that versions can be mixed; [`VERSION`] changes when that is not
//!    enough, and a message of another one is refused.
//! 2. What comes is not trusted: whatever it is, it is a message or an error that names the header.

use std::{
    borrow::Cow,
    fmt::Display,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::text::beginning;

/// The version of the protocol. What stands behind a point in the header, as in `1.2`, does not matter.
pub(super) const VERSION: u32 = 1;

/// What headers are called.
mod header {
    pub(super) const VERSION: &str = "Hl-Version";
    pub(super) const ID: &str = "Hl-Id";
    pub(super) const RESUBMISSION: &str = "Hl-Resubmission";
    pub(super) const CLIENT: &str = "Hl-Client";
    pub(super) const JOB: &str = "Hl-Job";
    pub(super) const FINGERPRINT: &str = "Hl-Fingerprint";
    pub(super) const QUEUE: &str = "Hl-Queue";
    pub(super) const DEADLINE: &str = "Hl-Deadline-Ms";
    pub(super) const QUEUE_DEADLINE: &str = "Hl-Queue-Deadline-Ms";
    pub(super) const RUN_TIMEOUT: &str = "Hl-Run-Timeout-Ns";
    pub(super) const RETRIES: &str = "Hl-Retries";
    pub(super) const TRACEPARENT: &str = "Hl-Traceparent";
    /// The name of the object that the body lies in, and its length.
    pub(super) const OBJECT: &str = "Hl-Object";
    pub(super) const OBJECT_LEN: &str = "Hl-Object-Len";
    pub(super) const NODE: &str = "Hl-Node";
    pub(super) const ATTEMPT: &str = "Hl-Attempt";
    pub(super) const RAN: &str = "Hl-Ran-Ns";
    /// What the body is: one of the following.
    pub(super) const ANSWER: &str = "Hl-Answer";
    pub(super) const VALUE: &str = "value";
    pub(super) const FAILED: &str = "failed";
    pub(super) const REFUSED: &str = "refused";
}

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
    /// This node cannot run it; others may. `count` deliveries were no runs by now, `has` is what the last node has instead; nothing, if it
    /// would have run it but had no room, or was ending: that is no refusal to a client.
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
    /// Of a call without a queue: the node had no slot for it.
    Overloaded {
        queue: String,
        why: String,
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

    fn new() -> Self {
        let mut envelope = Self::default();
        envelope.put(header::VERSION, VERSION);
        envelope
    }

    /// Adds a header. What would end its line is replaced.
    fn put(&mut self, name: &'static str, value: impl Display) {
        let mut value = value.to_string();
        if value.contains(char::is_control) {
            value = value.replace(char::is_control, " ");
        }
        self.headers.push((Cow::Borrowed(name), value));
    }

    fn put_some(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn put_content(&mut self, content: &Content) {
        match content {
            Content::Here(bytes) => self.body = bytes.clone(),
            Content::Stored { object, len } => {
                self.put(header::OBJECT, object);
                self.put(header::OBJECT_LEN, len);
            }
        }
    }

    fn put_json(&mut self, value: &impl Serialize) {
        let json = serde_json::to_vec(value).expect("texts and numbers are JSON");
        self.body = json.into();
    }

    fn check_version(&self) -> Result<(), String> {
        let version = self.text(header::VERSION)?;
        let major = version.split_once('.').map_or(version, |(major, _)| major);
        match major.parse::<u32>() {
            Ok(VERSION) => Ok(()),
            Ok(other) => Err(format!(
                "the message is of version {other} of the protocol, and this program speaks version {VERSION}: \
                 programs and nodes need versions of heavylift that understand each other"
            )),
            Err(_) => Err(wrong(header::VERSION, version)),
        }
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        self.header(name).ok_or_else(|| format!("the header `{name}` is missing"))
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<N, String> {
        let text = self.text(name)?;
        text.parse().map_err(|_| wrong(name, text))
    }

    /// A number that need not be there, and what is made of it.
    fn some<N: FromStr, T>(
        &self,
        name: &str,
        make: impl FnOnce(N) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(text) = self.header(name) else { return Ok(None) };
        text.parse().ok().and_then(make).ok_or_else(|| wrong(name, text)).map(Some)
    }

    fn time(&self, name: &str) -> Result<Option<SystemTime>, String> {
        self.some(name, |ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
    }

    fn content(&self) -> Result<Content, String> {
        let Some(object) = self.header(header::OBJECT) else {
            return Ok(Content::Here(self.body.clone()));
        };
        Ok(Content::Stored { object: object.to_owned(), len: self.number(header::OBJECT_LEN)? })
    }
}

fn wrong(name: &str, value: &str) -> String {
    format!("the header `{name}` is `{}`", beginning(value, 100).escape_debug())
}

fn unix_ms(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// More than fits are some five hundred years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Request {
    /// What the server drops copies by.
    pub(super) fn message_id(&self) -> String {
        format!("{}.{}", self.id, self.resubmission)
    }

    pub(super) fn to_envelope(&self) -> Envelope {
        let mut envelope = Envelope::new();
        envelope.put(header::ID, &self.id);
        envelope.put(header::RESUBMISSION, self.resubmission);
        envelope.put(header::CLIENT, &self.client);
        envelope.put(header::JOB, &self.job);
        envelope.put(header::FINGERPRINT, format_args!("{:016x}", self.fingerprint));
        envelope.put(header::QUEUE, &self.queue);
        envelope.put_some(header::DEADLINE, self.deadline.map(unix_ms));
        envelope.put_some(header::QUEUE_DEADLINE, self.queue_deadline.map(unix_ms));
        envelope.put_some(header::RUN_TIMEOUT, self.run_timeout.map(nanos));
        envelope.put(header::RETRIES, self.retries);
        envelope.put_some(header::TRACEPARENT, self.traceparent.as_ref());
        envelope.put_content(&self.argument);
        envelope
    }

    /// # Errors
    ///
    /// What is missing or cannot be read, by the name of its header.
    pub(super) fn from_envelope(envelope: &Envelope) -> Result<Self, String> {
        envelope.check_version()?;
        let fingerprint = envelope.text(header::FINGERPRINT)?;
        Ok(Self {
            id: envelope.text(header::ID)?.to_owned(),
            resubmission: envelope.number(header::RESUBMISSION)?,
            client: envelope.text(header::CLIENT)?.to_owned(),
            job: envelope.text(header::JOB)?.to_owned(),
            fingerprint: u64::from_str_radix(fingerprint, 16)
                .map_err(|_| wrong(header::FINGERPRINT, fingerprint))?,
            queue: envelope.text(header::QUEUE)?.to_owned(),
            deadline: envelope.time(header::DEADLINE)?,
            queue_deadline: envelope.time(header::QUEUE_DEADLINE)?,
            run_timeout: envelope.some(header::RUN_TIMEOUT, |ns| Some(Duration::from_nanos(ns)))?,
            retries: envelope.number(header::RETRIES)?,
            traceparent: envelope.header(header::TRACEPARENT).map(str::to_owned),
            argument: envelope.content()?,
        })
    }
}

impl Request {
    /// What can be read of a request that [cannot be](Self::from_envelope): enough to tell its client, not to run it. Of another version,
    /// say, whose beginnings are the same. `None` without a client and an id.
    pub(super) fn remains(envelope: &Envelope) -> Option<Self> {
        let token = |name| envelope.header(name).filter(|text| is_token(text)).map(str::to_owned);
        Some(Self {
            id: token(header::ID)?,
            resubmission: envelope.number(header::RESUBMISSION).unwrap_or(0),
            client: token(header::CLIENT)?,
            job: envelope.header(header::JOB).unwrap_or_default().to_owned(),
            fingerprint: 0,
            queue: token(header::QUEUE).unwrap_or_else(|| "unknown".to_owned()),
            deadline: envelope.time(header::DEADLINE).unwrap_or(None),
            queue_deadline: None,
            run_timeout: None,
            // Who cannot read it does not judge how often it may run.
            retries: u32::MAX,
            traceparent: None,
            argument: Content::Here(Bytes::new()),
        })
    }
}

/// Whether it can be a part of a subject.
fn is_token(text: &str) -> bool {
    let fits = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '.' | '*' | '>');
    !text.is_empty() && text.chars().all(fits)
}

/// What a refusal is as JSON.
#[derive(Serialize, Deserialize)]
struct Refusal {
    count: u32,
    has: String,
}

impl Reply {
    pub(super) fn to_envelope(&self) -> Envelope {
        let mut envelope = Envelope::new();
        envelope.put(header::ID, &self.id);
        envelope.put(header::NODE, &self.node);
        envelope.put(header::ATTEMPT, self.attempt);
        envelope.put(header::RAN, nanos(self.ran));
        match &self.answer {
            Answer::Value(content) => {
                envelope.put(header::ANSWER, header::VALUE);
                envelope.put_content(content);
            }
            Answer::Failed(failure) => {
                envelope.put(header::ANSWER, header::FAILED);
                envelope.put_json(failure);
            }
            Answer::Refused { count, has } => {
                envelope.put(header::ANSWER, header::REFUSED);
                envelope.put_json(&Refusal { count: *count, has: has.clone() });
            }
        }
        envelope
    }

    /// # Errors
    ///
    /// What is missing or cannot be read, by the name of its header.
    pub(super) fn from_envelope(envelope: &Envelope) -> Result<Self, String> {
        envelope.check_version()?;
        let answer = match envelope.text(header::ANSWER)? {
            header::VALUE => Answer::Value(envelope.content()?),
            header::FAILED => Answer::Failed(Failure::from_json(&envelope.body)),
            header::REFUSED => {
                let refusal: Refusal = serde_json::from_slice(&envelope.body)
                    .map_err(|why| format!("the body of a refusal cannot be read: {why}"))?;
                Answer::Refused { count: refusal.count, has: refusal.has }
            }
            other => return Err(wrong(header::ANSWER, other)),
        };
        Ok(Self {
            id: envelope.text(header::ID)?.to_owned(),
            node: envelope.text(header::NODE)?.to_owned(),
            attempt: envelope.number(header::ATTEMPT)?,
            ran: Duration::from_nanos(envelope.number(header::RAN)?),
            answer,
        })
    }
}

impl Failure {
    /// A failure that this version does not know is still one: the job has ended.
    fn from_json(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_else(|_| Self::Unavailable {
            why: format!(
                "the node tells of a failure that this version of heavylift does not know: {}",
                beginning(&String::from_utf8_lossy(json), 1_000)
            ),
        })
    }
}

#[cfg(test)]
mod tests;
