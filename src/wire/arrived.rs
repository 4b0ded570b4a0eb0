//! [`Arrived`]: a payload as it came from the other process.

use crate::shared_memory::SharedBytes;

/// The bytes of a payload, not trusted, and the shared memory that they may name.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) bytes: Vec<u8>,
    pub(crate) pieces: Vec<SharedBytes>,
}

impl From<Vec<u8>> for Arrived {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pieces: Vec::new() }
    }
}
