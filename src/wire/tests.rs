//! Both directions together: what goes in comes out, or is an error that says what is wrong.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    marker::PhantomData,
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, SeqAccess, Visitor},
    ser::SerializeSeq,
};

use super::*;
use crate::{Shared, SharedBytes};

/// Sends a value there and back.
fn round_trip<T: Payload>(value: T) -> Result<T, CodecError> {
    decode(encode(value)?.as_bytes().to_vec())
}

fn encode_error<T: Payload>(value: T) -> String {
    encode(value).unwrap_err().to_string()
}

/// The error with which `value`, once encoded, is not read.
fn decode_error<T: Payload + fmt::Debug>(value: T) -> String {
    round_trip(value).unwrap_err().to_string()
}

/// Reads the bytes of one type as another.
fn reread<A: Payload, B: Payload>(value: A) -> Result<B, CodecError> {
    decode(encode(value)?.as_bytes().to_vec())
}

fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

// --- whole bulk buffers ---

fn assert_taken_over<T: Payload>(value: T, address: *const u8) {
    let encoded = encode(value).unwrap();
    assert_eq!(encoded.as_bytes().as_ptr(), address, "copied");
}

#[test]
fn a_bulk_buffer_is_taken_over_without_a_copy() {
    let bytes = vec![1u8, 2, 3];
    let address = bytes.as_ptr();
    assert_taken_over(bytes, address);
    let text = "text".to_string();
    let address = text.as_ptr();
    assert_taken_over(text, address);
    let shared = Bytes::from(vec![1u8, 2, 3]);
    let address = shared.as_ptr();
    assert_taken_over(shared, address);
    let boxed: Box<[u8]> = vec![1u8, 2, 3].into();
    let address = boxed.as_ptr();
    assert_taken_over(boxed, address);
    let floats = vec![1.0f32, 2.0];
    let address = floats.as_ptr().cast();
    assert_taken_over(floats, address);
}

#[test]
fn an_owned_buffer_of_bytes_becomes_the_value_without_a_copy() {
    let bytes = b"text".to_vec();
    let address = bytes.as_ptr();
    let bytes: Vec<u8> = decode(bytes).unwrap();
    assert_eq!(bytes.as_ptr(), address);
    let text: String = decode(bytes).unwrap();
    assert_eq!(text.as_ptr(), address);
    let shared: Bytes = decode(text.into_bytes()).unwrap();
    assert_eq!(shared.as_ptr(), address);
}

#[test]
fn whole_buffers_have_no_header() {
    assert_eq!(encode(vec![1u16, 2]).unwrap().len(), 4);
    assert_eq!(encode(vec![1u64, 2]).unwrap().len(), 16);
    assert_eq!(encode("ab".to_string()).unwrap().as_bytes(), b"ab");
    assert_eq!(encode(Vec::<u8>::new()).unwrap().len(), 0);
    assert_eq!(encode(()).unwrap().len(), 0);
}

#[test]
fn whole_buffers_are_checked() {
    let error = decode::<Vec<u32>>([0; 7].to_vec()).unwrap_err().to_string();
    assert_eq!(error, "7 bytes are no whole number of elements of 4 bytes (in `alloc::vec::Vec<u32>`)");
    assert_contains(&decode::<String>([0xff].to_vec()).unwrap_err().to_string(), &["utf-8"]);
}

