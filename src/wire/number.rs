//! Payloads that are one plain number: written and read past serde, which costs several times as much as the number.
//!
//! 1. The bytes are those that serde and postcard write, and either way reads the other's.
//! 2. What is not read here, because it is longer than need be, cut off or too large, is left to them, who say why.

use std::any::Any;

/// Where a number is written.
pub(super) trait Sink {
    fn put(&mut self, byte: u8);

    fn put_all<const N: usize>(&mut self, bytes: [u8; N]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, byte: u8) {
        self.push(byte);
    }

    #[inline]
    fn put_all<const N: usize>(&mut self, bytes: [u8; N]) {
        self.extend_from_slice(&bytes);
    }
}

/// Writes `value` behind `bytes`, if it is a number.
#[inline]
pub(super) fn write<T: 'static>(value: &T, bytes: &mut impl Sink) -> bool {
    if let Some(number) = to_varint(value) {
        write_varint(number, bytes);
        return true;
    }
    let value: &dyn Any = value;
    macro_rules! fixed {
        ($($number:ty),*) => {$(
            if let Some(number) = value.downcast_ref::<$number>() {
                bytes.put_all(number.to_le_bytes());
                return true;
            }
        )*};
    }
    fixed!(u8, i8, f32, f64);
    false
}

/// Reads a number, if `T` is one and `bytes` are one of its range and nothing else.
#[inline]
pub(super) fn read<T: 'static>(bytes: &[u8]) -> Option<T> {
    if let Some(number) = from_varint(|| read_varint(bytes)) {
        return Some(number);
    }
    let mut value = None::<T>;
    let slot: &mut dyn Any = &mut value;
    macro_rules! fixed {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<$number>>() {
                *slot = Some(<$number>::from_le_bytes(bytes.try_into().ok()?));
                return value;
            }
        )*};
    }
    fixed!(u8, i8, f32, f64);
    None
}

/// What [`write`] writes, where that is a number of as many bytes as it needs, and seven at most: the first of them is the lowest, and
/// how many they are.
///
/// All at once: bytes that were stored one by one cannot be loaded as a word before they have reached the cache.
#[inline]
pub(crate) fn to_word<T: 'static>(value: &T) -> Option<(u64, usize)> {
    spread(to_varint(value)?)
}

/// As [`read`] of what [`to_word`] gives: so many bytes of a word, seven at most; the others are to be zero.
#[inline]
pub(crate) fn from_word<T: 'static>(word: u64, len: usize) -> Option<T> {
    from_varint(|| gather(word, len))
}

/// The number that is written for `value` in as many bytes as it needs, if there is one.
#[inline]
fn to_varint<T: 'static>(value: &T) -> Option<u64> {
    let value: &dyn Any = value;
    macro_rules! unsigned {
        ($($number:ty),*) => {$(
            if let Some(&number) = value.downcast_ref::<$number>() {
                return Some(number as u64);
            }
        )*};
    }
    macro_rules! signed {
        ($($number:ty),*) => {$(
            if let Some(&number) = value.downcast_ref::<$number>() {
                return Some(zigzag(number as i64));
            }
        )*};
    }
    unsigned!(u16, u32, u64, usize);
    signed!(i16, i32, i64, isize);
    None
}

/// The value for which that number is written, if `T` has such and the number, which is not read otherwise, is one of its range.
#[inline]
fn from_varint<T: 'static>(read: impl FnOnce() -> Option<u64>) -> Option<T> {
    let mut value = None::<T>;
    let slot: &mut dyn Any = &mut value;
    macro_rules! unsigned {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<$number>>() {
                *slot = Some(read()?.try_into().ok()?);
                return value;
            }
        )*};
    }
    macro_rules! signed {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<$number>>() {
                *slot = Some(unzigzag(read()?).try_into().ok()?);
                return value;
            }
        )*};
    }
    unsigned!(u16, u32, u64, usize);
    signed!(i16, i32, i64, isize);
    None
}

/// The highest bit of each byte.
const MORE: u64 = 0x8080_8080_8080_8080;

/// Those bits of the first so many bytes, of seven at most.
#[inline]
fn more_after(bytes: usize) -> u64 {
    MORE & ((1 << (8 * bytes)) - 1)
}

