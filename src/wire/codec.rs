//! The way in and out: [`encode`] and [`decode`].
//!
//! They call the `Serialize` and `Deserialize` of the payload, which may panic: catching that is the caller's.

use std::cell::Cell;

use super::{
    Arrived, CodecError, Encoded, Payload,
    decoder::Decoder,
    encoder::Encoder,
    whole::{self, Read},
};
use crate::{
    panic::drop_shielded,
    shared_memory::{collecting, resolving},
};

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
/// without a copy; bytes that lie elsewhere are copied once, also into a `Vec` of numbers.
///
/// Memory use is bounded by the number of bytes, times a factor that `T` fixes.
pub(crate) fn decode<T: Payload>(arrived: impl Into<Arrived>) -> Result<T, CodecError> {
    let Arrived { body, pieces } = arrived.into();
    let value = match whole::read(body) {
        Ok(Read::Whole(value)) => Ok(value),
        Ok(Read::NoBuffer(body)) => {
            let bytes = body.into_vec();
            resolving(pieces, || Decoder::run(&bytes))
        }
        Err(error) => Err(error),
    };
    value.map_err(CodecError::in_payload::<T>)
}

fn serialize<T: Payload>(value: &T) -> Result<Encoded, CodecError> {
    let (bytes, pieces) = collecting(|| Encoder::run(value, SCRATCH.take()));
    let mut bytes = bytes.map_err(CodecError::in_payload::<T>)?;
    match Encoded::short(&bytes) {
        Some(short) if pieces.is_empty() => {
            bytes.clear();
            SCRATCH.set(bytes);
            Ok(short)
        }
        _ => Ok(Encoded::naming(bytes, pieces)),
    }
}

thread_local! {
    /// A buffer for the next payload of this thread. Serialising may encode another payload: that one finds none here.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
