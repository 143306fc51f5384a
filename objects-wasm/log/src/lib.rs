//! A log: entries in the order in which they came.

use concoord::prelude::*;

/// A log of strings that starts empty.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Log {
    entries: Vec<String>,
}

#[concoord::methods]
impl Log {
    /// Puts `entry` in the place of all that the log has.
    pub fn write(&mut self, entry: String) {
        self.entries = vec![entry];
    }

    /// Adds `entry` at the end.
    pub fn append(&mut self, entry: String) {
        self.entries.push(entry);
    }

    /// All entries, the oldest first.
    pub fn read(&self) -> Vec<String> {
        self.entries.clone()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn a_write_replaces_and_an_append_adds() {
        let mut log = Log::default();
        assert!(log.read().is_empty());
        log.append("a".into());
        log.append("two words".into());
        assert_eq!(log.read(), ["a", "two words"]);
        log.write("new".into());
        log.append(String::new());
        assert_eq!(log.read(), ["new", ""]);
    }

    #[test]
    fn any_calls_leave_the_last_write_and_the_appends_since() {
        for seed in 0..200 {
            let (mut chance, mut log, mut all) = (StdRng::seed_from_u64(seed), Log::default(), Vec::new());
            for number in 0..200 {
                let replaces = chance.random_bool(0.05);
                all.push((number.to_string(), replaces));
                if replaces {
                    log.write(number.to_string())
                } else {
                    log.append(number.to_string())
                }
                let since = all.iter().rposition(|(_, replaces)| *replaces).unwrap_or(0);
                let expected: Vec<_> = all[since..].iter().map(|(entry, _)| entry.clone()).collect();
                assert_eq!(log.read(), expected, "seed {seed}");
            }
            assert_eq!(Log::import(&log.export()).map(|moved| moved.read()), Ok(log.read()), "seed {seed}");
        }
        assert!(Log::import(&[]).is_err());
    }
}
