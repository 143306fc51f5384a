//! The hash of an object's state, kept up to date page by page.

use concoord_module::{PAGE_BYTES, UNDO_PAGE_BYTES};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

const BYTES: usize = UNDO_PAGE_BYTES as usize;
const ZEROS: [u8; BYTES] = [0; BYTES];

/// A hash for each undo page of a memory, and their sum.
///
/// The hash of a page that is zero is zero; that of another is XXH3-64 of its bytes, seeded with its number. The hash of a
/// state is XXH3-64 over its number of Wasm pages, the sum of these modulo 2^64, and its globals, as little-endian `u64`. So
/// it follows from the state alone, whatever way led there.
#[derive(Debug, Default)]
pub(crate) struct PageHashes {
    pages: Vec<u64>,
    sum: u64,
}

impl PageHashes {
    /// Those of a memory.
    pub(crate) fn of(memory: &[u8]) -> PageHashes {
        let mut hashes = PageHashes::default();
        hashes.pages.resize(memory.len() / BYTES, 0);
        for number in 0..hashes.pages.len() {
            hashes.look(memory, number);
        }
        hashes
    }

    /// Looks again at the pages of these numbers and at those behind them, into which what was written to them may reach.
    /// The memory may have grown; what it has more was zero before.
    pub(crate) fn update(&mut self, memory: &[u8], dirty: &[u32]) {
        self.pages.resize(memory.len() / BYTES, 0);
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
    }

    /// The hash of the state with so many Wasm pages and these globals.
    pub(crate) fn state(&self, pages: usize, globals: &[u64]) -> u64 {
        debug_assert_eq!(self.pages.len(), pages * (PAGE_BYTES / BYTES));
        let mut hash = Xxh3::new();
        for number in [pages as u64, self.sum].iter().chain(globals) {
            hash.update(&number.to_le_bytes());
        }
        hash.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_up_to_date_is_what_is_made_anew() {
        let mut memory = vec![0; 2 * PAGE_BYTES];
        let mut hashes = PageHashes::of(&memory);
        assert_eq!(hashes.sum, 0, "nothing but zeros");
        memory[..3].fill(7);
        memory[5 * BYTES + 3] = 1;
        hashes.update(&memory, &[0, 5]);
        assert_eq!(hashes.sum, PageHashes::of(&memory).sum);
        // Over the edge of a page, of which only the first is dirty.
        memory[8 * BYTES - 2..8 * BYTES + 2].fill(9);
        hashes.update(&memory, &[7]);
        memory.resize(3 * PAGE_BYTES, 0);
        memory[3 * PAGE_BYTES - 1] = 4;
        hashes.update(&memory, &[3 * (PAGE_BYTES / BYTES) as u32 - 1]);
        assert_eq!(hashes.sum, PageHashes::of(&memory).sum);
        assert_ne!(hashes.state(3, &[]), hashes.state(3, &[1]));
        memory[PAGE_BYTES..].fill(0);
        memory[..9 * BYTES].fill(0);
        let all: Vec<u32> = (0..hashes.pages.len() as u32).collect();
        hashes.update(&memory, &all);
        assert_eq!(hashes.sum, 0);
    }

    #[test]
    fn where_bytes_stand_matters() {
        let at = |place: usize| {
            let mut memory = vec![0; PAGE_BYTES];
            memory[place] = 1;
            PageHashes::of(&memory).sum
        };
        assert_ne!(at(0), at(1));
        assert_ne!(at(0), at(BYTES));
    }
}
