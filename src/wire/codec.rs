//! The way in and out: [`encode`] and [`decode`].
//!
//! They call the `Serialize` and `Deserialize` of the payload, which may panic: catching that is the caller's.

use std::{cell::Cell, mem};

use super::{
    Arrived, Body, CodecError, Encoded, Payload,
    decoder::Decoder,
    encoded::Short,
    encoder::Encoder,
    number,
    whole::{self, Read},
};
use crate::{
    panic::drop_shielded,
    shared_memory::{SharedBytes, collecting, resolving},
};

/// Turns a value into bytes. A bulk buffer is taken over without a copy.
pub(crate) fn encode<T: Payload>(value: T) -> Result<Encoded, CodecError> {
    let value = match whole::take_over(value) {
        Ok(encoded) => return Ok(encoded),
        Err(value) => value,
    };
    let mut short = Short::empty();
    if number::write(&value, &mut short) {
        return Ok(Encoded::short(short));
    }
    let encoded = serialize(&value);
    // What its `Drop` does is no concern of the bytes.
    drop_shielded(value);
    encoded
}

/// Where [`append`] has put a value.
pub(crate) enum Appended {
    /// Behind the other bytes, with the shared memory that it names.
    Here(Vec<SharedBytes>),
    /// Nowhere: it is a bulk buffer that is not to be copied.
    Apart(Encoded),
}

/// As [`encode`], behind other bytes, unless it is a bulk buffer of more than `large` bytes.
///
/// What is written when it fails or panics is to be cut off.
#[inline]
pub(crate) fn append<T: Payload>(
    value: T,
    bytes: &mut Vec<u8>,
    large: usize,
) -> Result<Appended, CodecError> {
    if number::write(&value, bytes) {
        return Ok(Appended::Here(Vec::new()));
    }
    append_other(value, bytes, large)
}

fn append_other<T: Payload>(value: T, bytes: &mut Vec<u8>, large: usize) -> Result<Appended, CodecError> {
    let value = match whole::take_over(value) {
        Ok(encoded) if encoded.len() > large => return Ok(Appended::Apart(encoded)),
        Ok(encoded) => {
            bytes.extend_from_slice(encoded.as_bytes());
            return Ok(Appended::Here(Vec::new()));
        }
        Err(value) => value,
    };
    let (written, pieces) = collecting(|| Encoder::append(&value, bytes));
    drop_shielded(value);
    written.map_err(CodecError::in_payload::<T>)?;
    Ok(Appended::Here(pieces))
}

/// Turns bytes, which are not trusted, into a value. A `Vec<u8>`, a `Box<[u8]>`, a `String` or a `Bytes` takes the buffer over
/// without a copy; bytes that lie elsewhere are copied once, also into a `Vec` of numbers.
///
/// Memory use is bounded by the number of bytes, times a factor that `T` fixes.
pub(crate) fn decode<T: Payload>(arrived: impl Into<Arrived>) -> Result<T, CodecError> {
    decode_out_of(&mut arrived.into())
}

/// As [`decode`]. Leaves the buffer that the bytes were in, unless the value has taken it over.
pub(crate) fn decode_out_of<T: Payload>(arrived: &mut Arrived) -> Result<T, CodecError> {
    let value = match whole::read(mem::take(&mut arrived.body)) {
        Ok(Read::Whole(value)) => Ok(value),
        Ok(Read::NoBuffer(body)) => {
            let (value, body) = body.read(|bytes| match number::read(bytes) {
                Some(number) => Ok(number),
                None => resolving(mem::take(&mut arrived.pieces), || Decoder::run(bytes)),
            });
            arrived.body = body;
            value
        }
        Err(error) => Err(error),
    };
    value.map_err(CodecError::in_payload::<T>)
}

/// As [`decode`], of a payload among others, which is copied only where the value takes the buffer over.
#[inline]
pub(crate) fn decode_part<T: Payload>(bytes: &[u8], pieces: &[SharedBytes]) -> Result<T, CodecError> {
    number::read(bytes).map_or_else(|| decode_other(bytes, pieces), Ok)
}

fn decode_other<T: Payload>(bytes: &[u8], pieces: &[SharedBytes]) -> Result<T, CodecError> {
    if is_bulk::<T>() {
        return decode(Arrived { body: bytes.to_vec().into(), pieces: pieces.to_vec() });
    }
    let value = match pieces {
        [] => Decoder::run(bytes),
        pieces => resolving(pieces.to_vec(), || Decoder::run(bytes)),
    };
    value.map_err(CodecError::in_payload::<T>)
}

/// Whether the payload is one bulk buffer, which crosses without being encoded. Depends on the type alone.
pub(crate) fn is_bulk<T: Payload>() -> bool {
    !matches!(whole::read::<T>(Body::Here(Vec::new())), Ok(Read::NoBuffer(_)))
}

fn serialize<T: Payload>(value: &T) -> Result<Encoded, CodecError> {
    let (bytes, pieces) = collecting(|| Encoder::run(value, SCRATCH.take()));
    let mut bytes = bytes.map_err(CodecError::in_payload::<T>)?;
    if !pieces.is_empty() || bytes.len() > SMALL {
        return Ok(Encoded::naming(bytes, pieces));
    }
    let encoded = match Short::new(&bytes) {
        Some(short) => Encoded::short(short),
        // Of its own size: to have grown there step by step would take longer, and leave it too large.
        None => Encoded::plain(bytes.as_slice().to_vec()),
    };
    bytes.clear();
    SCRATCH.set(bytes);
    Ok(encoded)
}

/// Of how many bytes a payload is copied out of the thread's buffer, which is kept for the next one.
const SMALL: usize = 4096;

thread_local! {
    /// A buffer for the next payload of this thread. Serialising may encode another payload: that one finds none here.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
