//! Connections to peers: one to each, dialed when there is something to say. What a peer says comes in on a connection
//! that it dialed itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use concoord_transport::{Connection, DialError, Inbox, Outbox, Role};
use concoord_wire::NodeId;
use concoord_wire::member::Roster;
use concoord_wire::peer::{Message, PeerFrame};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::events::{Attempt, PeerEvent};
use crate::gate::Gate;
use crate::limits::{
    DIAL_QUEUE_MESSAGES_MAX, HEARD_ADDRESSES_MAX, PEER_BACKOFF_MAX, PEER_BACKOFF_MIN, PEER_DIAL_WAIT_MAX,
    PEER_GOOD_AFTER,
};

/// The driver's way to its peers.
pub(crate) struct Links {
    gate: Arc<Gate>,
    links: BTreeMap<NodeId, Link>,
    /// Nodes with a link that are not in the roster, the one heard of longest ago first.
    outsiders: VecDeque<NodeId>,
    attempts: u64,
    random: StdRng,
}

struct Link {
    address: SocketAddr,
    /// Of the process that dialed us last.
    life: Option<u64>,
    backoff: Duration,
    state: State,
}

enum State {
    /// Dialed at the next message, from then on.
    Idle {
        from: Instant,
    },
    /// On its way, with what was to be said meanwhile.
    Dialing {
        attempt: Attempt,
        waiting: VecDeque<Message>,
        _task: Task,
    },
    Connected {
        attempt: Attempt,
        since: Instant,
        outbox: Outbox,
        _watcher: Task,
    },
    /// Another node answers at its address. Nothing is sent until the roster changes.
    Taken,
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Links {
    pub(crate) fn new(gate: Arc<Gate>) -> Links {
        Links { gate, links: BTreeMap::new(), outsiders: VecDeque::new(), attempts: 0, random: rand::make_rng() }
    }

    /// Notes where a node says that it is reached, unless the roster says where.
    pub(crate) fn on_heard(&mut self, node: NodeId, address: SocketAddr) {
        if node == self.gate.node || self.links.contains_key(&node) && !self.outsiders.contains(&node) {
            return;
        }
        self.outsiders.retain(|outsider| *outsider != node);
        self.outsiders.push_back(node);
        self.place(node, address);
        self.forget_oldest_outsiders();
    }

    /// A process of a node dialed us: a connection to an earlier one leads nowhere, though nobody said so.
    pub(crate) fn on_life(&mut self, node: NodeId, life: u64) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let started_again = link.life.replace(life).is_some_and(|before| before != life);
        let is_there_after_all = matches!(link.state, State::Taken);
        if (started_again || is_there_after_all) && !matches!(link.state, State::Dialing { .. }) {
            tracing::debug!(peer = %node, address = %link.address, "started again");
            link.backoff = PEER_BACKOFF_MIN;
            link.state = State::Idle { from: Instant::now() };
        }
    }

    /// Takes over the addresses of a roster. Who left it may still be told so, until other outsiders crowd it out.
    pub(crate) fn on_roster(&mut self, roster: &Roster) {
        let members = || roster.members.iter().filter(|member| member.id != self.gate.node);
        let left = self.links.keys().filter(|node| members().all(|member| member.id != **node)).copied();
        let left = left.filter(|node| !self.outsiders.contains(node)).collect::<Vec<_>>();
        for node in &left {
            // What was to be said to it as a member: started again, it would take itself for one.
            if let Some(Link { state: State::Dialing { waiting, .. }, .. }) = self.links.get_mut(node) {
                self.gate.counters.peer_messages_dropped.add(waiting.len());
                waiting.clear();
            }
        }
        self.outsiders.retain(|node| members().all(|member| member.id != *node));
        self.outsiders.extend(left);
        let addresses = members().map(|member| (member.id, member.address)).collect::<Vec<_>>();
        for (node, address) in addresses {
            self.place(node, address);
        }
        self.forget_oldest_outsiders();
        for link in self.links.values_mut() {
            if matches!(link.state, State::Taken) {
                link.state = State::Idle { from: Instant::now() };
            }
        }
    }

    /// Says something to a node: on its connection if there is one, else on the one that is dialed now. It may be
    /// dropped, and it may wait for as long as `patience` for others that go with it.
    pub(crate) fn send(&mut self, to: NodeId, message: Message, patience: Duration) {
        let counters = &self.gate.counters;
        let Some(link) = self.links.get_mut(&to) else {
            counters.peer_messages_dropped.add(1);
            return;
        };
        match &mut link.state {
            State::Connected { outbox, .. } => push(&self.gate, outbox, to, message, patience),
            State::Dialing { waiting, .. } => {
                if waiting.len() == DIAL_QUEUE_MESSAGES_MAX {
                    waiting.pop_front();
                    counters.peer_messages_dropped.add(1);
                }
                waiting.push_back(message);
            }
            State::Idle { from } if *from <= Instant::now() => {
                self.attempts += 1;
                let attempt = Attempt(self.attempts);
                counters.peer_dials.add(1);
                let task = Task(tokio::spawn(dial(Arc::clone(&self.gate), to, link.address, attempt)));
                link.state = State::Dialing { attempt, waiting: VecDeque::from([message]), _task: task };
            }
            State::Idle { .. } | State::Taken => counters.peer_messages_dropped.add(1),
        }
    }

