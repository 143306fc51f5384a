//! The undo log: what [`crate::rewrite`] appends so that a module can take back what its inputs wrote, and can tell what
//! they wrote.
//!
//! A guest's memory is divided into undo pages of [`UNDO_PAGE_BYTES`]. Before the first write to one since the log was
//! last empty, the guest's own code saves its contents; `body.rs` puts the test for that in front of each instruction
//! that writes. So an input pays for what it touches, and not for how large its object is.
//!
//! Two memories are appended. Neither is part of the state, and no instruction of the guest can name them:
//!
//! | memory | at                                        | what                                                                      |
//! |--------|-------------------------------------------|---------------------------------------------------------------------------|
//! | 1      | 0                                         | the *map*: a byte for each undo page that a guest may ever have; 1 when saved |
//! | 1      | [`Layout::count`], [`Layout::list`]       | how many are saved, and their numbers in that order, `u32` each             |
//! | 1      | [`Notes::dirty_map`]                      | a byte for each undo page: 1 when it is dirty                               |
//! | 1      | [`Notes::dirty_count`], [`Notes::dirty_list`] | how many are dirty, and their numbers, `u32` each                       |
//! | 1      | [`Notes::input`]                          | the next input                                                              |
//! | 2      | 0                                         | what the saved pages held, [`SAVED_BYTES`] each, in the same order          |
//!
//! Both are as large as the largest guest could need from the start, so saving asks nobody for memory. Hosts give pages
//! of memory when they are first touched, so what is not used costs address space only.
//!
//! *Dirty* are the pages that were written by what was kept since the host last cleared that list, whether or not anything
//! in them is different now. Emptying the log by keeping what was written makes its pages dirty; undoing does not.
//!
//! # Pages overlap
//! A store of up to eight bytes may reach from one undo page into the next. To test one byte of the map and not two,
//! a store marks only the page that it *begins* in, and with a page the [`REACH_BYTES`] behind it are saved. That is more
//! than eight, so that a store a little behind another needs no test (`plan.rs`). So a byte may be saved twice, and the
//! earlier save has its old value: undoing goes from the last saved page to the first. For the same reason a dirty page
//! says that the beginning of the next one may be different too.
//!
//! # Traps
//! Marking never traps: what is marked was found to lie in the memory just before.

use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, MemoryType, ValType};

use crate::PAGE_BYTES;
use crate::appended::Functions;

/// Binary logarithm of [`UNDO_PAGE_BYTES`].
pub(crate) const UNDO_PAGE_SHIFT: u32 = 9;
/// Bytes of an undo page. Most inputs touch a few bytes in a few places, so small pages save less. Smaller ones gain
/// nothing: what saving one costs besides the copy is then the larger part.
pub const UNDO_PAGE_BYTES: u32 = 1 << UNDO_PAGE_SHIFT;
/// How far the writes reach that are undone with the page in which the first of them begins: from that first byte on.
pub(crate) const REACH_BYTES: u64 = 64;
/// Bytes that are saved of a page: what begins on its last byte is within its reach.
const SAVED_BYTES: u32 = UNDO_PAGE_BYTES + REACH_BYTES as u32;
/// Undo pages in a page of Wasm memory.
const UNDO_PAGES_PER_PAGE: u32 = PAGE_BYTES as u32 / UNDO_PAGE_BYTES;
/// The most pages that a guest may have so that all of it fits into the memory for old contents.
pub(crate) const MEMORY_PAGES_MAX: u32 = ((1 << 32) / SAVED_BYTES as u64 / UNDO_PAGES_PER_PAGE as u64) as u32;
/// Bytes of an input that [`crate::RUN_EXPORT`] takes: the arguments of a call, and what the invocation says besides.
pub const INPUT_BYTES_MAX: usize = concoord_wire::limits::ARGUMENTS_BYTES_MAX + PAGE_BYTES;

