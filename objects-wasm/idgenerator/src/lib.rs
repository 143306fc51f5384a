//! Ids that nobody was given before.

use concoord::prelude::*;

/// A generator that gives each id once, from 1 on.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct IdGenerator {
    last: u64,
}

/// Why no id was given.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdGeneratorError {
    /// A block of no ids has no first one.
    #[error("a block has at least one id")]
    ZeroCount,
    /// There are fewer ids than were asked for.
    #[error("there are only {left} ids left")]
    OnlyLeft {
        /// How many there are.
        left: u64,
    },
}

#[concoord::methods]
impl IdGenerator {
    /// A new id.
    #[expect(clippy::should_implement_trait, reason = "callers of the object know it by this name")]
    pub fn next(&mut self) -> Result<u64, IdGeneratorError> {
        self.next_many(1)
    }

    /// The first of `count` new ids; the others follow it without a gap.
    pub fn next_many(&mut self, count: u64) -> Result<u64, IdGeneratorError> {
        if count == 0 {
            return Err(IdGeneratorError::ZeroCount);
        }
        let before = self.last;
        self.last = before.checked_add(count).ok_or(IdGeneratorError::OnlyLeft { left: u64::MAX - before })?;
        Ok(before + 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn ids_go_up_from_one() {
        let mut ids = IdGenerator::default();
        assert_eq!([ids.next(), ids.next(), ids.next_many(3), ids.next()], [Ok(1), Ok(2), Ok(3), Ok(6)]);
        assert_eq!((ids.next_many(0), ids.next()), (Err(IdGeneratorError::ZeroCount), Ok(7)));
    }

    #[test]
    fn the_last_id_is_given_once() {
        let mut ids = IdGenerator { last: u64::MAX - 3 };
        assert_eq!(ids.next_many(4), Err(IdGeneratorError::OnlyLeft { left: 3 }));
        assert_eq!(ids.next_many(u64::MAX), Err(IdGeneratorError::OnlyLeft { left: 3 }));
        assert_eq!([ids.next(), ids.next_many(2)], [Ok(u64::MAX - 2), Ok(u64::MAX - 1)]);
        assert_eq!(
            (ids.next(), ids.next_many(0)),
            (Err(IdGeneratorError::OnlyLeft { left: 0 }), Err(IdGeneratorError::ZeroCount))
        );
    }

    /// The model is the list of all blocks: none begins before the end of another, also where the state moved.
    #[test]
    fn no_id_is_given_twice() {
        for seed in 0..200 {
            let (mut chance, mut ids, mut end) = (StdRng::seed_from_u64(seed), IdGenerator::default(), 1);
            for _ in 0..200 {
                let count = if chance.random_bool(0.5) { 1 } else { chance.random_range(1..1 << 50) };
                let first = if count == 1 { ids.next() } else { ids.next_many(count) };
                assert_eq!(first, Ok(end), "seed {seed}");
                end += count;
                if chance.random_bool(0.1) {
                    ids = IdGenerator::import(&ids.export()).expect("its own export");
                }
            }
        }
        assert!(IdGenerator::import(&[]).is_err());
    }
}