// --- every type there and back ---

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype(Vec<f32>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair(u8, #[serde(skip)] u64, String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i16, i16),
    Polygon { corners: Vec<(f64, f64)>, inner: Option<Box<Shape>> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rich {
    unit: Unit,
    newtype: Newtype,
    pair: Pair,
    shapes: Vec<Shape>,
    numbers: (i8, u16, i32, u64, i128, u128, f32),
    character: char,
    text: String,
    rows: Vec<Vec<f64>>,
    files: HashMap<String, Vec<u8>>,
    tree: BTreeMap<u32, Option<Option<bool>>>,
    outcome: Result<Vec<u8>, String>,
    wait: Duration,
    address: IpAddr,
    path: PathBuf,
    shared: Bytes,
    array: [u8; 3],
    nothing: (),
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Point),
        (-1e9..1e9).prop_map(Shape::Circle),
        any::<(i16, i16)>().prop_map(|(a, b)| Shape::Line(a, b)),
    ];
    leaf.prop_recursive(4, 8, 2, |inner| {
        (vec((-1e9..1e9, -1e9..1e9), 0..4), option::of(inner.prop_map(Box::new)))
            .prop_map(|(corners, inner)| Shape::Polygon { corners, inner })
    })
}

fn rich() -> impl Strategy<Value = Rich> {
    let first = (
        vec(-1e9f32..1e9, 0..9),
        any::<(u8, String)>(),
        vec(shape(), 0..4),
        any::<(i8, u16, i32, u64, i128, u128)>(),
        -1e9f32..1e9,
        any::<(char, String)>(),
    );
    let second = (
        vec(vec(-1e9f64..1e9, 0..5), 0..5),
        any::<HashMap<String, Vec<u8>>>(),
        any::<BTreeMap<u32, Option<Option<bool>>>>(),
        any::<Result<Vec<u8>, String>>(),
        any::<(Duration, IpAddr, String, Vec<u8>, [u8; 3])>(),
    );
    (first, second).prop_map(|(first, second)| {
        let (floats, (byte, word), shapes, (a, b, c, d, e, f), g, (character, text)) = first;
        let (rows, files, tree, outcome, (wait, address, path, shared, array)) = second;
        Rich {
            unit: Unit,
            newtype: Newtype(floats),
            pair: Pair(byte, 0, word),
            shapes,
            numbers: (a, b, c, d, e, f, g),
            character,
            text,
            rows,
            files,
            tree,
            outcome,
            wait,
            address,
            path: path.into(),
            shared: shared.into(),
            array,
            nothing: (),
        }
    })
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(value in rich()) {
        prop_assert_eq!(round_trip(value.clone()).unwrap(), value);
    }

    #[test]
    fn whole_buffers_come_back(
        bytes: Vec<u8>, text: String, signed: Vec<i8>, shorts: Vec<u16>, wide: Vec<u128>, sizes: Vec<usize>,
        floats in vec(-1e9f32..1e9, 0..99),
    ) {
        prop_assert_eq!(round_trip(bytes.clone()).unwrap(), bytes.clone());
        prop_assert_eq!(round_trip(bytes.clone().into_boxed_slice()).unwrap(), bytes.clone().into_boxed_slice());
        prop_assert_eq!(round_trip(Bytes::from(bytes.clone())).unwrap(), Bytes::from(bytes));
        prop_assert_eq!(round_trip(text.clone()).unwrap(), text);
        prop_assert_eq!(round_trip(signed.clone()).unwrap(), signed);
        prop_assert_eq!(round_trip(shorts.clone()).unwrap(), shorts);
        prop_assert_eq!(round_trip(wide.clone()).unwrap(), wide);
        prop_assert_eq!(round_trip(sizes.clone()).unwrap(), sizes);
        prop_assert_eq!(round_trip(floats.clone()).unwrap(), floats);
    }

    #[test]
    fn without_structs_and_enums_the_bytes_are_those_of_postcard(
        value: (i16, Option<u64>, Vec<Vec<u8>>, BTreeMap<String, Vec<i8>>, char, [bool; 3], i128),
        floats in vec(-1e9f64..1e9, 0..9),
    ) {
        let value = (value, floats);
        let encoded = encode(value.clone()).unwrap();
        prop_assert_eq!(encoded.as_bytes(), postcard::to_stdvec(&value).unwrap());
    }
}

#[test]
fn what_is_longer_than_one_byte_can_say_is_the_bytes_of_postcard_too() {
    for len in [0, 1, 127, 128, 129, 16_383, 16_384] {
        let text = ("x".repeat(len), vec![true; len], Bytes::from(vec![7; len]));
        let encoded = encode(text.clone()).unwrap();
        assert_eq!(encoded.as_bytes(), postcard::to_stdvec(&text).unwrap());
        assert_eq!(round_trip(text.clone()).unwrap(), text);
    }
}

#[test]
fn a_length_that_is_longer_than_need_be_or_no_length_is_read_as_postcard_does() {
    let read = |bytes: &[u8]| decode::<(String,)>(bytes.to_vec()).map_err(|why| why.to_string());
    assert_eq!(read(&[1, b'a']), Ok(("a".to_owned(),)));
    assert_eq!(read(&[0x81, 0, b'a']), Ok(("a".to_owned(),)));
    assert_contains(&read(&[0xff; 10]).unwrap_err(), &["an integer is out of its range"]);
    assert_contains(&read(&[0xff]).unwrap_err(), &["the bytes end before the value does"]);
    assert_contains(&read(&[2, b'a']).unwrap_err(), &["the bytes end before the value does"]);
    assert_contains(&read(&[]).unwrap_err(), &["the bytes end before the value does"]);
    assert_contains(&read(&[1, 0xff]).unwrap_err(), &["a string is not valid UTF-8"]);
}

#[test]
fn extreme_floats_keep_their_bits() {
    let bits = [f32::NAN.to_bits() | 1, f32::INFINITY.to_bits(), (-0.0f32).to_bits(), 1];
    let floats: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
    let (nested,) = round_trip((floats.clone(),)).unwrap();
    let whole = round_trip(floats).unwrap();
    assert!(nested.iter().chain(&whole).map(|float| float.to_bits()).eq(bits.iter().chain(&bits).copied()));
}

// --- bulk data inside a payload ---

/// Goes through its elements one by one, on both sides.
#[derive(Debug, Clone, PartialEq)]
struct OneByOne<N>(Vec<N>);

impl<N: Serialize> Serialize for OneByOne<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|number| seq.serialize_element(number))?;
        seq.end()
    }
}

