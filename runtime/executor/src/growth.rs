//! Growing a guest's memory. Beyond the replicated cap `memory.grow` gives -1 on every host; below it, it succeeds or
//! this host is at fault, for a -1 that only one replica sees would part it from the others.

use wasmtime::{Error, ResourceLimiter, Result};

/// What wasmtime says when a growth is beyond what 32-bit addresses reach. It says so before asking, and by no type, so
/// its words are compared; others would be taken for a host fault, and a test would show it.
const BEYOND_ADDRESSES: &str = "memory growth exceeds memory type's limits";

/// Decides over growth for one store. How far each memory grows is declared by the rewritten module: the object's to the
/// replicated cap, and those of the undo log not at all.
pub(crate) struct Growth;

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        if error.to_string() == BEYOND_ADDRESSES { Ok(()) } else { Err(error.context("no memory left for the object")) }
    }

    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> Result<bool> {
        // Only when a table is made: no checked module grows one.
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use concoord_module::PAGE_BYTES;

    use super::*;

    #[test]
    fn a_host_without_memory_is_told_from_a_guest_that_asks_for_too_much() {
        let (mut growth, maximum) = (Growth, Some(2 * PAGE_BYTES));
        assert_eq!(growth.memory_growing(0, 2 * PAGE_BYTES, maximum).ok(), Some(true));
        assert_eq!(growth.memory_growing(0, 3 * PAGE_BYTES, maximum).ok(), Some(false));
        assert!(growth.memory_grow_failed(Error::msg(BEYOND_ADDRESSES)).is_ok());
        let refused = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
        assert!(growth.memory_grow_failed(Error::new(refused)).is_err());
    }
}
