//! Seeded damage to encoded samples.

/// Damages samples; the same name gives the same damage.
pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new(name: &str) -> Mutator {
        Mutator(name.bytes().fold(1, |seed, byte| seed * 31 % 1_000_003 + u64::from(byte)))
    }

    /// A sample with one to four of: a flipped bit, a byte replaced by one that often means something, a piece
    /// removed, a piece of another sample put in, the end cut off.
    pub(crate) fn mutate(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = samples[self.below(samples.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1).min(bytes.len().saturating_sub(1));
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][self.below(6)],
                2 if !bytes.is_empty() => {
                    let end = at + self.below(bytes.len() - at) + 1;
                    bytes.drain(at..end);
                }
                3 => {
                    let other = &samples[self.below(samples.len())];
                    let start = self.below(other.len());
                    let end = start + self.below(other.len() - start) + 1;
                    bytes.splice(at..at, other[start..end].iter().copied());
                }
                _ => bytes.truncate(at),
            }
        }
        bytes
    }

    /// splitmix64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % bound as u64) as usize
    }
}
