//! The types of an interface as a program needs them: equal ones as one, each before those that are made of it, with what
//! follows from their parts.

use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::interface::{Argument, Interface, Payload, Type, TypeIndex, Variant};

use super::names::mention;

/// Parts in parts, down to named types, of what may be written where it is used: equal parts in parts would make it double
/// with every level.
const SPELLED_PARTS_MAX: usize = 64;
/// Equal parts from which on a tuple is an array.
const ARRAY_PARTS_MIN: usize = 4;
/// Parts of a tuple for which Rust's library has all that is derived.
pub(super) const TUPLE_PARTS_MAX: usize = 12;
/// Bytes of a value above which it is kept behind a pointer when it is a part of another: else a type of a few bytes could
/// have values larger than memory.
const INLINE_BYTES_MAX: u64 = 4096;
/// Steps that are taken to find where types are used. It is only told to readers.
const USE_STEPS_MAX: usize = 1 << 20;
/// Uses that are told.
const USES_TOLD_MAX: usize = 3;

/// What is known of the types of an interface.
pub(super) struct Shapes<'a> {
    pub(super) interface: &'a Interface,
    /// By index, the first type that is equal.
    first: Vec<TypeIndex>,
    /// Those that are used and first, parts before wholes.
    pub(super) used: Vec<TypeIndex>,
    facts: Vec<Facts>,
    uses: BTreeMap<TypeIndex, Vec<String>>,
    errors: BTreeSet<TypeIndex>,
}

/// What follows from the parts of a type.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Parts in parts, down to named types.
    spelled_parts: usize,
    /// Bytes of a value, about.
    bytes: u64,
    has_float: bool,
    is_in_key: bool,
}

impl<'a> Shapes<'a> {
    pub(super) fn of(interface: &'a Interface) -> Shapes<'a> {
        let first = unified(interface);
        let mut shapes = Shapes {
            interface,
            used: Vec::new(),
            facts: vec![Facts::default(); first.len()],
            uses: BTreeMap::new(),
            errors: interface.methods.iter().filter_map(|method| method.error).map(|at| first[at.0 as usize]).collect(),
            first,
        };
        shapes.find_used();
        for index in shapes.used.clone() {
            shapes.facts[index.0 as usize] = shapes.facts_of(shapes.ty(index));
        }
        shapes.find_keys();
        shapes.find_uses();
        shapes
    }

    /// The first type that is equal to this one.
    pub(super) fn first(&self, index: TypeIndex) -> TypeIndex {
        self.first[index.0 as usize]
    }

    pub(super) fn ty(&self, index: TypeIndex) -> &'a Type {
        self.interface.ty(self.first(index))
    }

    /// Structs and enums in the order in which an author would read of them: that of first use.
    pub(super) fn named(&self) -> Vec<TypeIndex> {
        let (mut seen, mut named) = (BTreeSet::new(), Vec::new());
        let mut left: Vec<TypeIndex> = self.roots().iter().rev().map(|(index, _)| self.first(*index)).collect();
        while let Some(index) = left.pop() {
            if seen.insert(index) {
                if is_named(self.ty(index)) {
                    named.push(index);
                }
                left.extend(self.ty(index).parts().into_iter().rev().map(|part| self.first(part)));
            }
        }
        named
    }

    /// The one part of a tuple of equal ones that is an array.
    pub(super) fn equal_parts(&self, parts: &[TypeIndex]) -> Option<TypeIndex> {
        let (first, others) = parts.split_first()?;
        let is_equal = |part: &TypeIndex| self.first(*part) == self.first(*first);
        (parts.len() >= ARRAY_PARTS_MIN && others.iter().all(is_equal)).then_some(*first)
    }

    /// Whether it is too much to be written where it is used.
    pub(super) fn is_large(&self, index: TypeIndex) -> bool {
        self.fact(index).spelled_parts > SPELLED_PARTS_MAX
    }

