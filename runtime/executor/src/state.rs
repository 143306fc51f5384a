//! An object's state as bytes, for snapshots: what makes up the state and nothing else, so that equal states have equal
//! bytes, and memory that holds nothing takes none.
//!
//! All numbers are little-endian:
//!
//! | bytes      | what                                                                                     |
//! |------------|------------------------------------------------------------------------------------------|
//! | 1          | [`VERSION`]                                                                              |
//! | 4          | pages of memory                                                                          |
//! | 4          | mutable globals                                                                          |
//! | 8 each     | their bits, in the order of their indices, zero-extended                                 |
//! | 4          | blocks that follow                                                                       |
//! | 4100 each  | number of the block, rising from block to block, and its bytes; blocks left out are zero |
//!
//! Decoding trusts nothing: lengths are compared with what is there before anything is done with them.

use concoord_consensus::objects::Frozen;
use concoord_module::PAGE_BYTES;
use wasmtime::{Val, ValType};

use crate::blocks::{BLOCK_BYTES, Blocks};

/// The version of this encoding.
pub(crate) const VERSION: u8 = 1;

const GLOBAL_BYTES: usize = 8;
const BLOCK_NUMBER_BYTES: usize = 4;
const ENTRY_BYTES: usize = BLOCK_NUMBER_BYTES + BLOCK_BYTES;
const PAGE_BLOCKS: u64 = (PAGE_BYTES / BLOCK_BYTES) as u64;

/// Why bytes are not the state of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateError {
    /// Written by another build.
    #[error("its state has version {0}, but this build reads {VERSION}")]
    Version(u8),
    /// The bytes are too few.
    #[error("its state ends within {0}")]
    End(&'static str),
    /// The bytes are too many.
    #[error("{0} bytes left over after its state")]
    Trailing(usize),
    /// The module's memory can't have this size.
    #[error("its state has {pages} pages of memory, but the module allows {min} to {max}")]
    Pages { pages: u32, min: u32, max: u32 },
    /// The module has other globals.
    #[error("its state has {found} globals, but the module has {expected} that can change")]
    Globals { found: usize, expected: usize },
    /// A global's bits do not fit its type.
    #[error("global {index} of its state is {bits:#x}, which is no {expected}")]
    Global { index: usize, bits: u64, expected: String },
    /// A block outside the memory.
    #[error("block {number} of its state is outside the memory of {blocks} blocks")]
    Outside { number: u32, blocks: u64 },
    /// A block that comes again or too late.
    #[error("block {number} of its state comes behind block {before}")]
    Order { number: u32, before: u32 },
}

/// A state, to be encoded later.
#[derive(Debug)]
pub(crate) struct FrozenState {
    pub(crate) globals: Vec<u64>,
    pub(crate) blocks: Blocks,
}

impl Frozen for FrozenState {
    fn bytes(&self) -> usize {
        1 + 3 * 4 + self.globals.len() * GLOBAL_BYTES + self.blocks.iter().count() * ENTRY_BYTES
    }

    fn write(&self, to: &mut Vec<u8>) {
        let FrozenState { globals, blocks } = self;
        to.reserve(self.bytes());
        to.push(VERSION);
        to.extend_from_slice(&number(blocks.pages()));
        to.extend_from_slice(&number(globals.len()));
        globals.iter().for_each(|bits| to.extend_from_slice(&bits.to_le_bytes()));
        to.extend_from_slice(&number(blocks.iter().count()));
        for (number, block) in blocks.iter() {
            to.extend_from_slice(&number.to_le_bytes());
            to.extend_from_slice(block);
        }
    }
}

fn number(count: usize) -> [u8; 4] {
    u32::try_from(count).expect("pages, globals and blocks of a 32-bit memory have numbers of 32 bits").to_le_bytes()
}

/// A decoded state, in the bytes that it came in: sound in itself, not yet compared with a module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State<'a> {
    pages: u32,
    globals: &'a [[u8; GLOBAL_BYTES]],
    blocks: &'a [[u8; ENTRY_BYTES]],
}

impl<'a> State<'a> {
    /// Decodes a state, which must use up `bytes`.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<State<'a>, StateError> {
        let (version, bytes) = bytes.split_first().ok_or(StateError::End("its version"))?;
        if *version != VERSION {
            return Err(StateError::Version(*version));
        }
        let (pages, bytes) = take_number(bytes, "the number of pages")?;
        let (globals, bytes) = take_entries(bytes, "its globals")?;
        let (blocks, bytes) = take_entries(bytes, "its memory")?;
        if !bytes.is_empty() {
            return Err(StateError::Trailing(bytes.len()));
        }
        let state = State { pages, globals, blocks };
        let count = u64::from(pages) * PAGE_BLOCKS;
        let mut before = None;
        for (number, _) in state.blocks() {
            if let Some(before) = before.filter(|before| number <= *before) {
                return Err(StateError::Order { number, before });
            }
            if u64::from(number) >= count {
                return Err(StateError::Outside { number, blocks: count });
            }
            before = Some(number);
        }
        Ok(state)
    }

    /// Pages of memory.
    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    /// The values of globals of these types.
    ///
    /// # Errors
    /// [`StateError::Globals`] or [`StateError::Global`] when the state is not one of a module that has these.
    pub(crate) fn globals(&self, types: &[ValType]) -> Result<Vec<Val>, StateError> {
        if self.globals.len() != types.len() {
            return Err(StateError::Globals { found: self.globals.len(), expected: types.len() });
        }
        let values = self.globals.iter().zip(types).enumerate().map(|(index, (bits, expected))| {
            let bits = u64::from_le_bytes(*bits);
            let misfit = || StateError::Global { index, bits, expected: expected.to_string() };
            value(bits, expected).ok_or_else(misfit)
        });
        values.collect()
    }

    /// Writes the memory. `memory` has [`State::pages`] and is zero.
    pub(crate) fn fill(&self, memory: &mut [u8]) {
        for (number, block) in self.blocks() {
            let start = number as usize * BLOCK_BYTES;
            memory[start..start + BLOCK_BYTES].copy_from_slice(block);
        }
    }

    fn blocks(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        self.blocks.iter().map(|entry| {
            let (number, block) = entry.split_first_chunk().expect("an entry begins with its number");
            (u32::from_le_bytes(*number), block)
        })
    }
}

