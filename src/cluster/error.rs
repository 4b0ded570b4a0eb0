//! [`ClusterError`]: why a cluster cannot be reached, or is not as it must be.

use std::{error::Error, fmt};

/// A cluster cannot be used as asked.
///
/// The message names the server, the setting or the subject, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterError {
    kind: ClusterErrorKind,
    message: String,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterErrorKind {
    /// A setting of the builder is wrong.
    Setting,
    /// No server answers in time.
    Unreachable,
    /// A certificate is wrong, or one side does not speak TLS.
    Tls,
    /// The server knows no such user, or does not permit what is needed.
    Denied,
    /// Streams or consumers are missing, or are not as they must be: see [`ensure_topology`](super::ensure_topology).
    Topology,
    /// Two functions have one name.
    Registration,
    /// Anything else.
    Other,
}

impl ClusterError {
    pub(super) fn new(kind: ClusterErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What is wrong.
    pub fn kind(&self) -> ClusterErrorKind {
        self.kind
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ClusterError {}
