//! [`CodecError`]: why a value could not be written or read.

use std::{any::type_name, fmt};

/// Why a value could not become bytes, or bytes a value: as text, for a person.
///
/// One word, for it is in the result of everything that reads or writes a part of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodecError(Box<Why>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Why {
    message: String,
    /// The innermost field around the trouble, as `Struct.field`.
    field: Option<String>,
    /// The type of the whole payload.
    payload: Option<&'static str>,
}

impl CodecError {
    #[cold]
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Why { message: message.into(), field: None, payload: None }))
    }

    /// Notes the field around the trouble, unless a field further inside is noted.
    pub(super) fn in_field(mut self, owner: &str, field: &str) -> Self {
        self.0.field.get_or_insert_with(|| format!("{owner}.{field}"));
        self
    }

    /// Notes the type of the whole payload.
    pub(super) fn in_payload<T>(mut self) -> Self {
        self.0.payload = Some(type_name::<T>());
        self
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Why { message, field, payload } = &*self.0;
        f.write_str(message)?;
        match (field, payload) {
            (Some(field), Some(payload)) => write!(f, " (at `{field}` in `{payload}`)"),
            (Some(place), None) => write!(f, " (at `{place}`)"),
            (None, Some(place)) => write!(f, " (in `{place}`)"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl serde::de::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl From<postcard::Error> for CodecError {
    /// Says in our words what postcard finds wrong with a primitive value; it sees no others.
    #[cold]
    fn from(error: postcard::Error) -> Self {
        Self::new(match error {
            postcard::Error::DeserializeUnexpectedEnd => "the bytes end before the value does",
            postcard::Error::DeserializeBadVarint => "an integer is out of its range",
            postcard::Error::DeserializeBadBool => "a bool is neither 0 nor 1",
            postcard::Error::DeserializeBadChar => "a char is not one",
            postcard::Error::DeserializeBadUtf8 => "a string is not valid UTF-8",
            _ => "the bytes are malformed",
        })
    }
}
