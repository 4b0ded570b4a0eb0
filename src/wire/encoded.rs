//! [`Encoded`]: the bytes of a payload, on their way.

use std::fmt;

use bytes::Bytes;

use super::{
    bulk::{self, Number},
    number::Sink,
};
use crate::shared_memory::SharedBytes;

/// A payload as bytes. A bulk buffer was taken over, not copied: the first copy is the one into shared memory.
pub(crate) struct Encoded {
    repr: Repr,
    /// The shared memory that the bytes name, by its place in this list.
    pieces: Vec<SharedBytes>,
}

enum Repr {
    /// In place: a small payload crosses threads without an allocation that one makes and another frees. The fields of a [`Short`], for
    /// beside them there is room to tell the variants apart.
    Short {
        len: u8,
        bytes: InPlace,
    },
    Plain(Vec<u8>),
    Shared(Bytes),
}

/// A few bytes. As many as fit without making [`Encoded`] larger.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    len: u8,
    bytes: InPlace,
}

/// Aligned, as it is moved word by word: what was written as whole words and is read across them has to be waited for.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct InPlace([u8; SHORT]);

const SHORT: usize = 32;

impl InPlace {
    fn first(&self, len: u8) -> &[u8] {
        &self.0[..usize::from(len)]
    }
}

impl Short {
    /// No bytes yet.
    pub(super) const fn empty() -> Self {
        Self { len: 0, bytes: InPlace([0; SHORT]) }
    }

    /// A copy of the bytes, if they are few.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut short = Self { len: bytes.len().try_into().ok()?, ..Self::empty() };
        short.bytes.0.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(short)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.first(self.len)
    }
}

impl Sink for Short {
    #[inline]
    fn put(&mut self, byte: u8) {
        self.bytes.0[usize::from(self.len)] = byte;
        self.len += 1;
    }

    #[inline]
    fn put_all<const N: usize>(&mut self, bytes: [u8; N]) {
        let from = usize::from(self.len);
        self.bytes.0[from..from + N].copy_from_slice(&bytes);
        self.len += N as u8;
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().fmt(f)
    }
}

/// A buffer of numbers, seen as bytes.
struct Numbers<N>(Vec<N>);

impl<N: Number> AsRef<[u8]> for Numbers<N> {
    fn as_ref(&self) -> &[u8] {
        bulk::as_bytes(&self.0)
    }
}

impl Encoded {
    pub(super) fn plain(bytes: Vec<u8>) -> Self {
        Self::of(Repr::Plain(bytes), Vec::new())
    }

    /// A few bytes, in place.
    pub(super) fn short(Short { len, bytes }: Short) -> Self {
        Self::of(Repr::Short { len, bytes }, Vec::new())
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
            Repr::Short { .. } | Repr::Shared(_) => panic!("it names no shared memory"),
        }
    }

    pub(super) fn shared(bytes: Bytes) -> Self {
        Self::of(Repr::Shared(bytes), Vec::new())
    }

    pub(super) fn numbers<N: Number>(numbers: Vec<N>) -> Self {
        Self::shared(Bytes::from_owner(Numbers(numbers)))
    }

    /// Another handle of the bytes, which may live on when this is gone. Nothing can be appended any more.
    pub(crate) fn share(&mut self) -> Bytes {
        match &mut self.repr {
            Repr::Short { len, bytes } => Bytes::copy_from_slice(bytes.first(*len)),
            Repr::Plain(bytes) => {
                let shared = Bytes::from(std::mem::take(bytes));
                self.repr = Repr::Shared(shared.clone());
                shared
            }
            Repr::Shared(bytes) => bytes.clone(),
        }
    }

    /// The bytes, in a buffer of their own, and the shared memory that they name. Copies the bytes only where they are shared or few.
    #[cfg(feature = "nats")]
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<SharedBytes>) {
        let bytes = match self.repr {
            Repr::Short { len, bytes } => bytes.first(len).to_vec(),
            Repr::Plain(bytes) => bytes,
            Repr::Shared(bytes) => bytes.into(),
        };
        (bytes, self.pieces)
    }

    /// Whether to drop it gives nothing back but a buffer of its own.
    pub(crate) fn is_buffer(&self) -> bool {
        matches!(self.repr, Repr::Plain(_)) && self.pieces.is_empty()
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.repr {
            Repr::Short { len, bytes } => bytes.first(*len),
            Repr::Plain(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_lie_in_place_and_cost_no_room() {
        assert_eq!(size_of::<Repr>(), size_of::<(usize, Bytes)>());
        for len in 0..=SHORT {
            let bytes: Vec<u8> = (0..len as u8).collect();
            assert_eq!(Encoded::short(Short::new(&bytes).unwrap()).as_bytes(), bytes);
        }
        assert!(Short::new(&[0; SHORT + 1]).is_none());
        assert!(Short::new(&[0; 1000]).is_none());
    }
}
