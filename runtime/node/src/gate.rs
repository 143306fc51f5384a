//! Who comes in: one task per connection, which reads frames in bursts and hands them to the driver.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use concoord_transport::{AcceptError, Endpoint, Handshake, Inbox, Incoming, ReceiveError, Role};
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN, Refusal};
use concoord_wire::peer::PeerFrame;
use concoord_wire::{ClusterId, NodeId};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use crate::counters::Counters;
use crate::error::Stranger;
use crate::events::{PeerEvent, Senders};
use crate::limits::{CLIENT_QUEUE_BYTES_MAX, CLIENTS_MAX, JOINS_MAX, PEER_CONNECTIONS_MAX, READ_BURST_FRAMES_MAX};
use crate::{client_reader, join};

/// What every connection of this replica needs to know.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) endpoint: Endpoint,
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    /// Of this process, as its hellos say.
    life: u64,
    pub(crate) senders: Senders,
    pub(crate) counters: Arc<Counters>,
    /// Room in the queue of client requests, in bytes.
    pub(crate) client_bytes: Arc<Semaphore>,
    pub(crate) client_tokens: AtomicU64,
    cluster: OnceLock<ClusterId>,
    places: Places,
}

/// How many more connections may come in, by role.
#[derive(Debug)]
struct Places {
    peers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    joins: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(
        endpoint: Endpoint,
        node: NodeId,
        address: SocketAddr,
        senders: Senders,
        counters: Arc<Counters>,
    ) -> Gate {
        let places = Places {
            peers: Arc::new(Semaphore::new(PEER_CONNECTIONS_MAX)),
            clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
            joins: Arc::new(Semaphore::new(JOINS_MAX)),
        };
        Gate {
            endpoint,
            node,
            address,
            life: rand::random(),
            senders,
            counters,
            client_bytes: Arc::new(Semaphore::new(CLIENT_QUEUE_BYTES_MAX)),
            client_tokens: AtomicU64::new(1),
            cluster: OnceLock::new(),
            places,
        }
    }

    /// The replica is in a cluster, and the driver serves.
    pub(crate) fn open(&self, cluster: ClusterId) {
        assert_eq!(*self.cluster.get_or_init(|| cluster), cluster, "a replica is in one cluster only");
    }

    /// The cluster, once the driver serves.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.cluster.get().copied()
    }

    /// What this replica says when it dials.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            versions: (PROTOCOL_MIN, PROTOCOL_MAX),
            cluster: self.cluster(),
            node: Some((self.node, self.address)),
            life: self.life,
        }
    }

    pub(crate) fn next_client(&self) -> u64 {
        self.client_tokens.fetch_add(1, Ordering::Relaxed)
    }

    /// Room for one more connection in `role`, or what to tell it.
    fn place(&self, role: Role) -> Result<OwnedSemaphorePermit, Refusal> {
        let (places, limit) = match role {
            Role::Peer => (&self.places.peers, PEER_CONNECTIONS_MAX),
            Role::Client => (&self.places.clients, CLIENTS_MAX),
            Role::Join => (&self.places.joins, JOINS_MAX),
        };
        let limit = u32::try_from(limit).expect("the limits are small constants");
        Arc::clone(places).try_acquire_owned().map_err(|_| Refusal::Full { limit })
    }

    /// Counts a connection that broke framing, once.
    pub(crate) fn on_receive_error(&self, who: &str, from: SocketAddr, error: &ReceiveError) {
        if error.is_garbage() {
            self.counters.garbage_connections.add(1);
        }
        tracing::debug!(%from, "{who} connection ended: {error}");
    }
}

/// The task that lets connections in; they all end with it.
#[derive(Debug)]
pub(crate) struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts to let connections in.
pub(crate) fn accept(gate: Arc<Gate>) -> Accepting {
    Accepting(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Some(handshake) = gate.endpoint.accept().await {
            connections.spawn(serve(Arc::clone(&gate), handshake));
            while connections.try_join_next().is_some() {}
        }
    }))
}

async fn serve(gate: Arc<Gate>, handshake: Handshake) {
    let from = handshake.remote_address();
    if let Err(error) = let_in(&gate, handshake).await {
        match error {
            AcceptError::Malformed(_) => gate.counters.garbage_connections.add(1),
            _ => gate.counters.refused_connections.add(1),
        }
        tracing::debug!(%from, "not let in: {error}");
    }
}

async fn let_in(gate: &Arc<Gate>, handshake: Handshake) -> Result<(), AcceptError> {
    let incoming = handshake.finish().await?;
    let _place = match gate.place(incoming.role()) {
        Ok(place) => place,
        Err(refusal) => {
            incoming.refuse(refusal.clone()).await;
            return Err(AcceptError::Refused(refusal));
        }
    };
    match incoming.role() {
        Role::Peer => read_peer(gate, incoming).await,
        Role::Client => client_reader::read_client(gate, incoming).await,
        Role::Join => join::answer_joiner(gate, incoming).await,
    }
}

/// Reads what one peer says. Nothing is said back on this connection.
async fn read_peer(gate: &Gate, incoming: Incoming) -> Result<(), AcceptError> {
    let Some((node, address)) = incoming.hello().node.filter(|(node, _)| *node != gate.node) else {
        let why = "a peer's hello without another replica's id".to_owned();
        return Err(AcceptError::Lost { reason: why });
    };
    tell_of_stranger(gate, &incoming, Stranger::Replica(address)).await;
    let life = incoming.hello().life;
    let connection = incoming.welcome(gate.cluster(), gate.node).await?;
    if gate.cluster().is_some() {
        // The driver is gone only when the process ends.
        let _ = gate.senders.peers.send(PeerEvent::Heard { node, address, life }).await;
    }
    // Kept, because its end would tell the peer that the connection ends.
    let (_outbox, mut inbox) = connection.split();
    let mut frames = Vec::new();
    loop {
        match read_burst::<PeerFrame>(&mut inbox, &mut frames).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                gate.on_receive_error("a peer's", address, &error);
                return Ok(());
            }
        }
        let arrived = frames.len();
        let serving = gate.cluster().is_some();
        let ours = frames.drain(..).filter(|frame| serving && frame.from == node && frame.to == gate.node);
        let messages = ours.map(|frame| frame.message).collect::<Vec<_>>();
        gate.counters.peer_frames_foreign.add(arrived - messages.len());
        if !messages.is_empty() && gate.senders.peers.send(PeerEvent::Frames { from: node, messages }).await.is_err() {
            return Ok(());
        }
    }
}

/// Tells the driver of whoever takes this one for a member of another cluster.
pub(crate) async fn tell_of_stranger(gate: &Gate, incoming: &Incoming, who: Stranger) {
    if let (Some(theirs), Some(ours)) = (incoming.hello().cluster, gate.cluster())
        && theirs != ours
    {
        // The driver is gone only when the process ends.
        let _ = gate.senders.peers.send(PeerEvent::Stranger { cluster: theirs, who }).await;
    }
}

/// Waits for frames and takes all that have arrived, within reason. Whether there were any before the end.
pub(crate) async fn read_burst<T: DeserializeOwned>(
    inbox: &mut Inbox,
    frames: &mut Vec<T>,
) -> Result<bool, ReceiveError> {
    let Some(first) = inbox.next().await? else {
        return Ok(false);
    };
    frames.push(first);
    while frames.len() < READ_BURST_FRAMES_MAX {
        match inbox.try_next()? {
            Some(frame) => frames.push(frame),
            None => break,
        }
    }
    Ok(true)
}
