//! [`VariantCheck`]: four bytes that tell an enum variant from its neighbours.

/// How a variant holds its fields. Both sides must agree on it: `#[serde(skip_serializing)]` on the only field of a
/// variant turns a newtype variant into a unit variant on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VariantKind {
    Unit = 0,
    Newtype = 1,
    Tuple = 2,
    Struct = 3,
}

/// A hash of a variant's name in the upper 30 bits, its kind in the lower two.
#[derive(Debug, Clone, Copy)]
pub(super) struct VariantCheck(u32);

impl VariantCheck {
    pub(super) fn new(variant: &str, kind: VariantKind) -> Self {
        Self((fnv1a(variant.as_bytes()) << 2) | kind as u32)
    }

    pub(super) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    pub(super) fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    pub(super) fn is_named(self, variant: &str) -> bool {
        self.0 >> 2 == Self::new(variant, VariantKind::Unit).0 >> 2
    }

    pub(super) fn is_kind(self, kind: VariantKind) -> bool {
        self.0 & 3 == kind as u32
    }
}

/// The [FNV-1a](https://datatracker.ietf.org/doc/html/rfc9923) hash. `std`'s hasher is not promised to stay the same.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn name_and_kind_are_told_apart() {
        let check = VariantCheck::from_bytes(VariantCheck::new("Circle", VariantKind::Tuple).to_bytes());
        assert!(check.is_named("Circle") && check.is_kind(VariantKind::Tuple));
        assert!(!check.is_named("Square") && !check.is_kind(VariantKind::Newtype));
    }
}
