//! Payloads that are one bulk buffer as a whole travel raw: both sides know the type, and are the same program.
//!
//! The functions are generic although `dyn Any` would do: so each compiles to the one case that its type needs.

use std::any::Any;

use bytes::Bytes;

use super::{Body, CodecError, Encoded};

/// Calls `$then!` with every type of number of which a `Vec` travels raw.
macro_rules! for_each_number {
    ($then:ident) => {
        $then!(i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize, f32, f64)
    };
}

/// Takes the buffer over if `T` is one, without a copy; else hands the value back.
pub(super) fn take_over<T: Send + 'static>(value: T) -> Result<Encoded, T> {
    let mut slot = Some(value);
    match taken(&mut slot) {
        Some(encoded) => Ok(encoded),
        None => Err(slot.expect("only a buffer is taken from its slot")),
    }
}

fn taken<T: 'static>(slot: &mut Option<T>) -> Option<Encoded> {
    let slot: &mut dyn Any = slot;
    if let Some(bytes) = slot.downcast_mut::<Option<Vec<u8>>>() {
        return bytes.take().map(Encoded::plain);
    }
    if let Some(text) = slot.downcast_mut::<Option<String>>() {
        return text.take().map(String::into_bytes).map(Encoded::plain);
    }
    if let Some(bytes) = slot.downcast_mut::<Option<Box<[u8]>>>() {
        return bytes.take().map(Vec::from).map(Encoded::plain);
    }
    if let Some(bytes) = slot.downcast_mut::<Option<Bytes>>() {
        return bytes.take().map(Encoded::shared);
    }
    macro_rules! numbers {
        ($($number:ty),*) => {$(
            if let Some(numbers) = slot.downcast_mut::<Option<Vec<$number>>>() {
                return numbers.take().map(Encoded::numbers);
            }
        )*};
    }
    for_each_number!(numbers);
    None
}

/// What a body was read as.
pub(super) enum Read<T> {
    Whole(T),
    /// `T` is no buffer: here is the body again.
    NoBuffer(Body),
}

/// Returns the body as a buffer if `T` is one. Bytes that are here become the buffer where it is one of bytes.
pub(super) fn read<T: 'static>(body: Body) -> Result<Read<T>, CodecError> {
    let (mut value, mut body) = (None::<T>, Some(body));
    fill(&mut value, &mut body)?;
    Ok(match (value, body) {
        (Some(value), _) => Read::Whole(value),
        (None, body) => Read::NoBuffer(body.expect("only a buffer is made of the body")),
    })
}

/// Puts the body into `value` if that is a buffer.
fn fill<T: 'static>(value: &mut Option<T>, body: &mut Option<Body>) -> Result<(), CodecError> {
    let slot: &mut dyn Any = value;
    let take = |body: &mut Option<Body>| body.take().map_or_else(Vec::new, Body::into_vec);
    if let Some(slot) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(take(body));
    } else if let Some(slot) = slot.downcast_mut::<Option<String>>() {
        let text = String::from_utf8(take(body)).map_err(|error| CodecError::new(error.to_string()))?;
        *slot = Some(text);
    } else if let Some(slot) = slot.downcast_mut::<Option<Box<[u8]>>>() {
        *slot = Some(take(body).into());
    } else if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        *slot = Some(take(body).into());
    } else {
        return fill_numbers(value, body);
    }
    Ok(())
}

fn fill_numbers<T: 'static>(value: &mut Option<T>, body: &Option<Body>) -> Result<(), CodecError> {
    let slot: &mut dyn Any = value;
    let Some(body) = body else { return Ok(()) };
    macro_rules! numbers {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<Vec<$number>>>() {
                *slot = body.to_numbers();
                return if slot.is_some() { Ok(()) } else { Err(left_over(body.len(), size_of::<$number>())) };
            }
        )*};
    }
    for_each_number!(numbers);
    Ok(())
}

fn left_over(len: usize, size: usize) -> CodecError {
    CodecError::new(format!("{len} bytes are no whole number of elements of {size} bytes"))
}
