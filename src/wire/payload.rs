//! [`Payload`]: what may cross into a process.

use serde::{Serialize, de::DeserializeOwned};

/// What may cross into a process: the argument and the result of a job on a process pool.
///
/// Implemented for every type that is `Serialize + DeserializeOwned + Send + 'static`; derive the first two with serde.
///
/// # What travels
///
/// All of serde's data model: numbers, strings, options, `Result`, tuples, collections, structs and enums, nested as
/// you like (serde knows arrays of up to 32 elements). Bulk data is copied as a block, never element by element: `Vec<u8>`, `Bytes`, `String` and a `Vec` of any
/// number as the whole argument or result; `Vec` and `Box<[_]>` of `u8`, `i8`, `f32` and `f64`, `Bytes` and `String`
/// anywhere inside one.
///
/// [`SharedBytes`](crate::SharedBytes) and [`Shared<[T]>`](crate::Shared) travel without any copy, anywhere inside an argument or a result.
///
/// # What does not
///
/// The format is compact (that of [postcard](https://docs.rs/postcard)), so types that look at the data to find out what
/// they are cannot be read from it:
///
/// - enums with `#[serde(untagged)]` or `#[serde(tag = "…")]`;
/// - `#[serde(flatten)]`;
/// - `serde_json::Value` and its like, `IgnoredAny`;
/// - fields that only one side skips: `skip_serializing_if` where it does skip, `skip_serializing` without
///   `skip_deserializing` and the other way round (`skip` is fine, on fields and on variants);
/// - variants that `rename` differently for the two sides.
///
/// Each of them is an error, [`Encode`](crate::TaskErrorKind::Encode) or [`Decode`](crate::TaskErrorKind::Decode), that
/// names the type or the field, and never a wrong value: binary formats are known to return those here
/// ([serde #2674](https://github.com/serde-rs/serde/issues/2674),
/// [postcard #125](https://github.com/jamesmunns/postcard/issues/125)). The way out is `Json<T>` (feature `json`).
///
/// Two limits: values nest at most 256 levels deep, and at most 65 536 elements of collections take no bytes, as
/// those of `Vec<()>`.
///
/// # Examples
///
/// ```
/// use heavylift::Payload;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Shape {
///     Circle { radius: f64 },
///     Polygon(Vec<(f64, f64)>),
/// }
///
/// fn can_cross<T: Payload>() {}
///
/// can_cross::<Shape>();
/// can_cross::<Result<Vec<Shape>, String>>();
/// ```
///
/// References cannot cross, as the memory behind them does not:
///
/// ```compile_fail
/// # fn can_cross<T: heavylift::Payload>() {}
/// can_cross::<&str>(); // use `String`
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross into a process",
    label = "not a payload",
    note = "a payload is owned data: `Serialize + DeserializeOwned + Send + 'static`",
    note = "put `#[derive(serde::Serialize, serde::Deserialize)]` on your own types, and use `String` for `&str`, `Vec<T>` for `&[T]`",
    note = "an error type that serde does not know crosses as text: wrap the job in `heavylift::fallible`",
    note = "a type that serde knows but the compact format cannot carry crosses as `heavylift::Json<T>` (feature `json`)"
)]
pub trait Payload: Serialize + DeserializeOwned + Send + 'static {}

// The compiler would report the one bound that fails, and none of the notes above.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Payload for T {}
