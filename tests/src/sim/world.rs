//! The event queue, and what happens at each event.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use concoord::wire::client::{Request, Response};
use concoord::wire::join::JoinReply;
use concoord::wire::member::View;
use concoord::wire::peer::Message;
use concoord::wire::version::ClusterVersion;
use concoord::wire::{NodeId, Slot, ViewId};
use concoord_consensus::Timing;
use concoord_consensus::io::{ClientToken, Input, JoinToken, LogPosition};

use super::callers::{Caller, Connection};
pub use super::checks::Violation;
use super::checks::{Answers, Checks};
use super::client::Client;
use super::faults::{Coverage, Faults};
use super::network::Network;
use super::node::Node;
use super::queue::Queue;
use super::random::Chance;
use super::spoiled::Spoiled;
use super::storage::Told;
use super::waiter::Waiter;

/// Port of address 0.
pub const PORT_FIRST: u16 = 14_000;
const CLIENTS: usize = 5;
/// Those whose calls wait come behind them.
const WAITERS: usize = 3;
/// Every run decides at least this many slots.
pub const SLOTS_WANTED: u64 = 500;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// A hash over every event: the same seed gives the same.
    pub trace_hash: u64,
    /// Slots decided.
    pub slots: u64,
    /// Simulated time in microseconds.
    pub took_us: u64,
    /// Things that happened.
    pub events: u64,
    /// What clients got.
    pub answers: Answers,
    /// Members at the end.
    pub members: usize,
    /// What went wrong on purpose.
    pub coverage: Coverage,
}

#[derive(Debug)]
pub(super) enum Event {
    Deliver { from: NodeId, to: NodeId, message: Message },
    Tick { node: NodeId, life: u64 },
    Flush { node: NodeId, life: u64 },
    Synced { node: NodeId, life: u64, written: LogPosition },
    Told { node: NodeId, life: u64, told: Told },
    Work { node: NodeId, life: u64 },
    Request { over: ClientToken, request: Request },
    Response { over: ClientToken, response: Response },
    ClientGone { over: ClientToken },
    WakeClient { client: usize },
    Join { node: NodeId, at: usize, attempt: u64 },
    JoinReply { node: NodeId, reply: JoinReply },
    Restart { node: NodeId },
    GiveUp { node: NodeId, life: u64 },
    Fault,
    Constrain { leader: NodeId, hub: NodeId },
    Mute { node: NodeId },
}

/// A whole cluster, its clients, and the network between them.
#[derive(Debug)]
pub struct World {
    /// All chance.
    pub chance: Chance,
    /// Simulated microseconds since the start.
    pub now_us: u64,
    pub(super) queue: Queue,
    /// All nodes that ever were.
    pub nodes: BTreeMap<NodeId, Node>,
    /// How many addresses there are.
    pub addresses: usize,
    /// How long things take for every replica.
    pub timing: Timing,
    /// After how many bytes of log a snapshot is made.
    pub snapshot_bytes: u64,
    /// The links.
    pub network: Network,
    pub(super) clients: Vec<Caller>,
    /// When each client wakes up.
    pub(super) wakes: Vec<u64>,
    /// All connections that clients ever had, by token.
    pub(super) connections: Vec<Connection>,
    /// The newest view that any node ever knew as decided.
    pub(super) newest_view: View,
    pub(super) checks: Checks,
    /// How far each node's decided slots were compared.
    pub(super) compared: BTreeMap<NodeId, Slot>,
    /// The deadline that each node waits for, and when it comes.
    pub(super) ticks: BTreeMap<NodeId, (u64, u64)>,
    pub(super) joining: BTreeMap<NodeId, JoinToken>,
    /// Which attempt to join each new replica makes next.
    pub(super) attempts: BTreeMap<NodeId, u64>,
    pub(super) last_token: u64,
    pub(super) lives: u64,
    /// What goes wrong.
    pub faults: Faults,
    pub(super) trace_hash: u64,
    pub(super) violation: Option<Violation>,
    /// All objects are there.
    pub(super) loaded: bool,
    /// Since when faults are over, once they are.
    pub(super) healing_since_us: Option<u64>,
    /// Who led in which view when all had settled.
    pub(super) settled_leader: Option<(ViewId, NodeId)>,
    /// Members that stay as they are in the liveness phase: down, or cut off.
    pub(super) lost_for_good: BTreeSet<NodeId>,
    /// Those of them that stay down.
    pub(super) down_for_good: BTreeSet<NodeId>,
    /// Members whose applied state was spoiled and is not right again.
    pub(super) spoiled: Spoiled,
    /// When the last of them was right again.
    pub(super) mended_us: u64,
    /// The newest version that anybody applies.
    pub(super) newest_version: ClusterVersion,
    /// Slots for which a batch was proposed.
    pub(super) proposals_seen: BTreeSet<Slot>,
    /// Until when leadership may change though faults are over: a state was found to be wrong.
    pub(super) unsettled_until_us: u64,
    /// Whether to print what happens.
    pub(super) told: bool,
}

/// Runs the seed.
///
/// # Errors
/// The first [`Violation`].
pub fn run(seed: u64) -> Result<Report, Violation> {
    play(World::new(seed))
}

/// Runs the seed as [`run`] does, and prints faults, leaders and views as they come.
///
/// # Errors
/// The first [`Violation`].
pub fn tell(seed: u64) -> Result<Report, Violation> {
    play(World { told: true, ..World::new(seed) })
}

fn play(mut world: World) -> Result<Report, Violation> {
    world.build();
    let end = world.live();
    if let Some(violation) = world.violation {
        return Err(violation);
    }
    end?;
    Ok(Report {
        trace_hash: world.trace_hash,
        slots: world.checks.slots(),
        took_us: world.now_us,
        events: world.queue.taken(),
        answers: world.checks.answers,
        members: world.newest_view.members.len(),
        coverage: world.faults.coverage,
    })
}

