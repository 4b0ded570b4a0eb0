//! Payloads as bytes for another machine: what [`crate::wire`] makes, with the shared memory that it names copied behind it.
//!
//! A payload that is one bulk buffer travels as it is: the type says that it is one, on both sides ([`is_bulk`]), and so nothing
//! is copied to add to it. Everything else ends with a trailer, which costs no copy either:
//!
//! ```text
//! value                as `crate::wire` writes it
//! piece 0, piece 1, …  the bytes of the shared memory that the value names, by its place here
//! lengths              of each piece, a u64
//! count                of the pieces, a u32
//! ```
//!
//! Numbers of the trailer are little endian. The bytes are not trusted: the trailer must add up, and memory is reserved only for bytes that
//! came.

use std::any::Any;

use bytes::Bytes;

use crate::{
    Payload, SharedBytes,
    panic::catch,
    shared_memory::MOST_IN_PAYLOAD,
    wire::{self, Arrived, Body, is_bulk},
};

/// The version of this layout, and of what `crate::wire` writes. Part of each fingerprint: to be counted up when either changes.
pub(super) const FORMAT: u32 = 1;

/// How many bytes say how long a piece is.
const LEN: usize = size_of::<u64>();
/// How many bytes say how many pieces there are.
const COUNT: usize = size_of::<u32>();

/// Encodes a value. Shielded: a panic of foreign serde code is an error.
///
/// # Errors
///
/// Why it cannot be encoded.
pub(super) fn pack<T: Payload>(value: T) -> Result<Bytes, String> {
    let encoded = catch(|| wire::encode(value)).map_err(|report| report.into_summary())?;
    let mut encoded = encoded.map_err(|why| why.to_string())?;
    if is_bulk::<T>() {
        return Ok(encoded.share());
    }
    let (mut bytes, pieces) = encoded.into_parts();
    let behind: usize = pieces.iter().map(|piece| piece.len() + LEN).sum();
    bytes.reserve_exact(behind + COUNT);
    for piece in &pieces {
        bytes.extend_from_slice(piece);
    }
    for piece in &pieces {
        bytes.extend_from_slice(&(piece.len() as u64).to_le_bytes());
    }
    bytes.extend_from_slice(&(pieces.len() as u32).to_le_bytes());
    Ok(bytes.into())
}

/// Decodes a value. Shielded.
///
/// # Errors
///
/// Why it cannot be decoded.
pub(super) fn unpack<T: Payload>(bytes: Bytes) -> Result<T, String> {
    let decoded = if is_bulk::<T>() {
        match whole(bytes) {
            Ok(value) => return Ok(value),
            Err(bytes) => catch(|| wire::decode(Arrived::from(bulk(bytes)))),
        }
    } else {
        let (value, pieces) = split(&bytes)?;
        let pieces = pieces.into_iter().map(SharedBytes::copy_from_slice).collect::<Result<Vec<_>, _>>();
        let pieces = pieces.map_err(|why| format!("no shared memory for what came with it: {why}"))?;
        catch(|| wire::decode_part(value, &pieces))
    };
    decoded.map_err(|report| report.into_summary())?.map_err(|why| why.to_string())
}

/// The bytes themselves, if they are asked for as [`Bytes`]: they need no copy, whoever else has a handle of them.
fn whole<T: Payload>(bytes: Bytes) -> Result<T, Bytes> {
    let mut slot = Some(bytes);
    let any: &mut dyn Any = &mut slot;
    match any.downcast_mut::<Option<T>>().and_then(Option::take) {
        Some(value) => Ok(value),
        None => Err(slot.unwrap_or_default()),
    }
}

/// The bytes, to be taken over where nobody else has them, and else to be copied once.
fn bulk(bytes: Bytes) -> Body {
    if bytes.is_unique() { Vec::from(bytes).into() } else { Body::There(Box::new(bytes)) }
}

/// The bytes of the value and those of the pieces.
fn split(bytes: &[u8]) -> Result<(&[u8], Vec<&[u8]>), String> {
    let (bytes, count) = bytes.split_last_chunk::<COUNT>().ok_or("it is shorter than its own end")?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > MOST_IN_PAYLOAD {
        return Err(format!("{count} pieces of shared memory, and {MOST_IN_PAYLOAD} at most may come along"));
    }
    let too_short = || format!("it is too short for the {count} pieces of shared memory that it names");
    let at = bytes.len().checked_sub(count * LEN).ok_or_else(too_short)?;
    let (mut rest, lens) = bytes.split_at(at);
    let mut pieces = Vec::with_capacity(count);
    for len in lens.rchunks_exact(LEN) {
        let len = u64::from_le_bytes(len.try_into().expect("a chunk is as long as was asked for"));
        let at = usize::try_from(len).ok().and_then(|len| rest.len().checked_sub(len));
        let (before, piece) = rest.split_at(at.ok_or_else(too_short)?);
        pieces.push(piece);
        rest = before;
    }
    pieces.reverse();
    Ok((rest, pieces))
}

#[cfg(test)]
mod tests;
