//! The event queue, and what happens at each event.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use concoord::wire::client::{Request, Response};
use concoord::wire::join::JoinReply;
use concoord::wire::member::{Member, Standing, View};
use concoord::wire::peer::Message;
use concoord::wire::{NodeId, Slot, ViewId};
use concoord_consensus::io::{ClientToken, Input, JoinToken};

use super::checks::Checks;
pub use super::checks::Violation;
use super::client::Client;
use super::faults::{Coverage, Faults};
use super::network::Network;
use super::node::Node;
use super::random::Chance;

/// Port of address 0.
pub const PORT_FIRST: u16 = 14_000;
const CLIENTS: usize = 4;
const CALLS_PER_CLIENT: u64 = 60;
/// Until when one fault follows another, at least.
const FAULTS_UNTIL_US: u64 = 4_000_000;
/// How many faults there are at least.
pub const FAULTS_MIN: u64 = 5;
/// How long a healed cluster may take until every client has its answers and every member all slots.
const CONVERGE_US: u64 = 20_000_000;
/// How long a running replica may leave a request without an answer.
const ANSWER_US: u64 = 2_500_000;
/// More events than any run that gets anywhere has.
const EVENTS_MAX: u64 = 3_000_000;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// A hash over every event: the same seed gives the same.
    pub trace_hash: u64,
    /// Slots decided.
    pub slots: u64,
    /// Increments acknowledged.
    pub acknowledged: u64,
    /// Queries answered.
    pub queried: u64,
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
    Synced { node: NodeId, life: u64, records: usize },
    Work { node: NodeId, life: u64 },
    Request { client: usize, to: NodeId, request: Request },
    Response { client: usize, response: Response },
    WakeClient { client: usize },
    Join { node: NodeId, at: usize },
    JoinReply { node: NodeId, reply: JoinReply },
    Restart { node: NodeId },
    GiveUp { node: NodeId, life: u64 },
    Fault,
}

