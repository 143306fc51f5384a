//! The functions that [`crate::rewrite`] appends: their order, types and names. What they do stands in `meter.rs` and
//! `undo.rs`.

use wasm_encoder::{CodeSection, FunctionSection, TypeSection, ValType};

use crate::meter::Meter;
use crate::undo::{self, Layout};

/// Name of the function that begins an input: `(gas i64) -> ()`.
pub const BEGIN_EXPORT: &str = "$concoord_begin";
/// Name of the function that gives a place for an input and marks it: `(length i32) -> address i32`.
pub const PLACE_EXPORT: &str = "$concoord_place";
/// Name of the function that begins an input, takes it from [`crate::Notes::input`] and runs `concoord_call` with it:
/// `(gas i64, length i32) -> (i64, gas left i64, bytes of memory i64)`. The host has to know these two after every input, and a
/// global costs it more to read than a result.
pub const RUN_EXPORT: &str = "$concoord_run";
/// Name of the function that keeps what was written, so that the undo log is empty: `() -> ()`.
pub const KEEP_EXPORT: &str = "$concoord_keep";
/// Name of the function that takes back what was written, so that the undo log is empty: `() -> ()`.
pub const UNDO_EXPORT: &str = "$concoord_undo";

/// Indices of the appended functions.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    /// `(why i32)`: ends the input.
    pub(crate) stop: u32,
    /// `(page i32)`: saves an undo page that is not marked, and marks it.
    pub(crate) save: u32,
    /// `(address i32, length i32)`: saves all undo pages of a range that lies in the memory.
    pub(crate) mark: u32,
    /// `(address i32, length i32)`: before a bulk instruction reads.
    pub(crate) reads: u32,
    /// `(address i32, length i32)`: before a bulk instruction writes.
    pub(crate) writes: u32,
    /// `(pages i32) -> i32`: instead of `memory.grow`.
    pub(crate) grow: u32,
    /// See [`BEGIN_EXPORT`].
    pub(crate) begin: u32,
    /// See [`PLACE_EXPORT`].
    pub(crate) place: u32,
    run: u32,
    keep: u32,
    undo: u32,
}

/// Functions of the guest that the appended ones call.
#[derive(Clone, Copy, Default)]
pub(crate) struct Guest {
    /// `concoord_buffer`.
    pub(crate) buffer: u32,
    /// `concoord_call`.
    pub(crate) call: u32,
}

const I32: ValType = ValType::I32;
const I64: ValType = ValType::I64;
/// Their types, without repetition.
const TYPES: [(&[ValType], &[ValType]); 6] =
    [(&[], &[]), (&[I32], &[]), (&[I32, I32], &[]), (&[I32], &[I32]), (&[I64], &[]), (&[I64, I32], &[I64, I64, I64])];
/// Which of [`TYPES`] each function has, in the order of their indices.
const TYPE_OF: [u32; 11] = [1, 1, 2, 2, 2, 3, 4, 3, 5, 0, 0];

impl Functions {
    /// Those that come behind `functions` others.
    pub(crate) fn behind(functions: u32) -> Functions {
        let [stop, save, mark, reads, writes, grow, begin, place, run, keep, undo] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|index| functions + index);
        Functions { stop, save, mark, reads, writes, grow, begin, place, run, keep, undo }
    }

    /// Appends their types, which [`Functions::declare`] then refers to.
    pub(crate) fn append_types(section: &mut TypeSection) {
        for (parameters, results) in TYPES {
            section.ty().function(parameters.iter().copied(), results.iter().copied());
        }
    }

    /// Declares them; the first of their types has the index `types`.
    pub(crate) fn declare(section: &mut FunctionSection, types: u32) {
        for ty in TYPE_OF {
            section.function(types + ty);
        }
    }

    /// Those that the host calls, by name.
    pub(crate) fn exported(self) -> [(&'static str, u32); 5] {
        [
            (BEGIN_EXPORT, self.begin),
            (PLACE_EXPORT, self.place),
            (RUN_EXPORT, self.run),
            (KEEP_EXPORT, self.keep),
            (UNDO_EXPORT, self.undo),
        ]
    }
}

/// Appends their bodies, in the order of their indices.
pub(crate) fn append_bodies(section: &mut CodeSection, meter: Meter, layout: Layout, guest: Guest) {
    let bodies = [
        meter.stop(),
        undo::save(layout),
        undo::mark(meter.functions),
        meter.reads(),
        meter.writes(),
        meter.grow(),
        meter.begin(),
        meter.place(guest.buffer),
        meter.run(layout, guest.call),
        undo::keep(layout),
        undo::undo(layout),
    ];
    for body in &bodies {
        section.function(body);
    }
}
