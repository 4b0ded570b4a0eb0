//! [`Decoder`]: the serde deserializer. Primitive values are read by postcard; what holds other values is read here.

use serde::{
    Deserialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, Visitor, value::StrDeserializer,
    },
};

use super::{
    CodecError,
    bulk::{self, Number},
    check::{VariantCheck, VariantKind},
    limits::Limits,
};

type Result<T> = std::result::Result<T, CodecError>;

/// Reads one payload.
pub(super) struct Decoder<'de> {
    /// What is not read yet.
    input: &'de [u8],
    limits: Limits,
    /// The first error, should foreign code swallow it.
    failed: Option<CodecError>,
}

impl<'de> Decoder<'de> {
    /// Returns the value that `bytes` are, all of them.
    pub(super) fn run<T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
        let mut decoder = Self { input: bytes, limits: Limits::new(), failed: None };
        let value = T::deserialize(&mut decoder)?;
        if let Some(swallowed) = decoder.failed {
            return Err(swallowed);
        }
        match decoder.input.len() {
            0 => Ok(value),
            left => Err(CodecError::new(format!("{left} bytes are left over after the value"))),
        }
    }

    /// Notes an error on its way through foreign code.
    #[inline]
    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.fail(error)),
        }
    }

    #[cold]
    fn fail(&mut self, error: CodecError) -> CodecError {
        self.failed.get_or_insert_with(|| error.clone());
        error
    }

    /// Lets postcard read a primitive value.
    fn take<P: Deserialize<'de>>(&mut self) -> Result<P> {
        let taken = postcard::take_from_bytes(self.input).map_err(CodecError::from);
        let (primitive, rest) = self.note(taken)?;
        self.input = rest;
        Ok(primitive)
    }

    /// Reads a number of bytes, fields or elements, most of which are small.
    #[inline]
    fn take_count(&mut self) -> Result<usize> {
        match self.input.split_first() {
            Some((&count, rest)) if count < 0x80 => {
                self.input = rest;
                Ok(count.into())
            }
            _ => self.take(),
        }
    }

    #[inline]
    fn take_raw(&mut self, len: usize) -> Result<&'de [u8]> {
        match self.input.split_at_checked(len) {
            Some((taken, rest)) => {
                self.input = rest;
                Ok(taken)
            }
            None => Err(self.fail(postcard::Error::DeserializeUnexpectedEnd.into())),
        }
    }

    /// Reads bytes, behind their number.
    #[inline]
    fn take_bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.take_count()?;
        self.take_raw(len)
    }

    #[inline]
    fn take_str(&mut self) -> Result<&'de str> {
        let bytes = self.take_bytes()?;
        match str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => Err(self.fail(postcard::Error::DeserializeBadUtf8.into())),
        }
    }

    fn take_check(&mut self) -> Result<VariantCheck> {
        let bytes = self.take_raw(4)?;
        Ok(VariantCheck::from_bytes(bytes.try_into().expect("four bytes were taken")))
    }

    /// Reads numbers that lie in the input as in memory.
    fn take_run<N: Number>(&mut self) -> Result<Vec<N>> {
        let count = self.take_count()?;
        // A claim beyond `usize` is beyond the input, too.
        let bytes = self.take_raw(count.saturating_mul(size_of::<N>()))?;
        Ok(bulk::from_bytes(bytes).expect("the bytes are a multiple of the size"))
    }

    /// Reads what holds other values, one level down.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let result = match self.limits.enter() {
            Ok(()) => read(self),
            Err(too_deep) => Err(too_deep),
        };
        self.limits.leave();
        self.note(result)
    }

    fn fields<V: Visitor<'de>>(&mut self, mut spec: FieldSpec, visitor: V) -> Result<V::Value> {
        self.nested(|decoder| {
            if spec.counted {
                spec.written = decoder.take_count()?;
            }
            let mut fields = Fields::new(decoder, spec)?;
            let value = visitor.visit_seq(&mut fields)?;
            fields.end()?;
            Ok(value)
        })
    }

    /// Refuses to say what comes next: the bytes do not tell.
    fn refuse<T>(&mut self, expected: &dyn Expected) -> Result<T> {
        self.note(Err(CodecError::new(format!(
            "{expected} cannot be read from bytes that do not describe themselves (an enum that is \
             untagged or tagged by a field, a flattened field, a JSON value): wrap it in `Json<T>`"
        ))))
    }
}