/// A whole cluster, its clients, and the network between them.
#[derive(Debug)]
pub struct World {
    /// All chance.
    pub chance: Chance,
    /// Simulated microseconds since the start.
    pub now_us: u64,
    pub(super) events: BTreeMap<(u64, u64), Event>,
    pub(super) sequence: u64,
    /// All nodes that ever were.
    pub nodes: BTreeMap<NodeId, Node>,
    /// How many addresses there are.
    pub addresses: usize,
    /// The links.
    pub network: Network,
    pub(super) clients: Vec<Client>,
    pub(super) checks: Checks,
    /// How far each node's decided slots were compared.
    pub(super) compared: BTreeMap<NodeId, Slot>,
    pub(super) ticks: BTreeMap<NodeId, u64>,
    pub(super) joining: BTreeMap<NodeId, JoinToken>,
    pub(super) last_token: u64,
    pub(super) lives: u64,
    /// What goes wrong.
    pub faults: Faults,
    pub(super) trace_hash: u64,
    pub(super) violation: Option<Violation>,
    pub(super) loaded: bool,
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
        acknowledged: world.checks.acknowledged,
        queried: world.checks.queried,
        members: world.newest_view().members.len(),
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
        let clients = (0..CLIENTS).map(|number| Client::new(number, CALLS_PER_CLIENT, &mut chance)).collect();
        World {
            chance,
            now_us: 0,
            events: BTreeMap::new(),
            sequence: 0,
            nodes: BTreeMap::new(),
            addresses,
            network: Network::healthy(),
            clients,
            checks: Checks::default(),
            compared: BTreeMap::new(),
            ticks: BTreeMap::new(),
            joining: BTreeMap::new(),
            last_token: 0,
            lives: 0,
            faults: Faults::default(),
            trace_hash: 0xcbf2_9ce4_8422_2325,
            violation: None,
            loaded: false,
            told: false,
        }
    }

    /// The first replica starts; the others ask to join.
    pub(super) fn build(&mut self) {
        let first = self.new_id();
        let member = Member { standing: Standing::Voter, ..self.member(first, 0) };
        let genesis = View { id: ViewId(1), members: [(first, member)].into() };
        self.nodes.insert(first, Node::new(first, 0, genesis));
        self.start(first, Vec::new());
        for number in 1..self.addresses {
            let delay = self.chance.between(0, 50_000);
            self.add_joiner(number, delay);
        }
        for client in 0..self.clients.len() {
            let at = self.chance.between(0, 100_000);
            self.schedule(at, Event::WakeClient { client });
        }
        let first_fault = self.chance.between(300_000, 900_000);
        self.schedule(first_fault, Event::Fault);
    }

    /// Until everything is answered and everybody knows everything.
    pub(super) fn live(&mut self) -> Result<(), Violation> {
        let (mut healed, mut healed_at_us) = (false, 0);
        let mut events = 0;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now_us = at;
            events += 1;
            self.handle(event);
            if self.violation.is_some() {
                return Ok(());
            }
            if !healed && self.faults_are_over() {
                healed = true;
                healed_at_us = self.now_us;
                self.heal();
            }
            if healed && events % 64 == 0 && self.is_over() {
                self.nobody_waits_in_vain()?;
                return self.checks.finished(self.final_value());
            }
            let overdue = healed && self.now_us > healed_at_us + CONVERGE_US;
            if overdue || events > EVENTS_MAX {
                return Err(Violation::new(format!("no convergence after {events} events: {}", self.state())));
            }
        }
        Err(Violation::new("nothing is left to happen".into()))
    }

    pub(super) fn faults_are_over(&self) -> bool {
        self.now_us > FAULTS_UNTIL_US && self.faults.coverage.faults() >= FAULTS_MIN
    }

    pub(super) fn is_over(&self) -> bool {
        let decided = self.checks.slots();
        let view = self.newest_view();
        let all_know = self.nodes.values().filter(|node| !node.gone).all(|node| {
            node.process.as_ref().is_some_and(|process| {
                process.replica.decided().0 == decided
                    && process.queue.is_empty()
                    && process.replica.view().is_voter(node.id)
            })
        });
        all_know && view.voters().count() == view.members.len() && self.clients.iter().all(Client::is_done)
    }

    pub(super) fn final_value(&self) -> i64 {
        let value = |node: &Node| Some(node.process.as_ref()?.application.objects().value());
        self.nodes.values().find_map(value).unwrap_or(0)
    }

    /// One line on everybody, for a run that got stuck.
    pub(super) fn state(&self) -> String {
        let mut lines = Vec::new();
        for node in self.nodes.values().filter(|node| !node.gone) {
            let what = match &node.process {
                Some(process) => {
                    let replica = &process.replica;
                    format!(
                        "decided {} view {} {}{}",
                        replica.decided(),
                        replica.view().id,
                        if replica.view().is_voter(node.id) { "voter" } else { "learner" },
                        if replica.is_leader() { " leads" } else { "" }
                    )
                }
                None => "down".into(),
            };
            lines.push(format!("{:?} at {}: {what}", node.id, node.address));
        }
        let done = self.clients.iter().filter(|client| client.is_done()).count();
        format!("{}; {done} of {} clients done", lines.join(", "), self.clients.len())
    }

    /// The last slot that anybody knows as decided.
    #[must_use]
    pub fn slots_decided(&self) -> Slot {
        Slot(self.checks.slots())
    }

    /// The newest view that any running node knows.
    #[must_use]
    pub fn newest_view(&self) -> View {
        let views = self.nodes.values().filter_map(|node| Some(node.process.as_ref()?.replica.view()));
        views.max_by_key(|view| view.id).cloned().unwrap_or(View { id: ViewId(0), members: BTreeMap::new() })
    }

    /// Faults end: the network works, and whoever is down starts again.
    pub(super) fn heal(&mut self) {
        self.say(|| "faults end".into());
        self.network.heal();
        self.faults.end();
        let down: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.process.is_none() && !node.gone && !node.disk.is_empty())
            .map(|node| node.id)
            .collect();
        for node in down {
            self.schedule(0, Event::Restart { node });
        }
    }

    pub(super) fn schedule(&mut self, delay_us: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now_us + delay_us, self.sequence), event);
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.trace(&event);
        match event {
            Event::Deliver { from, to, message } => self.input(to, Input::Peer { from, message }),
            Event::Tick { node, life } if self.lives_on(node, life) => self.input(node, Input::Tick),
            Event::Flush { node, life } if self.lives_on(node, life) => self.input(node, Input::Flush),
            Event::Synced { node, life, records } if self.lives_on(node, life) => self.on_synced(node, records),
            Event::Work { node, life } if self.lives_on(node, life) => self.on_work(node),
            Event::Tick { .. } | Event::Flush { .. } | Event::Synced { .. } | Event::Work { .. } => {}
            Event::Request { client, to, request } => {
                if let Some(life) = self.life_of(to) {
                    self.checks.asked(to, life, client, &request, self.now_us);
                }
                self.input(to, Input::Client { client: ClientToken(client as u64), request });
            }
            Event::Response { client, response } => self.on_response(client, response),
            Event::WakeClient { client } => self.on_wake_client(client),
            Event::Join { node, at } => self.on_join(node, at),
            Event::JoinReply { node, reply } => self.on_join_reply(node, reply),
            Event::Restart { node } => self.restart(node),
            Event::GiveUp { node, life } => {
                if self.lives_on(node, life) && self.nodes[&node].stopping {
                    self.retire(node);
                }
            }
            Event::Fault => self.on_fault(),
        }
    }

    pub(super) fn trace(&mut self, event: &Event) {
        let (kind, a, b) = match event {
            Event::Deliver { from, to, .. } => (1, from.0, to.0),
            Event::Tick { node, life } => (2, node.0, *life),
            Event::Flush { node, life } => (3, node.0, *life),
            Event::Synced { node, records, .. } => (4, node.0, *records as u64),
            Event::Work { node, life } => (5, node.0, *life),
            Event::Request { client, to, .. } => (6, *client as u64, to.0),
            Event::Response { client, .. } => (7, *client as u64, 0),
            Event::WakeClient { client } => (8, *client as u64, 0),
            Event::Join { node, at } => (9, node.0, *at as u64),
            Event::JoinReply { node, .. } => (10, node.0, 0),
            Event::Restart { node } => (11, node.0, 0),
            Event::GiveUp { node, life } => (12, node.0, *life),
            Event::Fault => (13, 0, 0),
        };
        for word in [self.now_us, kind, a, b] {
            self.trace_hash = (self.trace_hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
    }

    fn life_of(&self, node: NodeId) -> Option<u64> {
        Some(self.nodes.get(&node)?.process.as_ref()?.life)
    }

    /// Every request that reached a process which still runs was answered within a while.
    fn nobody_waits_in_vain(&self) -> Result<(), Violation> {
        for (node, life, what, at_us) in self.checks.unanswered() {
            if self.lives_on(node, life) && at_us + ANSWER_US < self.now_us {
                let waited = (self.now_us - at_us) / 1000;
                return Err(Violation::new(format!("{node:?} has left {what} without an answer for {waited} ms")));
            }
        }
        Ok(())
    }

    pub(super) fn lives_on(&self, node: NodeId, life: u64) -> bool {
        self.nodes.get(&node).and_then(|node| node.process.as_ref()).is_some_and(|process| process.life == life)
    }

    pub(super) fn on_fault(&mut self) {
        if !self.faults_are_over() {
            self.inject();
            let delay = self.chance.between(100_000, 600_000);
            self.schedule(delay, Event::Fault);
        }
    }

    /// Prints a line with the time, for whoever replays the seed.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>9.3} ms  {}", self.now_us as f64 / 1000.0, what());
        }
    }
}
