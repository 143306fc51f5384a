//! Messages between replicas. Who sends each, when, and what it promises stands at the variant.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::check::Checked;
use crate::member::{Member, Services};
use crate::value::Value;
use crate::version::Versions;
use crate::{Ballot, NodeId, Slot};

/// A message of one replica to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Candidate to voters, phase 1a: promise to accept nothing below this ballot.
    Prepare {
        /// The ballot.
        ballot: Ballot,
        /// The candidate knows everything up to here as decided; a voter of the ballot's view must know the slot that
        /// made the view, and answers only when it does.
        decided: Slot,
    },
    /// Voter to candidate, phase 1b; sent when the promise is durable.
    Promise {
        /// The ballot promised.
        ballot: Ballot,
        /// What this voter knows as decided; the candidate catches up to the highest before it leads.
        decided: Slot,
        /// Everything accepted above `decided`, highest ballot per slot.
        accepted: Vec<AcceptedValue>,
        /// Slots, first and last, of which this voter's disk lost what it had accepted: for these it does not count.
        unknown: Vec<(Slot, Slot)>,
    },
    /// Leader to voters and learners, phase 2a.
    Accept {
        /// The leader's ballot.
        ballot: Ballot,
        /// Where.
        slot: Slot,
        /// What.
        value: Value,
        /// Slots up to here are decided. It covers only what the receiver accepted in this very ballot.
        decided: Slot,
    },
    /// Voter to leader, phase 2b; sent when the acceptance is durable.
    Accepted {
        /// The ballot in which it was accepted.
        ballot: Ballot,
        /// Where.
        slot: Slot,
    },
    /// Voter to a candidate or leader whose ballot is too low.
    Reject {
        /// What the voter has promised.
        promised: Ballot,
        /// What it knows as decided, so that a sender in an older view catches up.
        decided: Slot,
    },
    /// Everyone to everyone in the view, several times per election timeout.
    Heartbeat(Heartbeat),
    /// Answer to a heartbeat: the round trip that quorum-connectedness and reads count.
    HeartbeatReply {
        /// The round of the heartbeat, echoed.
        round: u64,
        /// The ballot of the heartbeat, echoed: an acknowledgement counts for a read only in the leader's own ballot,
        /// and is withheld once a higher one is promised.
        ballot: Option<Ballot>,
        /// What the answering replica knows as decided.
        decided: Slot,
        /// Up to where its application has applied that: a learner votes once this has caught up too.
        applied: Slot,
        /// What the answering replica offers since it was started last.
        services: Services,
        /// The versions that it applies since then.
        supports: Versions,
    },
    /// A replica that lags asks for decided values, starting here.
    Fetch {
        /// First slot wanted.
        from: Slot,
    },
    /// Decided values, in order and without gap.
    Entries {
        /// Slot of the first value.
        first: Slot,
        /// The values.
        values: Vec<Value>,
        /// What the sender knows as decided, so that the receiver knows whether to ask on.
        decided: Slot,
    },
    /// Follower to leader: which slot must be applied for reads that arrived before this?
    ReadIndex {
        /// The follower's own number for this batch of reads.
        request: u64,
    },
    /// Leader to follower, after a quorum confirmed its leadership.
    ReadIndexReply {
        /// As asked.
        request: u64,
        /// Apply up to here, then answer; `None` when the asked replica does not lead.
        index: Option<Slot>,
    },
    /// Member to any: is there a snapshot of a slot above this one? Witnesses take theirs from others, and so does a replica
    /// whose applied state differs.
    AskSnapshot {
        /// What the sender has already, or can't use.
        above: Slot,
        /// Whether one is to be made where there is none.
        make: bool,
    },
    /// Answer to a [`Message::Fetch`] from below the log, and to [`Message::AskSnapshot`]: this snapshot can be fetched.
    SnapshotAt {
        /// The slot whose state it holds.
        slot: Slot,
        /// Bytes of the whole.
        bytes: u64,
    },
    /// To whoever offered a snapshot: the bytes from here on.
    FetchSnapshot {
        /// Which.
        slot: Slot,
        /// From which byte on.
        offset: u64,
    },
    /// A piece of a snapshot.
    SnapshotChunk {
        /// Which.
        slot: Slot,
        /// Bytes of the whole.
        total: u64,
        /// Where the piece belongs.
        offset: u64,
        /// CRC-32C of the piece.
        checksum: u32,
        /// The piece.
        data: Bytes,
    },
    /// Leader to its successor: campaign now, the leader is going.
    HandOver,
    /// Member to leader, repeated until decided: take me out of the view, I am stopping.
    Leave,
    /// A replica that left the view, or was evicted, to those that it knows as members: take me in again.
    Return {
        /// As it wants to be listed; it is who sends.
        member: Member,
    },
}

impl Message {
    /// The ballot that the message is about, where it has one.
    #[must_use]
    pub fn ballot(&self) -> Option<Ballot> {
        match self {
            Message::Prepare { ballot, .. }
            | Message::Promise { ballot, .. }
            | Message::Accept { ballot, .. }
            | Message::Accepted { ballot, .. }
            | Message::Reject { promised: ballot, .. } => Some(*ballot),
            Message::Heartbeat(heartbeat) => heartbeat.leading,
            Message::HeartbeatReply { ballot, .. } => *ballot,
            Message::Fetch { .. }
            | Message::Entries { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. }
            | Message::AskSnapshot { .. }
            | Message::SnapshotAt { .. }
            | Message::FetchSnapshot { .. }
            | Message::SnapshotChunk { .. }
            | Message::HandOver
            | Message::Leave
            | Message::Return { .. } => None,
        }
    }
}

/// A value that a voter accepted and does not know as decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedValue {
    /// Where.
    pub slot: Slot,
    /// In which ballot.
    pub ballot: Ballot,
    /// What.
    pub value: Value,
}

/// What a replica tells all others several times per election timeout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender's own number of this heartbeat.
    pub round: u64,
    /// The ballot in which the sender leads; `None` when it does not.
    pub leading: Option<Ballot>,
    /// The ballot whose leader the sender hears directly; `None` when it hears none.
    pub hears: Option<Ballot>,
    /// Whether the sender has round trips with a majority of its view.
    pub connected: bool,
    /// The first slot that the sender proposed by itself in `leading`; 0 when it does not lead.
    pub first: Slot,
    /// What the sender knows as decided. From the leader, it covers what the receiver accepted in `leading`.
    pub decided: Slot,
    /// Whether the sender's disk is full: it hears all, and accepts nothing.
    pub full: bool,
    /// What the sender has found of applied states; `None` in the rounds that go out between two ticks for reads.
    pub checked: Option<Checked>,
}

/// Envelope on the wire: who sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFrame {
    /// The sender; must be the node of the connection's hello.
    pub from: NodeId,
    /// To whom: a node that took over an address does not take messages meant for its predecessor.
    pub to: NodeId,
    /// What it says.
    pub message: Message,
}
