//! Numbers in bulk: seen as bytes, made from bytes, and found where serde would go through them one by one.
//!
//! Only postcard's one-byte integers and its floats (little endian, fixed size) lie in memory as they travel, so only these
//! are copied whole inside a payload: the bytes are the same as one by one, and either form reads the other's.

#![expect(
    unsafe_code,
    reason = "views of numbers as bytes, and casts between types that are proven to be one"
)]

use std::{
    any::TypeId,
    fmt,
    mem::{ManuallyDrop, MaybeUninit, align_of, size_of, size_of_val},
    ptr, slice,
};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, Visitor},
    forward_to_deserialize_any,
};

/// A number without padding, of which every bit pattern is a value.
///
/// # Safety
///
/// The type is initialised in all its bytes, and any bytes make a valid value of it.
pub(super) unsafe trait Number: Copy + Send + 'static {}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        // SAFETY: a primitive integer or float has no padding and no invalid bit pattern.
        unsafe impl Number for $number {}
    )*};
}

numbers!(u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize, f32, f64);

/// Views numbers as the bytes they lie in memory as.
pub(super) fn as_bytes<N: Number>(numbers: &[N]) -> &[u8] {
    // SAFETY: the pointer and the length in bytes are those of a live slice, whose bytes are all initialised, as
    // `Number` promises; a byte needs no alignment; the lifetime is that of the slice.
    unsafe { slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// Bytes that are copied to where they are wanted.
///
/// # Safety
///
/// `copy_to` initialises all of its target, or panics.
pub(crate) unsafe trait Source: fmt::Debug + Send {
    /// The number of bytes.
    fn len(&self) -> usize;

    /// Copies all bytes.
    ///
    /// # Panics
    ///
    /// If `target` is not as long as they are.
    fn copy_to(&self, target: &mut [MaybeUninit<u8>]);
}

// SAFETY: the copy covers the target, which is as long as the source, or it panics.
unsafe impl Source for &[u8] {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn copy_to(&self, target: &mut [MaybeUninit<u8>]) {
        assert_eq!(self.len(), target.len(), "a target is made to be as long as its source");
        // SAFETY: both are live and of this length; a slice that is borrowed exclusively overlaps nothing.
        unsafe { ptr::copy_nonoverlapping(self.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    }
}

// SAFETY: as for a slice of bytes, which it is seen as.
#[cfg(feature = "nats")]
unsafe impl Source for bytes::Bytes {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn copy_to(&self, target: &mut [MaybeUninit<u8>]) {
        (&**self).copy_to(target);
    }
}

/// Copies bytes into numbers, or returns `None` if a part of a number is left over.
pub(super) fn from_source<N: Number>(source: &dyn Source) -> Option<Vec<N>> {
    if !source.len().is_multiple_of(size_of::<N>()) {
        return None;
    }
    let count = source.len() / size_of::<N>();
    let mut numbers = Vec::<N>::with_capacity(count);
    let room = &mut numbers.spare_capacity_mut()[..count];
    // SAFETY: the pointer and the length in bytes are those of a live slice, borrowed exclusively; a byte needs no alignment,
    // and may be anything while it counts as uninitialised.
    let room = unsafe { slice::from_raw_parts_mut(room.as_mut_ptr().cast(), size_of_val(room)) };
    source.copy_to(room);
    // SAFETY: `count` is within the capacity, and `copy_to` has initialised that many numbers, for which any bytes do.
    unsafe { numbers.set_len(count) };
    Some(numbers)
}

/// The same from bytes of this process.
pub(super) fn from_bytes<N: Number>(bytes: &[u8]) -> Option<Vec<N>> {
    from_source(&bytes)
}

/// Numbers in memory that look as they travel.
pub(super) struct Run<'a> {
    pub(super) count: usize,
    pub(super) bytes: &'a [u8],
}

/// Returns the numbers behind `iterable`, if it is a reference to a `Vec` or a slice of such.
///
/// serde hands over exactly this reference when it writes a `Vec`, a slice, or whatever derefs to one.
pub(super) fn run_behind<I>(iterable: &I) -> Option<Run<'_>> {
    fn run<N: Number, I>(iterable: &I) -> Option<Run<'_>> {
        let numbers = dereference::<I, Vec<N>>(iterable)
            .map(Vec::as_slice)
            .or_else(|| dereference::<I, [N]>(iterable))?;
        Some(Run { count: numbers.len(), bytes: as_bytes(numbers) })
    }
    let one_byte = run::<u8, I>(iterable).or_else(|| run::<i8, I>(iterable));
    if cfg!(target_endian = "big") {
        return one_byte;
    }
    one_byte.or_else(|| run::<f32, I>(iterable)).or_else(|| run::<f64, I>(iterable))
}

/// Returns the target of `value`, if that is a `&To`.
fn dereference<From, To: ?Sized + 'static>(value: &From) -> Option<&To> {
    if typeid::of::<From>() != TypeId::of::<&'static To>() {
        return None;
    }
    // SAFETY: `typeid` sees all but lifetimes, and `To` has none, so `From` is `&'a To` for some `'a`. The pointer comes
    // from a live reference to it; `'a` outlives that reference, to whose lifetime the result is shortened.
    Some(unsafe { *ptr::from_ref(value).cast::<&To>() })
}

