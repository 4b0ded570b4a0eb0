//! Payloads as bytes for another machine: what [`crate::wire`] makes, with the shared memory that it names copied behind it.

use bytes::Bytes;

use crate::Payload;

/// Encodes a value. Shielded: a panic of foreign serde code is an error.
///
/// # Errors
///
/// Why it cannot be encoded.
pub(super) fn pack<T: Payload>(_value: T) -> Result<Bytes, String> {
    todo!()
}

/// Decodes a value. Shielded.
///
/// # Errors
///
/// Why it cannot be decoded.
pub(super) fn unpack<T: Payload>(_bytes: Bytes) -> Result<T, String> {
    todo!()
}
