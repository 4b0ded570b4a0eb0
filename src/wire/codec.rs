//! The way in and out: [`encode`] and [`decode`].
//!
//! They call the `Serialize` and `Deserialize` of the payload, which may panic: catching that is the caller's.

use super::{CodecError, Encoded, Payload, decoder::Decoder, encoder::Encoder, whole};
use crate::panic::drop_shielded;

/// Turns a value into bytes. A bulk buffer is taken over without a copy.
pub(crate) fn encode<T: Payload>(value: T) -> Result<Encoded, CodecError> {
    match whole::take_over(value) {
        Ok(encoded) => Ok(encoded),
        Err(value) => {
            let encoded = serialize(&value);
            // What its `Drop` does is no concern of the bytes.
            drop_shielded(value);
            encoded
        }
    }
}

/// Turns bytes, which are not trusted, into a value. A `Vec<u8>`, a `Box<[u8]>`, a `String` or a `Bytes` takes the buffer over
/// without a copy.
///
/// Memory use is bounded by the number of bytes, times a factor that `T` fixes.
pub(crate) fn decode<T: Payload>(mut bytes: Vec<u8>) -> Result<T, CodecError> {
    let value = match whole::read(&mut bytes) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Decoder::run(&bytes),
        Err(error) => Err(error),
    };
    value.map_err(CodecError::in_payload::<T>)
}

fn serialize<T: Payload>(value: &T) -> Result<Encoded, CodecError> {
    let bytes = Encoder::run(value).map_err(CodecError::in_payload::<T>)?;
    Ok(Encoded::plain(bytes))
}
