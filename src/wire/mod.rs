//! Turns arguments and results into bytes and back. No I/O: bytes in, bytes out.
//!
//! A payload that is one bulk buffer (`Vec<u8>`, `String`, `Vec<f32>`, …) travels raw, without a header: `whole.rs`.
//! Everything else is [postcard's wire format](https://postcard.jamesmunns.com/wire-format) with three additions,
//! because postcard alone can return wrong values without a word where `Serialize` and `Deserialize` disagree:
//!
//! 1. After the index of an enum variant come four bytes, the hash of its name and its kind ([`check`]).
//!    `#[serde(skip)]` on a variant shifts the indices of one side only
//!    ([postcard #125](https://github.com/jamesmunns/postcard/issues/125),
//!    [serde #2674](https://github.com/serde-rs/serde/issues/2674)).
//! 2. Before the fields of a struct, a tuple struct, and a variant with more than one field comes their number.
//!    `skip_serializing` and `skip_serializing_if` drop fields on one side only.
//! 3. The value ends where the bytes end.
//!
//! Invariants:
//!
//! 1. The bytes are untrusted. Whatever they claim, memory is reserved for no more elements than bytes are left.
//! 2. What one side refuses, so does the other: nesting ([`limits`]) and elements that take no bytes are counted alike.
//! 3. An error that foreign `Serialize` or `Deserialize` code swallows still fails the payload: bytes were written or
//!    read up to somewhere in the middle of a value.
//! 4. Shared memory is named by its place in a list that travels beside the bytes ([`Encoded::pieces`], [`Arrived`]): the
//!    bytes can name nothing else.
//! 5. The fast paths for bulk data inside a payload and for one number change no byte: [`bulk`], [`number`].

mod arrived;
mod bulk;
mod check;
mod codec;
mod decoder;
mod encoded;
mod encoder;
mod error;
#[cfg(feature = "json")]
mod json;
mod limits;
mod number;
mod payload;
#[cfg(test)]
mod tests;
mod whole;

pub(crate) use arrived::{Arrived, Body};
#[cfg(target_os = "linux")]
pub(crate) use bulk::Source;
#[cfg(target_os = "linux")]
pub(crate) use codec::decode_out_of;
pub(crate) use codec::{Appended, append, decode, decode_part, encode, is_bulk};
pub(crate) use encoded::Encoded;
#[cfg(target_os = "linux")]
pub(crate) use encoded::Short;
pub(crate) use error::CodecError;
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(target_os = "linux")]
pub(crate) use number::{from_word, to_word};
pub use payload::Payload;
