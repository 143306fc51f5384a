//! How a new replica enters a cluster: it asks any member, is sent on to the leader, and is dialed back.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::member::{Member, View};
use crate::version::{ClusterVersion, Versions};
use crate::{ClusterId, NodeId};

/// New replica to any member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// As it wants to be listed. Its standing is ignored: everybody starts as learner.
    pub member: Member,
}

/// Member to new replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinReply {
    /// Decided: you are a learner. Catch up, and you are promoted.
    Accepted(Welcome),
    /// Ask the leader.
    Redirect {
        /// Where it is.
        leader: SocketAddr,
    },
    /// Ask again soon.
    Retry(RetryReason),
    /// Not like this.
    Refused(JoinRefusal),
}

/// What a new replica needs to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The cluster.
    pub cluster: ClusterId,
    /// The view before slot 1: the log is read from there.
    pub genesis: View,
    /// The members now, to fetch from.
    pub members: Vec<(NodeId, SocketAddr)>,
}

/// Why to ask again soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RetryReason {
    /// Nobody leads at the moment.
    #[error("no leader is known at the moment")]
    NoLeader,
    /// Another view change is under way.
    #[error("another view change is under way")]
    Busy,
    /// Another member has this address, and was heard lately.
    #[error("member {holder} has the address {address} and is not silent yet")]
    AddressTaken {
        /// Who has it.
        holder: NodeId,
        /// The address.
        address: SocketAddr,
    },
}

/// Why a new replica can't join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    /// The leader dialed the given address and did not find the new replica there.
    #[error("the leader can't reach a replica with your id at {address}: {why}")]
    Unreachable {
        /// The address given.
        address: SocketAddr,
        /// What happened.
        why: String,
    },
    /// An operator took it out.
    #[error("an operator took {member} out of the cluster for good; start with an empty data directory to join anew")]
    Expelled {
        /// Who asks.
        member: NodeId,
    },
    /// A voter of this kind would not leave the others a majority.
    #[error("{kind} voters must stay a minority, and this cluster can't take another one now")]
    Minority {
        /// `volatile` or `witness`.
        kind: String,
    },
    /// It could not apply what is decided.
    #[error("the cluster runs version {cluster}, and your build applies {supports}: {}", if .supports.last < *.cluster {
        "upgrade it"
    } else {
        "it is too new, upgrade the cluster first"
    })]
    Version {
        /// What the cluster applies, or is about to.
        cluster: ClusterVersion,
        /// What the asking replica applies.
        supports: Versions,
    },
    /// The view is full.
    #[error("the cluster has {limit} members already, which is the most")]
    Full {
        /// How many it takes.
        limit: u32,
    },
}
