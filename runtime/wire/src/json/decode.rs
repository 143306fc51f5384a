//! Postcard to JSON.

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::{Budget, JsonError, Problem, type_name};
use crate::interface::{Argument, Interface, Payload, Type, TypeIndex, Variant};

pub(super) struct Decoder<'a> {
    interface: &'a Interface,
    budget: Budget,
    unread: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(super) fn new(interface: &'a Interface, bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { interface, budget: Budget::default(), unread: bytes }
    }

    /// Checks that nothing is left.
    pub(super) fn finish(&self) -> Result<(), JsonError> {
        match self.unread.len() {
            0 => Ok(()),
            left => Err(JsonError::new(Problem::Trailing(left))),
        }
    }

    pub(super) fn value(&mut self, ty: TypeIndex) -> Result<Value, JsonError> {
        self.budget.take()?;
        let ty = self.interface.ty(ty);
        Ok(match ty {
            Type::Bool => self.take::<bool>(ty)?.into(),
            Type::I8 => self.take::<i8>(ty)?.into(),
            Type::I16 => self.take::<i16>(ty)?.into(),
            Type::I32 => self.take::<i32>(ty)?.into(),
            Type::I64 => self.take::<i64>(ty)?.into(),
            Type::I128 => {
                let number = self.take::<i128>(ty)?;
                i64::try_from(number).map_or_else(|_| number.to_string().into(), Value::from)
            }
            Type::U8 => self.take::<u8>(ty)?.into(),
            Type::U16 => self.take::<u16>(ty)?.into(),
            Type::U32 => self.take::<u32>(ty)?.into(),
            Type::U64 => self.take::<u64>(ty)?.into(),
            Type::U128 => {
                let number = self.take::<u128>(ty)?;
                u64::try_from(number).map_or_else(|_| number.to_string().into(), Value::from)
            }
            Type::F32 => float(widen(self.take::<f32>(ty)?)),
            Type::F64 => float(self.take::<f64>(ty)?),
            Type::Char => String::from(self.take::<char>(ty)?).into(),
            Type::String => self.take::<&str>(ty)?.into(),
            Type::Bytes => self.byte_array(ty)?,
            Type::Unit => Value::Null,
            Type::Option(part) => match self.take::<Option<()>>(ty)? {
                None => Value::Null,
                Some(()) => self.value(*part)?,
            },
            Type::Seq(part) => {
                let length = self.length(ty)?;
                self.items((0..length).map(|_| *part))?
            }
            Type::Tuple(parts) => self.items(parts.iter().copied())?,
            Type::Map { key, value } => self.map(ty, *key, *value)?,
            Type::Struct { fields, .. } => self.fields(fields)?,
            Type::Enum { variants, .. } => self.variant(ty, variants)?,
        })
    }

    /// Reads what is encoded as a `T`, as the whole or the head of a `ty`.
    fn take<T: Deserialize<'a>>(&mut self, ty: &Type) -> Result<T, JsonError> {
        match postcard::take_from_bytes(self.unread) {
            Ok((value, unread)) => {
                self.unread = unread;
                Ok(value)
            }
            Err(postcard::Error::DeserializeUnexpectedEnd) => Err(JsonError::new(Problem::Cut(type_name(ty)))),
            Err(_) => Err(malformed(ty)),
        }
    }

    fn length(&mut self, ty: &Type) -> Result<u64, JsonError> {
        self.take::<u64>(ty)
    }

    fn byte_array(&mut self, ty: &Type) -> Result<Value, JsonError> {
        let bytes = self.take::<&serde_bytes::Bytes>(ty)?;
        bytes.iter().map(|byte| self.budget.take().map(|()| Value::from(*byte))).collect()
    }

    /// Grows with what is there: the announced length of a stranger is no reason to take memory.
    fn items(&mut self, parts: impl Iterator<Item = TypeIndex>) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        for (index, part) in parts.enumerate() {
            items.push(self.value(part).map_err(|error| error.within(format!("[{index}]")))?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, ty: &Type, key: TypeIndex, value: TypeIndex) -> Result<Value, JsonError> {
        let length = self.length(ty)?;
        if *self.interface.ty(key) != Type::String {
            let pairs = (0..length).map(|index| {
                self.budget.take()?;
                self.items([key, value].into_iter()).map_err(|error| error.within(format!("[{index}]")))
            });
            return pairs.collect();
        }
        let mut entries = Map::new();
        for _ in 0..length {
            self.budget.take()?;
            let name = self.take::<&str>(&Type::String)?;
            let entry = self.value(value).map_err(|error| error.within(format!(".{name}")))?;
            if entries.insert(name.into(), entry).is_some() {
                return Err(JsonError::new(Problem::Malformed(format!("map: key '{name}' stands in it twice"))));
            }
        }
        Ok(Value::Object(entries))
    }

    fn fields(&mut self, fields: &[Argument]) -> Result<Value, JsonError> {
        let mut object = Map::new();
        for field in fields {
            let value = self.value(field.ty).map_err(|error| error.within(format!(".{}", field.name)))?;
            object.insert(field.name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    fn variant(&mut self, ty: &Type, variants: &[Variant]) -> Result<Value, JsonError> {
        let index = self.take::<u32>(ty)?;
        let variant = variants.get(index as usize).ok_or_else(|| {
            let name = format!("{}: it has no variant {index}", type_name(ty));
            JsonError::new(Problem::Malformed(name))
        })?;
        let name = &variant.name;
        let payload = match &variant.payload {
            Payload::Unit => return Ok(name.as_str().into()),
            Payload::Newtype(part) => self.value(*part),
            // Serde writes a tuple of one as the one.
            Payload::Tuple(parts) if parts.len() == 1 => self.value(parts[0]),
            Payload::Tuple(parts) => self.items(parts.iter().copied()),
            Payload::Struct(fields) => self.fields(fields),
        };
        let payload = payload.map_err(|error| error.within(format!(".{name}")))?;
        Ok(Value::Object(Map::from_iter([(name.clone(), payload)])))
    }
}

fn malformed(ty: &Type) -> JsonError {
    JsonError::new(Problem::Malformed(type_name(ty)))
}

fn float(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => "NaN".into(),
        None if number > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

/// The double that prints as the float does: 0.1 and not 0.10000000149011612.
fn widen(narrow: f32) -> f64 {
    narrow.to_string().parse().unwrap_or_else(|_| f64::from(narrow))
}
