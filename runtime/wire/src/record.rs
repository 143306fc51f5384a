//! What a replica writes to its log. All of it above its newest snapshot is needed to go on as the same voter after a
//! restart; who it is and where its log begins stand in files of their own.

use serde::{Deserialize, Serialize};

use crate::value::Value;
use crate::{Ballot, GroupId, Slot};

/// One record of the log, with the group it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Which log.
    pub group: GroupId,
    /// What happened.
    pub record: Record,
}

/// What must not be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// No ballot below this one is accepted any more.
    Promised(Ballot),
    /// A value was accepted.
    Accepted {
        /// Its slot.
        slot: Slot,
        /// In which ballot.
        ballot: Ballot,
        /// The value.
        value: Value,
    },
    /// All slots up to this one are decided with the values last accepted or written for them, unless [`Record::Void`] says
    /// otherwise.
    Decided(Slot),
    /// A snapshot took the place of slots that were not known as decided: what was accepted in them need not be what was
    /// decided. It matters to who can't read that snapshot any more.
    Void {
        /// The first of them.
        first: Slot,
        /// The last of them, which is the snapshot's.
        last: Slot,
    },
}
