//! What hostile bytes may cost: one test in a process of its own, which watches the address space it takes.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "some of it serves frames.rs only")]
mod formats;

use formats::mutation::Mutator;
use formats::{Format, all};

/// What decoding may add to the most address space the process ever had, for all inputs of this test together. A
/// single vector made for an announced length of [`HUGE`] would take at least 4 GiB.
const GROWTH_BYTES_MAX: usize = 64 << 20;
/// Mutated inputs per format, each also with a huge number at a place drawn at random.
const MUTATIONS: u32 = 2_000;
/// A length of 0xffff_fff0, as postcard writes it.
const HUGE: [u8; 5] = [0xf0, 0xff, 0xff, 0xff, 0x0f];

/// The most address space that this process ever had, in bytes.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).expect("a field of it");
    let kib = line.split_whitespace().nth(1).expect("a number");
    kib.parse::<usize>().expect("a number") << 10
}

#[test]
fn announced_lengths_take_no_memory() {
    let formats = all();
    let before = peak_bytes();
    let mut refused = 0;
    for Format { name, rewrite, samples, .. } in &formats {
        // Every byte of every sample is the start of some field: each length is replaced once.
        for sample in samples {
            for at in 0..sample.len() {
                for rest in [&sample[at + 1..], &[]] {
                    refused += u32::from(rewrite(&[&sample[..at], &HUGE, rest].concat()).is_err());
                }
            }
        }
        let mut mutator = Mutator::new(name);
        for _ in 0..MUTATIONS {
            let mut input = mutator.mutate(samples);
            let _ = rewrite(&input);
            input.extend_from_slice(&HUGE);
            let _ = rewrite(&input);
        }
    }
    let growth = peak_bytes() - before;
    assert!(growth <= GROWTH_BYTES_MAX, "decoding took {growth} bytes");
    assert!(refused > 1000, "{refused} refused: the inputs show nothing");
}
