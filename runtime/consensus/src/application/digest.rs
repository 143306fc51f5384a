//! Arithmetic on bits: one number out of many, the same on every machine.
//!
//! Neither function here is cryptographic. They spread, and they show differences that come about by accident.

use serde::Serialize;

/// The finalizer of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): a
/// bijection in which each input bit changes each output bit with a probability of about one half.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// FNV-1a over the postcard of each value, finished with [`mix`].
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    /// The digest with `value` behind all values before it.
    pub(super) fn with<T: Serialize + ?Sized>(self, value: &T) -> Digest {
        postcard::to_extend(value, self).expect("a digest takes any number of bytes")
    }

    pub(super) fn finish(self) -> u64 {
        mix(self.0)
    }
}

impl Extend<u8> for Digest {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_is_splitmix64() {
        // The first outputs of the reference generator with seed 0: its state grows by the same constant.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn a_digest_depends_on_every_value_and_their_order() {
        let digest = |values: &[&str]| values.iter().fold(Digest::new(), |digest, value| digest.with(value)).finish();
        assert_eq!(digest(&["a", "b"]), digest(&["a", "b"]));
        assert_ne!(digest(&["a", "b"]), digest(&["b", "a"]));
        assert_ne!(digest(&["a", "b"]), digest(&["ab"]));
        assert_ne!(digest(&["a"]), digest(&["a", ""]));
    }
}