impl<'de, N: Deserialize<'de>> Deserialize<'de> for OneByOne<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<N>(PhantomData<N>);
        impl<'de, N: Deserialize<'de>> Visitor<'de> for Each<N> {
            type Value = Vec<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<N>, A::Error> {
                std::iter::from_fn(|| seq.next_element().transpose()).collect()
            }
        }
        deserializer.deserialize_seq(Each(PhantomData)).map(OneByOne)
    }
}

/// Holds numbers in every place that has its own way through serde.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "V: Serialize + DeserializeOwned")]
enum Holder<V> {
    Field { numbers: V },
    Newtype(V),
    Deep(Option<Box<V>>, (V, u8), Vec<V>, HashMap<u8, V>, Result<V, ()>, VecDeque<V>, [V; 2]),
}

fn holders<V: Clone>(v: V) -> Vec<Holder<V>> {
    let copy = || v.clone();
    vec![
        Holder::Field { numbers: copy() },
        Holder::Newtype(copy()),
        Holder::Deep(
            Some(Box::new(copy())),
            (copy(), 1),
            vec![copy()],
            [(1, copy())].into(),
            Ok(copy()),
            [copy()].into(),
            [copy(), copy()],
        ),
    ]
}

/// Bulk and one by one have the same bytes, and each reads the other's.
fn assert_interchangeable<N>(numbers: Vec<N>)
where
    N: Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + 'static,
{
    let bulk = holders(numbers.clone());
    let each = holders(OneByOne(numbers));
    let encoded = encode(bulk.clone()).unwrap();
    assert_eq!(encoded.as_bytes(), encode(each.clone()).unwrap().as_bytes());
    assert_eq!(decode::<Vec<Holder<Vec<N>>>>(encoded.as_bytes().to_vec()).unwrap(), bulk);
    assert_eq!(decode::<Vec<Holder<OneByOne<N>>>>(encoded.as_bytes().to_vec()).unwrap(), each);
}

proptest! {
    #[test]
    fn bulk_and_one_by_one_are_interchangeable(
        bytes: Vec<u8>, signed: Vec<i8>, floats in vec(-1e9f32..1e9, 0..99), doubles in vec(-1e9f64..1e9, 0..99),
    ) {
        assert_interchangeable(bytes);
        assert_interchangeable(signed);
        assert_interchangeable(floats);
        assert_interchangeable(doubles);
    }
}

