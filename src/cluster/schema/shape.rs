//! What [`Tracer`](super::tracer::Tracer) has seen of types: [`Node`]s, and their [`Part`]s.

use std::any::TypeId;

/// What was seen of a part.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Unseen,
    Plain(&'static str),
    /// Shared memory, with elements of that type and of so many bytes.
    Piece(TypeId, usize),
    Node(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The types that are asked about.
    Root,
    Option,
    Seq,
    Map,
    Tuple,
    Unit,
    Newtype,
    TupleStruct,
    Struct,
    Enum,
}

/// Something that has parts.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    /// How many parts it says it has.
    pub(super) len: usize,
    pub(super) parts: Vec<Part>,
}

/// A field, an element, a variant.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) state: State,
    /// Whether it was found to be endless before another variant was seen.
    pub(super) deferred: bool,
}

/// How far a variant is.
///
/// ```text
/// Fresh ──chosen──▶ Begun ──read──▶ Good
///   ▲                 │──refuses all samples──▶ Bad
///   └── to be tried again, another way ──┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Fresh,
    Begun,
    Good,
    Bad,
}

/// A part of a node.
pub(super) type Slot = (usize, usize);
