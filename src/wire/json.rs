//! [`Json`]: carries as JSON text what the compact format cannot.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, Visitor},
    ser,
};

/// Carries any serde type into a process and back, as JSON text. Needs the feature `json`.
///
/// For types that [`Payload`](crate::Payload) lists as not travelling by themselves: untagged and tagged
/// enums, flattened and conditionally skipped fields, `serde_json::Value`. It may stand for the whole argument or result
/// or for a part of one.
///
/// It has JSON's limits: NaN and infinities become null, which is an error on reading unless the type allows it; map keys
/// must be strings or numbers; bulk data becomes text, several times as large and slow.
///
/// # Examples
///
/// ```
/// use heavylift::{Json, Payload};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(untagged)]
/// enum Id {
///     Number(u64),
///     Name(String),
/// }
///
/// fn describe(Json(id): Json<Id>) -> String {
///     match id {
///         Id::Number(number) => format!("#{number}"),
///         Id::Name(name) => name,
///     }
/// }
///
/// fn run_in_process<A: Payload, R: Payload>(job: fn(A) -> R, arg: A) -> R {
/// #   job(arg) /*
///     …
/// #   */
/// }
///
/// assert_eq!(run_in_process(describe, Json(Id::Number(7))), "#7");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Inside a `Json`, or in a text format of the user's, the value needs no wrapping.
        if serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let text = serde_json::to_vec(&self.0).map_err(ser::Error::custom)?;
        serializer.serialize_bytes(&text)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return T::deserialize(deserializer).map(Json);
        }
        deserializer.deserialize_bytes(JsonVisitor(PhantomData))
    }
}

struct JsonVisitor<T>(PhantomData<T>);

impl<T: DeserializeOwned> Visitor<'_> for JsonVisitor<T> {
    type Value = Json<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON text")
    }

    fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<Json<T>, E> {
        serde_json::from_slice(text).map(Json).map_err(E::custom)
    }
}