#[test]
fn a_visitor_of_ones_own_sees_every_byte_of_a_vec() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sum(#[serde(deserialize_with = "add_up")] Vec<u8>);
    fn add_up<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct AddUp;
        impl<'de> Visitor<'de> for AddUp {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut sum = 0;
                while let Some(byte) = seq.next_element::<u8>()? {
                    sum += byte;
                }
                Ok(vec![sum])
            }
        }
        deserializer.deserialize_seq(AddUp)
    }
    assert_eq!(round_trip(Sum(vec![3, 1, 2])).unwrap(), Sum(vec![6]));
}

// --- enums whose two sides number their variants differently ---

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum SkipFirst {
    #[serde(skip)]
    #[expect(dead_code, reason = "it is there to be skipped")]
    Hidden(u64),
    A(u32),
    B(u32),
    C(u32),
}

#[test]
fn a_skipped_variant_before_others_shifts_nothing() {
    assert_eq!(round_trip(SkipFirst::A(1)).unwrap(), SkipFirst::A(1));
    assert_eq!(round_trip(SkipFirst::B(2)).unwrap(), SkipFirst::B(2));
    assert_eq!(round_trip(vec![SkipFirst::C(3)]).unwrap(), [SkipFirst::C(3)]);
    let plain = postcard::to_stdvec(&SkipFirst::A(1)).unwrap();
    assert_eq!(postcard::from_bytes::<SkipFirst>(&plain), Ok(SkipFirst::B(1)), "postcard alone is wrong");
}

#[test]
fn an_alias_of_a_variant_shifts_nothing() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Aliased {
        #[serde(alias = "A0", alias = "Old")]
        A,
        #[serde(skip)]
        #[expect(dead_code, reason = "it is there to be skipped")]
        Hidden,
        B,
        C,
    }
    let all = vec![Aliased::A, Aliased::B, Aliased::C];
    assert_eq!(round_trip(all.clone()).unwrap(), all);
}

#[test]
fn a_variant_under_another_name_is_an_error_that_names_the_enum() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Old {
        Red,
        Green,
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum Color {
        Red,
        Blue,
    }
    assert!(matches!(reread::<_, Color>(Old::Red), Ok(Color::Red)));
    let error = reread::<_, Color>(Old::Green).unwrap_err().to_string();
    assert_contains(&error, &["variant 1 of enum `Color`", "`Blue`"]);
    let error = reread::<_, Color>((9u8, [0u8; 4])).unwrap_err().to_string();
    assert_contains(&error, &["enum `Color` has no variant 9"]);
    assert!(matches!(Color::Red, Color::Red) && !matches!(Color::Blue, Color::Red));
}

#[test]
fn a_variant_of_another_form_is_an_error_that_names_it() {
    #[derive(Debug, Serialize, Deserialize)]
    enum OneSided {
        V(#[serde(skip_serializing, default)] u8),
    }
    let error = decode_error((OneSided::V(1), 7u8));
    assert_contains(&error, &["`OneSided::V`", "another form", "Json<T>"]);
}

// --- fields that only one side has ---

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<u32>,
    total: u32,
}

#[test]
fn a_field_skipped_on_condition_is_an_error_that_names_it() {
    let full = Order { id: 1, note: Some(2), total: 3 };
    assert_eq!(round_trip(full.clone()).unwrap(), full);
    let error = encode_error(vec![Order { note: None, ..full }]);
    assert_contains(&error, &["field `note` of `Order`", "skip_serializing_if", "Json<T>"]);

    #[derive(Debug, Serialize, Deserialize)]
    enum Event {
        Sold {
            #[serde(skip_serializing_if = "Option::is_none")]
            to: Option<u8>,
        },
    }
    assert_contains(&encode_error(Event::Sold { to: None }), &["field `to` of `Sold`"]);
}

