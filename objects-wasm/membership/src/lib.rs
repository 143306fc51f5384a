//! Who belongs to a group.

use std::collections::BTreeSet;

use concoord::prelude::*;

/// A set of members that starts empty.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Membership {
    members: BTreeSet<String>,
}

/// Why nobody was removed.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// It is no member.
    #[error("it is no member")]
    NotAMember,
}

#[concoord::methods]
impl Membership {
    /// Makes `member` a member, and returns whether it was none before.
    pub fn add(&mut self, member: String) -> bool {
        self.members.insert(member)
    }

    /// Ends the membership of `member`.
    pub fn remove(&mut self, member: String) -> Result<(), MembershipError> {
        self.members.remove(&member).then_some(()).ok_or(MembershipError::NotAMember)
    }

    /// All members, in the order of their names.
    pub fn members(&self) -> BTreeSet<String> {
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
        let mut group = Membership::default();
        assert_eq!(["b", "a", "b"].map(|member| group.add(member.into())), [true, true, false]);
        assert_eq!(group.members().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(group.remove("c".into()), Err(MembershipError::NotAMember));
        assert_eq!(group.remove("b".into()), Ok(()));
        assert_eq!(group.remove("b".into()), Err(MembershipError::NotAMember));
        assert_eq!(group.members().into_iter().collect::<Vec<_>>(), ["a"]);
    }

    /// The model says of each of ten names whether it is in.
    #[test]
    fn any_calls_leave_who_was_added_last_and_not_removed() {
        for seed in 0..200 {
            let (mut chance, mut group, mut is_in) = (StdRng::seed_from_u64(seed), Membership::default(), [false; 10]);
            for _ in 0..200 {
                let at = chance.random_range(0..10);
                if chance.random_bool(0.5) {
                    assert_eq!(group.add(at.to_string()), !is_in[at], "seed {seed}");
                    is_in[at] = true;
                } else {
                    assert_eq!(group.remove(at.to_string()).is_ok(), is_in[at], "seed {seed}");
                    is_in[at] = false;
                }
                let expected: Vec<_> = (0..10).filter(|at| is_in[*at]).map(|at| at.to_string()).collect();
                assert_eq!(group.members().into_iter().collect::<Vec<_>>(), expected, "seed {seed}");
            }
            let moved = Membership::import(&group.export()).expect("its own export");
            assert_eq!(moved.members(), group.members(), "seed {seed}");
        }
        assert!(Membership::import(&[]).is_err());
    }
}
