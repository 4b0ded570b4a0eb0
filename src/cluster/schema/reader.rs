//! [`Reader`]: what a type takes for the bytes of a value of it.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor, value::StrDeserializer,
};

use super::{
    samples::{BOOLS, BYTES, CHARS, FLOATS, TEXTS},
    shape::{Kind, Shape, Slot},
    tracer::Tracer,
};

/// The value cannot be read. Nobody is told why.
#[derive(Debug)]
pub(super) struct Refusal;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it refuses a sample")
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Result<T> = std::result::Result<T, Refusal>;

/// Reads one part.
pub(super) struct Reader<'a> {
    pub(super) tracer: &'a mut Tracer,
    pub(super) slot: Slot,
}

impl Reader<'_> {
    fn node<V>(&mut self, kind: Kind, name: &'static str, len: usize, names: Names) -> Result<usize> {
        self.tracer.node::<V>(self.slot, kind, name, len, names)
    }

    /// Refuses what the wire format cannot carry.
    fn refuse<T>(self) -> Result<T> {
        self.tracer.plain::<()>(self.slot, "any", &[])?;
        Err(Refusal)
    }
}

type Names = &'static [&'static str];

/// Reads as many parts of a node, one after the other.
fn fields<'de, V: Visitor<'de>>(
    tracer: &mut Tracer,
    node: usize,
    len: usize,
    visitor: V,
) -> Result<V::Value> {
    tracer.inside((node, 0), |tracer| visitor.visit_seq(Parts { tracer, node, next: 0, len }))
}

macro_rules! plain {
    ($($method:ident => $visit:ident($name:literal, $samples:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let sample = self.tracer.plain(self.slot, $name, &$samples)?;
            visitor.$visit(sample)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Refusal;

    plain!(
        deserialize_bool => visit_bool("bool", BOOLS),
        deserialize_i8 => visit_i8("i8", [1, 0]),
        deserialize_i16 => visit_i16("i16", [1, 0]),
        deserialize_i32 => visit_i32("i32", [1, 0]),
        deserialize_i64 => visit_i64("i64", [1, 0]),
        deserialize_i128 => visit_i128("i128", [1, 0]),
        deserialize_u8 => visit_u8("u8", [1, 0]),
        deserialize_u16 => visit_u16("u16", [1, 0]),
        deserialize_u32 => visit_u32("u32", [1, 0]),
        deserialize_u64 => visit_u64("u64", [1, 0]),
        deserialize_u128 => visit_u128("u128", [1, 0]),
        deserialize_f32 => visit_f32("f32", FLOATS.map(|float| float as f32)),
        deserialize_f64 => visit_f64("f64", FLOATS),
        deserialize_char => visit_char("char", CHARS),
        deserialize_str => visit_borrowed_str("str", TEXTS),
        deserialize_string => visit_borrowed_str("str", TEXTS),
        deserialize_bytes => visit_borrowed_bytes("bytes", BYTES),
        deserialize_byte_buf => visit_borrowed_bytes("bytes", BYTES),
    );

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        self.refuse()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        self.refuse()
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        self.refuse()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.tracer.plain(self.slot, "unit", &[()])?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.node::<V>(Kind::Unit, name, 0, &[])?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        let node = self.node::<V>(Kind::Option, "", 1, &[])?;
        if self.tracer.is_empty(node) {
            return visitor.visit_none();
        }
        self.tracer.inside((node, 0), |tracer| visitor.visit_some(Reader { tracer, slot: (node, 0) }))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        let node = self.node::<V>(Kind::Newtype, name, 1, &[])?;
        self.tracer
            .inside((node, 0), |tracer| visitor.visit_newtype_struct(Reader { tracer, slot: (node, 0) }))
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        let node = self.node::<V>(Kind::Seq, "", 1, &[])?;
        let len = usize::from(!self.tracer.is_empty(node));
        fields(self.tracer, node, len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        let node = self.node::<V>(Kind::Map, "", 2, &[])?;
        let len = if self.tracer.is_empty(node) { 0 } else { 2 };
        self.tracer.inside((node, 0), |tracer| visitor.visit_map(Parts { tracer, node, next: 0, len }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(mut self, len: usize, visitor: V) -> Result<V::Value> {
        let node = self.node::<V>(Kind::Tuple, "", len, &[])?;
        fields(self.tracer, node, len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        let node = self.node::<V>(Kind::TupleStruct, name, len, &[])?;
        fields(self.tracer, node, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        names: Names,
        visitor: V,
    ) -> Result<V::Value> {
        let node = self.node::<V>(Kind::Struct, name, names.len(), names)?;
        fields(self.tracer, node, names.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        names: Names,
        visitor: V,
    ) -> Result<V::Value> {
        let node = self.node::<V>(Kind::Enum, name, names.len(), names)?;
        let slot = (node, self.tracer.choose(node)?);
        let value = self
            .tracer
            .inside(slot, |tracer| visitor.visit_enum(Variant { tracer, slot, name: names[slot.1] }))?;
        self.tracer.chosen_is_good(slot);
        Ok(value)
    }
}

/// The parts of a node that are left.
struct Parts<'a> {
    tracer: &'a mut Tracer,
    node: usize,
    next: usize,
    len: usize,
}

impl Parts<'_> {
    fn read<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let slot = self.tracer.slot(self.node, self.next);
        self.next += 1;
        seed.deserialize(Reader { tracer: self.tracer, slot })
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.next < self.len { self.read(seed).map(Some) } else { Ok(None) }
    }

    /// None, so that nobody reserves memory for what a large array claims to be.
    fn size_hint(&self) -> Option<usize> {
        None
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        self.read(seed)
    }
}

/// A variant that is read.
struct Variant<'a> {
    tracer: &'a mut Tracer,
    slot: Slot,
    name: &'static str,
}

/// Tells what is in a variant from the enum, where both are known by the enum's visitor.
struct Content<V>(std::marker::PhantomData<V>);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let name: StrDeserializer<'_, Refusal> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<()> {
        self.tracer.see(self.slot, Shape::Plain("unit"));
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        let Self { tracer, slot, name } = self;
        let node = tracer.node::<Content<S>>(slot, Kind::Newtype, name, 1, &[])?;
        tracer.inside((node, 0), |tracer| seed.deserialize(Reader { tracer, slot: (node, 0) }))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        let node = self.tracer.node::<V>(self.slot, Kind::TupleStruct, self.name, len, &[])?;
        fields(self.tracer, node, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, names: Names, visitor: V) -> Result<V::Value> {
        let node = self.tracer.node::<V>(self.slot, Kind::Struct, self.name, names.len(), names)?;
        fields(self.tracer, node, names.len(), visitor)
    }
}
