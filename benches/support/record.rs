//! A payload of strings.

use serde::{Deserialize, Serialize};

/// 200 bytes in five strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    name: String,
    street: String,
    city: String,
    country: String,
    note: String,
}

impl Record {
    pub(crate) fn new() -> Self {
        let text = || "x".repeat(40);
        Self { name: text(), street: text(), city: text(), country: text(), note: text() }
    }
}
