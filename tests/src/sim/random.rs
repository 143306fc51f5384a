//! The one source of chance of a run.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

/// Chance, from the seed.
#[derive(Debug)]
pub struct Chance(StdRng);

impl Chance {
    /// All chance of the run `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Chance {
        Chance(StdRng::seed_from_u64(seed))
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        percent > 0 && self.between(1, 100) <= percent
    }

    /// One of `items`.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() {
            return None;
        }
        let last = items.len() as u64 - 1;
        Some(items[usize::try_from(self.between(0, last)).expect("an index")])
    }

    /// Puts `items` into any order, each as likely as any other.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.between(0, last as u64)).expect("an index");
            items.swap(last, other);
        }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
}
