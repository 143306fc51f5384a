//! How large a module may be. Each bound keeps one cost in check: reading, compiling, or what a replica holds for it.
//!
//! Replicas of one cluster must agree on them, since a module that one accepts and another refuses would part them.

use concoord_wire::limits::MODULE_BYTES_MAX;

/// Function types: each costs the compiler a trampoline.
pub const TYPES_MAX: u32 = 10_000;
/// Functions. The standard objects have a few hundred.
pub const FUNCTIONS_MAX: u32 = 32_768;
/// Declared locals of one function: live locals make the stack frame (10,000 of them make one of 80 KB). Whatever is
/// allowed here, a rewritten function stays within the 50,000 that WebAssembly's implementations have in common.
pub const LOCALS_MAX: u32 = 4096;
/// Bytes of one function's body: compile time grows faster than the body. Rewritten, it is at most 25 times as long, which
/// has to stay below the 7,654,321 bytes that WebAssembly's implementations have in common.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Targets of one `br_table`, its default left out: wasmtime compiles no more.
pub const BRANCH_TARGETS_MAX: u32 = 65_520;
/// Globals: every mutable one is part of the state, saved and compared one by one.
pub const GLOBALS_MAX: u32 = 1024;
/// Exports.
pub const EXPORTS_MAX: u32 = 4096;
/// Data segments. Linkers make a handful; AssemblyScript makes one for each string.
pub const DATA_SEGMENTS_MAX: u32 = 16_384;
/// Element segments.
pub const ELEMENT_SEGMENTS_MAX: u32 = 1024;
/// Entries of the function table.
pub const TABLE_ELEMENTS_MAX: u32 = 32_768;
/// Pages of memory that an object may ever have (256 MiB): the replicated cap at which `memory.grow` gives -1. Whatever
/// is allowed here, it is less than 32-bit addresses reach, by what the undo log needs to hold all of it.
pub const MEMORY_PAGES_MAX: u32 = 4096;

/// The limits in force; the defaults are this module's constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the module.
    pub module_bytes: usize,
    /// See [`TYPES_MAX`].
    pub types: u32,
    /// See [`FUNCTIONS_MAX`].
    pub functions: u32,
    /// See [`LOCALS_MAX`].
    pub locals: u32,
    /// See [`BODY_BYTES_MAX`].
    pub body_bytes: usize,
    /// See [`BRANCH_TARGETS_MAX`].
    pub branch_targets: u32,
    /// See [`GLOBALS_MAX`].
    pub globals: u32,
    /// See [`EXPORTS_MAX`].
    pub exports: u32,
    /// See [`DATA_SEGMENTS_MAX`].
    pub data_segments: u32,
    /// See [`ELEMENT_SEGMENTS_MAX`].
    pub element_segments: u32,
    /// See [`TABLE_ELEMENTS_MAX`].
    pub table_elements: u32,
    /// See [`MEMORY_PAGES_MAX`].
    pub memory_pages: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            module_bytes: MODULE_BYTES_MAX,
            types: TYPES_MAX,
            functions: FUNCTIONS_MAX,
            locals: LOCALS_MAX,
            body_bytes: BODY_BYTES_MAX,
            branch_targets: BRANCH_TARGETS_MAX,
            globals: GLOBALS_MAX,
            exports: EXPORTS_MAX,
            data_segments: DATA_SEGMENTS_MAX,
            element_segments: ELEMENT_SEGMENTS_MAX,
            table_elements: TABLE_ELEMENTS_MAX,
            memory_pages: MEMORY_PAGES_MAX,
        }
    }
}
