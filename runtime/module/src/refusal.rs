//! Why a module is refused, in words for its author.

use std::fmt;

use concoord_wire::abi::ABI_VERSION;
use wasmparser::WasmFeatures;

/// Bytes of a stranger's text that a refusal repeats.
const SHOWN_BYTES_MAX: usize = 200;

/// A module can't run as an object. Displayed as one line: what was found, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Byte of the module at which the reason stands; `None` when it stands nowhere, as for something that is missing.
    pub offset: Option<usize>,
    /// What was found.
    pub reason: Reason,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(offset) = self.offset {
            write!(f, " (at byte {offset:#x})")?;
        }
        write!(f, "; {}", self.advice())
    }
}

impl std::error::Error for Refusal {}

/// What stands against a module. Texts in it that come from the module are cut short and free of control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not a module at all.
    #[error("not a WebAssembly module: it does not begin with \\0asm and version 1")]
    NotWasm,
    /// A data segment outside the memory that the module begins with.
    #[error("has data up to address {end}, but begins with {bytes} bytes of memory")]
    DataOutside {
        /// Where the segment ends.
        end: u64,
        /// Bytes of memory.
        bytes: u64,
    },
    /// A component.
    #[error("a WebAssembly component, not a core module")]
    Component,
    /// Malformed, truncated, or ill-typed.
    #[error("not a valid WebAssembly module: {0}")]
    Invalid(String),
    /// Uses a part of WebAssembly that objects may not use.
    #[error("uses {feature}: {found}")]
    Feature {
        /// The proposal.
        feature: &'static str,
        /// What it was found by.
        found: String,
    },
    /// Beyond a limit.
    #[error("{found} {what}, but at most {limit} are accepted")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much is accepted.
        limit: u64,
    },
    /// Has an import.
    #[error("imports {module}.{name}")]
    Import {
        /// Module part of the import's name.
        module: String,
        /// The rest of its name.
        name: String,
    },
    /// Has a start section.
    #[error("has a start section")]
    Start,
    /// More than one memory.
    #[error("has a second memory")]
    SecondMemory,
    /// More than one table.
    #[error("has a second table")]
    SecondTable,
    /// A memory shared between threads.
    #[error("has a shared memory")]
    SharedMemory,
    /// A memory with 64-bit addresses.
    #[error("has a 64-bit memory")]
    Memory64,
    /// Reference types where a value could be one.
    #[error("has {0} of a reference type")]
    Reference(&'static str),
    /// An instruction that makes a reference, or changes a table or segment.
    #[error("uses the instruction {0}")]
    Instruction(&'static str),
    /// Lacks an export.
    #[error("does not export {name}, {expected}")]
    MissingExport {
        /// Its name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An export is something else than its name says.
    #[error("exports {name} as {found}, but it has to be {expected}")]
    ExportType {
        /// Its name.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An export has a name that only the rewrite may give.
    #[error("exports the reserved name {0}")]
    ReservedName(String),
    /// Made for another ABI.
    #[error("made for object ABI {found}, but this build runs ABI {ABI_VERSION}")]
    Abi {
        /// Value of its `concoord_abi`.
        found: i32,
    },
}

impl Refusal {
    pub(crate) fn at(offset: usize, reason: Reason) -> Refusal {
        Refusal { offset: Some(offset), reason }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match &self.reason {
            Reason::NotWasm => "build the object with `concoord object build`, or give the .wasm file it made",
            Reason::Component => "build for wasm32-unknown-unknown, without wrapping the module as a component",
            Reason::DataOutside { .. } => "declare as many pages of memory as its data needs",
            Reason::Invalid(_) => "build it again: the file may be cut short or damaged",
            Reason::Feature { feature, .. } => feature_advice(feature),
            Reason::Limit { .. } => "make the object smaller: fewer dependencies, opt-level \"s\", lto, strip",
            Reason::Import { .. } => "an object has no imports; build for wasm32-unknown-unknown and use the SDK",
            Reason::Start => "put what it does into `_initialize`, which runs once before the object's first input",
            Reason::SecondMemory | Reason::SecondTable => "an object has one memory and at most one table",
            Reason::SharedMemory => feature_advice(THREADS),
            Reason::Memory64 => "build for wasm32, not wasm64",
            Reason::Reference(_) | Reason::Instruction(_) => {
                "references, tables and segments can't be part of an object's state; keep it in memory"
            }
            Reason::MissingExport { .. } | Reason::ExportType { .. } => {
                "write the object with the SDK's #[concoord::object] and build it as a cdylib"
            }
            Reason::ReservedName(_) => "names that begin with $concoord are the runtime's; rename the export",
            Reason::Abi { .. } => "build it with the SDK of this release",
        }
    }
}

const THREADS: &str = "threads";
const SIMD: &str = "SIMD";

/// The parts of WebAssembly that are refused, by the name their users know.
const REFUSED_FEATURES: [(WasmFeatures, &str); 12] = [
    (WasmFeatures::SIMD, SIMD),
    (WasmFeatures::RELAXED_SIMD, SIMD),
    (WasmFeatures::THREADS, THREADS),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, THREADS),
    (WasmFeatures::TAIL_CALL, "tail calls"),
    (WasmFeatures::MULTI_MEMORY, "several memories"),
    (WasmFeatures::MEMORY64, "64-bit memory"),
    (WasmFeatures::EXCEPTIONS, "exceptions"),
    (WasmFeatures::LEGACY_EXCEPTIONS, "exceptions"),
    (WasmFeatures::EXTENDED_CONST, "extended constant expressions"),
    (WasmFeatures::FUNCTION_REFERENCES, "function references"),
    (WasmFeatures::GC, "garbage collection"),
];

fn feature_advice(feature: &str) -> &'static str {
    match feature {
        THREADS => "built with threads; build without `-C target-feature=+atomics`",
        SIMD => "built with SIMD; build without `-C target-feature=+simd128`",
        _ => "build for wasm32-unknown-unknown with the target's default features",
    }
}

impl From<wasmparser::Error> for Refusal {
    fn from(error: wasmparser::Error) -> Refusal {
        let found = shown(error.message());
        let reason = match error.missing_wasm_feature() {
            Some(missing) => {
                let named = REFUSED_FEATURES.iter().find(|(feature, _)| missing.intersects(*feature));
                let feature = named.map_or("a feature that objects may not use", |(_, name)| *name);
                Reason::Feature { feature, found }
            }
            None => Reason::Invalid(found),
        };
        Refusal::at(error.offset(), reason)
    }
}

/// A text from the module as a refusal may repeat it: one line, short.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if shown.len() > SHOWN_BYTES_MAX {
            shown.push_str("...");
            break;
        }
        if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_stays_short_and_on_one_line() {
        let shown = shown(&"a\nb\u{1b}[2J".repeat(1000));
        assert!(shown.starts_with("a\\nb\\u{1b}[2J"), "{shown}");
        assert!(shown.len() < SHOWN_BYTES_MAX + 20);
    }
}
