//! What an object can do, as the object itself describes it.
//!
//! Types stand in one flat table in which every type refers only to earlier ones, so an interface from a stranger can
//! neither be recursive nor nest beyond [`TYPE_DEPTH_MAX`]; decoding it needs no recursion.

use postcard_schema::schema::{DataModelType, DataModelVariant, NamedType, NamedValue};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::limits::{INTERFACE_BYTES_MAX, INTERFACE_METHODS_MAX, INTERFACE_TYPES_MAX, NAME_BYTES_MAX, TYPE_DEPTH_MAX};

/// Called like a method, this starts an object anew: it takes the arguments of the constructor and returns nothing. The name
/// is the predecessor's.
pub const REINITIALIZE: &str = "__concoordinit__";

/// Index into [`Interface::types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TypeIndex(pub u32);

/// An object's description of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name of the object's type, as its author wrote it.
    pub name: String,
    /// Version of the object's crate.
    pub version: String,
    /// What it is for.
    pub doc: String,
    /// All types that the methods use.
    pub types: Vec<Type>,
    /// Arguments of the constructor.
    pub init: Vec<Argument>,
    /// Methods in the author's order.
    pub methods: Vec<Method>,
    /// Of the payload of its events; `None` for an object that emits none.
    pub event: Option<TypeIndex>,
}

/// One method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What it does.
    pub doc: String,
    /// Whether it may change the object.
    pub kind: MethodKind,
    /// What it takes.
    pub arguments: Vec<Argument>,
    /// What it gives.
    pub result: TypeIndex,
    /// What it gives when it fails; `None` for a method that doesn't return `Result`.
    pub error: Option<TypeIndex>,
}

/// Whether a method may change the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MethodKind {
    /// `&self`: runs on one replica and leaves no trace.
    Query,
    /// `&mut self`: goes through the log and runs on every replica.
    Update,
    /// An update that takes a waiter: another input may answer it, later.
    Waiting,
}

impl MethodKind {
    /// Whether it goes through the log.
    #[must_use]
    pub fn is_update(self) -> bool {
        self != MethodKind::Query
    }
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: TypeIndex,
}

/// A type in the postcard data model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Type {
    /// `bool`
    Bool,
    /// `i8`
    I8,
    /// `i16`
    I16,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `i128`
    I128,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// `u128`
    U128,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `String`
    String,
    /// Bytes.
    Bytes,
    /// `()` and unit structs.
    Unit,
    /// `Option<T>`
    Option(TypeIndex),
    /// `Vec<T>`
    Seq(TypeIndex),
    /// Tuples and arrays.
    Tuple(Vec<TypeIndex>),
    /// Maps.
    Map {
        /// Key.
        key: TypeIndex,
        /// Value.
        value: TypeIndex,
    },
    /// A struct with named fields; `struct T(A)` and `struct T(A, B)` are described as `A` and as a tuple.
    Struct {
        /// Its name.
        name: String,
        /// Fields in order.
        fields: Vec<Argument>,
    },
    /// An enum.
    Enum {
        /// Its name.
        name: String,
        /// Variants by index.
        variants: Vec<Variant>,
    },
}

/// A variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Payload,
}

/// What a variant carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing.
    Unit,
    /// One value.
    Newtype(TypeIndex),
    /// Several values.
    Tuple(Vec<TypeIndex>),
    /// Named fields.
    Struct(Vec<Argument>),
}

/// Why bytes are not an interface that this build accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// Something is over its limit.
    #[error("interface with {found} {what}, but at most {limit} are accepted")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much is accepted.
        limit: usize,
    },
    /// Not an encoded interface.
    #[error("malformed interface: {0}")]
    Malformed(#[from] codec::FrameError),
    /// A type refers to itself or to a later one.
    #[error("type {at} of the interface refers to type {to}: a type may refer only to earlier ones")]
    Reference {
        /// The type, or the number of types for a method's argument or result.
        at: usize,
        /// What it refers to.
        to: usize,
    },
    /// Two methods share a name, or a name is empty.
    #[error("interface with a method name that is empty or used twice: '{0}'")]
    Name(String),
    /// A method has the name of something else.
    #[error("interface with a method '{REINITIALIZE}': that is how callers start any object anew")]
    Reserved,
}

impl Interface {
    /// Decodes and checks an interface from a stranger.
    ///
    /// # Errors
    /// [`InterfaceError`] when it is malformed or beyond a limit.
    pub fn decode(bytes: &[u8]) -> Result<Interface, InterfaceError> {
        within("bytes", bytes.len(), INTERFACE_BYTES_MAX)?;
        let interface: Interface = codec::from_bytes(bytes)?;
        interface.check()?;
        Ok(interface)
    }

