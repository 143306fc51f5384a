//! A store of values by key, in which every value knows how new it is.

use std::collections::{BTreeMap, BTreeSet};

use concoord::prelude::*;
use concoord::wire::limits::TOPIC_BYTES_MAX;

/// Bytes of the entries that a range gives at most: a reply has to hold them. One entry is given whatever it has.
const RANGE_BYTES_MAX: usize = 1 << 20;
/// Bytes that an entry counts for beside key and value.
const ENTRY_BYTES: usize = 32;

/// Entries that one input lets expire, and about the bytes of their keys: the next comes at once.
const EXPIRED_AT_ONCE_MAX: usize = 512;
const EXPIRED_BYTES_MAX: usize = 1 << 20;

/// A key-value store that starts empty.
///
/// Each write has a revision that is higher than those of all writes before, whatever key they were to, also over
/// `__concoordinit__`. Whoever watches is told of each change, under the key as its topic (of a longer one, the first 256 bytes);
/// after `__concoordinit__`, that what was told before is compacted: then a `range` from "" has all that there is.
#[concoord::object(event = Change)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kv {
    entries: BTreeMap<String, Entry>,
    /// When which entries expire.
    expiring: BTreeSet<(Timestamp, String)>,
    /// The keys that go with a session.
    ephemeral: BTreeMap<String, BTreeSet<String>>,
    /// Of these, the sessions that have ended.
    ended: BTreeSet<String>,
}

/// What a key has.
#[concoord::data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was written.
    pub value: String,
    /// The revision of that write.
    pub revision: u64,
    /// When it goes by itself, in microseconds since 1970 in the cluster's time.
    pub expires: Option<u64>,
    /// The session that it goes with, if it is ephemeral.
    pub session: Option<String>,
}

/// A piece of the store.
#[concoord::data]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// By key, in their order.
    pub entries: BTreeMap<String, Entry>,
    /// Whether there are others after them that were asked for.
    pub more: bool,
    /// Whoever watches from here on is told of all changes to these, and of none that is in them.
    pub revision: u64,
}

/// What happened to a key.
#[concoord::data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put {
        /// The key.
        key: String,
        /// What it has now.
        entry: Entry,
    },
    /// It was removed.
    Deleted {
        /// The key.
        key: String,
    },
    /// Its time was over, or the session that it went with.
    Expired {
        /// The key.
        key: String,
    },
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

    /// Writes `value` to `key`, for `ttl_ms` milliseconds or until it is removed, and returns the write's revision. What is
    /// `ephemeral` goes with the session that writes it, at the latest.
    pub fn put(
        &mut self,
        cx: &mut Context,
        key: String,
        value: String,
        ttl_ms: Option<u64>,
        ephemeral: Option<bool>,
    ) -> u64 {
        self.take(&key);
        let expires = ttl_ms.map(|ttl_ms| cx.now().0.saturating_add(ttl_ms.saturating_mul(1000)));
        let session = cx.caller().filter(|_| ephemeral == Some(true)).map(|session| session.to_string());
        self.expiring.extend(expires.map(|at| (Timestamp(at), key.clone())));
        if let Some(session) = &session {
            self.ephemeral.entry(session.clone()).or_default().insert(key.clone());
        }
        let entry = Entry { value, revision: cx.position().0, expires, session };
        self.entries.insert(key.clone(), entry.clone());
        self.wake(cx);
        tell(cx, Change::Put { key, entry });
        cx.position().0
    }

    /// Removes `key`, and returns the revision that it was at, or nothing if it was not there.
    pub fn delete(&mut self, cx: &mut Context, key: String) -> Option<u64> {
        let entry = self.take(&key)?;
        tell(cx, Change::Deleted { key });
        Some(entry.revision)
    }

    /// As `put`, but only if `key` is at `revision`; at 0 it must not be there.
    pub fn compare_and_set(
        &mut self,
        cx: &mut Context,
        key: String,
        revision: u64,
        value: String,
        ttl_ms: Option<u64>,
        ephemeral: Option<bool>,
    ) -> Result<u64, KvError> {
        match self.entries.get(&key).map_or(0, |entry| entry.revision) {
            current if current == revision => Ok(self.put(cx, key, value, ttl_ms, ephemeral)),
            current => Err(KvError::Conflict { revision: current }),
        }
    }

    /// The first keys at or after `from` and before `to`, which may be nothing: at most `limit` of them, and about 1 MiB.
    pub fn range(&self, cx: &mut Context, from: String, to: Option<String>, limit: u32) -> Range {
        let (mut found, mut bytes) = (Range { revision: cx.position().0, ..Range::default() }, 0);
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

    fn session_closed(&mut self, cx: &mut Context, session: SessionId) {
        self.ended.insert(session.to_string());
        self.timer(cx, 0);
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        let mut bytes = 0;
        for _ in 0..EXPIRED_AT_ONCE_MAX {
            let Some(key) = self.next_expired(cx.now()).filter(|_| bytes < EXPIRED_BYTES_MAX) else { break };
            bytes += key.len();
            self.take(&key);
            tell(cx, Change::Expired { key });
        }
        self.wake(cx);
    }

    /// What goes next, of a session that has ended or because its time is over.
    fn next_expired(&mut self, now: Timestamp) -> Option<String> {
        while let Some(session) = self.ended.first() {
            if let Some(key) = self.ephemeral.get(session).and_then(BTreeSet::first) {
                return Some(key.clone());
            }
            self.ended.pop_first();
        }
        self.expiring.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone())
    }

    fn take(&mut self, key: &String) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(at) = entry.expires {
            self.expiring.remove(&(Timestamp(at), key.clone()));
        }
        if let Some(session) = &entry.session
            && let Some(keys) = self.ephemeral.get_mut(session)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.ephemeral.remove(session);
            }
        }
        Some(entry)
    }

    /// Has `timer` run when the first entry expires.
    fn wake(&self, cx: &mut Context) {
        let now = (!self.ended.is_empty()).then(|| cx.now());
        if let Some(at) = now.or(self.expiring.first().map(|(at, _)| *at)) {
            cx.set_timer(0, at);
        }
    }
}