/// The bytes of a number of 49 bits at most, seven bits in each.
#[inline]
fn spread(number: u64) -> Option<(u64, usize)> {
    if number >> 49 != 0 {
        return None;
    }
    let len = (number | 1).ilog2() as usize / 7 + 1;
    let pairs = number & 0x0fff_ffff | (number & 0x00ff_ffff_f000_0000) << 4;
    let pairs = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x0fff_c000_0fff_c000) << 2;
    let bytes = pairs & 0x007f_007f_007f_007f | (pairs & 0x3f80_3f80_3f80_3f80) << 1;
    Some((bytes | more_after(len - 1), len))
}

/// The number that these bytes are, if they are one, and no more than it needs.
#[inline]
fn gather(word: u64, len: usize) -> Option<u64> {
    let last = len.checked_sub(1)?;
    if word & MORE != more_after(last) || (last > 0 && word >> (8 * last) == 0) {
        return None;
    }
    let bytes = word & !MORE;
    let pairs = bytes & 0x007f_007f_007f_007f | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let pairs = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    Some(pairs & 0x0fff_ffff | (pairs & 0x0fff_ffff_0000_0000) >> 4)
}

#[inline]
fn write_varint(mut number: u64, bytes: &mut impl Sink) {
    while number >= 0x80 {
        bytes.put(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put(number as u8);
}

/// Numbers of up to 63 bits, in no more bytes than they need, of which there is nothing more to be said.
#[inline]
fn read_varint(bytes: &[u8]) -> Option<u64> {
    let (&last, before) = bytes.split_last()?;
    if last >= 0x80 || before.len() > 8 || (last == 0 && !before.is_empty()) {
        return None;
    }
    before.iter().rev().try_fold(u64::from(last), |number, &byte| {
        (byte >= 0x80).then(|| number << 7 | u64::from(byte & 0x7f))
    })
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use proptest::prelude::*;
    use serde::{Serialize, de::DeserializeOwned};

    use super::{
        super::{decoder::Decoder, encoder::Encoder},
        *,
    };

    fn check<T>(number: T)
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug + 'static,
    {
        let through_serde = Encoder::run(&number, Vec::new()).unwrap();
        let mut bytes = Vec::new();
        assert!(write(&number, &mut bytes));
        assert_eq!(bytes, through_serde);
        if let Some((word, len)) = to_word(&number) {
            assert_eq!(word.to_le_bytes()[..len], bytes);
            assert_eq!(word >> (8 * len), 0);
            assert_eq!(from_word(word, len).as_ref(), Some(&number));
        }
        if let Some(read) = read::<T>(&bytes) {
            assert_eq!(read, number);
        } else {
            assert!(bytes.len() > 9, "{number:?} was not read");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_bytes_as_through_serde(bits: u64, shift in 0..64u32) {
            let bits = bits >> shift;
            check(bits as u8);
            check(bits as u16);
            check(bits as u32);
            check(bits);
            check(bits as usize);
            for bits in [bits as i64, -(bits as i64)] {
                check(bits as i8);
                check(bits as i16);
                check(bits as i32);
                check(bits);
                check(bits as isize);
            }
            check(bits as f32);
            check(bits as f64);
        }

        #[test]
        fn any_bytes_are_the_same_number_as_through_serde_or_left_to_it(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            fn check<T: DeserializeOwned + PartialEq + fmt::Debug + 'static>(bytes: &[u8]) {
                let number = read::<T>(bytes);
                if bytes.len() <= 7 {
                    let word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
                    let is_read = size_of::<T>() > 1;
                    assert_eq!(from_word::<T>(word, bytes.len()), if is_read { read::<T>(bytes) } else { None });
                }
                if let Some(number) = number {
                    assert_eq!(Decoder::run::<T>(bytes).ok(), Some(number));
                }
            }
            check::<u8>(&bytes);
            check::<u16>(&bytes);
            check::<u32>(&bytes);
            check::<u64>(&bytes);
            check::<i8>(&bytes);
            check::<i16>(&bytes);
            check::<i64>(&bytes);
        }
    }

    #[test]
    fn the_limits_of_each_type_are_read_or_left_to_serde() {
        check(u16::MAX);
        check(u32::MAX);
        check(u64::MAX);
        check(i16::MIN);
        check(i32::MIN);
        check(i64::MIN);
        check(i64::MAX);
        assert_eq!(read::<u16>(&[0x80, 0x80, 0x04]), None, "too large");
        assert_eq!(read::<u64>(&[0x80]), None, "cut off");
        assert_eq!(read::<String>(&[1]), None);
        assert!(!write(&'x', &mut Vec::new()));
    }
}