    /// Whether it is kept behind a pointer as a part of another.
    pub(super) fn is_boxed(&self, index: TypeIndex) -> bool {
        self.fact(index).bytes > INLINE_BYTES_MAX
    }

    pub(super) fn has_float(&self, index: TypeIndex) -> bool {
        self.fact(index).has_float
    }

    /// Whether keys of maps are made of it.
    pub(super) fn is_in_key(&self, index: TypeIndex) -> bool {
        self.fact(index).is_in_key
    }

    /// Whether it is the error of a method.
    pub(super) fn is_error(&self, index: TypeIndex) -> bool {
        self.errors.contains(&self.first(index))
    }

    /// Where a named type is used, as a sentence.
    pub(super) fn uses(&self, index: TypeIndex) -> String {
        match self.uses.get(&self.first(index)).map(Vec::as_slice) {
            None | Some([]) => "Of the object.".into(),
            Some(uses) if uses.len() > USES_TOLD_MAX => {
                format!("In {} and elsewhere.", uses[..USES_TOLD_MAX].join(", "))
            }
            Some([one]) => format!("In {one}."),
            Some([some @ .., last]) => format!("In {} and {last}.", some.join(", ")),
        }
    }

    /// How many arguments at the end may be left out.
    pub(super) fn left_out_max(&self, arguments: &[Argument]) -> usize {
        let is_optional = |argument: &&Argument| matches!(self.ty(argument.ty), Type::Option(_));
        arguments.iter().rev().take_while(is_optional).count()
    }

    fn fact(&self, index: TypeIndex) -> Facts {
        self.facts[self.first(index).0 as usize]
    }

    /// All types that are used as they are, with by what.
    fn roots(&self) -> Vec<(TypeIndex, String)> {
        let mut roots = Vec::new();
        for method in &self.interface.methods {
            let name = mention(&method.name);
            let arguments = method.arguments.iter();
            roots.extend(arguments.map(|argument| (argument.ty, format!("the arguments of {name}"))));
            roots.push((method.result, format!("the result of {name}")));
            roots.extend(method.error.map(|error| (error, format!("the error of {name}"))));
        }
        roots.extend(self.interface.event.map(|event| (event, "the events".to_owned())));
        let init = self.interface.init.iter();
        roots.extend(init.map(|argument| (argument.ty, "the arguments of the constructor".to_owned())));
        roots
    }

    fn find_used(&mut self) {
        let mut seen = BTreeSet::new();
        let mut left: Vec<TypeIndex> = self.roots().iter().map(|(index, _)| self.first(*index)).collect();
        while let Some(index) = left.pop() {
            if seen.insert(index) {
                left.extend(self.ty(index).parts().into_iter().map(|part| self.first(part)));
            }
        }
        // Types refer to earlier ones only.
        self.used = seen.into_iter().collect();
    }

    fn facts_of(&self, ty: &Type) -> Facts {
        let parts = ty.parts();
        let facts: Vec<Facts> = parts.iter().map(|part| self.fact(*part)).collect();
        // What is too large is given a name, and then it is one part.
        let spelled = |part: &Facts| if part.spelled_parts > SPELLED_PARTS_MAX { 1 } else { part.spelled_parts };
        let spelled_parts = match ty {
            Type::Struct { .. } | Type::Enum { .. } => 1,
            // So many equal ones are told by their number.
            Type::Tuple(_) if parts.len() > TUPLE_PARTS_MAX && self.equal_parts(&parts).is_some() => {
                1 + spelled(&facts[0])
            }
            _ => 1 + facts.iter().map(spelled).sum::<usize>(),
        };
        let part_bytes = facts.iter().map(|part| if part.bytes > INLINE_BYTES_MAX { 8 } else { part.bytes.max(8) });
        let bytes = match ty {
            Type::Unit => 0,
            Type::I128 | Type::U128 => 16,
            Type::Bytes | Type::String | Type::Seq(_) | Type::Map { .. } => 24,
            Type::Option(_) | Type::Enum { .. } | Type::Struct { .. } | Type::Tuple(_) => 8 + part_bytes.sum::<u64>(),
            _ => 8,
        };
        let is_float = matches!(ty, Type::F32 | Type::F64);
        let has_float = is_float || facts.iter().any(|part| part.has_float);
        Facts { spelled_parts, bytes, has_float, is_in_key: false }
    }

