//! Newtype ids. Each orders, prints and encodes; none converts silently into another.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// Place of one decided value in the log; the first is 1, and 0 stands for "nothing yet".
    Slot(u64)
}
number! {
    /// Number of a membership: 1 for the first replica alone, one more with each decided change.
    ViewId(u64)
}
number! {
    /// Which of several independent logs a frame or record belongs to. Always 0 for now.
    GroupId(u32)
}
number! {
    /// An object of the cluster, numbered in the order of their loading from 1.
    ObjectId(u32)
}
number! {
    /// Microseconds since the Unix epoch as the cluster decided them: never falls, the same on every replica.
    Timestamp(u64)
}

impl Slot {
    /// Nothing decided yet.
    pub const ZERO: Slot = Slot(0);

    /// The slot after this one.
    #[must_use]
    pub fn next(self) -> Slot {
        Slot(self.0 + 1)
    }
}

impl ViewId {
    /// The view after this one.
    #[must_use]
    pub fn next(self) -> ViewId {
        ViewId(self.0 + 1)
    }
}

/// Identity of a replica: drawn at random with its data directory, and gone with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:x}", self.0)
    }
}

/// Identity of a cluster: drawn at random by its first replica. Two clusters never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// An id that is not written in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an id: expected hexadecimal digits")]
pub struct ParseIdError(pub String);

impl FromStr for NodeId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        u64::from_str_radix(text, 16).map(NodeId).map_err(|_| ParseIdError(text.into()))
    }
}

/// Number of an attempt to lead, ordered by view, then round, then leader (Paxos Made Moderately Complex, section 2).
///
/// The view comes first, so every ballot of a newer view is above all ballots of an older one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// The membership whose quorums this ballot counts.
    pub view: ViewId,
    /// Attempt within the view, from 1; 0 stands for "none yet".
    pub round: u64,
    /// Who leads in this ballot.
    pub leader: NodeId,
}

impl Ballot {
    /// Below every ballot that anyone leads in.
    pub const ZERO: Ballot = Ballot { view: ViewId(0), round: 0, leader: NodeId(0) };
}

impl Default for Ballot {
    fn default() -> Ballot {
        Ballot::ZERO
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{:?}", self.view, self.round, self.leader)
    }
}

impl fmt::Debug for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A client's session, named by the place in the log that opened it, so it is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// Slot of the batch that opened it.
    pub slot: Slot,
    /// Index of the command within that batch.
    pub index: u32,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.slot, self.index)
    }
}

/// A text is no [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session: one looks like 17-0")]
pub struct SessionIdError;

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<SessionId, SessionIdError> {
        let (slot, index) = text.split_once('-').ok_or(SessionIdError)?;
        match (slot.parse(), index.parse()) {
            (Ok(slot), Ok(index)) => Ok(SessionId { slot: Slot(slot), index }),
            _ => Err(SessionIdError),
        }
    }
}

/// One call of one session. A retry carries the same id, so the call is executed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// Who calls.
    pub session: SessionId,
    /// The caller's own number of the call, from 1.
    pub sequence: u64,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.session, self.sequence)
    }
}

/// Orders every effect for ever: the restore epoch in the top 16 bits, below it a replicated count that advances by
/// one for each applied input and for each effect it makes. Fencing tokens and event revisions are positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);

impl Position {
    /// Bits of the count.
    pub const COUNT_BITS: u32 = 48;

    /// The position after this one.
    ///
    /// # Panics
    /// When 2^48 positions of one epoch are used up: at a million effects a second, after 8 years.
    #[must_use]
    pub fn next(self) -> Position {
        let next = self.0 + 1;
        assert_eq!(next >> Self::COUNT_BITS, self.0 >> Self::COUNT_BITS, "the positions of this epoch are used up");
        Position(next)
    }

    /// How often the state was restored into a new cluster.
    #[must_use]
    pub fn epoch(self) -> u16 {
        (self.0 >> Self::COUNT_BITS) as u16
    }

    /// The first position of the next epoch, above all positions of this one. `None` when there are no more epochs.
    #[must_use]
    pub fn next_epoch(self) -> Option<Position> {
        let epoch = self.epoch().checked_add(1)?;
        Some(Position(u64::from(epoch) << Self::COUNT_BITS))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// SHA-256 of a module's bytes: what `sha256sum` says of its file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleHash(pub [u8; 32]);

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_order_by_view_then_round_then_leader() {
        let ballot = |view, round, leader| Ballot { view: ViewId(view), round, leader: NodeId(leader) };
        assert!(ballot(2, 1, 1) > ballot(1, 9, 9));
        assert!(ballot(1, 2, 1) > ballot(1, 1, 9));
        assert!(ballot(1, 1, 2) > ballot(1, 1, 1));
        assert!(ballot(1, 1, 0) > Ballot::ZERO);
    }

    #[test]
    fn a_new_epoch_is_above_everything_before() {
        let last = Position((1 << Position::COUNT_BITS) - 1);
        for before in [Position(0), Position(7), last] {
            let first = before.next_epoch().unwrap();
            assert_eq!((first.epoch(), before.epoch()), (1, 0));
            assert!(first > last && first.next() > first);
        }
        assert_eq!(Position(u64::MAX).next_epoch(), None);
    }

    #[test]
    fn node_ids_read_what_they_print() {
        let id = NodeId(0x00ab_cdef_0123_4567);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("zz".parse::<NodeId>().is_err());
    }
}
