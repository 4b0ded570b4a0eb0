//! [`Arrived`]: a payload as it came from the other process; [`Body`]: its bytes.

use super::{
    bulk::{self, Number, Source},
    encoded::Short,
};
use crate::shared_memory::SharedBytes;

/// The bytes of a payload, not trusted, and the shared memory that they may name.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) body: Body,
    pub(crate) pieces: Vec<SharedBytes>,
}

/// The bytes of a payload.
#[derive(Debug)]
pub(crate) enum Body {
    Here(Vec<u8>),
    /// Here as well, and too few for a buffer of their own.
    Few(Short),
    /// Still in memory that the other process can write: whoever knows of what type they are copies them into place, once.
    There(Box<dyn Source>),
}

impl Body {
    /// Copies the bytes here, if they are not.
    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Here(bytes) => bytes,
            Self::Few(bytes) => bytes.as_bytes().to_vec(),
            Self::There(source) => bulk::from_source(&*source).expect("any bytes are whole bytes"),
        }
    }

    /// Has the bytes looked at, and returns also the body. Bytes that are not here are copied, and nothing of them is left.
    pub(super) fn read<R>(self, read: impl FnOnce(&[u8]) -> R) -> (R, Self) {
        match &self {
            Self::Here(bytes) => (read(bytes), self),
            Self::Few(bytes) => (read(bytes.as_bytes()), self),
            Self::There(_) => (read(&self.into_vec()), Self::default()),
        }
    }

    /// Copies the bytes into numbers, or returns `None` if a part of a number is left over.
    pub(super) fn to_numbers<N: Number>(&self) -> Option<Vec<N>> {
        match self {
            Self::Here(bytes) => bulk::from_bytes(bytes),
            Self::Few(bytes) => bulk::from_bytes(bytes.as_bytes()),
            Self::There(source) => bulk::from_source(&**source),
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Few(bytes) => bytes.as_bytes().len(),
            Self::There(source) => source.len(),
        }
    }
}

impl Default for Body {
    /// No bytes.
    fn default() -> Self {
        Self::Here(Vec::new())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Here(bytes)
    }
}

impl From<Short> for Body {
    fn from(bytes: Short) -> Self {
        Self::Few(bytes)
    }
}

impl From<Vec<u8>> for Arrived {
    fn from(bytes: Vec<u8>) -> Self {
        Body::Here(bytes).into()
    }
}

impl From<Body> for Arrived {
    fn from(body: Body) -> Self {
        Self { body, pieces: Vec::new() }
    }
}
