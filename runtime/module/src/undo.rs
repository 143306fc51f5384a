//! The undo log: what [`crate::rewrite`] appends so that a module can take back what one input wrote.
//!
//! A guest's memory is divided into undo pages of [`UNDO_PAGE_BYTES`]. Before the first write to one since the log was
//! last empty, the guest's own code saves its contents; `writes.rs` puts the test for that in front of each instruction
//! that writes. So an input pays for what it touches, and not for how large its object is.
//!
//! Two memories are appended. Neither is part of the state, and no instruction of the guest can name them:
//!
//! | memory | at              | what                                                                          |
//! |--------|-----------------|-------------------------------------------------------------------------------|
//! | 1      | 0               | the *map*: a byte for each undo page that the guest may ever have; 1 when saved |
//! | 1      | [`Layout::count`] | how many are saved, `u32`                                                     |
//! | 1      | [`Layout::list`]  | their numbers in the order in which they were saved, `u32` each               |
//! | 2      | 0               | what they held, [`SAVED_BYTES`] each, in the same order                       |
//!
//! Both are as large as the largest guest could need from the start, so saving asks nobody for memory. Hosts give pages
//! of memory when they are first touched, so what is not used costs address space only.
//!
//! # Pages overlap
//! A store of up to eight bytes may reach from one undo page into the next. To test one byte of the map and not two,
//! a store marks only the page that it *begins* in, and with a page the eight bytes behind it are saved. So a byte may be
//! saved twice, and the earlier save has its old value: undoing goes from the last saved page to the first. Behind
//! the memory's last page nothing is saved; what a guest appends to it by growing is no part of the state before the input.
//!
//! # Traps
//! Marking comes before the write and traps only where the write would, in the same way. A page that lies in the memory
//! is saved without a trap, and marking one that is not written after all, because the write traps or because
//! address and offset together exceed 32 bits, saves what undoing then puts back unchanged. A page outside the memory is
//! one that the write would touch: reading the map there may find anything or trap, and saving it traps.
//!
//! # What is appended for the host
//! * [`INPUT_EXPORT`]: `concoord_buffer`, and then marks the buffer, into which the host is about to write.
//! * [`KEEP_EXPORT`]: empties the log.
//! * [`UNDO_EXPORT`]: puts back what was saved and empties the log. A memory that grew stays grown: its new pages are
//!   the host's to take away.

use wasm_encoder::{BlockType, CodeSection, Function, FunctionSection, MemArg, MemoryType, TypeSection, ValType};

use crate::PAGE_BYTES;

/// Name of the function that gives a place for an input and marks it: `(length i32) -> address i32`.
pub const INPUT_EXPORT: &str = "$concoord_input";
/// Name of the function that keeps what was written: `() -> ()`.
pub const KEEP_EXPORT: &str = "$concoord_keep";
/// Name of the function that takes back what was written: `() -> ()`.
pub const UNDO_EXPORT: &str = "$concoord_undo";

/// Binary logarithm of [`UNDO_PAGE_BYTES`].
pub(crate) const UNDO_PAGE_SHIFT: u32 = 9;
/// Bytes of an undo page. Most inputs touch a few bytes in a few places, so small pages save less. Smaller ones gain
/// nothing: what saving one costs besides the copy is then the larger part.
pub const UNDO_PAGE_BYTES: u32 = 1 << UNDO_PAGE_SHIFT;
/// Bytes that are saved of one: a store that begins on its last byte reaches seven further.
const SAVED_BYTES: u32 = UNDO_PAGE_BYTES + 8;
/// Undo pages in a page of Wasm memory.
const UNDO_PAGES_PER_PAGE: u32 = PAGE_BYTES as u32 / UNDO_PAGE_BYTES;
/// The most pages that a guest may have so that all of it fits into the memory for old contents.
pub(crate) const MEMORY_PAGES_MAX: u32 = ((1 << 32) / SAVED_BYTES as u64 / UNDO_PAGES_PER_PAGE as u64) as u32;

