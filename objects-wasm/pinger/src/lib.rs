//! Whom to ping. An object has no network: programs read the list here, and do it.

use std::collections::BTreeSet;

use concoord::prelude::*;

/// A list of whom to ping that starts empty.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pinger {
    members: BTreeSet<String>,
}

/// Why nobody was removed.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PingerError {
    /// It is not on the list.
    #[error("it is not on the list")]
    NotAMember,
}

#[concoord::methods]
impl Pinger {
    /// Puts `member` on the list, and returns whether it was not there before.
    pub fn add(&mut self, member: String) -> bool {
        self.members.insert(member)
    }

    /// Takes `member` off the list.
    pub fn remove(&mut self, member: String) -> Result<(), PingerError> {
        self.members.remove(&member).then_some(()).ok_or(PingerError::NotAMember)
    }

    /// All that are on the list, in the order of their names.
    pub fn get_members(&self) -> BTreeSet<String> {
        self.members.clone()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn members_come_once_and_go() {
        let mut pinger = Pinger::default();
        assert_eq!(["b:1", "a:1", "b:1"].map(|member| pinger.add(member.into())), [true, true, false]);
        assert_eq!(pinger.get_members().into_iter().collect::<Vec<_>>(), ["a:1", "b:1"]);
        assert_eq!(pinger.remove("c:1".into()), Err(PingerError::NotAMember));
        assert_eq!(pinger.remove("b:1".into()), Ok(()));
        assert_eq!(pinger.get_members().into_iter().collect::<Vec<_>>(), ["a:1"]);
    }

    /// The model says of each of ten names whether it is in.
    #[test]
    fn any_calls_leave_who_was_added_last_and_not_removed() {
        for seed in 0..200 {
            let (mut chance, mut pinger, mut is_in) = (StdRng::seed_from_u64(seed), Pinger::default(), [false; 10]);
            for _ in 0..200 {
                let at = chance.random_range(0..10);
                if chance.random_bool(0.5) {
                    assert_eq!(pinger.add(at.to_string()), !is_in[at], "seed {seed}");
                    is_in[at] = true;
                } else {
                    assert_eq!(pinger.remove(at.to_string()).is_ok(), is_in[at], "seed {seed}");
                    is_in[at] = false;
                }
                let expected: Vec<_> = (0..10).filter(|at| is_in[*at]).map(|at| at.to_string()).collect();
                assert_eq!(pinger.get_members().into_iter().collect::<Vec<_>>(), expected, "seed {seed}");
            }
            let moved = Pinger::import(&pinger.export()).expect("its own export");
            assert_eq!(moved.get_members(), pinger.get_members(), "seed {seed}");
        }
        assert!(Pinger::import(&[]).is_err());
    }
}