pub(super) fn address(number: usize) -> SocketAddr {
    let port = PORT_FIRST + u16::try_from(number).expect("few addresses");
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut chance = Chance::new(seed);
        let addresses = usize::try_from(chance.between(3, 5)).expect("3 to 5");
        let timing = Timing {
            silent_us: chance.between(300_000, 1_000_000),
            evict_us: chance.percent(80).then(|| chance.between(600_000, 2_500_000)),
            ..Timing::default()
        };
        let snapshot_bytes = chance.between(20_000, 120_000);
        let mut client = |number| match number {
            ..CLIENTS => Caller::Client(Box::new(Client::new(number, chance.number(), 0))),
            number => Caller::Waiter(Box::new(Waiter::new(number, chance.number()))),
        };
        let clients = (0..CLIENTS + WAITERS).map(&mut client).collect();
        World {
            chance,
            now_us: 0,
            queue: Queue::default(),
            nodes: BTreeMap::new(),
            addresses,
            timing,
            snapshot_bytes,
            network: Network::healthy(),
            clients,
            wakes: vec![u64::MAX; CLIENTS + WAITERS],
            connections: Vec::new(),
            newest_view: View { id: ViewId(0), ..View::first([]) },
            checks: Checks::default(),
            compared: BTreeMap::new(),
            ticks: BTreeMap::new(),
            joining: BTreeMap::new(),
            attempts: BTreeMap::new(),
            last_token: 0,
            lives: 0,
            faults: Faults::default(),
            trace_hash: 0xcbf2_9ce4_8422_2325,
            violation: None,
            loaded: false,
            healing_since_us: None,
            settled_leader: None,
            lost_for_good: BTreeSet::new(),
            down_for_good: BTreeSet::new(),
            spoiled: Spoiled::new(),
            mended_us: 0,
            newest_version: ClusterVersion::FIRST,
            proposals_seen: BTreeSet::new(),
            unsettled_until_us: 0,
            told: false,
        }
    }

    /// The last slot that anybody knows as decided.
    #[must_use]
    pub fn slots_decided(&self) -> Slot {
        Slot(self.checks.slots())
    }

    /// The nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<NodeId> {
        self.nodes.values().filter(|node| node.process.is_some()).map(|node| node.id).collect()
    }

    pub(super) fn schedule(&mut self, delay_us: u64, event: Event) {
        self.queue.push(self.now_us + delay_us, event);
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.trace(&event);
        match event {
            Event::Deliver { from, to, message } => self.input(to, Input::Peer { from, message }),
            Event::Tick { node, life } if self.lives_on(node, life) => self.on_tick(node),
            Event::Flush { node, life } if self.lives_on(node, life) => self.input(node, Input::Flush),
            Event::Synced { node, life, written } if self.lives_on(node, life) => self.on_synced(node, written),
            Event::Told { node, life, told } if self.lives_on(node, life) => self.on_told(node, told),
            Event::Work { node, life } if self.lives_on(node, life) => self.on_work(node),
            Event::Tick { .. }
            | Event::Flush { .. }
            | Event::Synced { .. }
            | Event::Told { .. }
            | Event::Work { .. } => {}
            Event::Request { over, request } => self.on_request(over, request),
            Event::Response { over, response } => self.on_response(over, response),
            Event::ClientGone { over } => self.on_client_gone(over),
            Event::WakeClient { client } => self.on_wake_client(client),
            Event::Join { node, at, attempt } => self.on_join(node, at, attempt),
            Event::JoinReply { node, reply } => self.on_join_reply(node, reply),
            Event::Restart { node } => self.restart(node),
            Event::GiveUp { node, life } => {
                if self.lives_on(node, life) && self.nodes[&node].stopping.is_some() {
                    self.on_stopped(node);
                }
            }
            Event::Fault => self.on_fault(),
            Event::Constrain { leader, hub } => self.on_constrain(leader, hub),
            Event::Mute { node } => self.on_mute(node),
        }
    }

    pub(super) fn trace(&mut self, event: &Event) {
        let (kind, a, b) = match event {
            Event::Deliver { from, to, .. } => (1, from.0, to.0),
            Event::Tick { node, life } => (2, node.0, *life),
            Event::Flush { node, life } => (3, node.0, *life),
            Event::Synced { node, written, .. } => (4, node.0, written.0),
            Event::Told { node, life, .. } => (16, node.0, *life),
            Event::Work { node, life } => (5, node.0, *life),
            Event::Request { over, .. } => (6, over.0, 0),
            Event::Response { over, .. } => (7, over.0, 0),
            Event::WakeClient { client } => (8, *client as u64, 0),
            Event::Join { node, at, .. } => (9, node.0, *at as u64),
            Event::JoinReply { node, .. } => (10, node.0, 0),
            Event::Restart { node } => (11, node.0, 0),
            Event::GiveUp { node, life } => (12, node.0, *life),
            Event::Fault => (13, 0, 0),
            Event::Constrain { leader, hub } => (14, leader.0, hub.0),
            Event::ClientGone { over } => (15, over.0, 0),
            Event::Mute { node } => (16, node.0, 0),
        };
        for word in [self.now_us, kind, a, b] {
            self.trace_hash = (self.trace_hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
    }

    pub(super) fn lives_on(&self, node: NodeId, life: u64) -> bool {
        self.nodes.get(&node).and_then(|node| node.process.as_ref()).is_some_and(|process| process.life == life)
    }

    /// Prints a line with the time, for whoever replays the seed.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>9.3} ms  {}", self.now_us as f64 / 1000.0, what());
        }
    }
}
