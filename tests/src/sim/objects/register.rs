//! A map of registers, for histories with lost updates and stale reads in them.

use std::collections::BTreeMap;

use concoord::prelude::*;

/// Registers by key; each holds nothing until it is written.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Register {
    values: BTreeMap<u32, u64>,
}

#[concoord::methods]
impl Register {
    /// Sets a register.
    pub fn write(&mut self, key: u32, value: u64) {
        self.values.insert(key, value);
    }

    /// What a register holds.
    pub fn read(&self, key: u32) -> Option<u64> {
        self.values.get(&key).copied()
    }

    /// Sets a register that holds `expected`; whether it did.
    pub fn compare_and_set(&mut self, key: u32, expected: Option<u64>, value: u64) -> bool {
        let holds = self.read(key) == expected;
        if holds {
            self.write(key, value);
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_before_it_sets() {
        let mut register = Register::default();
        assert!(!register.compare_and_set(1, Some(5), 6));
        assert!(register.compare_and_set(1, None, 6));
        assert_eq!(register.read(1), Some(6));
        register.write(1, 7);
        assert!(!register.compare_and_set(1, Some(6), 8));
        assert_eq!((register.read(1), register.read(2)), (Some(7), None));
    }
}
