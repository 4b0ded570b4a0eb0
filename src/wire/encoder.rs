//! [`Encoder`]: the serde serializer. Primitive values are written by postcard; what holds other values is written here.

use postcard::ser_flavors::Flavor;
use serde::ser::{self, Serialize};

use super::{
    CodecError, bulk,
    check::{VariantCheck, VariantKind},
    limits::Limits,
};

type Result<T = ()> = std::result::Result<T, CodecError>;

/// What postcard writes into.
struct Output(Vec<u8>);

impl Flavor for Output {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most are numbers of a few bytes, and to call `memcpy` takes longer than to store them.
        if bytes.len() <= 4 {
            self.0.reserve(4);
            bytes.iter().for_each(|&byte| self.0.push(byte));
        } else {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// Writes one payload.
pub(super) struct Encoder {
    out: postcard::Serializer<Output>,
    limits: Limits,
    /// The first error inside something that holds other values, should foreign code swallow it.
    failed: Option<CodecError>,
}

/// Writes behind bytes that were there before, and gives them back when it is dropped, also by a panic.
struct Appending<'a> {
    encoder: Encoder,
    bytes: &'a mut Vec<u8>,
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        *self.bytes = std::mem::take(&mut self.encoder.out.output.0);
    }
}

impl Encoder {
    /// Returns `value` as bytes, in `buffer`, which is empty.
    pub(super) fn run<T: Serialize>(value: &T, mut buffer: Vec<u8>) -> Result<Vec<u8>> {
        // One allocation does for most small payloads, and none for `()`.
        buffer.reserve(if size_of::<T>() == 0 { 0 } else { 64 });
        let out = postcard::Serializer { output: Output(buffer) };
        let mut encoder = Self { out, limits: Limits::new(), failed: None };
        value.serialize(&mut encoder)?;
        match encoder.failed {
            Some(swallowed) => Err(swallowed),
            None => Ok(encoder.out.output.0),
        }
    }

    /// Writes `value` behind `bytes`. What is written when it fails or panics is to be cut off.
    pub(super) fn append<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result {
        let out = postcard::Serializer { output: Output(std::mem::take(bytes)) };
        let mut appending = Appending { encoder: Self { out, limits: Limits::new(), failed: None }, bytes };
        value.serialize(&mut appending.encoder)?;
        appending.encoder.failed.take().map_or(Ok(()), Err)
    }

    /// Lets postcard write a primitive value.
    fn put<P: Serialize + ?Sized>(&mut self, primitive: &P) -> Result {
        Ok(primitive.serialize(&mut self.out)?)
    }

    /// Writes a number of bytes, fields or elements, most of which are small.
    #[inline]
    fn put_count(&mut self, count: usize) -> Result {
        if count < 0x80 {
            self.out.output.0.push(count as u8);
            return Ok(());
        }
        self.put(&count)
    }

