//! A copy of an object's memory, that copies of it share with each other.

use std::sync::Arc;

use concoord_module::PAGE_BYTES;

/// Bytes of a block. Most of an object's memory is zero; a page of Wasm memory is a whole number of blocks.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// A block in which nothing stands.
pub(crate) const ZERO_BLOCK: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

const PAGE_BLOCKS: usize = PAGE_BYTES / BLOCK_BYTES;

type Block = [u8; BLOCK_BYTES];

/// The blocks of a page of Wasm memory; `None` is one in which nothing stands.
#[derive(Clone, Debug, Default)]
struct Page([Option<Arc<Block>>; PAGE_BLOCKS]);

/// The blocks of a memory. A clone costs a count for each page of Wasm memory, and not its bytes: those are copied when one of
/// the two changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Vec<Arc<Page>>);

impl Blocks {
    /// Makes room for a memory of so many bytes: what it has more is zero.
    pub(crate) fn resize(&mut self, bytes: usize) {
        self.0.resize_with(bytes / PAGE_BYTES, Arc::default);
    }

    /// Copies a part of the memory that lies within one block.
    pub(crate) fn copy(&mut self, memory: &[u8], start: usize, bytes: usize) {
        let (number, within) = (start / BLOCK_BYTES, start % BLOCK_BYTES);
        let block: &Block = memory[number * BLOCK_BYTES..].first_chunk().expect("a memory is whole blocks");
        let page = &mut self.0[number / PAGE_BLOCKS];
        let number = number % PAGE_BLOCKS;
        let is_zero = *block == ZERO_BLOCK;
        if is_zero && page.0[number].is_none() {
            return;
        }
        match &mut Arc::make_mut(page).0[number] {
            some if is_zero => *some = None,
            Some(copy) => match Arc::get_mut(copy) {
                Some(copy) => copy[within..][..bytes].copy_from_slice(&block[within..][..bytes]),
                None => *copy = Arc::new(*block),
            },
            none => *none = Some(Arc::new(*block)),
        }
    }

    /// Pages of Wasm memory.
    pub(crate) fn pages(&self) -> usize {
        self.0.len()
    }

    /// The blocks in which something stands, with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Block)> {
        let blocks = self.0.iter().flat_map(|page| &page.0);
        (0..).zip(blocks).filter_map(|(number, block)| Some((number, &**block.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(blocks: &Blocks) -> Vec<u8> {
        let mut memory = vec![0; blocks.pages() * PAGE_BYTES];
        blocks.iter().for_each(|(number, block)| {
            memory[number as usize * BLOCK_BYTES..][..BLOCK_BYTES].copy_from_slice(block);
        });
        memory
    }

    #[test]
    fn a_clone_stays_as_it_was_whatever_is_copied_later() {
        let mut memory = vec![0; PAGE_BYTES];
        let mut blocks = Blocks::default();
        blocks.resize(memory.len());
        let mut change = |blocks: &mut Blocks, at: usize, byte: u8| {
            memory[at] = byte;
            blocks.copy(&memory, at / 512 * 512, 512);
            memory.clone()
        };
        let first = change(&mut blocks, 5000, 1);
        let (before, copied) = (whole(&blocks), blocks.clone());
        assert_eq!(before, first);
        let second = change(&mut blocks, 5001, 2);
        let third = change(&mut blocks, 4096, 3);
        assert_eq!((whole(&copied), whole(&blocks)), (before, third));
        assert_ne!(first, second);
        for at in [5000, 5001, 4096] {
            change(&mut blocks, at, 0);
        }
        assert_eq!(blocks.iter().count(), 0, "what is zero takes nothing");
        assert_eq!(copied.iter().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
    }
}