    /// From wholes to parts.
    fn find_keys(&mut self) {
        for index in self.used.clone().into_iter().rev() {
            let ty = self.ty(index);
            let is_in_key = self.fact(index).is_in_key;
            let keys = match ty {
                _ if is_in_key => ty.parts(),
                Type::Map { key, .. } => vec![*key],
                _ => vec![],
            };
            for key in keys {
                let first = self.first(key);
                self.facts[first.0 as usize].is_in_key = true;
            }
        }
    }

    fn find_uses(&mut self) {
        let mut by: Vec<(Vec<TypeIndex>, String)> =
            self.roots().into_iter().map(|(index, user)| (vec![index], user)).collect();
        for index in self.named() {
            if let Type::Struct { name, .. } | Type::Enum { name, .. } = self.ty(index) {
                by.push((self.ty(index).parts(), mention(name)));
            }
        }
        let mut steps = 0;
        for (mut left, user) in by {
            let mut seen = BTreeSet::new();
            while let Some(index) = left.pop() {
                let index = self.first(index);
                steps += 1;
                if steps > USE_STEPS_MAX {
                    return;
                }
                if !seen.insert(index) {
                    continue;
                }
                if !is_named(self.ty(index)) {
                    left.extend(self.ty(index).parts());
                    continue;
                }
                let uses = self.uses.entry(index).or_default();
                if uses.len() <= USES_TOLD_MAX && uses.last() != Some(&user) {
                    uses.push(user.clone());
                }
            }
        }
    }
}

/// Whether it is a struct or an enum.
pub(super) fn is_named(ty: &Type) -> bool {
    matches!(ty, Type::Struct { .. } | Type::Enum { .. })
}

/// By index, the first type that is equal, down to the last part.
fn unified(interface: &Interface) -> Vec<TypeIndex> {
    let (mut known, mut first) = (BTreeMap::<Type, TypeIndex>::new(), Vec::<TypeIndex>::new());
    for (index, ty) in (0..).map(TypeIndex).zip(&interface.types) {
        first.push(*known.entry(with_firsts(ty, &first)).or_insert(index));
    }
    first
}

fn with_firsts(ty: &Type, first: &[TypeIndex]) -> Type {
    let one = |index: &TypeIndex| first[index.0 as usize];
    let all = |indices: &[TypeIndex]| indices.iter().map(one).collect();
    let fields = |fields: &[Argument]| {
        let field = |field: &Argument| Argument { name: field.name.clone(), ty: one(&field.ty) };
        fields.iter().map(field).collect()
    };
    match ty {
        Type::Option(part) => Type::Option(one(part)),
        Type::Seq(part) => Type::Seq(one(part)),
        Type::Tuple(parts) => Type::Tuple(all(parts)),
        Type::Map { key, value } => Type::Map { key: one(key), value: one(value) },
        Type::Struct { name, fields: parts } => Type::Struct { name: name.clone(), fields: fields(parts) },
        Type::Enum { name, variants } => Type::Enum {
            name: name.clone(),
            variants: variants
                .iter()
                .map(|variant| Variant {
                    name: variant.name.clone(),
                    payload: match &variant.payload {
                        Payload::Unit => Payload::Unit,
                        Payload::Newtype(part) => Payload::Newtype(one(part)),
                        Payload::Tuple(parts) => Payload::Tuple(all(parts)),
                        Payload::Struct(parts) => Payload::Struct(fields(parts)),
                    },
                })
                .collect(),
        },
        plain => plain.clone(),
    }
}
