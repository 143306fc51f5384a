//! What a replica writes to its log. All of it is needed to go on as the same voter after a restart.

use serde::{Deserialize, Serialize};

use crate::member::View;
use crate::value::Value;
use crate::{Ballot, ClusterId, GroupId, NodeId, Slot};

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
    /// First record of a replica: who it is, and the view that its log starts in.
    Start {
        /// The cluster.
        cluster: ClusterId,
        /// This replica.
        node: NodeId,
        /// The view before slot 1.
        genesis: View,
    },
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
    /// All slots up to this one are decided with the values last accepted or written for them.
    Decided(Slot),
}