/// Index of the guest's memory.
const GUEST: u32 = 0;
/// Index of the memory with map, count and list.
const NOTES: u32 = 1;
/// Index of the memory with old contents.
const OLD: u32 = 2;

/// Where things are, from the most pages that the guest may have.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    undo_pages: u32,
}

impl Layout {
    pub(crate) fn new(memory_pages_max: u32) -> Layout {
        assert!(memory_pages_max <= MEMORY_PAGES_MAX, "the check bounds the pages of memory");
        Layout { undo_pages: memory_pages_max * UNDO_PAGES_PER_PAGE }
    }

    fn count(self) -> u32 {
        self.undo_pages
    }

    fn list(self) -> u32 {
        self.count() + 8
    }

    /// The appended memories, in order.
    pub(crate) fn memories(self) -> [MemoryType; 2] {
        let notes = u64::from(self.list()) + u64::from(self.undo_pages) * 4;
        let old = u64::from(self.undo_pages) * u64::from(SAVED_BYTES);
        [notes, old].map(|bytes| {
            let pages = bytes.div_ceil(PAGE_BYTES as u64);
            MemoryType { minimum: pages, maximum: Some(pages), memory64: false, shared: false, page_size_log2: None }
        })
    }

    /// Address of the map, for the byte of the page that is on the stack.
    pub(crate) fn map() -> MemArg {
        MemArg { offset: 0, align: 0, memory_index: NOTES }
    }

    fn number(offset: u32) -> MemArg {
        MemArg { offset: u64::from(offset), align: 2, memory_index: NOTES }
    }
}

/// Indices of the appended functions.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    /// `(page i32)`: saves an undo page that is not marked, and marks it.
    pub(crate) save: u32,
    /// `(address i32, length i32)`: marks what a write of this length will touch, unless it will trap.
    pub(crate) mark: u32,
    pub(crate) keep: u32,
    pub(crate) undo: u32,
    pub(crate) input: u32,
}

impl Functions {
    /// Those that come behind `functions` others.
    pub(crate) fn behind(functions: u32) -> Functions {
        let [save, mark, keep, undo, input] = [0, 1, 2, 3, 4].map(|index| functions + index);
        Functions { save, mark, keep, undo, input }
    }

    /// Appends their types, which [`Functions::declare`] then refers to.
    pub(crate) fn append_types(section: &mut TypeSection) {
        section.ty().function([ValType::I32], []);
        section.ty().function([ValType::I32, ValType::I32], []);
        section.ty().function([], []);
        section.ty().function([ValType::I32], [ValType::I32]);
    }

    /// Declares them; the first of their types has the index `types`.
    pub(crate) fn declare(section: &mut FunctionSection, types: u32) {
        let [page, range, nothing, input] = [0, 1, 2, 3].map(|index| types + index);
        for ty in [page, range, nothing, nothing, input] {
            section.function(ty);
        }
    }

    /// Appends their bodies. `buffer` is the guest's `concoord_buffer`.
    pub(crate) fn append_bodies(self, section: &mut CodeSection, layout: Layout, buffer: u32) {
        for body in [save(layout), self.mark(), keep(layout), undo(layout), self.input(buffer)] {
            section.function(&body);
        }
    }

    fn mark(self) -> Function {
        const ADDRESS: u32 = 0;
        const LENGTH: u32 = 1;
        const PAGE: u32 = 2;
        const LAST: u32 = 3;
        let mut function = Function::new([(2, ValType::I32)]);
        let mut code = function.instructions();
        // A write of nothing touches nothing, and one that reaches out of the memory traps before it writes.
        code.local_get(LENGTH).i32_eqz().if_(BlockType::Empty).return_().end();
        code.local_get(ADDRESS).i64_extend_i32_u().local_get(LENGTH).i64_extend_i32_u().i64_add();
        code.memory_size(GUEST).i64_extend_i32_u().i64_const(16).i64_shl();
        code.i64_gt_u().if_(BlockType::Empty).return_().end();
        code.local_get(ADDRESS).i32_const(shift()).i32_shr_u().local_set(PAGE);
        code.local_get(ADDRESS).local_get(LENGTH).i32_add().i32_const(1).i32_sub();
        code.i32_const(shift()).i32_shr_u().local_set(LAST);
        code.loop_(BlockType::Empty);
        code.local_get(PAGE).i32_load8_u(Layout::map()).i32_eqz();
        code.if_(BlockType::Empty).local_get(PAGE).call(self.save).end();
        code.local_get(PAGE).i32_const(1).i32_add().local_tee(PAGE);
        code.local_get(LAST).i32_le_u().br_if(0);
        code.end().end();
        function
    }

