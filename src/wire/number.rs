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
    let value: &dyn Any = value;
    macro_rules! unsigned {
        ($($number:ty),*) => {$(
            if let Some(&number) = value.downcast_ref::<$number>() {
                write_varint(number as u64, bytes);
                return true;
            }
        )*};
    }
    macro_rules! signed {
        ($($number:ty),*) => {$(
            if let Some(&number) = value.downcast_ref::<$number>() {
                write_varint(zigzag(number as i64), bytes);
                return true;
            }
        )*};
    }
    macro_rules! fixed {
        ($($number:ty),*) => {$(
            if let Some(number) = value.downcast_ref::<$number>() {
                bytes.put_all(number.to_le_bytes());
                return true;
            }
        )*};
    }
    unsigned!(u16, u32, u64, usize);
    signed!(i16, i32, i64, isize);
    fixed!(u8, i8, f32, f64);
    false
}

/// Reads a number, if `T` is one and `bytes` are one of its range and nothing else.
#[inline]
pub(super) fn read<T: 'static>(bytes: &[u8]) -> Option<T> {
    let mut value = None::<T>;
    let slot: &mut dyn Any = &mut value;
    macro_rules! unsigned {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<$number>>() {
                *slot = Some(read_varint(bytes)?.try_into().ok()?);
                return value;
            }
        )*};
    }
    macro_rules! signed {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<$number>>() {
                *slot = Some(unzigzag(read_varint(bytes)?).try_into().ok()?);
                return value;
            }
        )*};
    }
    macro_rules! fixed {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<$number>>() {
                *slot = Some(<$number>::from_le_bytes(bytes.try_into().ok()?));
                return value;
            }
        )*};
    }
    unsigned!(u16, u32, u64, usize);
    signed!(i16, i32, i64, isize);
    fixed!(u8, i8, f32, f64);
    None
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
                if let Some(number) = read::<T>(bytes) {
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
