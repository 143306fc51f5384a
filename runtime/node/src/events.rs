//! What connections tell the driver. Peers and clients have queues of their own, so that however many clients there
//! are, no heartbeat waits behind them.

use std::net::SocketAddr;

use concoord_consensus::io::ClientToken;
use concoord_transport::{Connection, DialError, Outbox};
use concoord_wire::client::Request;
use concoord_wire::join::JoinReply;
use concoord_wire::member::Member;
use concoord_wire::peer::Message;
use concoord_wire::{ClusterId, NodeId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::Stranger;
use crate::limits::{CLIENT_QUEUE_BURSTS_MAX, PEER_QUEUE_BURSTS_MAX};

/// From connections between replicas.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// A reader: frames as they arrived, checked to come from `from` and to be meant for this replica.
    Frames { from: NodeId, messages: Vec<Message> },
    /// A reader: a node said where it is reached, and in which of its lives it is.
    Heard { node: NodeId, address: SocketAddr, life: u64 },
    /// A reader: a replica or a client of another cluster dialed this one, and was refused.
    Stranger { cluster: ClusterId, who: Stranger },
    /// A dial, wanted by the driver, has ended.
    Dialed { node: NodeId, attempt: Attempt, result: Result<Connection, DialError> },
    /// A connection dialed for the driver has ended.
    Lost { node: NodeId, attempt: Attempt },
    /// A join request, dialed back.
    Join { member: Member, reached: Result<(), String>, reply: oneshot::Sender<JoinReply> },
}

/// Number of a dial, so that what is heard of an earlier one is not taken for the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt(pub(crate) u64);

/// From connections of clients.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// First event of a client.
    Opened { client: ClientToken, outbox: Outbox },
    /// Requests as they arrived, and the room in the queue that they hold.
    Requests { client: ClientToken, requests: Vec<Request>, _room: OwnedSemaphorePermit },
    /// Last event of a client.
    Gone { client: ClientToken },
}

/// The sending ends.
#[derive(Clone, Debug)]
pub(crate) struct Senders {
    pub(crate) peers: mpsc::Sender<PeerEvent>,
    pub(crate) clients: mpsc::Sender<ClientEvent>,
}

/// The receiving ends.
#[derive(Debug)]
pub(crate) struct Receivers {
    pub(crate) peers: mpsc::Receiver<PeerEvent>,
    pub(crate) clients: mpsc::Receiver<ClientEvent>,
}

pub(crate) fn queues() -> (Senders, Receivers) {
    let (peers, from_peers) = mpsc::channel(PEER_QUEUE_BURSTS_MAX);
    let (clients, from_clients) = mpsc::channel(CLIENT_QUEUE_BURSTS_MAX);
    (Senders { peers, clients }, Receivers { peers: from_peers, clients: from_clients })
}
