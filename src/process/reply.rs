//! [`Reply`]: what a worker says of a job, and how that travels.

use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
use super::ring::Copied;
#[cfg(target_os = "linux")]
use crate::wire::Short;
use crate::{
    TaskError,
    error::{Operand, PanicReport, TaskLabel},
    text::beginning,
    wire::{Body, Encoded},
};

/// What became of a job in a worker.
#[derive(Debug)]
pub(super) enum Reply {
    Value(Encoded),
    Panicked(PanicText),
    ArgumentNotDecodable(String),
    ResultNotEncodable(String),
    ResultTooLarge(u64),
}

/// A panic as it crosses into the parent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct PanicText {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
}

/// The longest text of an error, in bytes.
const LONGEST_TEXT: usize = 64 * 1024;

/// Tells the replies apart in the ring.
pub(super) const VALUE: u8 = 1;
const PANICKED: u8 = 2;
pub(super) const ARGUMENT: u8 = 3;
const RESULT: u8 = 4;
const TOO_LARGE: u8 = 5;
/// A value that names shared memory: its bytes end with the names (`names.rs`).
pub(super) const VALUE_WITH_NAMES: u8 = 6;

impl Reply {
    pub(super) fn panicked(report: PanicReport) -> Self {
        let PanicReport { message, location, backtrace, payload } = report;
        payload.into_iter().for_each(crate::panic::drop_shielded);
        Self::Panicked(PanicText {
            message: shortened(message),
            location,
            backtrace: backtrace.map(shortened),
        })
    }

    /// Replaces a value over the limit.
    pub(super) fn within(self, max_payload: u64) -> Self {
        match self {
            Self::Value(value) if value.len() as u64 > max_payload => {
                Self::ResultTooLarge(value.len() as u64)
            }
            other => other,
        }
    }

    /// The kind and the bytes that travel.
    pub(super) fn into_wire(self) -> (u8, WireBytes) {
        let text = |text: String| WireBytes::Text(shortened(text).into_bytes());
        match self {
            Self::Value(value) if value.pieces().is_empty() => (VALUE, WireBytes::Value(value)),
            Self::Value(value) => (VALUE_WITH_NAMES, WireBytes::Value(value)),
            Self::Panicked(panic) => {
                (PANICKED, WireBytes::Text(postcard::to_stdvec(&panic).unwrap_or_default()))
            }
            Self::ArgumentNotDecodable(why) => (ARGUMENT, text(why)),
            Self::ResultNotEncodable(why) => (RESULT, text(why)),
            Self::ResultTooLarge(size) => (TOO_LARGE, WireBytes::Text(size.to_le_bytes().to_vec())),
        }
    }

    /// Reads what travelled: the bytes of the value, or the error. Nothing of it is trusted.
    ///
    /// # Errors
    ///
    /// `Err(Err(..))` when no worker of ours would have written it.
    pub(super) fn from_wire(
        kind: u8,
        body: Body,
        label: &TaskLabel,
        max_payload: u64,
    ) -> Result<Body, Result<TaskError, &'static str>> {
        if matches!(kind, VALUE | VALUE_WITH_NAMES) {
            return Ok(body);
        }
        let label = label.clone();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let bytes = body.into_vec();
        let error = match kind {
            PANICKED => {
                TaskError::panicked(label, PanicText::from_wire(&bytes).ok_or(Err("an unreadable panic"))?)
            }
            ARGUMENT => TaskError::decode(label, Operand::Argument, text(bytes)),
            RESULT => TaskError::encode(label, Operand::Result, text(bytes)),
            TOO_LARGE => {
                let size = bytes.try_into().map(u64::from_le_bytes).map_err(|_| Err("an unreadable size"))?;
                TaskError::too_large(label, Operand::Result, size, max_payload)
            }
            _ => return Err(Err("a reply of an unknown kind")),
        };
        Err(Ok(error))
    }
}

/// Cuts a message to a length at which it is still worth reading.
fn shortened(mut text: String) -> String {
    text.truncate(beginning(&text, LONGEST_TEXT).len());
    text
}

#[cfg(target_os = "linux")]
impl From<Copied> for Body {
    fn from(copied: Copied) -> Self {
        match copied {
            Copied::Many(bytes) => bytes.into(),
            few => Short::new(few.as_bytes()).expect("as few fit there").into(),
        }
    }
}

/// The bytes of a reply.
pub(super) enum WireBytes {
    Value(Encoded),
    Text(Vec<u8>),
}

impl WireBytes {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Value(value) => value.as_bytes(),
            Self::Text(text) => text,
        }
    }
}

impl PanicText {
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn from_wire(bytes: &[u8]) -> Option<PanicReport> {
        let Self { message, location, backtrace } = postcard::from_bytes(bytes).ok()?;
        Some(PanicReport { message, location, backtrace, payload: None })
    }
}