    /// The method of this name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The type at `index`.
    ///
    /// # Panics
    /// For an index of another interface: those of a decoded interface are checked.
    #[must_use]
    pub fn ty(&self, index: TypeIndex) -> &Type {
        &self.types[index.0 as usize]
    }

    fn check(&self) -> Result<(), InterfaceError> {
        within("types", self.types.len(), INTERFACE_TYPES_MAX)?;
        within("methods", self.methods.len(), INTERFACE_METHODS_MAX)?;
        let mut depths: Vec<usize> = Vec::with_capacity(self.types.len());
        for ty in &self.types {
            let mut depth = 1;
            for part in ty.parts() {
                depth = depth.max(1 + *depths.get(part.0 as usize).ok_or(reference(depths.len(), part))?);
            }
            within("levels of nested types", depth, TYPE_DEPTH_MAX)?;
            depths.push(depth);
        }
        let mut names = std::collections::BTreeSet::new();
        for method in &self.methods {
            within("bytes in a method name", method.name.len(), NAME_BYTES_MAX)?;
            if method.name == REINITIALIZE {
                return Err(InterfaceError::Reserved);
            }
            if method.name.is_empty() || !names.insert(&method.name) {
                return Err(InterfaceError::Name(method.name.clone()));
            }
        }
        let of_methods = self.methods.iter().flat_map(|method| {
            method.arguments.iter().map(|argument| argument.ty).chain([method.result]).chain(method.error)
        });
        for used in of_methods.chain(self.init.iter().map(|argument| argument.ty)).chain(self.event) {
            if used.0 as usize >= self.types.len() {
                return Err(reference(self.types.len(), used));
            }
        }
        Ok(())
    }
}

fn reference(at: usize, to: TypeIndex) -> InterfaceError {
    InterfaceError::Reference { at, to: to.0 as usize }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), InterfaceError> {
    if found > limit { Err(InterfaceError::Limit { what, found, limit }) } else { Ok(()) }
}

impl Type {
    /// The types it is made of.
    #[must_use]
    pub fn parts(&self) -> Vec<TypeIndex> {
        let fields = |fields: &[Argument]| fields.iter().map(|field| field.ty).collect();
        match self {
            Type::Option(part) | Type::Seq(part) => vec![*part],
            Type::Tuple(parts) => parts.clone(),
            Type::Map { key, value } => vec![*key, *value],
            Type::Struct { fields: parts, .. } => fields(parts),
            Type::Enum { variants, .. } => variants
                .iter()
                .flat_map(|variant| match &variant.payload {
                    Payload::Unit => vec![],
                    Payload::Newtype(part) => vec![*part],
                    Payload::Tuple(parts) => parts.clone(),
                    Payload::Struct(parts) => fields(parts),
                })
                .collect(),
            _ => vec![],
        }
    }
}

/// Builds [`Interface::types`] from schemas; equal types are listed once.
#[derive(Debug, Default)]
pub struct TypeTable {
    types: Vec<Type>,
}