    fn input(self, buffer: u32) -> Function {
        const LENGTH: u32 = 0;
        const ADDRESS: u32 = 1;
        let mut function = Function::new([(1, ValType::I32)]);
        let mut code = function.instructions();
        code.local_get(LENGTH).call(buffer).local_tee(ADDRESS);
        code.local_get(LENGTH).call(self.mark);
        code.local_get(ADDRESS).end();
        function
    }
}

fn save(layout: Layout) -> Function {
    const PAGE: u32 = 0;
    const COUNT: u32 = 1;
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    code.i32_const(0).i32_load(Layout::number(layout.count())).local_tee(COUNT);
    // First of all, since it traps when the page is not in the memory.
    code.i32_const(constant(SAVED_BYTES)).i32_mul();
    code.local_get(PAGE).i32_const(shift()).i32_shl();
    saved_bytes(&mut function, PAGE);
    let mut code = function.instructions();
    code.memory_copy(OLD, GUEST);
    code.local_get(COUNT).i32_const(2).i32_shl().local_get(PAGE).i32_store(Layout::number(layout.list()));
    code.local_get(PAGE).i32_const(1).i32_store8(Layout::map());
    code.i32_const(0).local_get(COUNT).i32_const(1).i32_add().i32_store(Layout::number(layout.count()));
    code.end();
    function
}

fn keep(layout: Layout) -> Function {
    each_saved(layout, |_, _| {})
}

fn undo(layout: Layout) -> Function {
    each_saved(layout, |function, [page, count]| {
        function.instructions().local_get(page).i32_const(shift()).i32_shl();
        function.instructions().local_get(count).i32_const(constant(SAVED_BYTES)).i32_mul();
        saved_bytes(function, page);
        function.instructions().memory_copy(GUEST, OLD);
    })
}

/// A function that does something for each saved page, given the locals that hold its number and its place in the log,
/// from the last to the first, and empties the log.
fn each_saved(layout: Layout, what: impl FnOnce(&mut Function, [u32; 2])) -> Function {
    const COUNT: u32 = 0;
    const PAGE: u32 = 1;
    let mut function = Function::new([(2, ValType::I32)]);
    let mut code = function.instructions();
    code.i32_const(0).i32_load(Layout::number(layout.count())).local_tee(COUNT);
    code.i32_eqz().if_(BlockType::Empty).return_().end();
    code.loop_(BlockType::Empty);
    code.local_get(COUNT).i32_const(1).i32_sub().local_tee(COUNT);
    code.i32_const(2).i32_shl().i32_load(Layout::number(layout.list())).local_set(PAGE);
    what(&mut function, [PAGE, COUNT]);
    let mut code = function.instructions();
    code.local_get(PAGE).i32_const(0).i32_store8(Layout::map());
    code.local_get(COUNT).br_if(0);
    code.end();
    code.i32_const(0).i32_const(0).i32_store(Layout::number(layout.count()));
    code.end();
    function
}

/// Pushes how many bytes are saved of the page whose number a local holds: of the memory's last one only itself.
fn saved_bytes(function: &mut Function, page: u32) {
    let mut code = function.instructions();
    code.i32_const(constant(UNDO_PAGE_BYTES)).i32_const(constant(SAVED_BYTES));
    code.local_get(page).i32_const(1).i32_add();
    code.memory_size(GUEST).i32_const(constant(UNDO_PAGES_PER_PAGE)).i32_mul();
    code.i32_eq().select();
}

fn shift() -> i32 {
    constant(UNDO_PAGE_SHIFT)
}

fn constant(number: u32) -> i32 {
    number.cast_signed()
}
