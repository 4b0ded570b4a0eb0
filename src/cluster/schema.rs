//! What the types of a function look like to serde, as a number ([`fingerprint`]): so that a node built from another version refuses
//! instead of decoding nonsense.
//!
//! The number is the [FNV-1a](https://datatracker.ietf.org/doc/html/rfc9923) hash of a text ([`describe`]) which depends on the types alone: not on
//! the compiler, the machine, or where types are defined. [`tracer`] finds out what stands in it.
//!
//! * It changes with the names of structs, enums, fields and variants, as serde is told them (`#[serde(rename)]`, and every `alias`), their order and number, the
//!   kinds and sizes of numbers, and with what is optional, a sequence, a map or a tuple, however deep. With the byte order, and the size of a
//!   `usize`, where numbers travel as they lie in memory: a `Vec` of numbers that is the whole argument, and `Shared<[T]>`. With
//!   [`FORMAT`].
//! * It does not change with what the format does not see: modules and crates, the names of type parameters, `Box`, `Arc` and
//!   `Cow`, `Vec` or `VecDeque` or `HashSet`, `String` or `PathBuf`, `usize` or `u64` as a single number, and defaults.
//! * A type that checks what it reads is offered other values. If it refuses them all, it and what follows it in the same struct are
//!   known by the names of the fields alone, which are in the text in any case; what is before them, and all that does not depend on
//!   it, is known. So is a `Json<T>`, whose text describes itself, and for which that is enough.

mod reader;
mod samples;
mod shape;
mod tracer;

use std::{any::TypeId, collections::HashMap, fmt::Write};

use bytes::Bytes;

use self::{
    shape::{Kind, Node, Shape},
    tracer::Tracer,
};
use super::content::FORMAT;
use crate::{Payload, wire::is_bulk};

/// How much text is made at most, about.
const MOST: usize = 1 << 20;

/// What the argument and the result of a function look like.
pub(super) fn fingerprint<A: Payload, R: Payload>() -> u64 {
    fnv1a(describe::<A, R>().as_bytes())
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What the fingerprint is of.
fn describe<A: Payload, R: Payload>() -> String {
    // One for both: a type that is in both is seen once.
    let mut tracer = Tracer::new(2);
    tracer.look_at::<A>(0);
    tracer.look_at::<R>(1);
    let mut description = Description {
        nodes: &tracer.nodes,
        text: format!("format {FORMAT}: "),
        named: HashMap::new(),
        open: Vec::new(),
    };
    description.text.push_str(&raw::<A>());
    description.shape(&tracer.nodes[0].parts[0].shape);
    description.text.push_str(" -> ");
    description.text.push_str(&raw::<R>());
    description.shape(&tracer.nodes[0].parts[1].shape);
    description.text
}

/// How a payload that is one bulk buffer lies in memory.
fn raw<T: Payload>() -> String {
    let of = |types: &[TypeId]| types.contains(&TypeId::of::<T>());
    if !is_bulk::<T>() {
        String::new()
    } else if of(&[
        TypeId::of::<Vec<u8>>(),
        TypeId::of::<Vec<i8>>(),
        TypeId::of::<Box<[u8]>>(),
        TypeId::of::<String>(),
        TypeId::of::<Bytes>(),
    ]) {
        "raw ".to_owned()
    } else if of(&[TypeId::of::<Vec<usize>>(), TypeId::of::<Vec<isize>>()]) {
        format!("raw {ORDER} {} ", size_of::<usize>())
    } else {
        format!("raw {ORDER} ")
    }
}

const ORDER: &str = if cfg!(target_endian = "big") { "big" } else { "little" };

/// What the elements of shared memory are. Of those that are no numbers only the size is known.
fn elements(element: TypeId, size: usize) -> String {
    macro_rules! named {
        ($($number:ty),*) => {[$((TypeId::of::<$number>(), stringify!($number))),*]};
    }
    let names = named!(u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize, f32, f64);
    let name = names.iter().find(|name| name.0 == element).map_or("plain", |name| name.1);
    if size == 1 { format!("shared {name}") } else { format!("shared {name} {ORDER} {size}") }
}

/// A text that says what nodes look like.
struct Description<'a> {
    nodes: &'a [Node],
    text: String,
    /// The types with a name that were described, by their places among these.
    named: HashMap<usize, usize>,
    /// Those that are being described.
    open: Vec<usize>,
}

impl Description<'_> {
    fn shape(&mut self, shape: &Shape) {
        match *shape {
            Shape::Unseen => self.text.push('?'),
            Shape::Plain(name) => self.text.push_str(name),
            Shape::Piece(element, size) => self.text.push_str(&elements(element, size)),
            Shape::Node(node) => self.node(node),
        }
    }

    /// What was described before, or is just being described, is only referred to.
    fn node(&mut self, at: usize) {
        if self.text.len() > MOST {
            return self.text.push('…');
        }
        let known = self.named.get(&at).map(|place| format!("#{place}"));
        let outer = || self.open.iter().rev().position(|&open| open == at).map(|level| format!("^{level}"));
        if let Some(reference) = known.or_else(outer) {
            return self.text.push_str(&reference);
        }
        let Node { kind, name, len, .. } = self.nodes[at];
        if !name.is_empty() {
            self.named.insert(at, self.named.len());
        }
        self.open.push(at);
        // Infallible: it is a `String`.
        let _ = write!(self.text, "{} {name}:{len}(", word(kind));
        self.parts(at);
        self.text.push(')');
        self.open.pop();
    }

    fn parts(&mut self, at: usize) {
        let nodes = self.nodes;
        for (place, part) in nodes[at].parts.iter().enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            if !part.name.is_empty() {
                self.text.push_str(part.name);
                self.text.push(' ');
            }
            self.shape(&part.shape);
        }
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Root => "function",
        Kind::Option => "option",
        Kind::Seq => "seq",
        Kind::Map => "map",
        Kind::Tuple => "tuple",
        Kind::Unit => "unit",
        Kind::Newtype => "newtype",
        Kind::TupleStruct => "tuple-struct",
        Kind::Struct => "struct",
        Kind::Enum => "enum",
    }
}

#[cfg(test)]
mod tests;
