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

#[cfg(test)]
mod tests {
    use super::*;

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
