//! Majorities.

/// How many of `voters` make a majority: any two majorities share a voter.
#[must_use]
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The highest number that a majority of voters has reached, given what each has reached.
///
/// `None` when there are no voters.
#[must_use]
pub fn reached_by_majority<T: Ord + Copy>(mut reached: Vec<T>) -> Option<T> {
    reached.sort_unstable_by(|a, b| b.cmp(a));
    reached.get(majority(reached.len()) - 1).copied()
}

/// What voters that should all say the same have said, for one who says something as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// A majority says the same as he.
    Agrees,
    /// A majority says this, and he something else.
    Differs(T),
    /// Some differ, and no majority can say the same any more.
    Tie,
    /// Some differ, and those who have not spoken yet settle it.
    Doubt,
    /// Nobody differs, and no majority has spoken.
    Open,
}

/// Judges `own` by what each voter has said: `None` for nothing yet.
#[must_use]
pub fn verdict<T: PartialEq + Copy>(own: T, said: &[Option<T>]) -> Verdict<T> {
    let count = |what: T| said.iter().flatten().filter(|other| **other == what).count();
    let needed = majority(said.len());
    if count(own) >= needed {
        return Verdict::Agrees;
    }
    let spoken = || said.iter().flatten().copied();
    if let Some(what) = spoken().find(|what| count(*what) >= needed) {
        return Verdict::Differs(what);
    }
    let missing = said.len() - spoken().count();
    let most = spoken().map(count).max().unwrap_or(0);
    match spoken().all(|what| what == own) {
        true => Verdict::Open,
        false if most + missing < needed => Verdict::Tie,
        false => Verdict::Doubt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_of_one_differs_and_all_others_agree() {
        let said = [Some('a'), Some('b'), Some('b')];
        assert_eq!(verdict('a', &said), Verdict::Differs('b'));
        assert_eq!(verdict('b', &said), Verdict::Agrees);
        assert_eq!(verdict('a', &[Some('b'), Some('b')]), Verdict::Differs('b'), "one that does not vote");
    }

    #[test]
    fn who_has_not_spoken_may_settle_a_difference_while_it_can_be() {
        assert_eq!(verdict('a', &[Some('a'), Some('b'), None]), Verdict::Doubt);
        assert_eq!(verdict('a', &[Some('a'), None, None]), Verdict::Open);
        assert_eq!(verdict('a', &[Some('a'), Some('b'), Some('c'), Some('d'), None]), Verdict::Tie);
        assert_eq!(verdict('a', &[Some('a'), Some('a'), Some('b'), Some('b'), None]), Verdict::Doubt);
    }

    #[test]
    fn without_a_majority_it_is_a_tie_and_alone_all_agree() {
        assert_eq!(verdict('a', &[Some('a'), Some('b')]), Verdict::Tie);
        assert_eq!(verdict('a', &[Some('a'), Some('b'), Some('c')]), Verdict::Tie);
        assert_eq!(verdict('a', &[Some('a'), Some('a'), Some('b'), Some('b')]), Verdict::Tie);
        assert_eq!(verdict('a', &[Some('a')]), Verdict::Agrees);
    }

    #[test]
    fn two_majorities_always_share_a_voter() {
        for voters in 1..=32 {
            assert!(2 * majority(voters) > voters, "{voters}");
            assert!(majority(voters) <= voters, "{voters}");
        }
    }

    #[test]
    fn the_middle_of_three_is_reached_by_two() {
        assert_eq!(reached_by_majority(vec![7, 3, 5]), Some(5));
        assert_eq!(reached_by_majority(vec![7, 3]), Some(3));
        assert_eq!(reached_by_majority(vec![7, 1, 3, 5]), Some(3));
        assert_eq!(reached_by_majority::<u8>(vec![]), None);
    }
}
