//! What [`crate::rewrite`] appends so that a module's limits are the same on every host: gas, the depth of calls, and the
//! size of memory are numbers in globals of the module's own, and no host, processor or compiler has a say in them.
//!
//! | global               | type  | what                                                                             |
//! |----------------------|-------|----------------------------------------------------------------------------------|
//! | [`GAS_EXPORT`]       | `i64` | gas that is left, whenever a function begins or ends                             |
//! | `depth`              | `i32` | what the calls that are open weigh on the stack (`weight.rs`)                    |
//! | [`BYTES_EXPORT`]     | `i64` | bytes of memory that the object has: part of its state                           |
//! | [`PAGES_MAX_EXPORT`] | `i32` | pages that it may have                                                           |
//! | [`STOPPED_EXPORT`]   | `i32` | why appended code stopped the input: a number of [`Stopped`], or 0               |
//! | [`REFUSED_EXPORT`]   | `i32` | whether `memory.grow` refused something since the input began                    |
//!
//! # Memory
//! The real memory has as many pages from the start as any object may have, and one more. How many of them the object has
//! is a number: `memory.size` and `memory.grow` read and write it, and every access is compared with it before it happens.
//! So growing asks nobody, a growth is taken back by setting the number back, and an access beyond traps at the same byte
//! everywhere. Systems give memory when it is first touched, so what an object does not have costs address space only. The
//! page more is for the undo log, which saves some bytes behind each of its pages.
//!
//! # How an input ends early
//! Appended code that stops an input writes why into a global and executes `unreachable`. No code of the guest can name
//! that global, so a guest's own `unreachable` is told apart.

use wasm_encoder::{BlockType, ConstExpr, Function, GlobalSection, GlobalType, InstructionSink, ValType};

use crate::appended::Functions;
use crate::costs::GROW_PAGE;
use crate::undo::{GUEST, Layout, NOTES};
use crate::{Checked, PAGE_BYTES};

/// Name of the global with the gas that is left, `mut i64`. It says so whenever the host or another function can see it.
pub const GAS_EXPORT: &str = "$concoord_gas";
/// Name of the global with the bytes of memory that the object has, `mut i64`.
pub const BYTES_EXPORT: &str = "$concoord_bytes";
/// Name of the global with the pages that the object may have, `mut i32`: the host sets it when it makes the object.
pub const PAGES_MAX_EXPORT: &str = "$concoord_pages_max";
/// Name of the global that says why appended code stopped the input, `mut i32`: see [`Stopped::from_number`].
pub const STOPPED_EXPORT: &str = "$concoord_stopped";
/// Name of the global that is 1 once `memory.grow` refused something in this input, `mut i32`.
pub const REFUSED_EXPORT: &str = "$concoord_refused";

/// Binary logarithm of [`PAGE_BYTES`].
const PAGE_SHIFT: i64 = PAGE_BYTES.trailing_zeros() as i64;

/// Why appended code stopped an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Its gas is used up.
    Gas = 1,
    /// Its calls weigh more than [`crate::DEPTH_MAX`].
    Depth = 2,
    /// It accessed what is outside its memory.
    Outside = 3,
    /// Its `concoord_buffer` gave a place outside its memory.
    Buffer = 4,
}

impl Stopped {
    /// What the number in [`STOPPED_EXPORT`] stands for; `None` when no appended code stopped the input.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Stopped> {
        let all = [Stopped::Gas, Stopped::Depth, Stopped::Outside, Stopped::Buffer];
        all.into_iter().find(|stopped| *stopped as i32 == number)
    }
}

/// Indices of the appended globals.
#[derive(Clone, Copy)]
pub(crate) struct Globals {
    pub(crate) gas: u32,
    pub(crate) depth: u32,
    pub(crate) bytes: u32,
    pages_max: u32,
    stopped: u32,
    refused: u32,
}

impl Globals {
    /// Those that come behind `globals` others.
    pub(crate) fn behind(globals: u32) -> Globals {
        let [gas, depth, bytes, pages_max, stopped, refused] = [0, 1, 2, 3, 4, 5].map(|index| globals + index);
        Globals { gas, depth, bytes, pages_max, stopped, refused }
    }

    /// Appends them in the order of their indices, as they begin.
    pub(crate) fn append(section: &mut GlobalSection, checked: &Checked) {
        let bytes = i64::from(checked.memory_pages_min) << PAGE_SHIFT;
        let most = checked.memory_pages_max.cast_signed();
        let long = |value| (ValType::I64, ConstExpr::i64_const(value));
        let short = |value| (ValType::I32, ConstExpr::i32_const(value));
        for (val_type, value) in [long(0), short(0), long(bytes), short(most), short(0), short(0)] {
            section.global(GlobalType { val_type, mutable: true, shared: false }, &value);
        }
    }

    /// Those that the host reads or sets, by name.
    pub(crate) fn exported(self) -> [(&'static str, u32); 5] {
        [
            (GAS_EXPORT, self.gas),
            (BYTES_EXPORT, self.bytes),
            (PAGES_MAX_EXPORT, self.pages_max),
            (STOPPED_EXPORT, self.stopped),
            (REFUSED_EXPORT, self.refused),
        ]
    }
}

/// What appended code refers to.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) globals: Globals,
    pub(crate) functions: Functions,
}

impl Meter {
    /// Stops the input if the `i32` on the stack is not zero. That the function does not return is said here too: so the
    /// compiler keeps nothing across the call, and puts it behind all that runs. That is a quarter of a small call's time.
    pub(crate) fn stop_if(self, code: &mut InstructionSink<'_>, why: Stopped) {
        code.if_(BlockType::Empty).i32_const(why as i32).call(self.functions.stop).unreachable().end();
    }

