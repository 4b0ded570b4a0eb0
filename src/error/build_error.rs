//! [`BuildError`]: why a pool cannot be built or resized.

use std::{error::Error, fmt};

/// A pool cannot be built, resized or installed as asked.
///
/// The message names the field or the environment variable, the value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    field: &'static str,
    reason: String,
}

impl BuildError {
    pub(crate) fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }

    /// The builder's field, or the environment variable, that is wrong.
    pub fn field(&self) -> &str {
        self.field
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl Error for BuildError {}
