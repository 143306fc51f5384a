//! A copy of an object's memory and its hash, kept up to date page by page.

use concoord_module::UNDO_PAGE_BYTES;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::blocks::Blocks;

const BYTES: usize = UNDO_PAGE_BYTES as usize;
const ZEROS: [u8; BYTES] = [0; BYTES];

/// What a memory was when it was last looked at: its bytes, a hash for each undo page, and the sum of these.
///
/// The bytes are there for snapshots, which so cost neither a call nor the calls behind it a copy of the whole.
///
/// The hash of a page that is zero is zero; that of another is XXH3-64 of its bytes, seeded with its number. The hash of a
/// state is XXH3-64 over its number of Wasm pages, the sum of these modulo 2^64, and its globals, as little-endian `u64`. So
/// it follows from the state alone, whatever way led there.
#[derive(Debug, Default)]
pub(crate) struct Image {
    blocks: Blocks,
    pages: Vec<u64>,
    sum: u64,
}

impl Image {
    /// That of a memory.
    pub(crate) fn of(memory: &[u8]) -> Image {
        let mut image = Image::default();
        image.resize(memory);
        for number in 0..image.pages.len() {
            image.look(memory, number);
        }
        image
    }

    fn resize(&mut self, memory: &[u8]) {
        self.pages.resize(memory.len() / BYTES, 0);
        self.blocks.resize(memory.len());
    }

    /// Looks again at the pages of these numbers and at those behind them, into which what was written to them may reach.
    /// The memory may have grown; what it has more was zero before.
    pub(crate) fn update(&mut self, memory: &[u8], dirty: &[u32]) {
        self.resize(memory);
        for &number in dirty {
            self.look(memory, number as usize);
            self.look(memory, number as usize + 1);
        }
    }

    fn look(&mut self, memory: &[u8], number: usize) {
        let Some(hash) = self.pages.get_mut(number) else { return };
        let page = &memory[number * BYTES..][..BYTES];
        let now = if page == ZEROS { 0 } else { xxh3_64_with_seed(page, number as u64) };
        self.sum = self.sum.wrapping_sub(*hash).wrapping_add(now);
        *hash = now;
        self.blocks.copy(memory, number * BYTES, BYTES);
    }

    /// The bytes.
    pub(crate) fn blocks(&self) -> Blocks {
        self.blocks.clone()
    }

    /// The hash of the state with these globals.
    pub(crate) fn hash(&self, globals: &[u64]) -> u64 {
        let mut hash = Xxh3::new();
        for number in [self.blocks.pages() as u64, self.sum].iter().chain(globals) {
            hash.update(&number.to_le_bytes());
        }
        hash.digest()
    }
}

#[cfg(test)]
mod tests {
    use concoord_module::PAGE_BYTES;

    use super::*;

    #[test]
    fn what_is_kept_up_to_date_is_what_is_made_anew() {
        let mut memory = vec![0; 2 * PAGE_BYTES];
        let mut image = Image::of(&memory);
        assert_eq!(image.sum, 0, "nothing but zeros");
        memory[..3].fill(7);
        memory[5 * BYTES + 3] = 1;
        image.update(&memory, &[0, 5]);
        assert_eq!(image.sum, Image::of(&memory).sum);
        // Over the edge of a page, of which only the first is dirty.
        memory[8 * BYTES - 2..8 * BYTES + 2].fill(9);
        image.update(&memory, &[7]);
        memory.resize(3 * PAGE_BYTES, 0);
        memory[3 * PAGE_BYTES - 1] = 4;
        image.update(&memory, &[3 * (PAGE_BYTES / BYTES) as u32 - 1]);
        assert_eq!(image.sum, Image::of(&memory).sum);
        assert_ne!(image.hash(&[]), image.hash(&[1]));
        memory[PAGE_BYTES..].fill(0);
        memory[..9 * BYTES].fill(0);
        let all: Vec<u32> = (0..image.pages.len() as u32).collect();
        image.update(&memory, &all);
        assert_eq!(image.sum, 0);
    }

    #[test]
    fn where_bytes_stand_matters() {
        let at = |place: usize| {
            let mut memory = vec![0; PAGE_BYTES];
            memory[place] = 1;
            Image::of(&memory).sum
        };
        assert_ne!(at(0), at(1));
        assert_ne!(at(0), at(BYTES));
    }
}
