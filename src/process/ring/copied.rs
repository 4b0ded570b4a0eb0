//! [`Copied`]: what lay in a slot, copied.

/// The inline bytes of a slot, copied: a few of them without an allocation, which most arguments and results would not need for
/// longer than it takes to read them.
#[derive(Clone)]
pub(crate) enum Copied {
    Few { len: u8, bytes: Words },
    Many(Vec<u8>),
}

/// As many as a payload keeps in place.
pub(super) const FEW: usize = 32;

/// Bytes that are moved word by word, as they were written.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct Words(pub(super) [u8; FEW]);

impl Copied {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Few { len, bytes } => &bytes.0[..usize::from(*len)],
            Self::Many(bytes) => bytes,
        }
    }
}

impl PartialEq for Copied {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Copied {}

impl std::fmt::Debug for Copied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_bytes().fmt(f)
    }
}

#[cfg(test)]
impl From<Vec<u8>> for Copied {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Many(bytes)
    }
}