fn tell(cx: &mut Context, change: Change) {
    let (Change::Put { key, .. } | Change::Deleted { key } | Change::Expired { key }) = &change;
    cx.emit(&key[..key.floor_char_boundary(TOPIC_BYTES_MAX)], &change);
}

#[cfg(test)]
mod tests {
    use concoord::testing::Table;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const NONE: (Option<u64>, Option<bool>) = (None, None);

    fn put(kv: &mut Table<Kv>, key: &str, value: &str) -> u64 {
        kv.call(1, "put", &(key, value, NONE)).returned()
    }

    fn get(kv: &mut Table<Kv>, key: &str) -> Option<Entry> {
        kv.call(1, "get", &(key,)).returned()
    }

    fn delete(kv: &mut Table<Kv>, key: &str) -> Option<u64> {
        kv.call(1, "delete", &(key,)).returned()
    }

    /// The revision of the write, or else of the key.
    fn set(kv: &mut Table<Kv>, key: &str, revision: u64, value: &str) -> Result<u64, u64> {
        let step = kv.call(1, "compare_and_set", &(key, revision, value, NONE));
        if step.has_failed() {
            let KvError::Conflict { revision } = step.failed();
            return Err(revision);
        }
        Ok(step.returned())
    }

    fn range(kv: &mut Table<Kv>, from: &str, to: Option<&str>, limit: u32) -> Range {
        kv.call(1, "range", &(from, to, limit)).returned()
    }

    fn keys(kv: &mut Table<Kv>, from: &str, to: Option<&str>, limit: u32) -> (Vec<String>, bool) {
        let range = range(kv, from, to, limit);
        (range.entries.into_keys().collect(), range.more)
    }

    fn table() -> Table<Kv> {
        Table::new(Kv::default())
    }

    #[test]
    fn a_key_has_what_was_put_last() {
        let mut kv = table();
        assert_eq!((get(&mut kv, "a"), delete(&mut kv, "a")), (None, None));
        let (first, second) = (put(&mut kv, "a", "1"), put(&mut kv, "a", "2"));
        assert!(0 < first && first < second);
        assert_eq!(
            get(&mut kv, "a"),
            Some(Entry { value: "2".into(), revision: second, expires: None, session: None })
        );
        assert_eq!((delete(&mut kv, "a"), get(&mut kv, "a")), (Some(second), None));
    }

    #[test]
    fn compare_and_set_writes_over_what_was_seen_and_nothing_else() {
        let mut kv = table();
        assert_eq!(set(&mut kv, "a", 1, "1"), Err(0));
        let first = set(&mut kv, "a", 0, "1").expect("it is not there");
        assert_eq!(set(&mut kv, "a", 0, "2"), Err(first));
        let second = set(&mut kv, "a", first, "2").expect("nobody wrote since");
        assert_eq!(set(&mut kv, "a", first, "3"), Err(second));
        delete(&mut kv, "a");
        put(&mut kv, "a", "new");
        let stale = set(&mut kv, "a", second, "3");
        assert!(matches!(stale, Err(revision) if revision > second), "{stale:?}");
    }