/// Index of the guest's memory.
pub(crate) const GUEST: u32 = 0;
/// Index of the memory with map, counts, lists and the input.
pub(crate) const NOTES: u32 = 1;
/// Index of the memory with old contents.
const OLD: u32 = 2;

/// Name of the memory in which the host finds [`Notes`].
pub const NOTES_EXPORT: &str = "$concoord_notes";

/// Addresses in the memory [`NOTES_EXPORT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notes {
    /// Where the host leaves the next input, at most [`INPUT_BYTES_MAX`].
    pub input: usize,
    /// A byte for each undo page: 1 when it is dirty.
    pub dirty_map: usize,
    /// How many are dirty, `u32` in little-endian order.
    pub dirty_count: usize,
    /// Their numbers, `u32` each, in no order, each once.
    pub dirty_list: usize,
}

impl Notes {
    /// The numbers of the dirty pages, from the memory [`NOTES_EXPORT`]; none is dirty any more.
    ///
    /// # Panics
    /// When the memory is not one of a rewritten module.
    #[must_use]
    pub fn take_dirty(&self, memory: &mut [u8]) -> Vec<u32> {
        let (count, _) = memory[self.dirty_count..].split_first_chunk_mut().expect("the count is in the memory");
        let taken = u32::from_le_bytes(std::mem::take(count)) as usize;
        let (numbers, _) = memory[self.dirty_list..][..4 * taken].as_chunks();
        let dirty: Vec<u32> = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
        for number in &dirty {
            memory[self.dirty_map + *number as usize] = 0;
        }
        dirty
    }
}

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

    fn dirty_map(self) -> u32 {
        self.list() + self.undo_pages * 4
    }

    fn dirty_count(self) -> u32 {
        self.dirty_map() + self.undo_pages
    }

    fn dirty_list(self) -> u32 {
        self.dirty_count() + 8
    }

    pub(crate) fn input(self) -> u32 {
        self.dirty_list() + self.undo_pages * 4
    }

    /// What of it the host has to know.
    pub(crate) fn notes(self) -> Notes {
        let [input, dirty_map, dirty_count, dirty_list] =
            [self.input(), self.dirty_map(), self.dirty_count(), self.dirty_list()].map(|address| address as usize);
        Notes { input, dirty_map, dirty_count, dirty_list }
    }

    /// The appended memories, in order.
    pub(crate) fn memories(self) -> [MemoryType; 2] {
        let notes = u64::from(self.input()) + INPUT_BYTES_MAX as u64;
        let old = u64::from(self.undo_pages) * u64::from(SAVED_BYTES);
        [notes, old].map(|bytes| {
            let pages = bytes.div_ceil(PAGE_BYTES as u64);
            MemoryType { minimum: pages, maximum: Some(pages), memory64: false, shared: false, page_size_log2: None }
        })
    }

    /// Address of the map, for the byte of the page that is on the stack.
    pub(crate) fn map() -> MemArg {
        byte(0)
    }
}

fn byte(offset: u32) -> MemArg {
    MemArg { offset: u64::from(offset), align: 0, memory_index: NOTES }
}

fn number(offset: u32) -> MemArg {
    MemArg { offset: u64::from(offset), align: 2, memory_index: NOTES }
}

/// `(address i32, length i32)`: saves each undo page of a range that lies in the memory and is not saved yet.
pub(crate) fn mark(functions: Functions) -> Function {
    const ADDRESS: u32 = 0;
    const LENGTH: u32 = 1;
    const PAGE: u32 = 2;
    const LAST: u32 = 3;
    let mut function = Function::new([(2, ValType::I32)]);
    let mut code = function.instructions();
    code.local_get(LENGTH).i32_eqz().if_(BlockType::Empty).return_().end();
    code.local_get(ADDRESS).i32_const(shift()).i32_shr_u().local_set(PAGE);
    code.local_get(ADDRESS).local_get(LENGTH).i32_add().i32_const(1).i32_sub();
    code.i32_const(shift()).i32_shr_u().local_set(LAST);
    code.loop_(BlockType::Empty);
    code.local_get(PAGE).i32_load8_u(Layout::map()).i32_eqz();
    code.if_(BlockType::Empty).local_get(PAGE).call(functions.save).end();
    code.local_get(PAGE).i32_const(1).i32_add().local_tee(PAGE);
    code.local_get(LAST).i32_le_u().br_if(0);
    code.end().end();
    function
}