#[test]
fn fields_that_only_one_side_has_are_an_error_that_names_the_struct() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Unwritten {
        #[serde(skip_serializing)]
        a: u32,
        b: u32,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Unread {
        #[serde(skip_deserializing)]
        a: u32,
        b: u32,
    }
    // An alias makes serde want one field more than there are to read.
    #[derive(Debug, Serialize, Deserialize)]
    struct UnreadAliased {
        #[serde(alias = "c")]
        b: u32,
        #[serde(skip_deserializing)]
        a: u32,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Tuple(#[serde(skip_serializing_if = "Option::is_none")] Option<u8>, u8);

    for padding in [0, 1] {
        assert_contains(&decode_error((Unwritten { a: 1, b: 1 }, padding)), &["`Unwritten`", "Json<T>"]);
        assert_contains(&decode_error((Unread { a: 1, b: 1 }, padding)), &["`Unread`", "Json<T>"]);
        assert_contains(&decode_error((UnreadAliased { a: 1, b: 1 }, padding)), &["`UnreadAliased`"]);
        assert_contains(&decode_error((Tuple(None, 1), padding)), &["`Tuple`", "Json<T>"]);
    }
    assert!(round_trip(Tuple(Some(1), 2)).is_ok());
}

#[test]
fn an_alias_of_a_field_changes_nothing() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Aliased {
        #[serde(alias = "first", alias = "one")]
        a: u8,
        b: u8,
    }
    assert_eq!(round_trip((Aliased { a: 1, b: 2 }, 3u8)).unwrap(), (Aliased { a: 1, b: 2 }, 3));
}

// --- what describes itself ---

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Sold { price: u32 },
    Lost,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "what")]
enum Adjacent {
    Nothing,
    One(u8),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Around<T> {
    before: u8,
    inside: T,
}

fn around<T>(inside: T) -> Around<T> {
    Around { before: 1, inside }
}

fn flat() -> Flat {
    Flat { id: 1, rest: [("a".to_string(), 2)].into() }
}

#[test]
fn what_describes_itself_is_an_error_that_names_the_type_and_the_field() {
    assert_contains(&decode_error(Untagged::Number(1)), &["Untagged`", "untagged", "Json<T>"]);
    assert_contains(&decode_error(Internal::Lost), &["internally tagged enum Internal", "Json<T>"]);
    assert_contains(&decode_error(Adjacent::Nothing), &["Adjacent`", "tagged", "Json<T>"]);
    assert_contains(&decode_error(around(Adjacent::One(1))), &["Adjacent", "Json<T>"]);
    assert_contains(&decode_error(flat()), &["Flat`", "flattened", "Json<T>"]);
    assert_contains(&decode_error(around(Untagged::Text("x".into()))), &["`Around.inside`", "Json<T>"]);
    assert_contains(&decode_error(around(Internal::Sold { price: 1 })), &["`Around.inside`", "Internal"]);
    assert_contains(&decode_error(around(flat())), &["`Around.inside`", "Flat"]);
    assert_contains(
        &decode_error(around(serde_json::json!([1]))),
        &["`Around.inside`", "JSON value", "Json<T>"],
    );
}

#[test]
fn an_error_that_foreign_code_swallows_still_fails_the_payload() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Lenient(#[serde(deserialize_with = "or_default")] Untagged);
    fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Untagged, D::Error> {
        Ok(Untagged::deserialize(deserializer).unwrap_or(Untagged::Number(0)))
    }
    assert_contains(&decode_error(vec![Lenient(Untagged::Number(7))]), &["Json<T>"]);

    #[derive(Debug, Deserialize)]
    struct Careless;
    impl Serialize for Careless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(Some(1))?;
            let _ = seq.serialize_element(&Order { id: 1, note: None, total: 2 });
            seq.end()
        }
    }
    assert_contains(&encode_error(Careless), &["field `note` of `Order`"]);
}

#[cfg(feature = "json")]
mod json {
    use super::*;
    use crate::Json;

    #[test]
    fn json_carries_what_the_compact_format_cannot() {
        fn check<T: Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + 'static>(
            value: T,
        ) {
            assert_eq!(round_trip(Json(value.clone())).unwrap().0, value);
            assert_eq!(round_trip(vec![around(Json(value.clone()))]).unwrap()[0].inside.0, value);
            assert_eq!(round_trip(Json(around(Json(value.clone())))).unwrap().0.inside.0, value);
        }
        check(Untagged::Text("x".into()));
        check(Internal::Lost);
        check(Adjacent::One(1));
        check(flat());
        check(serde_json::json!({ "a": [1, null, "x"] }));
        check(Order { id: 1, note: None, total: 3 });
    }

    #[test]
    fn json_that_is_none_is_an_error() {
        let error = reread::<_, (Json<u32>,)>((Bytes::from_static(b"7 x"),)).unwrap_err().to_string();
        assert_contains(&error, &["line 1 column 3", "Json<u32>"]);
    }
}

