//! A map for what nearly always comes and goes in the order of its keys.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// Values in the order of their keys. What is put behind all others, or taken from before them, costs next to nothing; what is
/// put or taken elsewhere moves those between it and the nearer end.
#[derive(Debug)]
pub(crate) struct Row<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for Row<K, V> {
    fn default() -> Row<K, V> {
        Row(VecDeque::new())
    }
}

impl<K: Ord + Copy, V> Row<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a value in the place of the one that its key had, if any.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.0.back().is_none_or(|(last, _)| *last < key) {
            return self.0.push_back((key, value));
        }
        match self.find(key) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (key, value)),
        }
    }

    pub(crate) fn contains_key(&self, key: K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let index = self.find(key).ok()?;
        Some(&mut self.0[index].1)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let index = self.find(key).ok()?;
        let removed = if index == 0 { self.0.pop_front() } else { self.0.remove(index) };
        removed.map(|(_, value)| value)
    }

    /// The first key at or behind this one.
    pub(crate) fn first_from(&self, key: K) -> Option<K> {
        let index = self.0.partition_point(|(at, _)| *at < key);
        self.0.get(index).map(|(at, _)| *at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Takes those out that `wanted` chooses, in order.
    pub(crate) fn take_if(&mut self, wanted: impl Fn(&V) -> bool) -> VecDeque<(K, V)> {
        if !self.0.iter().any(|(_, value)| wanted(value)) {
            return VecDeque::new();
        }
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(_, value)| wanted(value));
        self.0 = left;
        taken
    }

    /// Where a key is, or would be.
    fn find(&self, key: K) -> Result<usize, usize> {
        match self.0.front().map(|(first, _)| first.cmp(&key)) {
            Some(Ordering::Equal) => Ok(0),
            Some(Ordering::Less) => self.0.binary_search_by_key(&key, |(at, _)| *at),
            Some(Ordering::Greater) | None => Err(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn it_does_what_a_map_does() {
        let mut random = StdRng::seed_from_u64(7);
        let (mut row, mut map) = (Row::default(), BTreeMap::new());
        for step in 0..20_000_u32 {
            let key = random.random_range(0..60_u8);
            match random.random_range(0..8) {
                0..4 => {
                    row.insert(key, step);
                    map.insert(key, step);
                }
                4..7 => assert_eq!(row.remove(key), map.remove(&key)),
                _ => {
                    let taken = row.take_if(|value| value % 5 == 0);
                    let expected: Vec<_> = map.extract_if(.., |_, value| *value % 5 == 0).collect();
                    assert_eq!(taken, expected);
                }
            }
            assert_eq!(row.is_empty(), map.is_empty());
            assert_eq!(row.contains_key(key), map.contains_key(&key));
            assert_eq!(row.get_mut(key), map.get_mut(&key));
            assert_eq!(row.first_from(key), map.range(key..).next().map(|(at, _)| *at));
            assert!(row.iter().eq(map.iter()));
            assert!(row.iter_mut().eq(map.iter_mut()));
        }
    }
}
