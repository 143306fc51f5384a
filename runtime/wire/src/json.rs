//! JSON to postcard and back, by an object's interface: for the command line and gateways, which don't have its types.
//!
//! | type                     | JSON                                                                              |
//! |--------------------------|-----------------------------------------------------------------------------------|
//! | integers                 | number; 128-bit ones that don't fit 64 bits as a decimal string, always accepted   |
//! | floats                   | number; `"NaN"`, `"Infinity"`, `"-Infinity"` for what JSON has no number for        |
//! | `char`, `String`         | string                                                                            |
//! | bytes                    | array of numbers                                                                  |
//! | unit                     | `null`                                                                            |
//! | `Option<T>`              | `null` or `T`, so that `Some(None)` reads as `None`                                 |
//! | sequences, tuples        | array                                                                             |
//! | maps                     | object if keys are strings, else array of `[key, value]`                            |
//! | structs                  | object; a missing field counts as `null`, an unknown one is an error                |
//! | enums                    | `"Variant"` or `{"Variant": payload}`, as serde writes them                         |
//!
//! Interfaces and bytes come from strangers: a conversion makes at most [`limits::CONVERSION_VALUES_MAX`] values,
//! keeps no memory for a length that was only announced, and nests no deeper than [`Interface::decode`] lets types.
//!
//! [`limits::CONVERSION_VALUES_MAX`]: crate::limits::CONVERSION_VALUES_MAX

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use core::fmt;

use serde_json::Value;

use crate::interface::{Argument, Interface, Type, TypeIndex};
use crate::limits::CONVERSION_VALUES_MAX;

use decode::Decoder;
use encode::Encoder;

/// Why a value could not be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Too few or too many arguments.
    #[error("takes {takes} argument{}, {given} given", if *.takes == 1 { "" } else { "s" })]
    Count {
        /// How many it takes.
        takes: usize,
        /// How many there were.
        given: usize,
    },
    /// A value does not fit its type.
    #[error("{at}: {problem}")]
    Value {
        /// Where, such as `argument 1 'job'.runs[2]`.
        at: String,
        /// What is wrong there.
        problem: Problem,
    },
}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// JSON of another kind, or a number out of range.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// The type.
        expected: String,
        /// The value, shortened.
        found: String,
    },
    /// A struct lacks a field that is not an `Option`.
    #[error("missing field '{0}'")]
    MissingField(String),
    /// A name that the struct or enum does not have.
    #[error("unknown {kind} '{name}', expected {}", one_of(.known))]
    Unknown {
        /// `field` or `variant`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// The conversion is too large.
    #[error("more than {CONVERSION_VALUES_MAX} values")]
    TooManyValues,
    /// The bytes end within this value.
    #[error("the bytes end within {0}")]
    Cut(String),
    /// The bytes are not of the type.
    #[error("malformed {0}")]
    Malformed(String),
    /// Bytes after the value.
    #[error("bytes left over: {0}")]
    Trailing(usize),
}

impl JsonError {
    fn new(problem: Problem) -> JsonError {
        JsonError::Value { at: String::new(), problem }
    }

    /// Says in which part of a value it is; called from the inside out.
    fn within(self, part: impl fmt::Display) -> JsonError {
        match self {
            JsonError::Value { at, problem } => JsonError::Value { at: format!("{part}{at}"), problem },
            count @ JsonError::Count { .. } => count,
        }
    }
}

/// Encodes `values` as the arguments of a method or of the constructor.
///
/// # Errors
/// [`JsonError`] that names the argument.
pub fn encode_arguments(interface: &Interface, arguments: &[Argument], values: &[Value]) -> Result<Vec<u8>, JsonError> {
    let left_out = arguments.get(values.len()..).unwrap_or_default();
    let is_optional = |argument: &Argument| matches!(interface.ty(argument.ty), Type::Option(_));
    if arguments.len() < values.len() || !left_out.iter().all(is_optional) {
        return Err(JsonError::Count { takes: arguments.len(), given: values.len() });
    }
    let mut encoder = Encoder::new(interface);
    let values = values.iter().chain(left_out.iter().map(|_| &Value::Null));
    for (index, (argument, value)) in arguments.iter().zip(values).enumerate() {
        encoder.value(argument.ty, value).map_err(|error| error.within(place(index, argument)))?;
    }
    Ok(encoder.finish())
}

/// Decodes what [`encode_arguments`] makes; for logs and gateways.
///
/// # Errors
/// [`JsonError`] when `bytes` are not exactly these arguments.
pub fn decode_arguments(interface: &Interface, arguments: &[Argument], bytes: &[u8]) -> Result<Vec<Value>, JsonError> {
    let mut decoder = Decoder::new(interface, bytes);
    let mut values = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        values.push(decoder.value(argument.ty).map_err(|error| error.within(place(index, argument)))?);
    }
    decoder.finish().map_err(|error| error.within("arguments"))?;
    Ok(values)
}

fn place(index: usize, argument: &Argument) -> String {
    format!("argument {} '{}'", index + 1, argument.name)
}

/// Encodes one value.
///
/// # Errors
/// [`JsonError`] that says where in the value.
pub fn encode(interface: &Interface, ty: TypeIndex, value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut encoder = Encoder::new(interface);
    encoder.value(ty, value).map_err(|error| error.within("value"))?;
    Ok(encoder.finish())
}

/// Decodes one value that must use up `bytes`.
///
/// # Errors
/// [`JsonError`] that says where in the value.
pub fn decode(interface: &Interface, ty: TypeIndex, bytes: &[u8]) -> Result<Value, JsonError> {
    let mut decoder = Decoder::new(interface, bytes);
    let value = decoder.value(ty).and_then(|value| decoder.finish().map(|()| value));
    value.map_err(|error| error.within("value"))
}

/// Whether every value of this type is a JSON string, so that a command line may take a bare word for it.
#[must_use]
pub fn is_string(interface: &Interface, ty: TypeIndex) -> bool {
    matches!(interface.ty(ty), Type::String | Type::Char)
}

/// Counts what one conversion makes.
#[derive(Default)]
struct Budget(usize);

impl Budget {
    fn take(&mut self) -> Result<(), JsonError> {
        self.0 += 1;
        if self.0 > CONVERSION_VALUES_MAX { Err(JsonError::new(Problem::TooManyValues)) } else { Ok(()) }
    }
}

/// What a type is called in errors.
fn type_name(ty: &Type) -> String {
    let name = match ty {
        Type::Bool => "bool",
        Type::I8 => "i8",
        Type::I16 => "i16",
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::I128 => "i128",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::U128 => "u128",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "one character",
        Type::String => "string",
        Type::Bytes => "array of bytes",
        Type::Unit => "null",
        Type::Option(_) => "option",
        Type::Seq(_) => "array",
        Type::Tuple(parts) => return format!("array of {}", parts.len()),
        Type::Map { .. } => "map",
        Type::Struct { name, .. } | Type::Enum { name, .. } => name,
    };
    name.into()
}

fn one_of(names: &[String]) -> String {
    const SHOWN_MAX: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("'{name}'")).collect();
    match names.len() {
        0 => "none".into(),
        1 => shown.concat(),
        2..=SHOWN_MAX => format!("one of {}", shown.join(", ")),
        _ => format!("one of {}, ...", shown.join(", ")),
    }
}