/// Whether `V` is the visitor by which serde itself reads a `Vec<N>` that lies in memory as it travels.
///
/// Another visitor with the same result may do something else with the elements, so it must see each of them.
pub(super) fn reads_run<'de, V: Visitor<'de>, N: Number + DeserializeOwned>() -> bool {
    let as_it_travels = size_of::<N>() == 1 || cfg!(target_endian = "little");
    as_it_travels && Some(typeid::of::<V>()) == seq_visitor_of::<Vec<N>>()
}

/// Returns `from` as `To`, which is the same type.
///
/// # Panics
///
/// If it is not.
pub(super) fn same<From: 'static, To>(from: From) -> To {
    assert!(typeid::of::<To>() == TypeId::of::<From>(), "a value is cast to its own type only");
    debug_assert!(size_of::<From>() == size_of::<To>() && align_of::<From>() == align_of::<To>());
    let from = ManuallyDrop::new(from);
    // SAFETY: `typeid` sees all but lifetimes, and `From` has none, so both are one type; the value is moved out once,
    // as `ManuallyDrop` does not drop it.
    unsafe { ptr::from_ref(&*from).cast::<To>().read() }
}

/// Returns the type of the visitor that `T` reads a sequence with, if it reads one.
fn seq_visitor_of<T: DeserializeOwned>() -> Option<TypeId> {
    T::deserialize(Probe).err().and_then(|found| found.0)
}

/// Reads nothing, but tells which visitor was to read a sequence. Compiles to a constant.
struct Probe;

/// What [`Probe`] found, as the error that ends the reading.
#[derive(Debug)]
struct Found(Option<TypeId>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing is read")
    }
}

impl std::error::Error for Found {}

impl de::Error for Found {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Found;

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Found> {
        Err(Found(Some(typeid::of::<V>())))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Found> {
        Err(Found(None))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_numbers_is_found_behind_a_vec_and_a_slice_only() {
        let numbers = vec![1.0f32, 2.0];
        assert_eq!(run_behind(&&numbers).map(|run| run.count), Some(2));
        assert_eq!(run_behind(&&numbers[..1]).map(|run| run.bytes), Some(&1.0f32.to_le_bytes()[..]));
        assert!(run_behind(&numbers).is_none());
        assert!(run_behind(&numbers.iter()).is_none());
        assert!(run_behind(&&vec![1u32]).is_none(), "postcard writes u32 as a varint");
    }

    /// Fails when serde changes how it reads a `Vec`. Payloads would then be read one number at a time, but not wrongly.
    #[test]
    fn the_visitors_of_serde_are_recognised() {
        assert!(seq_visitor_of::<Vec<u8>>().is_some());
        assert!(seq_visitor_of::<Vec<f64>>().is_some());
        assert_ne!(seq_visitor_of::<Vec<u8>>(), seq_visitor_of::<Vec<i8>>());
        assert_ne!(seq_visitor_of::<Vec<u8>>(), seq_visitor_of::<std::collections::VecDeque<u8>>());
        assert_eq!(seq_visitor_of::<String>(), None);
    }

    #[test]
    fn bytes_become_numbers_only_if_none_is_left_over() {
        assert_eq!(from_bytes::<u16>(as_bytes(&[1u16, 2])), Some(vec![1, 2]));
        assert_eq!(from_bytes::<u16>(&[1, 2, 3]), None);
        assert_eq!(from_bytes::<f64>(&[]), Some(vec![]));
    }

    #[test]
    fn numbers_are_read_from_bytes_that_are_not_aligned() {
        let mut bytes = vec![0];
        bytes.extend_from_slice(as_bytes(&[7u64, 8]));
        assert_eq!(from_bytes::<u64>(&bytes[1..]), Some(vec![7, 8]));
    }
}
