use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    num::NonZeroU8,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

use super::*;
use crate::{Shared, SharedBytes};

/// What is seen of a type.
fn see<T: Payload>() -> String {
    let text = describe::<T, ()>();
    let text = text.strip_prefix("format 1: ").unwrap();
    text.strip_suffix(" -> unit").unwrap().to_owned()
}

/// Implements `Serialize` for types that only need to be read here.
macro_rules! never_written {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                unreachable!("only its type is looked at")
            }
        }
    )*};
}

/// Defines a type in a module of its own, so that others can have the same name.
macro_rules! types {
    ($($module:ident: $item:item)*) => {$(
        mod $module {
            #[allow(unused_imports, reason = "not every type needs them")]
            use super::*;
            #[derive(Debug, Serialize, Deserialize)]
            $item
        }
    )*};
}

types! {
    point: pub(super) struct Point { pub(super) x: f64, pub(super) y: f64 }
    moved: pub(super) struct Point { x: f64, y: f64 }
    renamed: pub(super) struct Place { x: f64, y: f64 }
    swapped: pub(super) struct Point { y: f64, x: f64 }
    other_field: pub(super) struct Point { x: f64, z: f64 }
    other_type: pub(super) struct Point { x: f64, y: f32 }
    more: pub(super) struct Point { x: f64, y: f64, z: f64 }
    optional: pub(super) struct Point { x: f64, y: Option<f64> }
    unnamed: pub(super) struct Point(f64, f64);
    boxed: pub(super) struct Point { x: Box<f64>, #[serde(default)] y: f64 }
    shape: pub(super) enum Shape { Dot, Circle(f64), Line(f64, f64), Box { width: f64 } }
    shape_with_more: pub(super) enum Shape { Dot, Circle(f64), Line(f64, f64), Box { width: f64 }, Blob }
    shape_in_another_order: pub(super) enum Shape { Circle(f64), Dot, Line(f64, f64), Box { width: f64 } }
    shape_renamed: pub(super) enum Shape { Dot, Disc(f64), Line(f64, f64), Box { width: f64 } }
    shape_of_another_kind: pub(super) enum Shape { Dot, Circle { radius: f64 }, Line(f64, f64), Box { width: f64 } }
    shape_with_another_field: pub(super) enum Shape { Dot, Circle(f64), Line(f64, f64), Box { height: f64 } }
}

#[test]
fn what_the_format_sees_changes_the_fingerprint() {
    let prints = [
        fingerprint::<point::Point, ()>(),
        fingerprint::<(), point::Point>(),
        fingerprint::<renamed::Place, ()>(),
        fingerprint::<swapped::Point, ()>(),
        fingerprint::<other_field::Point, ()>(),
        fingerprint::<other_type::Point, ()>(),
        fingerprint::<more::Point, ()>(),
        fingerprint::<optional::Point, ()>(),
        fingerprint::<unnamed::Point, ()>(),
        fingerprint::<Vec<point::Point>, ()>(),
        fingerprint::<(point::Point,), ()>(),
        fingerprint::<shape::Shape, ()>(),
        fingerprint::<shape_with_more::Shape, ()>(),
        fingerprint::<shape_in_another_order::Shape, ()>(),
        fingerprint::<shape_renamed::Shape, ()>(),
        fingerprint::<shape_of_another_kind::Shape, ()>(),
        fingerprint::<shape_with_another_field::Shape, ()>(),
        fingerprint::<u32, ()>(),
        fingerprint::<i32, ()>(),
        fingerprint::<SharedBytes, ()>(),
        fingerprint::<Shared<[f64]>, ()>(),
        fingerprint::<Shared<[u64]>, ()>(),
        fingerprint::<Shared<[[u8; 2]]>, ()>(),
        fingerprint::<Vec<u64>, ()>(),
        fingerprint::<Vec<usize>, ()>(),
    ];
    assert_eq!(prints.iter().collect::<HashSet<_>>().len(), prints.len(), "{prints:x?}");
}

#[test]
fn what_the_format_does_not_see_changes_nothing() {
    let point = see::<point::Point>();
    assert_eq!(see::<moved::Point>(), point, "another module");
    assert_eq!(see::<boxed::Point>(), point, "a box and a default");
    assert_eq!(see::<(VecDeque<u8>, u8)>(), see::<(Vec<u8>, u8)>());
    assert_eq!(see::<(HashSet<String>, usize)>(), see::<(Vec<PathBuf>, u64)>());
    assert_eq!(see::<(Cow<'static, str>,)>(), see::<(String,)>());
    assert_eq!(see::<HashMap<u8, u8>>(), see::<BTreeMap<u8, u8>>());
}

#[test]
fn it_stays_the_same() {
    assert_eq!(describe::<u32, String>(), "format 1: u32 -> raw str");
    assert_eq!(fingerprint::<u32, String>(), fnv1a(b"format 1: u32 -> raw str"));
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    assert_eq!(
        see::<(Vec<u8>, BTreeMap<String, i8>, Result<Duration, char>, [bool; 2])>(),
        "tuple :4(seq :1(u8),map :2(str,i8),enum Result:2(Ok newtype Ok:1(struct Duration:2(secs u64,nanos u32)),\
         Err newtype Err:1(char)),tuple :2(bool,bool))"
    );
    assert_eq!(
        see::<shape::Shape>(),
        "enum Shape:4(Dot unit,Circle newtype Circle:1(f64),Line tuple-struct Line:2(f64,f64),\
         Box struct Box:1(width f64))"
    );
    if cfg!(all(target_endian = "little", target_pointer_width = "64")) {
        assert_eq!(see::<Vec<f64>>(), "raw little seq :1(f64)");
        assert_eq!(see::<Vec<usize>>(), "raw little 8 seq :1(u64)");
        assert_eq!(
            see::<(SharedBytes, Option<Shared<[f64]>>, u32)>(),
            "tuple :3(shared u8,option :1(shared f64 little 8),u32)"
        );
    }
}

#[test]
fn types_of_one_name_are_told_apart() {
    assert_eq!(
        see::<(point::Point, other_type::Point, point::Point)>(),
        "tuple :3(struct Point:2(x f64,y f64),struct Point:2(x f64,y f32),#0)"
    );
}

#[derive(Debug, Serialize, Deserialize)]
struct Tree {
    label: String,
    children: Vec<Tree>,
    next: Option<Box<Tree>>,
    by_name: BTreeMap<u8, Tree>,
}

/// The only variant that ends comes last.
#[derive(Debug, Serialize, Deserialize)]
enum Term {
    Sum(Box<Term>, Box<Term>),
    Negative(Box<Term>),
    Call { function: Function, arguments: Vec<Term> },
    Number(f32),
}

#[derive(Debug, Serialize, Deserialize)]
enum Function {
    Named(u16),
    Computed(Box<Term>),
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
enum Endless {
    Again(Box<Endless>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Bottomless(Box<Bottomless>);

#[test]
fn types_that_hold_themselves_are_seen_whole() {
    assert_eq!(
        see::<Tree>(),
        "struct Tree:4(label str,children seq :1(#0),next option :1(#0),by_name map :2(u8,#0))"
    );
    assert_eq!(
        see::<(Term, i8)>(),
        "tuple :2(enum Term:4(Sum tuple-struct Sum:2(#0,#0),Negative newtype Negative:1(#0),\
         Call struct Call:2(function enum Function:3(Named newtype Named:1(u16),Computed newtype Computed:1(#0),\
         Nothing unit),arguments seq :1(#0)),Number newtype Number:1(f32)),i8)"
    );
}

#[test]
fn types_without_a_value_are_given_up() {
    assert_eq!(see::<Endless>(), "enum Endless:1(Again newtype Again:1(#0))");
    assert_eq!(see::<Bottomless>(), "newtype Bottomless:1(#0)");
    assert_eq!(see::<(u8, Option<Endless>, i8)>().split(',').next_back(), Some("i8)"));
}

#[derive(Debug, Serialize, Deserialize)]
enum Outer {
    Plain,
    Holds(Vec<Inner>, bool),
    Last,
}

#[derive(Debug, Serialize, Deserialize)]
enum Inner {
    One,
    Two(Deep),
    Three,
}

#[derive(Debug, Serialize, Deserialize)]
enum Deep {
    Up(u8),
    Down(i8),
}

#[test]
fn variants_behind_variants_are_all_seen() {
    let seen = see::<(Outer, Inner)>();
    assert!(!seen.contains('?'), "{seen}");
    assert!(seen.contains("Down newtype Down:1(i8)"), "{seen}");
}

/// Takes nothing but what it checks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Checked<const WORD: char>;

impl<const WORD: char> TryFrom<String> for Checked<WORD> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains(WORD) { Ok(Self) } else { Err(format!("no {WORD} in it")) }
    }
}

impl<const WORD: char> From<Checked<WORD>> for String {
    fn from(_: Checked<WORD>) -> Self {
        WORD.into()
    }
}

impl<const WORD: char> Clone for Checked<WORD> {
    fn clone(&self) -> Self {
        Self
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Visit {
    count: NonZeroU8,
    host: Checked<':'>,
    also: Checked<'-'>,
    last: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct Strict {
    before: u8,
    inside: Vec<(u16, Checked<'€'>)>,
    between: Option<u8>,
    checked: Checked<'€'>,
    after: u32,
}

#[derive(Debug, Serialize, Deserialize)]
enum Choice {
    Strict(Checked<'€'>),
    Free(u8),
}

#[test]
fn types_that_check_what_they_read_are_offered_more() {
    assert_eq!(see::<Visit>(), "struct Visit:4(count u8,host str,also str,last u8)");
    assert_eq!(see::<std::net::IpAddr>().matches("u8").count(), 4 + 16);
}

#[test]
fn of_what_refuses_all_samples_the_rest_is_still_seen() {
    assert_eq!(
        see::<Strict>(),
        "struct Strict:5(before u8,inside seq :1(tuple :2(u16,str)),between option :1(u8),checked str,after ?)"
    );
    assert_eq!(
        see::<(Choice, i64)>(),
        "tuple :2(enum Choice:2(Strict newtype Strict:1(str),Free newtype Free:1(u8)),i64)"
    );
}

/// Reads what no format without a description of itself can carry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    #[allow(dead_code, reason = "only its type is looked at")]
    Number(u32),
}

#[derive(Debug)]
struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in Deserialize")
    }
}

/// A million elements of an array.
#[derive(Debug)]
struct Large;

/// One that tells nobody, and counts the elements that it is given.
#[derive(Debug)]
struct Greedy;

struct Counts(&'static AtomicU32);

static LARGE: AtomicU32 = AtomicU32::new(0);
static GREEDY: AtomicU32 = AtomicU32::new(0);

impl<'de> Visitor<'de> for Counts {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element::<u8>()?.is_some() {
            self.0.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Large {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(1 << 40, Counts(&LARGE)).map(|()| Self)
    }
}

impl<'de> Deserialize<'de> for Greedy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Counts(&GREEDY)).map(|()| Self)
    }
}

/// As many variants as a large machine-made enum has.
#[derive(Debug)]
struct Many;

const MANY: usize = 2_000;

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Many;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one of many")
            }

            fn visit_enum<A: de::EnumAccess<'de>>(self, variant: A) -> Result<Many, A::Error> {
                let (_, content) = variant.variant::<String>()?;
                de::VariantAccess::newtype_variant::<u64>(content).map(|_| Many)
            }
        }
        static NAMES: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| {
            (0..MANY).map(|n| -> &'static str { format!("v{n}").leak() }).collect()
        });
        deserializer.deserialize_enum("Many", &NAMES, Reads)
    }
}

/// Goes on where what is in it has failed.
#[derive(Debug)]
struct Forgiving;

impl<'de> Deserialize<'de> for Forgiving {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(<(u8, Checked<'€'>)>::deserialize(deserializer).map_or(Self, |_| Self))
    }
}

never_written!(Panics, Large, Greedy, Many, Forgiving);

#[test]
fn whatever_a_type_does_there_is_an_end() {
    assert_eq!(see::<Untagged>(), "any");
    assert_eq!(see::<serde_json::Value>(), "any");
    assert_eq!(see::<(u8, Panics)>(), "tuple :2(u8,?)");
    assert_eq!(see::<(Forgiving, i8)>(), "tuple :2(tuple :2(u8,str),i8)");
    assert!(see::<Large>().starts_with("tuple :1099511627776(u8,u8,"));
    assert!(LARGE.load(Relaxed) < 1_000_000);
    assert_eq!(see::<Greedy>(), "seq :1(u8)");
    assert_eq!(GREEDY.load(Relaxed), 1);
    let many = see::<(Many, i8)>();
    assert!(many.starts_with("tuple :2(enum Many:2000(v0 newtype") && many.ends_with("),i8)"), "{many}");
    assert_eq!(many.matches("(u64)").count(), MANY);
}