    /// Writes bytes, behind their number.
    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) -> Result {
        self.put_count(bytes.len())?;
        self.put_raw(bytes);
        Ok(())
    }

    #[inline]
    fn put_raw(&mut self, bytes: &[u8]) {
        self.out.output.0.extend_from_slice(bytes);
    }

    fn put_variant(&mut self, index: u32, variant: &str, kind: VariantKind) -> Result {
        self.put(&index)?;
        self.put_raw(&VariantCheck::new(variant, kind).to_bytes());
        Ok(())
    }

    #[inline]
    fn len(&self) -> usize {
        self.out.output.0.len()
    }

    /// Writes a value that is held by another.
    fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        match value.serialize(&mut *self) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    #[cold]
    fn fail(&mut self, error: CodecError) -> CodecError {
        self.failed.get_or_insert_with(|| error.clone());
        error
    }

    /// Writes a value that is all its holder holds.
    fn write_only<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.limits.enter()?;
        self.write(value)?;
        self.limits.leave();
        Ok(())
    }

    fn elements(&mut self, announced: Option<usize>) -> Result<Elements<'_>> {
        self.limits.enter()?;
        let count_from = self.len();
        self.put_count(announced.unwrap_or(0))?;
        let count_to = self.len();
        Ok(Elements {
            encoder: self,
            announced: announced.unwrap_or(0),
            count_at: count_from..count_to,
            written: 0,
            key_from: 0,
        })
    }

    #[inline]
    fn fields(&mut self, owner: &'static str, announced: usize) -> Result<Fields<'_>> {
        self.limits.enter()?;
        Ok(Fields { encoder: self, owner, announced, written: 0 })
    }

    /// As [`fields`](Self::fields), and tells the reader their number.
    #[inline]
    fn counted_fields(&mut self, owner: &'static str, announced: usize) -> Result<Fields<'_>> {
        self.put_count(announced)?;
        self.fields(owner, announced)
    }
}

macro_rules! primitives {
    ($($method:ident($type:ty)),*) => {$(
        fn $method(self, value: $type) -> Result {
            self.put(&value)
        }
    )*};
}

impl<'a> ser::Serializer for &'a mut Encoder {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Elements<'a>;
    type SerializeMap = Elements<'a>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeTupleVariant = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    primitives!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char)
    );

    #[inline]
    fn serialize_str(self, text: &str) -> Result {
        self.put_bytes(text.as_bytes())
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result {
        self.put_bytes(bytes)
    }

    fn serialize_none(self) -> Result {
        self.put(&0u8)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        self.put(&1u8)?;
        self.write_only(value)
    }

    fn serialize_unit(self) -> Result {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, variant: &'static str) -> Result {
        self.put_variant(index, variant, VariantKind::Unit)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        self.write(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        self.put_variant(index, variant, VariantKind::Newtype)?;
        self.write_only(value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'a>> {
        self.elements(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Elements<'a>> {
        self.elements(len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Fields<'a>> {
        self.fields("tuple", len)
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Fields<'a>> {
        self.counted_fields(name, len)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields<'a>> {
        self.put_variant(index, variant, VariantKind::Tuple)?;
        self.counted_fields(variant, len)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields<'a>> {
        self.counted_fields(name, len)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields<'a>> {
        self.put_variant(index, variant, VariantKind::Struct)?;
        self.counted_fields(variant, len)
    }

    /// Here pass a `Vec` and a slice on their way to `serialize_seq`: bulk data goes no further.
    fn collect_seq<I>(self, iter: I) -> Result
    where
        I: IntoIterator<Item: Serialize>,
    {
        if let Some(run) = bulk::run_behind(&iter) {
            self.put_count(run.count)?;
            self.put_raw(run.bytes);
            return Ok(());
        }
        let iter = iter.into_iter();
        let mut elements = self.elements(iter.size_hint().1)?;
        for element in iter {
            elements.write(&element)?;
        }
        elements.end()
    }

    // `collect_str` is serde's: it formats once, where postcard formats twice and trusts in equal lengths.
}

/// A sequence or a map that is being written.
pub(super) struct Elements<'a> {
    encoder: &'a mut Encoder,
    announced: usize,
    /// Where the announced count stands in the output.
    count_at: std::ops::Range<usize>,
    written: usize,
    /// Where the entry began whose key was written last.
    key_from: usize,
}

impl Elements<'_> {
    fn write<T: Serialize + ?Sized>(&mut self, element: &T) -> Result {
        let from = self.encoder.len();
        self.encoder.write(element)?;
        self.count(from)
    }

    /// Counts one element, or one entry, that began at `from`.
    fn count(&mut self, from: usize) -> Result {
        self.written += 1;
        if self.encoder.len() == from { self.encoder.limits.empty_element() } else { Ok(()) }
    }

    /// Corrects the count where it was not known, or wrong.
    fn end(self) -> Result {
        self.encoder.limits.leave();
        if self.written != self.announced {
            let mut space = [0; 10];
            let count: &[u8] = postcard::to_slice(&self.written, &mut space)?;
            self.encoder.out.output.0.splice(self.count_at, count.iter().copied());
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Elements<'_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result {
        self.write(element)
    }

    #[inline]
    fn end(self) -> Result {
        self.end()
    }
}

impl ser::SerializeMap for Elements<'_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.key_from = self.encoder.len();
        self.encoder.write(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.encoder.write(value)?;
        self.count(self.key_from)
    }

    #[inline]
    fn end(self) -> Result {
        self.end()
    }
}

/// A tuple, a struct or the like that is being written.
pub(super) struct Fields<'a> {
    encoder: &'a mut Encoder,
    /// The struct or the variant.
    owner: &'static str,
    announced: usize,
    written: usize,
}

impl Fields<'_> {
    fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.written += 1;
        self.encoder.write(value)
    }

    fn write_named<T: Serialize + ?Sized>(&mut self, field: &str, value: &T) -> Result {
        self.write(value).map_err(|error| error.in_field(self.owner, field))
    }

    fn skip(&mut self, field: &str) -> Result {
        let Self { owner, .. } = self;
        Err(CodecError::new(format!(
            "field `{field}` of `{owner}` is skipped by `skip_serializing_if`, and the reader would take the next field for it: \
             remove the attribute, or wrap `{owner}` in `Json<T>`"
        )))
    }

    #[inline]
    fn end(self) -> Result {
        self.encoder.limits.leave();
        if self.written == self.announced { Ok(()) } else { Err(self.disagreement()) }
    }

    #[cold]
    fn disagreement(self) -> CodecError {
        let Self { owner, announced, written, .. } = self;
        CodecError::new(format!("`{owner}` announces {announced} fields, but writes {written}"))
    }
}

impl ser::SerializeTuple for Fields<'_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.write(value)
    }

    #[inline]
    fn end(self) -> Result {
        self.end()
    }
}

macro_rules! unnamed_fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Fields<'_> {
            type Ok = ();
            type Error = CodecError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                self.write(value)
            }

            #[inline]
            fn end(self) -> Result {
                self.end()
            }
        }
    )*};
}

macro_rules! named_fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Fields<'_> {
            type Ok = ();
            type Error = CodecError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result {
                self.write_named(field, value)
            }

            fn skip_field(&mut self, field: &'static str) -> Result {
                self.skip(field)
            }

            #[inline]
            fn end(self) -> Result {
                self.end()
            }
        }
    )*};
}

unnamed_fields!(SerializeTupleStruct, SerializeTupleVariant);
named_fields!(SerializeStruct, SerializeStructVariant);
