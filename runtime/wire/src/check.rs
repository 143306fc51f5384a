//! What replicas tell one another of the state that they have applied, so that one that differs is found.

use serde::{Deserialize, Serialize};

use crate::{Slot, ViewId};

/// What one replica had applied after a slot, in two numbers: the same on all replicas that agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Check {
    /// The slot.
    pub slot: Slot,
    /// Over what every command up to the slot came to, in order.
    pub replies: u64,
    /// Over the state behind the slot: the objects, decided time and positions.
    pub state: u64,
}

impl Check {
    /// In which of its parts it differs from another one of the same slot, in words.
    #[must_use]
    pub fn difference(&self, other: &Check) -> &'static str {
        match (self.replies != other.replies, self.state != other.state) {
            (true, true) => "replies and state",
            (true, false) => "replies",
            (false, true) => "state",
            (false, false) => "nothing",
        }
    }
}

/// What a voter says of checks to all members, with its heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The view of which `agreed` is said.
    pub view: ViewId,
    /// The slot of the snapshot that its state goes on from: what it said of slots up to here is void.
    pub above: Slot,
    /// Its own newest checks, oldest first; none while it differs.
    pub own: Vec<Check>,
    /// The newest check in which it is one of a majority of those voters that run objects.
    pub agreed: Option<Check>,
    /// Where it was found to differ from a majority, until it has the state of that majority.
    pub differs: Option<Slot>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_parts_that_differ() {
        let check = |replies, state| Check { slot: Slot(1), replies, state };
        assert_eq!(check(1, 1).difference(&check(2, 3)), "replies and state");
        assert_eq!(check(1, 1).difference(&check(2, 1)), "replies");
        assert_eq!(check(1, 1).difference(&check(1, 2)), "state");
        assert_eq!(check(1, 1).difference(&check(1, 1)), "nothing");
    }
}
