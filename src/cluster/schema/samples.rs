//! What is offered to a type that checks what it reads: the next one, where one is refused. The first fits nearly everything.
//!
//! Never changed and never put into another order, only added to at their ends: a type of which more is seen has another fingerprint.

/// Texts in which addresses, numbers, times and names are found.
pub(super) const TEXTS: [&str; 12] = [
    "",
    "a",
    "1",
    "127.0.0.1",
    "127.0.0.1:1",
    "http://localhost/",
    "00000000-0000-0000-0000-000000000001",
    "2000-01-01T00:00:00Z",
    "2000-01-01",
    "2000-01-01T00:00:00",
    "00:00:00",
    "1.0.0",
];

/// Nothing, JSON, and as many bytes as keys and hashes have.
pub(super) const BYTES: [&[u8]; 11] =
    [b"", b"null", b"1", b"\"\"", b"[]", b"{}", &[1; 4], &[1; 8], &[1; 16], &[1; 20], &[1; 32]];

pub(super) const CHARS: [char; 2] = ['a', '1'];
pub(super) const BOOLS: [bool; 2] = [false, true];
/// Not zero first, which is what most checks of numbers are about.
pub(super) const FLOATS: [f64; 3] = [1.0, 0.0, 0.5];
