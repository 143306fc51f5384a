//! JSON to postcard.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Budget, JsonError, Problem, type_name};
use crate::interface::{Argument, Interface, Payload, Type, TypeIndex, Variant};

/// Characters of a found string that an error shows.
const FOUND_CHARACTERS_MAX: usize = 40;

pub(super) struct Encoder<'a> {
    interface: &'a Interface,
    budget: Budget,
    bytes: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(interface: &'a Interface) -> Encoder<'a> {
        Encoder { interface, budget: Budget::default(), bytes: Vec::new() }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn value(&mut self, ty: TypeIndex, value: &Value) -> Result<(), JsonError> {
        self.budget.take()?;
        let ty = self.interface.ty(ty);
        let fits = match ty {
            Type::Bool => self.push(value.as_bool()),
            Type::I8 => self.push(integer::<i8>(value)),
            Type::I16 => self.push(integer::<i16>(value)),
            Type::I32 => self.push(integer::<i32>(value)),
            Type::I64 => self.push(integer::<i64>(value)),
            Type::I128 => self.push(integer::<i128>(value).or_else(|| value.as_str()?.parse().ok())),
            Type::U8 => self.push(integer::<u8>(value)),
            Type::U16 => self.push(integer::<u16>(value)),
            Type::U32 => self.push(integer::<u32>(value)),
            Type::U64 => self.push(integer::<u64>(value)),
            Type::U128 => self.push(integer::<u128>(value).or_else(|| value.as_str()?.parse().ok())),
            Type::F32 => self.push(float(value).and_then(narrow)),
            Type::F64 => self.push(float(value)),
            Type::Char => self.push(character(value)),
            Type::String => self.push(value.as_str()),
            Type::Unit => value.as_null(),
            Type::Bytes => return self.byte_array(ty, value),
            Type::Option(part) => return self.option(*part, value),
            Type::Seq(part) => return self.sequence(ty, *part, value),
            Type::Tuple(parts) => return self.tuple(ty, parts, value),
            Type::Map { key, value: mapped } => return self.map(ty, *key, *mapped, value),
            Type::Struct { fields, .. } => return self.fields(ty, fields, value),
            Type::Enum { variants, .. } => return self.variant(ty, variants, value),
        };
        fits.ok_or_else(|| expected(ty, value))
    }

    /// `None` for a value that is none.
    fn push<T: Serialize>(&mut self, value: Option<T>) -> Option<()> {
        let encoded = postcard::to_extend(&value?, core::mem::take(&mut self.bytes));
        self.bytes = encoded.expect("a number, character or string has no way to fail");
        Some(())
    }

    fn push_length(&mut self, length: usize) {
        self.push(Some(length));
    }

    fn byte_array(&mut self, ty: &Type, value: &Value) -> Result<(), JsonError> {
        let items = value.as_array().ok_or_else(|| expected(ty, value))?;
        self.push_length(items.len());
        for (index, item) in items.iter().enumerate() {
            self.budget.take()?;
            let byte = integer::<u8>(item).ok_or_else(|| expected(&Type::U8, item).within(format!("[{index}]")))?;
            self.bytes.push(byte);
        }
        Ok(())
    }

    fn option(&mut self, part: TypeIndex, value: &Value) -> Result<(), JsonError> {
        self.bytes.push(u8::from(!value.is_null()));
        if value.is_null() { Ok(()) } else { self.value(part, value) }
    }

    fn sequence(&mut self, ty: &Type, part: TypeIndex, value: &Value) -> Result<(), JsonError> {
        let items = value.as_array().ok_or_else(|| expected(ty, value))?;
        self.push_length(items.len());
        self.items(items.iter().map(|item| (part, item)))
    }

    fn tuple(&mut self, ty: &Type, parts: &[TypeIndex], value: &Value) -> Result<(), JsonError> {
        match value.as_array() {
            Some(items) if items.len() == parts.len() => self.items(parts.iter().copied().zip(items)),
            _ => Err(expected(ty, value)),
        }
    }

    fn items<'v>(&mut self, items: impl Iterator<Item = (TypeIndex, &'v Value)>) -> Result<(), JsonError> {
        for (index, (part, item)) in items.enumerate() {
            self.value(part, item).map_err(|error| error.within(format!("[{index}]")))?;
        }
        Ok(())
    }

    fn map(&mut self, ty: &Type, key: TypeIndex, mapped: TypeIndex, value: &Value) -> Result<(), JsonError> {
        match (self.interface.ty(key), value) {
            (Type::String, Value::Object(entries)) => {
                self.push_length(entries.len());
                for (name, entry) in entries {
                    self.budget.take()?;
                    self.push(Some(name));
                    self.value(mapped, entry).map_err(|error| error.within(format!(".{name}")))?;
                }
                Ok(())
            }
            (Type::String, _) => Err(expected_text("object", value)),
            (_, Value::Array(pairs)) => {
                self.push_length(pairs.len());
                for (index, pair) in pairs.iter().enumerate() {
                    self.pair(key, mapped, pair).map_err(|error| error.within(format!("[{index}]")))?;
                }
                Ok(())
            }
            _ => Err(expected(ty, value)),
        }
    }

    fn pair(&mut self, key: TypeIndex, mapped: TypeIndex, pair: &Value) -> Result<(), JsonError> {
        match pair.as_array().map(Vec::as_slice) {
            Some([first, second]) => self.items([(key, first), (mapped, second)].into_iter()),
            _ => Err(expected_text("[key, value]", pair)),
        }
    }

    fn fields(&mut self, ty: &Type, fields: &[Argument], value: &Value) -> Result<(), JsonError> {
        let given = value.as_object().ok_or_else(|| expected(ty, value))?;
        refuse_unknown(fields, given)?;
        for field in fields {
            match given.get(&field.name) {
                Some(value) => {
                    self.value(field.ty, value).map_err(|error| error.within(format!(".{}", field.name)))?;
                }
                None if matches!(self.interface.ty(field.ty), Type::Option(_)) => self.bytes.push(0),
                None => return Err(JsonError::new(Problem::MissingField(field.name.clone()))),
            }
        }
        Ok(())
    }

    fn variant(&mut self, ty: &Type, variants: &[Variant], value: &Value) -> Result<(), JsonError> {
        let (name, payload) = tagged(value).ok_or_else(|| expected(ty, value))?;
        let (index, variant) =
            variants.iter().enumerate().find(|(_, variant)| variant.name == name).ok_or_else(|| {
                let known = variants.iter().map(|variant| variant.name.clone()).collect();
                JsonError::new(Problem::Unknown { kind: "variant", name: name.into(), known })
            })?;
        self.push(Some(u32::try_from(index).expect("an interface is far below 2^32 variants")));
        self.payload(ty, &variant.payload, payload).map_err(|error| error.within(format!(".{name}")))
    }

    fn payload(&mut self, ty: &Type, payload: &Payload, value: &Value) -> Result<(), JsonError> {
        match payload {
            Payload::Unit if value.is_null() => Ok(()),
            Payload::Unit => Err(expected(&Type::Unit, value)),
            Payload::Newtype(part) => self.value(*part, value),
            // Serde writes a tuple of one as the one.
            Payload::Tuple(parts) if parts.len() == 1 => self.value(parts[0], value),
            Payload::Tuple(parts) => self.tuple(&Type::Tuple(parts.clone()), parts, value),
            Payload::Struct(fields) => self.fields(ty, fields, value),
        }
    }
}

