use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;
use crate::Shared;

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Query {
    table: SharedBytes,
    rows: Shared<[f64]>,
    again: SharedBytes,
    limit: u32,
}

fn query() -> Query {
    let table = SharedBytes::copy_from_slice(b"to be or not").unwrap();
    let rows = Shared::copy_from_slice(&[1.5, -2.5]).unwrap();
    Query { again: table.clone(), table, rows, limit: 7 }
}

fn round_trip<T: Payload + Clone + PartialEq + std::fmt::Debug>(value: T) -> Bytes {
    let packed = pack(value.clone()).unwrap();
    assert_eq!(unpack::<T>(packed.clone()).as_ref(), Ok(&value), "shared by two");
    assert_eq!(unpack::<T>(Bytes::copy_from_slice(&packed)), Ok(value), "of its own");
    packed
}

#[test]
fn values_arrive_as_they_were() {
    round_trip(());
    round_trip(7u64);
    round_trip("bulk".to_owned());
    round_trip(vec![1u8, 2, 3]);
    round_trip(Bytes::from_static(b"bytes"));
    round_trip(vec![1.5f64, f64::MAX]);
    round_trip(vec![1u128, 2]);
    round_trip((vec![0u8; 100_000], Some("x".to_owned())));
    round_trip(BTreeMap::from([("a".to_owned(), vec![1u32]), ("b".to_owned(), vec![])]));
    round_trip(Result::<u32, String>::Err("no".to_owned()));
}

#[test]
fn shared_memory_comes_along_each_piece_once() {
    let packed = round_trip(query());
    let twice = packed.windows(5).filter(|part| part == b"to be").count();
    assert_eq!(twice, 1, "the piece that is named twice is copied once");
    let copy = unpack::<Query>(packed).unwrap();
    assert_eq!(copy.table.as_ptr(), copy.again.as_ptr(), "and is one piece there, too");
}

#[test]
fn the_layout_stays_the_same() {
    let piece = SharedBytes::copy_from_slice(b"piece").unwrap();
    assert_eq!(pack((piece, 3u8)).unwrap()[..], *b"\0\x03piece\x05\0\0\0\0\0\0\0\x01\0\0\0");
    assert_eq!(pack(3u8).unwrap()[..], *b"\x03\0\0\0\0");
    assert_eq!(pack(vec![3u8]).unwrap()[..], [3]);
}

#[test]
fn bulk_data_is_not_copied_where_its_buffer_can_be_taken_over() {
    let bytes = vec![7u8; 1 << 20];
    let address = bytes.as_ptr();
    let packed = pack(bytes).unwrap();
    assert_eq!(packed.as_ptr(), address);
    let view = unpack::<Bytes>(packed.clone()).unwrap();
    assert_eq!(view.as_ptr(), address, "a handle is enough, although there are others");
    drop(view);
    let taken_over = unpack::<Vec<u8>>(packed).unwrap();
    assert_eq!(taken_over.as_ptr(), address);
    let numbers = vec![0.5f64; 1 << 10];
    let address = numbers.as_ptr().cast();
    assert_eq!(pack(numbers).unwrap().as_ptr(), address);
}

#[test]
fn trailers_that_do_not_add_up_are_errors() {
    let end = |lens: &[u64], count: u32| {
        let lens = lens.iter().flat_map(|len| len.to_le_bytes());
        let bytes: Vec<u8> = lens.chain(count.to_le_bytes()).collect();
        unpack::<u64>(bytes.into()).unwrap_err()
    };
    assert_eq!(unpack::<u64>(Bytes::new()).unwrap_err(), "it is shorter than its own end");
    assert_eq!(end(&[], u32::MAX), "4294967295 pieces of shared memory, and 256 at most may come along");
    let too_short = "it is too short for the 2 pieces of shared memory that it names";
    assert_eq!(end(&[1], 2), too_short);
    assert_eq!(end(&[0, 1], 2), too_short);
    assert_eq!(end(&[u64::MAX, u64::MAX], 2), too_short);
    let unnamed = unpack::<SharedBytes>(Bytes::from_static(&[0, 0, 0, 0, 0])).unwrap_err();
    assert!(unnamed.contains("shared memory"), "{unnamed}");
}

proptest! {
    #[test]
    fn whatever_comes_is_a_value_or_an_error(
        value: Vec<u8>,
        lens in prop::collection::vec(0..40u64, 0..4),
        count in 0..5u32,
    ) {
        let bytes: Vec<u8> = value.clone().into_iter().chain(lens.iter().flat_map(|len| len.to_le_bytes())).collect();
        let bytes: Bytes = [&bytes[..], &count.to_le_bytes()].concat().into();
        let _ = unpack::<Query>(bytes.clone());
        let _ = unpack::<(String, Vec<u32>)>(bytes.clone());
        let _ = unpack::<Vec<u64>>(bytes);
        let _ = unpack::<Query>(value.into());
    }
}

/// Serde code that panics.
#[derive(Debug)]
struct Bomb;

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize")
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in Deserialize")
    }
}

#[test]
fn a_panic_of_foreign_code_is_an_error() {
    assert!(pack(Bomb).unwrap_err().ends_with(": in Serialize"));
    assert!(unpack::<Bomb>(pack(()).unwrap()).unwrap_err().ends_with(": in Deserialize"));
}