macro_rules! primitives {
    ($($method:ident => $visit:ident($type:ty)),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let primitive = self.take::<$type>()?;
            visitor.$visit(primitive)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = CodecError;

    primitives!(
        deserialize_bool => visit_bool(bool),
        deserialize_i8 => visit_i8(i8),
        deserialize_i16 => visit_i16(i16),
        deserialize_i32 => visit_i32(i32),
        deserialize_i64 => visit_i64(i64),
        deserialize_i128 => visit_i128(i128),
        deserialize_u8 => visit_u8(u8),
        deserialize_u16 => visit_u16(u16),
        deserialize_u32 => visit_u32(u32),
        deserialize_u64 => visit_u64(u64),
        deserialize_u128 => visit_u128(u128),
        deserialize_f32 => visit_f32(f32),
        deserialize_f64 => visit_f64(f64),
        deserialize_char => visit_char(char)
    );

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.take_str()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.take_str()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.refuse(&visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.refuse(&visitor)
    }

    /// Names are asked for only where fields are flattened, or where one is the tag of an enum: else fields go by their order.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.refuse(&visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.take::<u8>()? {
            0 => visitor.visit_none(),
            1 => self.nested(|decoder| visitor.visit_some(decoder)),
            _ => self.note(Err(CodecError::new("an option is neither none nor some"))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        macro_rules! runs {
            ($($number:ty),*) => {$(
                if reads_run::<V, $number>() {
                    return self.take_run::<$number>().map(bulk::same);
                }
            )*};
        }
        runs!(u8, i8, f32, f64);
        self.nested(|decoder| {
            let mut elements = Elements::new(decoder)?;
            let value = visitor.visit_seq(&mut elements)?;
            elements.end()?;
            Ok(value)
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nested(|decoder| {
            let mut elements = Elements::new(decoder)?;
            let value = visitor.visit_map(&mut elements)?;
            elements.end()?;
            Ok(value)
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.fields(FieldSpec::tuple(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.fields(FieldSpec::unnamed(name, len), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.fields(FieldSpec::named(name, fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let result = visitor.visit_enum(Enum { decoder: self, name, variants });
        self.note(result)
    }
}

/// Whether `V` is serde's own way to read a `Vec<N>`, so that all of it can be copied at once.
fn reads_run<'de, V: Visitor<'de>, N: Number + DeserializeOwned>() -> bool {
    typeid::of::<V::Value>() == std::any::TypeId::of::<Vec<N>>() && bulk::reads_run::<V, N>()
}

/// A sequence or a map that is being read.
struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
    /// How many bytes were left before the entry whose key was read last.
    entry_from: usize,
}

impl<'a, 'de> Elements<'a, 'de> {
    #[inline]
    fn new(decoder: &'a mut Decoder<'de>) -> Result<Self> {
        let left = decoder.take_count()?;
        Ok(Self { decoder, left, entry_from: 0 })
    }

    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let element = seed.deserialize(&mut *self.decoder);
        self.decoder.note(element)
    }

    /// Counts an element, or an entry, before which `from` bytes were left.
    fn count(&mut self, from: usize) -> Result<()> {
        if self.decoder.input.len() < from {
            return Ok(());
        }
        let counted = self.decoder.limits.empty_element();
        self.decoder.note(counted)
    }

    /// No more elements than bytes, whatever the bytes claim, so that nobody reserves memory for what cannot come.
    fn hint(&self) -> Option<usize> {
        Some(self.left.min(self.decoder.input.len()))
    }

    #[inline]
    fn end(self) -> Result<()> {
        match self.left {
            0 => Ok(()),
            left => Err(CodecError::new(format!("{left} elements of a collection are not read"))),
        }
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let from = self.decoder.input.len();
        let element = self.read(seed)?;
        self.count(from)?;
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.entry_from = self.decoder.input.len();
        self.read(seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let value = self.read(seed)?;
        self.count(self.entry_from)?;
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

/// What the two sides say about the fields of a tuple, a struct or a variant.
struct FieldSpec {
    /// The struct or the variant.
    owner: &'static str,
    /// The names of the fields, and of their aliases; empty if they have none.
    names: &'static [&'static str],
    /// How many fields the reader may want; aliases make it too many.
    declared: usize,
    /// How many fields were written.
    written: usize,
    /// Whether the number that was written stands before the fields.
    counted: bool,
}

impl FieldSpec {
    fn tuple(len: usize) -> Self {
        Self { owner: "tuple", names: &[], declared: len, written: len, counted: false }
    }

    fn unnamed(owner: &'static str, len: usize) -> Self {
        Self { owner, names: &[], declared: len, written: 0, counted: true }
    }

    fn named(owner: &'static str, names: &'static [&'static str]) -> Self {
        Self { owner, names, declared: names.len(), written: 0, counted: true }
    }

    #[cold]
    fn disagreement(&self) -> CodecError {
        let Self { owner, written, .. } = self;
        CodecError::new(format!(
            "`{owner}` is written with {written} fields, but read with another number of them (`skip_serializing` or \
             `skip_deserializing` alone?): wrap it in `Json<T>`"
        ))
    }

    #[cold]
    fn locate(&self, error: CodecError, index: usize) -> CodecError {
        // With an alias among the names, the index may point at a neighbour; a wrong name is worse than none.
        match self.names.get(index) {
            Some(field) if self.names.len() == self.written => error.in_field(self.owner, field),
            _ => error,
        }
    }
}

/// A tuple, a struct or the like that is being read.
struct Fields<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    spec: FieldSpec,
    read: usize,
}

impl<'a, 'de> Fields<'a, 'de> {
    #[inline]
    fn new(decoder: &'a mut Decoder<'de>, spec: FieldSpec) -> Result<Self> {
        if spec.written > spec.declared {
            return Err(spec.disagreement());
        }
        Ok(Self { decoder, spec, read: 0 })
    }

    #[inline]
    fn end(self) -> Result<()> {
        if self.read < self.spec.written { Err(self.spec.disagreement()) } else { Ok(()) }
    }
}

impl<'de> de::SeqAccess<'de> for Fields<'_, 'de> {
    type Error = CodecError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let index = self.read;
        if index >= self.spec.declared {
            return Ok(None);
        }
        self.read += 1;
        if index >= self.spec.written {
            return self.decoder.note(Err(self.spec.disagreement()));
        }
        match seed.deserialize(&mut *self.decoder) {
            Ok(field) => Ok(Some(field)),
            Err(error) => Err(self.decoder.fail(self.spec.locate(error, index))),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.spec.declared.saturating_sub(self.read))
    }
}

/// An enum that is being read.
struct Enum<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    name: &'static str,
    variants: &'static [&'static str],
}

impl<'a, 'de> Enum<'a, 'de> {
    /// Returns the name of the variant that was written.
    ///
    /// The reader's own index is of no use: `#[serde(skip)]` on an earlier variant shifts it, and so does an alias, which
    /// serde lists among the variants.
    fn resolve(&self, index: u32, check: VariantCheck) -> Result<&'static str> {
        let Self { name, variants, .. } = self;
        let at_index = usize::try_from(index).ok().and_then(|index| variants.get(index));
        if let Some(variant) = at_index.filter(|variant| check.is_named(variant)) {
            return Ok(variant);
        }
        let mut named = variants.iter().filter(|variant| check.is_named(variant));
        match (named.next(), named.next()) {
            (Some(variant), None) => Ok(variant),
            _ => Err(CodecError::new(match at_index {
                Some(there) => {
                    format!("variant {index} of enum `{name}` was written under another name than `{there}`")
                }
                None => format!("enum `{name}` has no variant {index} under the name that was written"),
            })),
        }
    }
}

impl<'a, 'de> de::EnumAccess<'de> for Enum<'a, 'de> {
    type Error = CodecError;
    type Variant = Variant<'a, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant)> {
        let index = self.decoder.take()?;
        let check = self.decoder.take_check()?;
        let variant = self.resolve(index, check)?;
        let name: StrDeserializer<CodecError> = variant.into_deserializer();
        let value = seed.deserialize(name)?;
        Ok((value, Variant { decoder: self.decoder, name: self.name, variant, check }))
    }
}

/// A variant that is being read.
struct Variant<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    name: &'static str,
    variant: &'static str,
    check: VariantCheck,
}

impl Variant<'_, '_> {
    fn expect(&self, kind: VariantKind) -> Result<()> {
        if self.check.is_kind(kind) {
            return Ok(());
        }
        let Self { name, variant, .. } = self;
        Err(CodecError::new(format!(
            "variant `{name}::{variant}` is written in another form than it is read (`skip_serializing` or \
             `skip_deserializing` alone?): wrap it in `Json<T>`"
        )))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<()> {
        self.expect(VariantKind::Unit)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        self.expect(VariantKind::Newtype)?;
        self.decoder.nested(|decoder| seed.deserialize(decoder))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.expect(VariantKind::Tuple)?;
        self.decoder.fields(FieldSpec::unnamed(self.variant, len), visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.expect(VariantKind::Struct)?;
        self.decoder.fields(FieldSpec::named(self.variant, fields), visitor)
    }
}