/// Name and payload of `"Variant"` or `{"Variant": payload}`.
fn tagged(value: &Value) -> Option<(&str, &Value)> {
    match value {
        Value::String(name) => Some((name, &Value::Null)),
        Value::Object(entries) if entries.len() == 1 => {
            entries.iter().next().map(|(name, payload)| (name.as_str(), payload))
        }
        _ => None,
    }
}

fn refuse_unknown(fields: &[Argument], given: &Map<String, Value>) -> Result<(), JsonError> {
    match given.keys().find(|name| fields.iter().all(|field| field.name != **name)) {
        None => Ok(()),
        Some(name) => {
            let known = fields.iter().map(|field| field.name.clone()).collect();
            Err(JsonError::new(Problem::Unknown { kind: "field", name: name.clone(), known }))
        }
    }
}

fn integer<T: TryFrom<u64> + TryFrom<i64>>(value: &Value) -> Option<T> {
    let unsigned = value.as_u64().and_then(|number| T::try_from(number).ok());
    unsigned.or_else(|| value.as_i64().and_then(|number| T::try_from(number).ok()))
}

fn float(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}

/// `None` for a finite number that is infinite as `f32`.
#[allow(clippy::cast_possible_truncation, reason = "rounding to the nearest is what a smaller float means")]
fn narrow(wide: f64) -> Option<f32> {
    let narrow = wide as f32;
    (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
}

fn character(value: &Value) -> Option<char> {
    let mut characters = value.as_str()?.chars();
    characters.next().filter(|_| characters.next().is_none())
}

fn expected(ty: &Type, found: &Value) -> JsonError {
    expected_text(&type_name(ty), found)
}

fn expected_text(expected: &str, found: &Value) -> JsonError {
    let found = match found {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("number {number}"),
        Value::String(text) if text.chars().count() > FOUND_CHARACTERS_MAX => {
            let start: String = text.chars().take(FOUND_CHARACTERS_MAX).collect();
            format!("string {start:?}...")
        }
        Value::String(text) => format!("string {text:?}"),
        Value::Array(items) => format!("array of {}", items.len()),
        Value::Object(_) => "object".into(),
    };
    JsonError::new(Problem::Expected { expected: expected.into(), found })
}