// --- lengths and hostile bytes ---

#[test]
fn a_length_that_is_not_known_or_wrong_is_put_right() {
    /// Writes `len` items, and announces another number of them.
    #[derive(Debug, Clone, Copy)]
    struct Announced(Option<usize>, u16);
    impl Serialize for Announced {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(self.0)?;
            (0..self.1).try_for_each(|n| seq.serialize_element(&n))?;
            seq.end()
        }
    }
    impl<'de> Deserialize<'de> for Announced {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let numbers = Vec::<u16>::deserialize(deserializer)?;
            assert!(numbers.iter().copied().eq(0..numbers.len() as u16));
            Ok(Self(None, numbers.len() as u16))
        }
    }
    for announced in [None, Some(3), Some(1000)] {
        for written in [0, 3, 300] {
            let back = round_trip((Announced(announced, written), "after".to_string())).unwrap();
            assert_eq!((back.0.1, &*back.1), (written, "after"));
        }
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    let error = decode::<(u8, u8)>(vec![1, 2, 3]).unwrap_err().to_string();
    assert_eq!(error, "1 bytes are left over after the value (in `(u8, u8)`)");
}

#[test]
fn a_claim_that_the_bytes_cannot_hold_reserves_no_memory() {
    fn check<T: Payload + fmt::Debug>() {
        // The largest varint, and one that overflows when multiplied by the size of an element.
        for claim in [u64::MAX, 1 << 61, 1 << 40, 1 << 20] {
            let bytes = postcard::to_stdvec(&(claim, 1u32)).unwrap();
            decode::<T>(bytes.to_vec()).unwrap_err();
        }
    }
    check::<(Vec<u8>,)>();
    check::<(Vec<f64>,)>();
    check::<(Vec<u64>,)>();
    check::<(String,)>();
    check::<(Vec<String>,)>();
    check::<(OneByOne<f64>,)>();
    check::<HashMap<u64, u64>>();
    check::<Vec<Unit>>();
    check::<(Bytes,)>();
    check::<Vec<[u64; 32]>>();
}

#[test]
fn a_claim_that_the_bytes_cannot_hold_is_not_passed_on() {
    #[derive(Debug, Serialize)]
    struct Hint(usize);
    impl<'de> Deserialize<'de> for Hint {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(Hint(0))
        }
    }
    impl<'de> Visitor<'de> for Hint {
        type Value = Hint;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Hint, A::Error> {
            Err(serde::de::Error::custom(format!("hint {:?}", seq.size_hint())))
        }
    }
    let bytes = postcard::to_stdvec(&(u64::MAX, 1u8, 2u8)).unwrap();
    assert_contains(&decode::<Hint>(bytes.to_vec()).unwrap_err().to_string(), &["hint Some(2)"]);
}

#[test]
fn elements_without_bytes_are_limited_on_both_sides() {
    assert_eq!(round_trip(vec![(); 65_536]).unwrap().len(), 65_536);
    assert_contains(&encode_error(vec![(); 65_537]), &["more than 65536 elements take no bytes"]);
    // Three bytes of claims per inner sequence.
    let mut bytes = postcard::to_stdvec(&1000usize).unwrap();
    bytes.extend((0..1000).flat_map(|_| postcard::to_stdvec(&65_000usize).unwrap()));
    let error = decode::<Vec<Vec<Unit>>>(bytes.to_vec()).unwrap_err().to_string();
    assert_contains(&error, &["elements"]);
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
}

fn chain(len: usize) -> Chain {
    (1..len).fold(Chain { next: None }, |next, _| Chain { next: Some(Box::new(next)) })
}

#[test]
fn nesting_is_limited_on_both_sides() {
    round_trip(chain(128)).unwrap();
    assert_contains(&encode_error(chain(129)), &["nested deeper than 256 levels"]);
    // One field, some, one field, some, …
    let error = decode::<Chain>([1; 1 << 20].to_vec()).unwrap_err().to_string();
    assert_contains(&error, &["nested deeper than 256 levels"]);
}