    /// A dial has ended.
    pub(crate) fn on_dialed(&mut self, node: NodeId, attempt: Attempt, result: Result<Connection, DialError>) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let State::Dialing { attempt: present, waiting, .. } = &mut link.state else { return };
        if *present != attempt {
            return;
        }
        let waiting = std::mem::take(waiting);
        match result {
            Ok(connection) if connection.remote().node == Some(node) => {
                tracing::debug!(peer = %node, address = %link.address, "connected");
                let (outbox, inbox) = connection.split();
                let watcher = Task(tokio::spawn(watch(Arc::clone(&self.gate), node, link.address, attempt, inbox)));
                for message in waiting {
                    push(&self.gate, &outbox, node, message, Duration::ZERO);
                }
                link.state = State::Connected { attempt, since: Instant::now(), outbox, _watcher: watcher };
            }
            Ok(connection) => {
                let other = connection.remote().node;
                tracing::debug!(peer = %node, address = %link.address, ?other, "another node answers at its address");
                connection.close("another node is expected at this address");
                self.gate.counters.peer_dials_failed.add(1);
                self.gate.counters.peer_messages_dropped.add(waiting.len());
                link.state = State::Taken;
            }
            Err(error) => {
                tracing::debug!(peer = %node, address = %link.address, "can't be dialed: {error}");
                self.gate.counters.peer_dials_failed.add(1);
                self.gate.counters.peer_messages_dropped.add(waiting.len());
                link.pause(&mut self.random);
            }
        }
    }

    /// A connection has ended.
    pub(crate) fn on_lost(&mut self, node: NodeId, attempt: Attempt) {
        let Some(link) = self.links.get_mut(&node) else { return };
        if let State::Connected { attempt: present, since, .. } = &link.state
            && *present == attempt
        {
            tracing::debug!(peer = %node, address = %link.address, "connection lost");
            if since.elapsed() >= PEER_GOOD_AFTER {
                link.backoff = PEER_BACKOFF_MIN;
            }
            link.pause(&mut self.random);
        }
    }

    /// The open connections, for last words.
    pub(crate) fn into_outboxes(self) -> Vec<Outbox> {
        let connected = self.links.into_values().filter_map(|link| match link.state {
            State::Connected { outbox, .. } => Some(outbox),
            State::Idle { .. } | State::Dialing { .. } | State::Taken => None,
        });
        connected.collect()
    }

    /// Makes sure that there is a link to `node` at `address`.
    fn place(&mut self, node: NodeId, address: SocketAddr) {
        let idle =
            || Link { address, life: None, backoff: PEER_BACKOFF_MIN, state: State::Idle { from: Instant::now() } };
        let link = self.links.entry(node).or_insert_with(idle);
        if link.address != address {
            *link = idle();
        }
    }

    fn forget_oldest_outsiders(&mut self) {
        while self.outsiders.len() > HEARD_ADDRESSES_MAX {
            if let Some(node) = self.outsiders.pop_front() {
                self.links.remove(&node);
            }
        }
    }
}

impl Link {
    /// Leaves the peer alone for a while, twice as long the next time.
    fn pause(&mut self, random: &mut StdRng) {
        let pause = self.backoff.mul_f64(random.random_range(0.5..=1.0));
        self.state = State::Idle { from: Instant::now() + pause };
        self.backoff = (self.backoff * 2).min(PEER_BACKOFF_MAX);
    }
}

fn push(gate: &Gate, outbox: &Outbox, to: NodeId, message: Message, patience: Duration) {
    let counters = &gate.counters;
    match outbox.push_within(&PeerFrame { from: gate.node, to, message }, patience) {
        Ok(()) => counters.peer_messages_sent.add(1),
        Err(error) => {
            counters.peer_messages_dropped.add(1);
            tracing::debug!(peer = %to, "a message was dropped: {error}");
        }
    }
}

async fn dial(gate: Arc<Gate>, node: NodeId, address: SocketAddr, attempt: Attempt) {
    let result = gate.endpoint.dial(address, Role::Peer, &gate.hello(), PEER_DIAL_WAIT_MAX).await;
    // The driver is gone only when the process ends.
    let _ = gate.senders.peers.send(PeerEvent::Dialed { node, attempt, result }).await;
}

/// Waits for the end of a connection on which the peer has nothing to say.
async fn watch(gate: Arc<Gate>, node: NodeId, address: SocketAddr, attempt: Attempt, mut inbox: Inbox) {
    loop {
        match inbox.next::<PeerFrame>().await {
            Ok(Some(_)) => gate.counters.peer_frames_foreign.add(1),
            Ok(None) => break,
            Err(error) => {
                gate.on_receive_error("a dialed peer's", address, &error);
                break;
            }
        }
    }
    let _ = gate.senders.peers.send(PeerEvent::Lost { node, attempt }).await;
}