    #[test]
    fn an_entry_goes_when_its_time_is_over_unless_it_is_written_again() {
        let mut kv = table();
        let for_ms = |kv: &mut Table<Kv>, key: &str, ttl_ms: u64| {
            kv.call(1, "put", &(key, "v", Some(ttl_ms), None::<bool>)).returned::<u64>();
        };
        for (key, ttl_ms) in [("a", 1000), ("b", 2000), ("c", 3000), ("d", 1000), ("e", 1000)] {
            for_ms(&mut kv, key, ttl_ms);
        }
        put(&mut kv, "d", "for ever");
        for_ms(&mut kv, "e", 5000);
        delete(&mut kv, "c");
        let now = kv.now();
        assert_eq!(get(&mut kv, "a").and_then(|entry| entry.expires), Some(now.0 + 1_000_000));
        kv.advance(999_999);
        assert_eq!(keys(&mut kv, "", None, 9).0, ["a", "b", "d", "e"]);
        kv.advance(1);
        assert_eq!(keys(&mut kv, "", None, 9).0, ["b", "d", "e"]);
        kv.advance(1_000_000);
        assert_eq!(keys(&mut kv, "", None, 9).0, ["d", "e"]);
        kv.advance(10_000_000);
        assert_eq!(keys(&mut kv, "", None, 9).0, ["d"]);
    }

    #[test]
    fn what_is_ephemeral_goes_with_its_session_unless_it_is_written_again() {
        let mut kv = table();
        let hold = |kv: &mut Table<Kv>, of: u64, key: &str, ttl_ms: Option<u64>| {
            kv.call(of, "put", &(key, "v", ttl_ms, Some(true))).returned::<u64>();
        };
        for key in ["a", "b", "c", "d", "e"] {
            hold(&mut kv, 1, key, None);
        }
        hold(&mut kv, 2, "f", None);
        hold(&mut kv, 2, "b", None);
        hold(&mut kv, 1, "g", Some(1000));
        hold(&mut kv, 1, "h", Some(9000));
        put(&mut kv, "c", "for ever");
        delete(&mut kv, "d");
        assert_eq!(get(&mut kv, "b").and_then(|entry| entry.session), Some("2-0".into()));
        kv.advance(1_000_000);
        let told = |step: &concoord::testing::Step| step.emitted::<Change>().into_iter().map(|(key, _)| key).collect();
        let ended: Vec<String> = told(&kv.close(1));
        assert_eq!(
            (ended, keys(&mut kv, "", None, 9).0),
            (vec!["a".into(), "e".into(), "h".into()], vec!["b".into(), "c".into(), "f".into()])
        );
        let ended: Vec<String> = told(&kv.close(2));
        assert_eq!((ended, keys(&mut kv, "", None, 9).0), (vec!["b".into(), "f".into()], vec!["c".to_owned()]));
        assert_eq!((kv.object.ephemeral.len(), kv.object.expiring.len()), (0, 0));
        assert!(told(&kv.advance(9_000_000)) == Vec::<String>::new(), "nothing is left to expire");
    }

    #[test]
    fn a_session_with_more_keys_than_may_go_at_once_loses_them_by_and_by() {
        let mut kv = table();
        for key in 0..2 * EXPIRED_AT_ONCE_MAX + 1 {
            kv.call(1, "put", &(key.to_string(), "v", None::<u64>, Some(true))).returned::<u64>();
        }
        assert_eq!(kv.close(1).events.len(), EXPIRED_AT_ONCE_MAX);
        assert_eq!(kv.advance(10_000).events.len(), EXPIRED_AT_ONCE_MAX + 1);
        assert_eq!(keys(&mut kv, "", None, 9), (vec![], false));
    }

    #[test]
    fn keys_that_go_at_once_fit_into_an_outcome() {
        let mut kv = table();
        let key = |index: usize| format!("{index:03}{}", "k".repeat(EXPIRED_BYTES_MAX / 2));
        for index in 0..5 {
            kv.call(1, "put", &(key(index), "v", None::<u64>, Some(true))).returned::<u64>();
            kv.call(2, "put", &(key(10 + index), "v", Some(1_u64), None::<bool>)).returned::<u64>();
        }
        assert_eq!(kv.close(1).events.len(), 2);
        // A timer is due a little later at the earliest, and those whose time is over are behind.
        let left: Vec<usize> = (0..9).map(|_| kv.advance(1_000).events.len()).collect();
        assert_eq!((left.iter().sum::<usize>(), left.iter().max()), (8, Some(&2)), "{left:?}");
        assert_eq!((kv.object.ephemeral.len(), kv.object.ended.len(), kv.object.expiring.len()), (0, 0, 0));
    }