/// Reads arbitrary bytes; what comes out must encode again.
fn survive<T: Payload>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes.to_vec()) {
        encode(value).unwrap();
    }
    let _ = decode::<T>(bytes.to_vec());
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>) {
        survive::<Rich>(&bytes);
        survive::<Shape>(&bytes);
        survive::<Vec<Shape>>(&bytes);
        survive::<SkipFirst>(&bytes);
        survive::<Chain>(&bytes);
        survive::<Vec<f32>>(&bytes);
        survive::<String>(&bytes);
        survive::<Option<Vec<f64>>>(&bytes);
        survive::<Vec<Vec<Unit>>>(&bytes);
        survive::<HashMap<String, Vec<u8>>>(&bytes);
        survive::<HashSet<(u8, char)>>(&bytes);
        survive::<Result<(Duration, IpAddr), PathBuf>>(&bytes);
        survive::<Untagged>(&bytes);
    }

    /// Bytes that are nearly right get further than arbitrary ones.
    #[test]
    fn a_damaged_payload_is_a_value_or_an_error(
        value in rich(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(value).unwrap().as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        survive::<Rich>(&bytes);
        survive::<Rich>(&bytes[..cut.index(bytes.len())]);
    }
}

#[test]
fn an_encoded_payload_may_move_to_another_thread() {
    fn can_move<T: Send + 'static>(_: &T) {}
    let encoded = encode(vec![1.0f32]).unwrap();
    can_move(&encoded);
    assert_eq!(std::thread::spawn(move || encoded.len()).join().unwrap(), 4);
}

#[test]
fn the_value_is_serialized_once() {
    thread_local!(static CALLS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    #[derive(Debug, Deserialize)]
    struct Counted;
    impl fmt::Display for Counted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            CALLS.set(CALLS.get() + 1);
            f.write_str("counted")
        }
    }
    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
    encode(vec![Counted]).unwrap();
    assert_eq!(CALLS.get(), 1);
}

// --- shared memory ---

fn piece(text: &str) -> SharedBytes {
    SharedBytes::copy_from_slice(text.as_bytes()).unwrap()
}

/// Sends a value there and back, with the shared memory beside it.
fn cross<T: Payload>(value: T) -> Result<T, CodecError> {
    let encoded = encode(value)?;
    decode(Arrived { body: encoded.as_bytes().to_vec().into(), pieces: encoded.pieces().to_vec() })
}

#[test]
fn shared_memory_is_named_in_the_bytes_and_listed_beside_them() {
    let (a, b) = (piece("a"), piece("b"));
    let encoded = encode((vec![a.clone(), b.clone()], "text".to_string(), Some(a.clone()))).unwrap();
    assert_eq!(encoded.as_bytes(), [2, 0, 1, 4, b't', b'e', b'x', b't', 1, 0]);
    assert_eq!(encoded.pieces(), [a.clone(), b]);
    let back = cross(a.clone()).unwrap();
    assert_eq!(back.as_ptr(), a.as_ptr(), "copied");
}

#[cfg(feature = "json")]
#[test]
fn shared_memory_crosses_inside_of_json_too() {
    let map = BTreeMap::from([("a".to_string(), piece("a")), ("b".to_string(), piece("b"))]);
    let Json(back) = cross(Json(map.clone())).unwrap();
    assert_eq!(back, map);
}

#[test]
fn bytes_that_name_shared_memory_which_is_not_there_are_an_error() {
    for bytes in [vec![0], vec![5], vec![255, 255, 255, 255, 15]] {
        let error = decode::<SharedBytes>(bytes).unwrap_err().to_string();
        assert_contains(&error, &["piece", "0 came along"]);
    }
    let arrived = Arrived { body: vec![0].into(), pieces: vec![piece("abc")] };
    let error = decode::<Shared<[u16]>>(arrived).unwrap_err().to_string();
    assert_contains(&error, &["3 bytes are no whole number of elements of 2 bytes"]);
}

#[test]
fn an_error_leaves_no_shared_memory_to_the_next_payload() {
    let endless = std::iter::repeat_n((), 70_000).collect::<Vec<()>>();
    encode_error((piece("a"), endless));
    assert!(encode(1u8).unwrap().pieces().is_empty());
    assert!(serde_json::to_string(&piece("b")).is_err());
}
