//! A store of values by key, in which every value knows how new it is.

use std::collections::BTreeMap;

use concoord::prelude::*;

/// Bytes of the entries that a range gives at most: a reply has to hold them. One entry is given whatever it has.
const RANGE_BYTES_MAX: usize = 1 << 20;
/// Bytes that an entry counts for beside key and value.
const ENTRY_BYTES: usize = 32;

/// A key-value store that starts empty.
///
/// Each write has a revision, from 1, that is higher than those of all writes before, whatever key they were to.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kv {
    revision: u64,
    entries: BTreeMap<String, Entry>,
}

/// What a key has.
#[concoord::data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was written.
    pub value: String,
    /// The revision of that write.
    pub revision: u64,
}

/// A piece of the store.
#[concoord::data]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// By key, in their order.
    pub entries: BTreeMap<String, Entry>,
    /// Whether there are others after them that were asked for.
    pub more: bool,
}

/// Why nothing was written.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The key is not at the revision that was expected.
    #[error("the key is at revision {revision}")]
    Conflict {
        /// The revision that it is at; 0 if it is not there.
        revision: u64,
    },
}

#[concoord::methods]
impl Kv {
    /// What `key` has.
    pub fn get(&self, key: String) -> Option<Entry> {
        self.entries.get(&key).cloned()
    }

    /// Writes `value` to `key`, and returns the write's revision.
    pub fn put(&mut self, key: String, value: String) -> u64 {
        self.revision += 1;
        self.entries.insert(key, Entry { value, revision: self.revision });
        self.revision
    }

    /// Removes `key`, and returns the revision that it was at, or nothing if it was not there.
    pub fn delete(&mut self, key: String) -> Option<u64> {
        self.entries.remove(&key).map(|entry| entry.revision)
    }

    /// As `put`, but only if `key` is at `revision`; at 0 it must not be there.
    pub fn compare_and_set(&mut self, key: String, revision: u64, value: String) -> Result<u64, KvError> {
        match self.entries.get(&key).map_or(0, |entry| entry.revision) {
            current if current == revision => Ok(self.put(key, value)),
            current => Err(KvError::Conflict { revision: current }),
        }
    }

