//! Memory in blocks: most of an object's memory is zero, and most of it stays as it is from one input to the next.

/// Bytes of a block: small enough that a few changed bytes cost little, large enough that comparing costs no more than
/// reading. A page of Wasm memory is a whole number of them.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// A block in which nothing stands.
pub(crate) const ZERO_BLOCK: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Makes `to` the same as `from`, writing only the blocks that differ. Comparing reads two streams and writes none,
/// which is cheaper than writing one, and leaves alone what the host never had to find memory for.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn copy_changed(from: &[u8], to: &mut [u8]) {
    assert_eq!(from.len(), to.len(), "one memory is copied over another of the same size");
    for (from, to) in from.chunks(BLOCK_BYTES).zip(to.chunks_mut(BLOCK_BYTES)) {
        if from != to {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_anywhere_is_copied() {
        let from: Vec<u8> = (0..3 * BLOCK_BYTES + 17).map(|at| (at % 251) as u8).collect();
        for at in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 9, from.len() - 1] {
            let mut to = from.clone();
            to[at] ^= 0x80;
            copy_changed(&from, &mut to);
            assert!(to == from, "a difference at {at}");
        }
    }
}