    #[test]
    fn each_change_is_told_under_its_key() {
        let mut kv = table();
        let mut told = Vec::new();
        let mut note = |step: &concoord::testing::Step| {
            told.extend(step.emitted::<Change>());
        };
        let long = "ü".repeat(TOPIC_BYTES_MAX);
        note(&kv.call(1, "put", &("a", "1", NONE)));
        note(&kv.call(1, "put", &(long.as_str(), "1", NONE)));
        note(&kv.call(1, "compare_and_set", &("a", 9_u64, "2", NONE)));
        note(&kv.call(1, "delete", &("a",)));
        note(&kv.call(1, "delete", &("a",)));
        let entry = |revision| Entry { value: "1".into(), revision, expires: None, session: None };
        let expected = [
            ("a".into(), Change::Put { key: "a".into(), entry: entry(1) }),
            ("ü".repeat(TOPIC_BYTES_MAX / 2), Change::Put { key: long, entry: entry(3) }),
            ("a".into(), Change::Deleted { key: "a".into() }),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_range_is_in_order_and_says_whether_there_is_more() {
        let mut kv = table();
        for key in ["b", "a", "d", "c", "ab"] {
            put(&mut kv, key, "v");
        }
        let of = |names: &[&str], more| (names.iter().map(|name| (*name).to_owned()).collect(), more);
        assert_eq!(keys(&mut kv, "", None, 9), of(&["a", "ab", "b", "c", "d"], false));
        assert_eq!(keys(&mut kv, "ab", Some("d"), 3), of(&["ab", "b", "c"], false));
        assert_eq!(keys(&mut kv, "ab", Some("d"), 2), of(&["ab", "b"], true));
        assert_eq!(keys(&mut kv, "b\0", None, 1), of(&["c"], true));
        assert_eq!(keys(&mut kv, "", None, 0), of(&[], true));
        assert_eq!(keys(&mut kv, "x", None, 0), of(&[], false));
        assert_eq!(
            (keys(&mut kv, "c", Some("b"), 9), keys(&mut kv, "c", Some("c"), 9)),
            (of(&[], false), of(&[], false))
        );
    }

    #[test]
    fn a_range_fits_into_a_reply() {
        let mut kv = table();
        for key in 0..4 {
            put(&mut kv, &key.to_string(), &"v".repeat(RANGE_BYTES_MAX / 2 - 100));
        }
        put(&mut kv, "9", &"v".repeat(RANGE_BYTES_MAX));
        assert_eq!(keys(&mut kv, "", None, 9), (vec!["0".into(), "1".into()], true));
        assert_eq!(keys(&mut kv, "3", None, 9), (vec!["3".into()], true));
        assert_eq!(keys(&mut kv, "9", None, 9), (vec!["9".into()], false));
    }

    /// The model is a map of the last writes.
    #[test]
    fn any_calls_leave_the_last_writes_in_order() {
        for seed in 0..100 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut kv, mut newest, mut last) = (table(), 0, BTreeMap::<String, (String, u64)>::new());
            for step in 0..100 {
                let (key, value) = (chance.random_range(0..12).to_string(), step.to_string());
                let current = last.get(&key).map_or(0, |(_, revision)| *revision);
                let mut wrote = |revision: u64, last: &mut BTreeMap<String, (String, u64)>| {
                    assert!(revision > newest, "seed {seed}: {revision} after {newest}");
                    newest = revision;
                    last.insert(key.clone(), (value.clone(), revision));
                };
                match chance.random_range(0..5) {
                    0 => assert_eq!(delete(&mut kv, &key), last.remove(&key).map(|(_, revision)| revision)),
                    1 => {
                        let found = get(&mut kv, &key).map(|entry| (entry.value, entry.revision));
                        assert_eq!(found, last.get(&key).cloned());
                    }
                    2 => {
                        let expected = if chance.random_bool(0.5) { current } else { chance.random_range(0..200) };
                        match set(&mut kv, &key, expected, &value) {
                            Ok(revision) => {
                                assert_eq!(expected, current, "seed {seed}");
                                wrote(revision, &mut last);
                            }
                            Err(revision) => assert!(revision == current && expected != current, "seed {seed}"),
                        }
                    }
                    _ => wrote(put(&mut kv, &key, &value), &mut last),
                }
                let (from, limit) = (chance.random_range(0..12).to_string(), chance.random_range(0..12));
                let to = chance.random_bool(0.7).then(|| chance.random_range(0..12).to_string());
                let is_in = |key: &String| *key >= from && to.as_ref().is_none_or(|to| key < to);
                let all: Vec<_> = last.keys().filter(|key| is_in(key)).collect();
                let (found, more) = keys(&mut kv, &from, to.as_deref(), limit);
                assert!(found.iter().eq(all.iter().copied().take(limit as usize)), "seed {seed}: {found:?}");
                assert_eq!(more, all.len() > limit as usize, "seed {seed}");
            }
        }
        assert!(Kv::import(&[7]).is_err());
    }
}