fn take_number<'a>(bytes: &'a [u8], what: &'static str) -> Result<(u32, &'a [u8]), StateError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(StateError::End(what))?;
    Ok((u32::from_le_bytes(*number), rest))
}

/// A number and as many entries.
fn take_entries<'a, const BYTES: usize>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<(&'a [[u8; BYTES]], &'a [u8]), StateError> {
    let (count, bytes) = take_number(bytes, what)?;
    let length = (count as usize).checked_mul(BYTES).ok_or(StateError::End(what))?;
    let (entries, rest) = bytes.split_at_checked(length).ok_or(StateError::End(what))?;
    Ok((entries.as_chunks().0, rest))
}

/// A global's value as a number.
///
/// # Panics
/// For a value of a type that no checked module has a global of.
pub(crate) fn bits(value: Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(bits) => u64::from(bits),
        Val::F64(bits) => bits,
        other => panic!("the check lets no global of this kind through: {other:?}"),
    }
}

/// Undoes [`bits`]. `None` when they are too many for the type.
fn value(bits: u64, expected: &ValType) -> Option<Val> {
    let narrow = u32::try_from(bits);
    match expected {
        ValType::I32 => narrow.ok().map(|bits| Val::I32(bits.cast_signed())),
        ValType::I64 => Some(Val::I64(bits.cast_signed())),
        ValType::F32 => narrow.ok().map(Val::F32),
        ValType::F64 => Some(Val::F64(bits)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    fn encode(memory: &[u8], globals: &[u64]) -> Vec<u8> {
        let frozen = FrozenState { globals: globals.to_vec(), blocks: Image::of(memory).blocks() };
        let mut bytes = Vec::new();
        frozen.write(&mut bytes);
        assert_eq!(bytes.len(), frozen.bytes());
        bytes
    }

    fn memory(pages: usize, set: &[usize]) -> Vec<u8> {
        let mut memory = vec![0; pages * PAGE_BYTES];
        set.iter().for_each(|at| memory[*at] = 7);
        memory
    }

    #[test]
    fn what_is_decoded_is_what_was_encoded() {
        let globals = [5, u64::from(0.5_f32.to_bits()), u64::MAX, 0.25_f64.to_bits()];
        let types = [ValType::I32, ValType::F32, ValType::I64, ValType::F64];
        for set in [&[][..], &[0], &[4095, 4096, 2 * PAGE_BYTES - 1], &[PAGE_BYTES]] {
            let before = memory(2, set);
            let bytes = encode(&before, &globals);
            let state = State::decode(&bytes).unwrap();
            let mut after = memory(2, &[]);
            state.fill(&mut after);
            assert!(after == before, "bytes set at {set:?}");
            assert_eq!(state.pages(), 2);
            assert_eq!(state.globals(&types).unwrap().into_iter().map(bits).collect::<Vec<_>>(), globals);
            assert_eq!(bytes.len(), 13 + 8 * 4 + 4100 * set.len(), "only blocks that hold something");
        }
    }

    #[test]
    fn every_cut_and_every_claim_beyond_what_is_there_is_refused() {
        let bytes = encode(&memory(1, &[0, 9000]), &[1, 2]);
        for length in 0..bytes.len() {
            assert!(matches!(State::decode(&bytes[..length]), Err(StateError::End(_))), "cut at {length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(State::decode(&longer), Err(StateError::Trailing(1)));
        let with = |at: usize, number: u32| {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            bytes
        };
        // Where the numbers stand: pages 1, globals 5, blocks 25, first block 29, second 4129.
        assert_eq!(State::decode(&with(5, u32::MAX)), Err(StateError::End("its globals")));
        assert_eq!(State::decode(&with(25, u32::MAX)), Err(StateError::End("its memory")));
        assert_eq!(State::decode(&with(25, 1)), Err(StateError::Trailing(4100)));
        assert_eq!(State::decode(&with(29, 2)), Err(StateError::Order { number: 2, before: 2 }));
        assert_eq!(State::decode(&with(29, 15)), Err(StateError::Order { number: 2, before: 15 }));
        assert_eq!(State::decode(&with(4129, 16)), Err(StateError::Outside { number: 16, blocks: 16 }));
        assert_eq!(State::decode(&with(1, 0)), Err(StateError::Outside { number: 0, blocks: 0 }));
        assert_eq!(State::decode(&[&[2], &bytes[1..]].concat()), Err(StateError::Version(2)));
    }

    #[test]
    fn globals_are_of_the_types_that_the_module_says() {
        let bytes = encode(&memory(1, &[]), &[1 << 32, 2]);
        let globals = |types: &[ValType]| State::decode(&bytes).unwrap().globals(types);
        let misfit = |expected: &str| StateError::Global { index: 0, bits: 1 << 32, expected: expected.into() };
        assert!(matches!(globals(&[ValType::I64]), Err(StateError::Globals { found: 2, expected: 1 })));
        assert!(matches!(globals(&[ValType::I32, ValType::I32]), Err(error) if error == misfit("i32")));
        assert!(matches!(globals(&[ValType::F32, ValType::I32]), Err(error) if error == misfit("f32")));
        assert!(globals(&[ValType::I64, ValType::I32]).is_ok());
    }
}
