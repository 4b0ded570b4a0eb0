//! [`Encoded`]: the bytes of a payload, on their way.

use std::fmt;

use bytes::Bytes;

use super::bulk::{self, Number};

/// A payload as bytes. A bulk buffer was taken over, not copied: the first copy is the one into shared memory.
pub(crate) struct Encoded(Repr);

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
        Self(Repr::Plain(bytes))
    }

    pub(super) fn shared(bytes: Bytes) -> Self {
        Self(Repr::Shared(bytes))
    }

    pub(super) fn numbers<N: Number>(numbers: Vec<N>) -> Self {
        Self(Repr::Numbers(Box::new(numbers)))
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
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
