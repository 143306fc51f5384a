//! First frame each way on every connection: versions are agreed, and two clusters refuse to mix.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, NodeId};

/// Oldest protocol version that this build speaks.
pub const PROTOCOL_MIN: u16 = 1;
/// Newest protocol version that this build speaks.
pub const PROTOCOL_MAX: u16 = 1;

/// Opens a connection. The ALPN says in which role: see [`alpn`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest and newest protocol version that the sender speaks.
    pub versions: (u16, u16),
    /// The cluster the sender belongs to, or has spoken with before.
    pub cluster: Option<ClusterId>,
    /// The replica that dials, with the address at which it is reached; `None` for clients.
    pub node: Option<(NodeId, SocketAddr)>,
    /// Drawn at random by each process: a replica that started again has another, and connections to its former life are
    /// of no use any more.
    pub life: u64,
}

/// Answers a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloReply {
    /// Come in.
    Welcome {
        /// The version to speak.
        version: u16,
        /// The cluster, once the replica is in one.
        cluster: Option<ClusterId>,
        /// The replica that answers.
        node: NodeId,
    },
    /// Go away.
    Refused(Refusal),
}

/// Why a connection was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The two sides share no protocol version.
    #[error("it speaks protocol versions {min} to {max}, this side {PROTOCOL_MIN} to {PROTOCOL_MAX}")]
    Version {
        /// Oldest version of the refusing side.
        min: u16,
        /// Newest version of the refusing side.
        max: u16,
    },
    /// The two sides belong to different clusters.
    #[error("it belongs to cluster {actual}, not to {expected}: two clusters never mix")]
    OtherCluster {
        /// The cluster of the side that dialed.
        expected: ClusterId,
        /// The cluster of the refusing side.
        actual: ClusterId,
    },
    /// Too many connections.
    #[error("it has {limit} connections already, try later")]
    Full {
        /// How many it takes.
        limit: u32,
    },
}

/// The version to speak with a side that sent `versions`, and whether the clusters fit.
///
/// # Errors
/// The [`Refusal`] to send back.
pub fn agree(hello: &Hello, ours: Option<ClusterId>) -> Result<u16, Refusal> {
    let (min, max) = hello.versions;
    let version = max.min(PROTOCOL_MAX);
    if version < min.max(PROTOCOL_MIN) {
        return Err(Refusal::Version { min: PROTOCOL_MIN, max: PROTOCOL_MAX });
    }
    match (hello.cluster, ours) {
        (Some(expected), Some(actual)) if expected != actual => Err(Refusal::OtherCluster { expected, actual }),
        _ => Ok(version),
    }
}

/// The TLS application protocol names: in which role a connection is opened.
pub mod alpn {
    /// Replica to replica: [`crate::peer`].
    pub const PEER: &[u8] = b"concoord-peer/1";
    /// Client to replica: [`crate::client`].
    pub const CLIENT: &[u8] = b"concoord-client/1";
    /// New replica to a member: [`crate::join`].
    pub const JOIN: &[u8] = b"concoord-join/1";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_and_versions_must_fit() {
        let hello = |versions, cluster| Hello { versions, cluster, node: None, life: 1 };
        let (a, b) = (ClusterId(1), ClusterId(2));
        assert_eq!(agree(&hello((1, 1), None), Some(a)), Ok(1));
        assert_eq!(agree(&hello((1, 9), Some(a)), Some(a)), Ok(1));
        assert_eq!(agree(&hello((2, 9), None), None), Err(Refusal::Version { min: 1, max: 1 }));
        assert_eq!(agree(&hello((1, 1), Some(a)), Some(b)), Err(Refusal::OtherCluster { expected: a, actual: b }));
    }
}