/// `(page i32)`: saves an undo page that is not saved yet.
pub(crate) fn save(layout: Layout) -> Function {
    const PAGE: u32 = 0;
    const COUNT: u32 = 1;
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    code.i32_const(0).i32_load(number(layout.count())).local_tee(COUNT);
    code.i32_const(constant(SAVED_BYTES)).i32_mul();
    code.local_get(PAGE).i32_const(shift()).i32_shl();
    code.i32_const(constant(SAVED_BYTES)).memory_copy(OLD, GUEST);
    code.local_get(COUNT).i32_const(2).i32_shl().local_get(PAGE).i32_store(number(layout.list()));
    code.local_get(PAGE).i32_const(1).i32_store8(Layout::map());
    code.i32_const(0).local_get(COUNT).i32_const(1).i32_add().i32_store(number(layout.count()));
    code.end();
    function
}

/// `()`: what was written is kept; its pages are dirty.
pub(crate) fn keep(layout: Layout) -> Function {
    const DIRTY: u32 = 2;
    each_saved(layout, |code, [page, _]| {
        code.local_get(page).i32_load8_u(byte(layout.dirty_map())).i32_eqz().if_(BlockType::Empty);
        code.local_get(page).i32_const(1).i32_store8(byte(layout.dirty_map()));
        code.i32_const(0).i32_load(number(layout.dirty_count())).local_tee(DIRTY);
        code.i32_const(2).i32_shl().local_get(page).i32_store(number(layout.dirty_list()));
        code.i32_const(0).local_get(DIRTY).i32_const(1).i32_add().i32_store(number(layout.dirty_count()));
        code.end();
    })
}

/// `()`: what was written is taken back.
pub(crate) fn undo(layout: Layout) -> Function {
    each_saved(layout, |code, [page, count]| {
        code.local_get(page).i32_const(shift()).i32_shl();
        code.local_get(count).i32_const(constant(SAVED_BYTES)).i32_mul();
        code.i32_const(constant(SAVED_BYTES)).memory_copy(GUEST, OLD);
    })
}

/// A function that does something for each saved page, given the locals that hold its number and its place in the log,
/// from the last to the first, and empties the log. A third local is free.
fn each_saved(layout: Layout, what: impl FnOnce(&mut InstructionSink<'_>, [u32; 2])) -> Function {
    const COUNT: u32 = 0;
    const PAGE: u32 = 1;
    let mut function = Function::new([(3, ValType::I32)]);
    let mut code = function.instructions();
    code.i32_const(0).i32_load(number(layout.count())).local_tee(COUNT);
    code.i32_eqz().if_(BlockType::Empty).return_().end();
    code.loop_(BlockType::Empty);
    code.local_get(COUNT).i32_const(1).i32_sub().local_tee(COUNT);
    code.i32_const(2).i32_shl().i32_load(number(layout.list())).local_set(PAGE);
    what(&mut code, [PAGE, COUNT]);
    code.local_get(PAGE).i32_const(0).i32_store8(Layout::map());
    code.local_get(COUNT).br_if(0);
    code.end();
    code.i32_const(0).i32_const(0).i32_store(number(layout.count()));
    code.end();
    function
}

fn shift() -> i32 {
    constant(UNDO_PAGE_SHIFT)
}

fn constant(number: u32) -> i32 {
    number.cast_signed()
}