    /// The first keys at or after `from` and before `to`, which may be nothing: at most `limit` of them, and about 1 MiB.
    pub fn range(&self, from: String, to: Option<String>, limit: u32) -> Range {
        let (mut found, mut bytes) = (Range::default(), 0);
        for (key, entry) in self.entries.range(from..) {
            if to.as_ref().is_some_and(|to| key >= to) {
                break;
            }
            bytes += key.len() + entry.value.len() + ENTRY_BYTES;
            let fits = bytes <= RANGE_BYTES_MAX || found.entries.is_empty();
            if !fits || found.entries.len() == limit as usize {
                found.more = true;
                break;
            }
            found.entries.insert(key.clone(), entry.clone());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn put(kv: &mut Kv, key: &str, value: &str) -> u64 {
        kv.put(key.into(), value.into())
    }

    fn keys(kv: &Kv, from: &str, to: Option<&str>, limit: u32) -> (Vec<String>, bool) {
        let range = kv.range(from.into(), to.map(String::from), limit);
        (range.entries.into_keys().collect(), range.more)
    }

    #[test]
    fn a_key_has_what_was_put_last() {
        let mut kv = Kv::default();
        assert_eq!((kv.get("a".into()), kv.delete("a".into())), (None, None));
        let (first, second) = (put(&mut kv, "a", "1"), put(&mut kv, "a", "2"));
        assert!(0 < first && first < second);
        assert_eq!(kv.get("a".into()), Some(Entry { value: "2".into(), revision: second }));
        assert_eq!((kv.delete("a".into()), kv.get("a".into())), (Some(second), None));
    }

    #[test]
    fn compare_and_set_writes_over_what_was_seen_and_nothing_else() {
        let mut kv = Kv::default();
        let mut set = |revision, value: &str| kv.compare_and_set("a".into(), revision, value.into());
        assert_eq!(set(1, "1"), Err(KvError::Conflict { revision: 0 }));
        let first = set(0, "1").expect("it is not there");
        assert_eq!(set(0, "2"), Err(KvError::Conflict { revision: first }));
        let second = set(first, "2").expect("nobody wrote since");
        assert_eq!(set(first, "3"), Err(KvError::Conflict { revision: second }));
        kv.delete("a".into());
        put(&mut kv, "a", "new");
        let stale = kv.compare_and_set("a".into(), second, "3".into());
        assert!(matches!(stale, Err(KvError::Conflict { revision }) if revision > second), "{stale:?}");
    }

    #[test]
    fn a_range_is_in_order_and_says_whether_there_is_more() {
        let mut kv = Kv::default();
        for key in ["b", "a", "d", "c", "ab"] {
            put(&mut kv, key, "v");
        }
        let of = |names: &[&str], more| (names.iter().map(|name| (*name).to_owned()).collect(), more);
        assert_eq!(keys(&kv, "", None, 9), of(&["a", "ab", "b", "c", "d"], false));
        assert_eq!(keys(&kv, "ab", Some("d"), 3), of(&["ab", "b", "c"], false));
        assert_eq!(keys(&kv, "ab", Some("d"), 2), of(&["ab", "b"], true));
        assert_eq!(keys(&kv, "b\0", None, 1), of(&["c"], true));
        assert_eq!(keys(&kv, "", None, 0), of(&[], true));
        assert_eq!(keys(&kv, "x", None, 0), of(&[], false));
        assert_eq!((keys(&kv, "c", Some("b"), 9), keys(&kv, "c", Some("c"), 9)), (of(&[], false), of(&[], false)));
    }

    #[test]
    fn a_range_fits_into_a_reply() {
        let mut kv = Kv::default();
        for key in 0..4 {
            kv.put(key.to_string(), "v".repeat(RANGE_BYTES_MAX / 2 - 100));
        }
        kv.put("9".into(), "v".repeat(RANGE_BYTES_MAX));
        assert_eq!(keys(&kv, "", None, 9), (vec!["0".into(), "1".into()], true));
        assert_eq!(keys(&kv, "3", None, 9), (vec!["3".into()], true));
        assert_eq!(keys(&kv, "9", None, 9), (vec!["9".into()], false));
    }

    /// The model is a list of all writes; a key's revision is the number of its last one.
    #[test]
    fn any_calls_leave_the_last_writes_in_order() {
        for seed in 0..200 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut kv, mut writes, mut last) = (Kv::default(), 0, BTreeMap::<String, Entry>::new());
            for step in 0..200 {
                let (key, value) = (chance.random_range(0..12).to_string(), step.to_string());
                match chance.random_range(0..5) {
                    0 => assert_eq!(kv.delete(key.clone()), last.remove(&key).map(|entry| entry.revision)),
                    1 => assert_eq!(kv.get(key.clone()), last.get(&key).cloned()),
                    2 => {
                        let current = last.get(&key).map_or(0, |entry| entry.revision);
                        let expected = if chance.random_bool(0.5) { current } else { chance.random_range(0..200) };
                        let set = kv.compare_and_set(key.clone(), expected, value.clone());
                        if expected == current {
                            writes += 1;
                            last.insert(key, Entry { value, revision: writes });
                            assert_eq!(set, Ok(writes), "seed {seed}");
                        } else {
                            assert_eq!(set, Err(KvError::Conflict { revision: current }), "seed {seed}");
                        }
                    }
                    _ => {
                        writes += 1;
                        last.insert(key.clone(), Entry { value: value.clone(), revision: writes });
                        assert_eq!(kv.put(key, value), writes, "seed {seed}");
                    }
                }
                let (from, limit) = (chance.random_range(0..12).to_string(), chance.random_range(0..12));
                let to = chance.random_bool(0.7).then(|| chance.random_range(0..12).to_string());
                let is_in = |key: &String| *key >= from && to.as_ref().is_none_or(|to| key < to);
                let all: Vec<_> = last.iter().filter(|(key, _)| is_in(key)).collect();
                let range = kv.range(from.clone(), to.clone(), limit);
                assert!(range.entries.iter().eq(all.iter().copied().take(limit as usize)), "seed {seed}: {range:?}");
                assert_eq!(range.more, all.len() > limit as usize, "seed {seed}");
            }
            let mut moved = Kv::import(&kv.export()).expect("its own export");
            assert_eq!(moved.entries, last, "seed {seed}");
            assert_eq!(moved.put("0".into(), "later".into()), writes + 1, "seed {seed}");
        }
        assert!(Kv::import(&[]).is_err());
    }
}