impl TypeTable {
    /// Index of the type that `schema` describes, added with its parts where it is new.
    ///
    /// # Panics
    /// For `usize` and `isize`, whose range depends on the machine: use a fixed width.
    pub fn add(&mut self, schema: &NamedType) -> TypeIndex {
        let ty = match schema.ty {
            DataModelType::Bool => Type::Bool,
            DataModelType::I8 => Type::I8,
            DataModelType::U8 => Type::U8,
            DataModelType::I16 => Type::I16,
            DataModelType::I32 => Type::I32,
            DataModelType::I64 => Type::I64,
            DataModelType::I128 => Type::I128,
            DataModelType::U16 => Type::U16,
            DataModelType::U32 => Type::U32,
            DataModelType::U64 => Type::U64,
            DataModelType::U128 => Type::U128,
            DataModelType::Usize | DataModelType::Isize => {
                panic!("usize and isize differ between machines: use u64, i64 or a smaller width")
            }
            DataModelType::F32 => Type::F32,
            DataModelType::F64 => Type::F64,
            DataModelType::Char => Type::Char,
            DataModelType::String => Type::String,
            DataModelType::ByteArray => Type::Bytes,
            DataModelType::Unit | DataModelType::UnitStruct => Type::Unit,
            DataModelType::Option(part) => Type::Option(self.add(part)),
            DataModelType::NewtypeStruct(part) => return self.add(part),
            DataModelType::Seq(part) => Type::Seq(self.add(part)),
            DataModelType::Tuple(parts) | DataModelType::TupleStruct(parts) => Type::Tuple(self.add_all(parts)),
            DataModelType::Map { key, val } => Type::Map { key: self.add(key), value: self.add(val) },
            DataModelType::Struct(fields) => Type::Struct { name: schema.name.into(), fields: self.add_fields(fields) },
            DataModelType::Enum(variants) => Type::Enum {
                name: schema.name.into(),
                variants: variants
                    .iter()
                    .map(|variant| Variant {
                        name: variant.name.into(),
                        payload: match variant.ty {
                            DataModelVariant::UnitVariant => Payload::Unit,
                            DataModelVariant::NewtypeVariant(part) => Payload::Newtype(self.add(part)),
                            DataModelVariant::TupleVariant(parts) => Payload::Tuple(self.add_all(parts)),
                            DataModelVariant::StructVariant(fields) => Payload::Struct(self.add_fields(fields)),
                        },
                    })
                    .collect(),
            },
            // A schema as a value: its shape is of no use to a caller, its bytes are.
            DataModelType::Schema => Type::Bytes,
        };
        let known = self.types.iter().position(|existing| *existing == ty);
        let index = known.unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        });
        TypeIndex(u32::try_from(index).expect("a table is far below 2^32 types"))
    }

    /// The table, for [`Interface::types`].
    #[must_use]
    pub fn finish(self) -> Vec<Type> {
        self.types
    }

    fn add_all(&mut self, parts: &[&NamedType]) -> Vec<TypeIndex> {
        parts.iter().map(|part| self.add(part)).collect()
    }

    fn add_fields(&mut self, fields: &[&NamedValue]) -> Vec<Argument> {
        fields.iter().map(|field| Argument { name: field.name.into(), ty: self.add(field.ty) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use postcard_schema::Schema;

    use super::*;

    #[derive(Serialize, Deserialize, Schema)]
    struct Job {
        name: String,
        runs: Vec<(u32, Option<String>)>,
        state: State,
    }

    #[derive(Serialize, Deserialize, Schema)]
    enum State {
        Waiting,
        Running { since: u64 },
        Failed(String),
    }

    fn interface() -> Interface {
        let mut types = TypeTable::default();
        let job = types.add(Job::SCHEMA);
        let text = types.add(String::SCHEMA);
        Interface {
            name: "Jobs".into(),
            version: "1.0.0".into(),
            doc: String::new(),
            types: types.finish(),
            event: None,
            init: vec![],
            methods: vec![Method {
                name: "add".into(),
                doc: String::new(),
                kind: MethodKind::Update,
                arguments: vec![Argument { name: "job".into(), ty: job }],
                result: text,
                error: None,
            }],
        }
    }

    #[test]
    fn round_trips_and_lists_equal_types_once() {
        let interface = interface();
        assert_eq!(Interface::decode(&codec::to_bytes(&interface)), Ok(interface.clone()));
        assert_eq!(interface.types.iter().filter(|ty| **ty == Type::String).count(), 1);
    }

    #[test]
    fn refuses_what_refers_forward() {
        let mut interface = interface();
        interface.types.insert(0, Type::Seq(TypeIndex(0)));
        let refused = Interface::decode(&codec::to_bytes(&interface));
        assert_eq!(refused, Err(InterfaceError::Reference { at: 0, to: 0 }));
    }

    #[test]
    fn refuses_an_event_of_no_type_and_a_method_by_which_objects_are_started_anew() {
        let mut interface = interface();
        let types = interface.types.len();
        interface.event = Some(TypeIndex(types as u32));
        let refused = Interface::decode(&codec::to_bytes(&interface));
        assert_eq!(refused, Err(InterfaceError::Reference { at: types, to: types }));
        interface.event = Some(TypeIndex(types as u32 - 1));
        assert_eq!(Interface::decode(&codec::to_bytes(&interface)), Ok(interface.clone()));
        interface.methods[0].name = REINITIALIZE.into();
        assert_eq!(Interface::decode(&codec::to_bytes(&interface)), Err(InterfaceError::Reserved));
    }

    #[test]
    fn refuses_deep_nesting() {
        let mut interface = interface();
        interface.types = vec![Type::Unit];
        for index in 0..u32::try_from(TYPE_DEPTH_MAX).expect("small") {
            interface.types.push(Type::Option(TypeIndex(index)));
        }
        let refused = Interface::decode(&codec::to_bytes(&interface));
        assert!(matches!(refused, Err(InterfaceError::Limit { limit: TYPE_DEPTH_MAX, .. })), "{refused:?}");
    }

    #[test]
    fn refuses_bytes_that_are_cut_or_left_over() {
        let bytes = codec::to_bytes(&interface());
        for length in 0..bytes.len() {
            assert!(Interface::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Interface::decode(&longer), Err(InterfaceError::Malformed(codec::FrameError::Trailing(1))));
    }
}
