//! The exports that make a module an object.

use std::collections::BTreeMap;

use concoord_wire::abi::{ABI_VERSION, export};
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{FuncType, ValType};

use crate::refusal::{Reason, Refusal};

/// Lowest address at which linkers put data: the first KiB stays free, so that a null pointer points at nothing.
const DATA_ADDRESS_MIN: i32 = 1024;

/// An export as it stands in the module.
pub(crate) struct Found {
    pub(crate) offset: usize,
    /// Index of the global that it is, if it is one.
    pub(crate) global: Option<u32>,
}

pub(crate) struct Facts {
    pub(crate) has_initialize: bool,
    pub(crate) panic_address: Option<u32>,
}

/// What an export has to be.
#[derive(Clone, Copy)]
enum Expected {
    Memory,
    Constant,
    Function(&'static [ValType], &'static [ValType]),
}

const MEMORY: (&str, Expected, &str) = (export::MEMORY, Expected::Memory, "a memory");
const ABI: (&str, Expected, &str) = (export::ABI, Expected::Constant, "an immutable i32 global");
const PANIC: (&str, Expected, &str) = (export::PANIC, Expected::Constant, "an immutable i32 global");
const INITIALIZE: (&str, Expected, &str) =
    (export::INITIALIZE, Expected::Function(&[], &[]), "a function without parameters and results");

const GIVES: Expected = Expected::Function(&[], &[ValType::I64]);
const TAKES: Expected = Expected::Function(&[ValType::I32], &[ValType::I64]);
const ADDRESS: Expected = Expected::Function(&[ValType::I32], &[ValType::I32]);
const FUNCTIONS: [(&str, Expected, &str); 5] = [
    (export::DESCRIBE, GIVES, "a function () -> i64"),
    (export::BUFFER, ADDRESS, "a function (i32) -> i32"),
    (export::CALL, TAKES, "a function (i32) -> i64"),
    (export::EXPORT, GIVES, "a function () -> i64"),
    (export::IMPORT, TAKES, "a function (i32) -> i64"),
];

/// Refuses a module that lacks an export, has one of another type, or was made for another ABI.
pub(crate) fn check(
    exports: &BTreeMap<&str, Found>,
    globals: &[Option<i32>],
    data: &[(u32, &[u8])],
    types: TypesRef<'_>,
) -> Result<Facts, Refusal> {
    let entities: BTreeMap<&str, EntityType> = types.core_exports().into_iter().flatten().collect();
    let table = Table { exports, globals, types, entities };
    table.required(MEMORY)?;
    table.required(ABI)?;
    let abi = table.constant(export::ABI).map(|abi| version(abi, data)).unwrap_or_default();
    if abi != ABI_VERSION {
        return Err(Refusal { offset: table.offset(export::ABI), reason: Reason::Abi { found: abi } });
    }
    for function in FUNCTIONS {
        table.required(function)?;
    }
    let has_initialize = table.optional(INITIALIZE)?;
    table.optional(PANIC)?;
    let panic_address = table.constant(export::PANIC).map(i32::cast_unsigned);
    Ok(Facts { has_initialize, panic_address })
}

/// The ABI version that the global `concoord_abi` gives: its value, or, as Rust and C export a static, the `i32` that
/// the memory holds at that address in the beginning.
fn version(global: i32, data: &[(u32, &[u8])]) -> i32 {
    if (0..DATA_ADDRESS_MIN).contains(&global) {
        return global;
    }
    let address = u64::from(global.cast_unsigned());
    let byte = |at: u64| {
        let found = data.iter().rev().find_map(|(start, bytes)| {
            let index = at.checked_sub(u64::from(*start))?;
            bytes.get(usize::try_from(index).ok()?).copied()
        });
        found.unwrap_or_default()
    };
    i32::from_le_bytes([byte(address), byte(address + 1), byte(address + 2), byte(address + 3)])
}

struct Table<'a> {
    exports: &'a BTreeMap<&'a str, Found>,
    globals: &'a [Option<i32>],
    types: TypesRef<'a>,
    entities: BTreeMap<&'a str, EntityType>,
}

impl Table<'_> {
    fn offset(&self, name: &str) -> Option<usize> {
        self.exports.get(name).map(|found| found.offset)
    }

    /// Value of an exported constant. Every immutable `i32` global of a module without imports has one.
    fn constant(&self, name: &str) -> Option<i32> {
        let global = self.exports.get(name)?.global?;
        *self.globals.get(global as usize)?
    }

    fn required(&self, (name, wanted, expected): (&'static str, Expected, &'static str)) -> Result<(), Refusal> {
        if self.optional((name, wanted, expected))? {
            Ok(())
        } else {
            Err(Refusal { offset: None, reason: Reason::MissingExport { name, expected } })
        }
    }

    /// Whether there is such an export; refused if it is of another type.
    fn optional(&self, (name, wanted, expected): (&'static str, Expected, &'static str)) -> Result<bool, Refusal> {
        let Some(entity) = self.entities.get(name) else {
            return Ok(false);
        };
        let fits = match (wanted, entity) {
            (Expected::Memory, EntityType::Memory(_)) => true,
            (Expected::Constant, EntityType::Global(ty)) => !ty.mutable && ty.content_type == ValType::I32,
            (Expected::Function(params, results), EntityType::Func(id)) => {
                let ty: &FuncType = self.types[*id].unwrap_func();
                ty.params() == params && ty.results() == results
            }
            _ => false,
        };
        if fits {
            return Ok(true);
        }
        let reason = Reason::ExportType { name, found: self.describe(entity), expected };
        Err(Refusal { offset: self.offset(name), reason })
    }

    fn describe(&self, entity: &EntityType) -> String {
        match entity {
            EntityType::Func(id) | EntityType::FuncExact(id) => {
                let ty = self.types[*id].unwrap_func();
                format!("a function {} -> {}", list(ty.params()), list(ty.results()))
            }
            EntityType::Table(_) => "a table".into(),
            EntityType::Memory(_) => "a memory".into(),
            EntityType::Global(ty) => {
                format!("{} {} global", if ty.mutable { "a mutable" } else { "an immutable" }, ty.content_type)
            }
            EntityType::Tag(_) => "a tag".into(),
        }
    }
}

fn list(types: &[ValType]) -> String {
    let names: Vec<String> = types.iter().map(ToString::to_string).collect();
    format!("({})", names.join(", "))
}
