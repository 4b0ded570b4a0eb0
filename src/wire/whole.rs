//! Payloads that are one bulk buffer as a whole travel raw: both sides know the type, and are the same program.
//!
//! The functions are generic although `dyn Any` would do: so each compiles to the one case that its type needs.

use std::{any::Any, mem};

use bytes::Bytes;

use super::{CodecError, Encoded, bulk};

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

/// Returns the bytes as a buffer if `T` is one, else `None`. They become the buffer where it is one of bytes.
pub(super) fn read<T: 'static>(bytes: &mut Vec<u8>) -> Result<Option<T>, CodecError> {
    let mut value = None::<T>;
    fill(&mut value, bytes)?;
    Ok(value)
}

/// Puts the bytes into `value` if it is a buffer.
fn fill<T: 'static>(value: &mut Option<T>, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    let slot: &mut dyn Any = value;
    let take = |bytes: &mut Vec<u8>| mem::take(bytes);
    if let Some(slot) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(take(bytes));
    } else if let Some(slot) = slot.downcast_mut::<Option<String>>() {
        let text = String::from_utf8(take(bytes)).map_err(|error| CodecError::new(error.to_string()))?;
        *slot = Some(text);
    } else if let Some(slot) = slot.downcast_mut::<Option<Box<[u8]>>>() {
        *slot = Some(take(bytes).into());
    } else if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        *slot = Some(take(bytes).into());
    } else {
        return fill_numbers(value, bytes);
    }
    Ok(())
}

fn fill_numbers<T: 'static>(value: &mut Option<T>, bytes: &[u8]) -> Result<(), CodecError> {
    let slot: &mut dyn Any = value;
    macro_rules! numbers {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<Vec<$number>>>() {
                *slot = bulk::from_bytes(bytes);
                return if slot.is_some() { Ok(()) } else { Err(left_over(bytes.len(), size_of::<$number>())) };
            }
        )*};
    }
    for_each_number!(numbers);
    Ok(())
}

fn left_over(len: usize, size: usize) -> CodecError {
    CodecError::new(format!("{len} bytes are no whole number of elements of {size} bytes"))
}
