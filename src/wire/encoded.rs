//! [`Encoded`]: the bytes of a payload, on their way.

use std::fmt;

use bytes::Bytes;

use super::bulk::{self, Number};
use crate::shared_memory::SharedBytes;

/// A payload as bytes. A bulk buffer was taken over, not copied: the first copy is the one into shared memory.
pub(crate) struct Encoded {
    repr: Repr,
    /// The shared memory that the bytes name, by its place in this list.
    pieces: Vec<SharedBytes>,
}

enum Repr {
    Plain(Vec<u8>),
    Shared(Bytes),
    Numbers(Box<dyn AsBytes + Send>),
}

/// A buffer of numbers, seen as bytes.
trait AsBytes {
    fn as_bytes(&self) -> &[u8];
}

impl<N: Number> AsBytes for Vec<N> {
    fn as_bytes(&self) -> &[u8] {
        bulk::as_bytes(self)
    }
}

impl Encoded {
    pub(super) fn plain(bytes: Vec<u8>) -> Self {
        Self::of(Repr::Plain(bytes), Vec::new())
    }

    pub(crate) fn naming(bytes: Vec<u8>, pieces: Vec<SharedBytes>) -> Self {
        Self::of(Repr::Plain(bytes), pieces)
    }

    fn of(repr: Repr, pieces: Vec<SharedBytes>) -> Self {
        Self { repr, pieces }
    }

    /// The shared memory that the bytes name, each piece once.
    pub(crate) fn pieces(&self) -> &[SharedBytes] {
        &self.pieces
    }

    /// The bytes, to which more may be appended, of a payload that names shared memory.
    ///
    /// # Panics
    ///
    /// If it names none.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        match &mut self.repr {
            Repr::Plain(bytes) => bytes,
            Repr::Shared(_) | Repr::Numbers(_) => panic!("a bulk buffer names no shared memory"),
        }
    }

    pub(super) fn shared(bytes: Bytes) -> Self {
        Self::of(Repr::Shared(bytes), Vec::new())
    }

    pub(super) fn numbers<N: Number>(numbers: Vec<N>) -> Self {
        Self::of(Repr::Numbers(Box::new(numbers)), Vec::new())
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.repr {
            Repr::Plain(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
            Repr::Numbers(numbers) => (**numbers).as_bytes(),
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded").field("len", &self.len()).finish_non_exhaustive()
    }
}
