//! The memory of a process that runs, read and changed from outside, as memory that fails changes: the process knows
//! nothing of it, and needs no switch for it.
//!
//! Whoever started a process may do so on Linux, by `/proc/<process>/mem`.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

/// Larger mappings are room that was reserved.
const MAPPING_BYTES_MAX: u64 = 1 << 30;
const CHUNK_BYTES: usize = 1 << 20;
const NUMBER_BYTES: usize = size_of::<i64>();

/// The memory of one process.
#[derive(Debug)]
pub struct Memory {
    process: u32,
    content: File,
}

impl Memory {
    /// That of a process which this one started.
    ///
    /// # Panics
    /// When the system does not let it be changed.
    #[must_use]
    pub fn of(process: u32) -> Memory {
        let path = format!("/proc/{process}/mem");
        let content = OpenOptions::new().read(true).write(true).open(&path);
        Memory { process, content: content.unwrap_or_else(|error| panic!("{path}: {error}")) }
    }

    /// Where a number of eight bytes stands, at addresses that are multiples of eight, in memory that belongs to no file.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn find(&self, number: i64) -> Vec<u64> {
        let mut found = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        for (first, end) in self.mappings() {
            let mut at = first;
            while at < end {
                let bytes = usize::try_from((end - at).min(CHUNK_BYTES as u64)).expect("a chunk");
                // What is gone since, or can't be read, holds nothing that is looked for.
                let read = self.content.read_at(&mut chunk[..bytes], at).unwrap_or(0);
                let words = chunk[..read].chunks_exact(NUMBER_BYTES);
                let here = (at..).step_by(NUMBER_BYTES).zip(words).filter(|(_, word)| *word == number.to_le_bytes());
                found.extend(here.map(|(address, _)| address));
                at += bytes as u64;
            }
        }
        found
    }

    /// The number at an address.
    ///
    /// # Panics
    /// When nothing can be read there.
    #[must_use]
    pub fn number(&self, address: u64) -> i64 {
        let mut bytes = [0; NUMBER_BYTES];
        self.content.read_exact_at(&mut bytes, address).expect("memory that was there a moment ago");
        i64::from_le_bytes(bytes)
    }

    /// Changes one bit of a number.
    ///
    /// # Panics
    /// When nothing can be written there.
    pub fn flip(&self, address: u64, bit: u32) {
        let place = address + u64::from(bit / 8);
        let mut byte = [0];
        self.content.read_exact_at(&mut byte, place).expect("memory that was there a moment ago");
        byte[0] ^= 1 << (bit % 8);
        self.content.write_all_at(&byte, place).expect("memory that was there a moment ago");
    }

    /// First address and end of each mapping that can be written and belongs to no file.
    fn mappings(&self) -> Vec<(u64, u64)> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process)).expect("the process runs");
        let mapping = |line: &str| {
            let mut words = line.split_whitespace();
            let (first, end) = words.next()?.split_once('-')?;
            let (first, end) = (u64::from_str_radix(first, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            let writable = words.next()?.starts_with("rw");
            // Offset, device, inode, path.
            let of_file = words.nth(2)? != "0";
            (writable && !of_file && end - first <= MAPPING_BYTES_MAX).then_some((first, end))
        };
        maps.lines().filter_map(mapping).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn a_number_is_found_and_a_bit_of_it_changed() {
        let number = Box::new(black_box(0x0123_4567_89ab_cdef_i64 ^ i64::from(std::process::id())));
        let address = std::ptr::from_ref(&*number).addr() as u64;
        let memory = Memory::of(std::process::id());
        assert!(memory.find(*number).contains(&address));
        let before = memory.number(address);
        memory.flip(address, 42);
        assert_eq!(memory.number(address), before ^ 1 << 42);
        memory.flip(address, 42);
        assert_eq!(black_box(*number), before);
    }
}