    /// Takes gas from what a local says is left, and stops the input when there is not as much.
    pub(crate) fn charge(self, code: &mut InstructionSink<'_>, gas: u64, left: u32) {
        let gas = i64::try_from(gas).expect("what a body costs is far below 2^63");
        code.local_get(left).i64_const(gas).i64_sub().local_tee(left).i64_const(0).i64_lt_s();
        self.stop_if(code, Stopped::Gas);
    }

    /// Takes as much gas as a local says, at most 2^48, so that nothing wraps.
    fn charge_local(self, code: &mut InstructionSink<'_>, gas: u32) {
        code.global_get(self.globals.gas).local_get(gas).i64_sub().local_tee(gas).global_set(self.globals.gas);
        code.local_get(gas).i64_const(0).i64_lt_s();
        self.stop_if(code, Stopped::Gas);
    }

    /// Stops the input unless so many bytes at an address lie in the memory. The address is on the stack.
    pub(crate) fn within(self, code: &mut InstructionSink<'_>, bytes: u64) {
        let bytes = i64::try_from(bytes).expect("offsets have 32 bits");
        code.i64_extend_i32_u().i64_const(bytes).i64_add();
        code.global_get(self.globals.bytes).i64_gt_u();
        self.stop_if(code, Stopped::Outside);
    }

    /// As [`Meter::within`], with address and length in locals.
    fn within_locals(self, code: &mut InstructionSink<'_>, address: u32, length: u32, why: Stopped) {
        code.local_get(address).i64_extend_i32_u().local_get(length).i64_extend_i32_u().i64_add();
        code.global_get(self.globals.bytes).i64_gt_u();
        self.stop_if(code, why);
    }

    /// Pushes how many pages the object has.
    pub(crate) fn pages(self, code: &mut InstructionSink<'_>) {
        code.global_get(self.globals.bytes).i64_const(PAGE_SHIFT).i64_shr_u().i32_wrap_i64();
    }

    /// `(why i32)`: ends the input.
    pub(crate) fn stop(self) -> Function {
        let mut function = Function::new([]);
        function.instructions().local_get(0).global_set(self.globals.stopped).unreachable().end();
        function
    }

    /// `(address i32, length i32)`: before a bulk instruction reads.
    pub(crate) fn reads(self) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        self.within_locals(&mut code, 0, 1, Stopped::Outside);
        code.end();
        function
    }

    /// `(address i32, length i32)`: before a bulk instruction writes; takes the gas for its bytes.
    pub(crate) fn writes(self) -> Function {
        const ADDRESS: u32 = 0;
        const LENGTH: u32 = 1;
        const GAS: u32 = 2;
        let mut function = Function::new([(1, ValType::I64)]);
        let mut code = function.instructions();
        code.local_get(LENGTH).i64_extend_i32_u().local_set(GAS);
        self.charge_local(&mut code, GAS);
        self.within_locals(&mut code, ADDRESS, LENGTH, Stopped::Outside);
        code.local_get(ADDRESS).local_get(LENGTH).call(self.functions.mark).end();
        function
    }

    /// `(pages i32) -> i32`: what `memory.grow` does.
    pub(crate) fn grow(self) -> Function {
        const MORE: u32 = 0;
        const PAGES: u32 = 1;
        const GAS: u32 = 2;
        let mut function = Function::new([(1, ValType::I32), (1, ValType::I64)]);
        let mut code = function.instructions();
        self.pages(&mut code);
        code.local_set(PAGES);
        code.local_get(MORE).global_get(self.globals.pages_max).local_get(PAGES).i32_sub().i32_gt_u();
        code.if_(BlockType::Empty).i32_const(1).global_set(self.globals.refused).i32_const(-1).return_().end();
        code.local_get(MORE).i64_extend_i32_u().i64_const(GROW_PAGE.cast_signed()).i64_mul().local_set(GAS);
        self.charge_local(&mut code, GAS);
        code.global_get(self.globals.bytes);
        code.local_get(MORE).i64_extend_i32_u().i64_const(PAGE_SHIFT).i64_shl().i64_add();
        code.global_set(self.globals.bytes).local_get(PAGES).end();
        function
    }

    /// `(gas i64)`: before an input.
    pub(crate) fn begin(self) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.local_get(0).global_set(self.globals.gas);
        for global in [self.globals.depth, self.globals.stopped, self.globals.refused] {
            code.i32_const(0).global_set(global);
        }
        code.end();
        function
    }

    /// `(length i32) -> address i32`: a place for an input of this length, marked as about to be written. `buffer` is the
    /// guest's `concoord_buffer`.
    pub(crate) fn place(self, buffer: u32) -> Function {
        const LENGTH: u32 = 0;
        const ADDRESS: u32 = 1;
        let mut function = Function::new([(1, ValType::I32)]);
        let mut code = function.instructions();
        code.local_get(LENGTH).call(buffer).local_set(ADDRESS);
        self.within_locals(&mut code, ADDRESS, LENGTH, Stopped::Buffer);
        code.local_get(ADDRESS).local_get(LENGTH).call(self.functions.mark);
        code.local_get(ADDRESS).end();
        function
    }

    /// `(gas i64, length i32) -> i64`: begins an input, places what stands in [`Layout::input`], and runs it. `call` is the
    /// guest's `concoord_call`.
    pub(crate) fn run(self, layout: Layout, call: u32) -> Function {
        const GAS: u32 = 0;
        const LENGTH: u32 = 1;
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.local_get(GAS).call(self.functions.begin);
        code.local_get(LENGTH).call(self.functions.place);
        code.i32_const(layout.input().cast_signed()).local_get(LENGTH).memory_copy(GUEST, NOTES);
        code.local_get(LENGTH).call(call);
        code.global_get(self.globals.gas).global_get(self.globals.bytes).end();
        function
    }
}
