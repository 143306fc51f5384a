//! The event queue, and what happens at each event.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use concoord::wire::client::{Request, Response};
use concoord::wire::join::JoinReply;
use concoord::wire::member::{Member, Services, Standing, View};
use concoord::wire::peer::Message;
use concoord::wire::{ClusterId, NodeId, Slot, ViewId};
use concoord_consensus::Timing;
use concoord_consensus::io::{ClientToken, Effect, Input, JoinToken, LogPosition};

use super::checks::Checks;
pub use super::checks::Violation;
use super::client::Client;
use super::faults::{Coverage, Faults};
use super::network::{Network, Place};
use super::node::{Done, Node, Work};
use super::random::Chance;

/// Port of address 0.
pub const PORT_FIRST: u16 = 14_000;
const CLUSTER: ClusterId = ClusterId(7);
const CLIENTS: usize = 4;
const CALLS_PER_CLIENT: u64 = 60;
/// Until when one fault follows another, at least.
const FAULTS_UNTIL_US: u64 = 4_000_000;
/// How many faults there are at least.
pub const FAULTS_MIN: u64 = 5;
/// How long a healed cluster may take until every client has its answers and every member all slots.
const CONVERGE_US: u64 = 20_000_000;
const JOIN_RETRY_US: u64 = 100_000;
/// As long as the driver waits.
const STOP_WAIT_US: u64 = 3_000_000;
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
enum Event {
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
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// All nodes that ever were.
    pub nodes: BTreeMap<NodeId, Node>,
    /// How many addresses there are.
    pub addresses: usize,
    /// The links.
    pub network: Network,
    clients: Vec<Client>,
    checks: Checks,
    /// How far each node's decided slots were compared.
    compared: BTreeMap<NodeId, Slot>,
    ticks: BTreeMap<NodeId, u64>,
    joining: BTreeMap<NodeId, JoinToken>,
    last_token: u64,
    lives: u64,
    /// What goes wrong.
    pub faults: Faults,
    trace_hash: u64,
    violation: Option<Violation>,
    loaded: bool,
    /// Whether to print what happens.
    told: bool,
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

fn address(number: usize) -> SocketAddr {
    let port = PORT_FIRST + u16::try_from(number).expect("few addresses");
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl World {
    fn new(seed: u64) -> World {
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
    fn build(&mut self) {
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

    fn member(&self, id: NodeId, number: usize) -> Member {
        Member {
            id,
            address: address(number),
            services: Services::default(),
            volatile: false,
            standing: Standing::Learner { replaces: None },
        }
    }

    fn new_id(&mut self) -> NodeId {
        NodeId(self.chance.number())
    }

    /// A new replica at an address asks to join, after a while.
    pub fn add_joiner(&mut self, number: usize, delay_us: u64) {
        let id = self.new_id();
        let genesis = View { id: ViewId(1), members: BTreeMap::new() };
        self.nodes.insert(id, Node::new(id, number, genesis));
        self.schedule(delay_us, Event::Join { node: id, at: 0 });
    }

    /// Until everything is answered and everybody knows everything.
    fn live(&mut self) -> Result<(), Violation> {
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
                return self.checks.finished(self.final_value());
            }
            let overdue = healed && self.now_us > healed_at_us + CONVERGE_US;
            if overdue || events > EVENTS_MAX {
                return Err(Violation::new(format!("no convergence after {events} events: {}", self.state())));
            }
        }
        Err(Violation::new("nothing is left to happen".into()))
    }

    fn faults_are_over(&self) -> bool {
        self.now_us > FAULTS_UNTIL_US && self.faults.coverage.faults() >= FAULTS_MIN
    }

    fn is_over(&self) -> bool {
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

    fn final_value(&self) -> i64 {
        let value = |node: &Node| Some(node.process.as_ref()?.application.objects().value());
        self.nodes.values().find_map(value).unwrap_or(0)
    }

    /// One line on everybody, for a run that got stuck.
    fn state(&self) -> String {
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
    fn heal(&mut self) {
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

    fn schedule(&mut self, delay_us: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now_us + delay_us, self.sequence), event);
    }

    fn handle(&mut self, event: Event) {
        self.trace(&event);
        match event {
            Event::Deliver { from, to, message } => self.input(to, Input::Peer { from, message }),
            Event::Tick { node, life } if self.lives_on(node, life) => self.input(node, Input::Tick),
            Event::Flush { node, life } if self.lives_on(node, life) => self.input(node, Input::Flush),
            Event::Synced { node, life, records } if self.lives_on(node, life) => self.on_synced(node, records),
            Event::Work { node, life } if self.lives_on(node, life) => self.on_work(node),
            Event::Tick { .. } | Event::Flush { .. } | Event::Synced { .. } | Event::Work { .. } => {}
            Event::Request { client, to, request } => {
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

    fn trace(&mut self, event: &Event) {
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

    fn lives_on(&self, node: NodeId, life: u64) -> bool {
        self.nodes.get(&node).and_then(|node| node.process.as_ref()).is_some_and(|process| process.life == life)
    }

    /// One input of a replica, and everything that follows from it.
    pub fn input(&mut self, id: NodeId, input: Input) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.paused_until_us > self.now_us {
            return self.postpone(id, input);
        }
        let now = node.time(self.now_us);
        let Some(process) = &mut node.process else { return };
        let life = process.life;
        let flushes = !matches!(input, Input::Flush);
        let mut effects = Vec::new();
        process.replica.step(now, input, &mut effects);
        let at_once = self.chance.percent(70);
        if flushes && at_once {
            process.replica.step(now, Input::Flush, &mut effects);
        } else if flushes {
            let delay = self.chance.between(1, 500);
            self.schedule(delay, Event::Flush { node: id, life });
        }
        self.carry_out(id, effects);
        self.compare(id);
        self.schedule_tick(id);
    }

    /// A paused process finds everything waiting when it wakes up.
    fn postpone(&mut self, id: NodeId, input: Input) {
        let Some(node) = self.nodes.get(&id) else { return };
        let wait = node.paused_until_us - self.now_us;
        let life = node.process.as_ref().map_or(0, |process| process.life);
        match input {
            Input::Peer { from, message } => self.schedule(wait, Event::Deliver { from, to: id, message }),
            Input::Tick => self.schedule(wait, Event::Tick { node: id, life }),
            Input::Flush => self.schedule(wait, Event::Flush { node: id, life }),
            Input::Client { client, request } => {
                let client = usize::try_from(client.0).expect("few clients");
                self.schedule(wait, Event::Request { client, to: id, request });
            }
            Input::Durable { position } => {
                let records = usize::try_from(position.0).expect("few records");
                self.schedule(wait, Event::Synced { node: id, life, records });
            }
            // The rest is asked again.
            _ => {}
        }
    }

    fn schedule_tick(&mut self, id: NodeId) {
        let Some(process) = self.nodes.get(&id).and_then(|node| node.process.as_ref()) else { return };
        let (deadline, life) = (process.replica.deadline(), process.life);
        if deadline != u64::MAX && self.ticks.insert(id, deadline) != Some(deadline) {
            self.schedule(deadline.saturating_sub(self.now_us), Event::Tick { node: id, life });
        }
    }

    /// Compares what the node newly knows as decided with what others know.
    fn compare(&mut self, id: NodeId) {
        let Some(process) = self.nodes.get(&id).and_then(|node| node.process.as_ref()) else { return };
        let compared = self.compared.entry(id).or_default();
        while *compared < process.replica.decided() {
            *compared = compared.next();
            let value = process.replica.decided_value(*compared).expect("a decided slot has a value");
            if let Err(violation) = self.checks.decided(id, *compared, value) {
                self.violation.get_or_insert(violation);
            }
        }
    }

    fn carry_out(&mut self, id: NodeId, effects: Vec<Effect>) {
        let mut ends = false;
        for effect in effects {
            match effect {
                Effect::Persist { position, record } => self.persist(id, position, record),
                Effect::Send { to, message, after } => self.send_or_hold(id, to, message, after),
                Effect::Apply { slot, batch, replies } => self.queue(id, Work::Apply(slot, batch, replies)),
                Effect::Query(query) => self.queue(id, Work::Query(query)),
                Effect::Describe { client, request, name } => self.queue(id, Work::Describe(client, request, name)),
                Effect::Reply { client, response } => self.respond(id, client, response),
                Effect::JoinReply { join, reply } => self.send_join_reply(id, join, reply),
                Effect::RosterChanged(roster) => {
                    self.say(|| {
                        format!(
                            "{id:?} sees view {}, leader {:?}, decided {}",
                            roster.view, roster.leader, roster.decided
                        )
                    });
                    self.load_object(id);
                }
                Effect::Removed { .. } | Effect::Stopped => ends = true,
            }
        }
        if ends {
            self.retire(id);
        }
    }

    fn persist(&mut self, id: NodeId, position: LogPosition, record: concoord::wire::record::Record) {
        if let Err(violation) = self.checks.appended(id, &record) {
            self.violation.get_or_insert(violation);
        }
        let delay = self.faults.sync_delay_us(id, &mut self.chance);
        let node = self.nodes.get_mut(&id).expect("a node that runs");
        node.disk.push(record);
        assert_eq!(node.disk.len() as u64, position.0, "positions number the records");
        let life = node.process.as_ref().map_or(0, |process| process.life);
        self.schedule(delay, Event::Synced { node: id, life, records: usize::try_from(position.0).expect("few") });
    }

    fn on_synced(&mut self, id: NodeId, records: usize) {
        let node = self.nodes.get_mut(&id).expect("a node that runs");
        if node.paused_until_us > self.now_us {
            return self.postpone(id, Input::Durable { position: LogPosition(records as u64) });
        }
        if records <= node.synced {
            return;
        }
        node.synced = records;
        let position = LogPosition(records as u64);
        let process = node.process.as_mut().expect("its life goes on");
        process.durable = position;
        let (ready, held) = std::mem::take(&mut process.held).into_iter().partition(|(after, ..)| *after <= position);
        process.held = held;
        let ready: Vec<(LogPosition, NodeId, Message)> = ready;
        for (_, to, message) in ready {
            self.transmit(id, to, message);
        }
        self.input(id, Input::Durable { position });
    }

    fn send_or_hold(&mut self, id: NodeId, to: NodeId, message: Message, after: LogPosition) {
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("a node that runs");
        if after <= process.durable {
            self.transmit(id, to, message);
        } else {
            process.held.push((after, to, message));
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, message: Message) {
        for delay in self.network.delays(Place::Node(from), Place::Node(to), &mut self.chance) {
            self.schedule(delay, Event::Deliver { from, to, message: message.clone() });
        }
    }

    fn queue(&mut self, id: NodeId, work: Work) {
        let delay = self.faults.work_delay_us(&mut self.chance);
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("a node that runs");
        process.queue.push_back(work);
        let life = process.life;
        self.schedule(delay, Event::Work { node: id, life });
    }

    fn on_work(&mut self, id: NodeId) {
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("its life goes on");
        let Some(done) = process.work() else { return };
        match done {
            Done::Applied(applied) => {
                let state = process.application.state_hash();
                if let Err(violation) = self.checks.applied(id, applied.slot, state) {
                    self.violation.get_or_insert(violation);
                }
                self.loaded |= !applied.loaded.is_empty();
                self.input(id, Input::Applied(applied));
            }
            Done::Response(client, response) => self.respond(id, client, response),
        }
    }

    /// The first leader loads the counter, as the first replica's driver does.
    fn load_object(&mut self, id: NodeId) {
        let leads = self.nodes[&id].process.as_ref().is_some_and(|process| process.replica.is_leader());
        if leads && !self.loaded {
            let now = self.nodes[&id].time(self.now_us);
            let node = self.nodes.get_mut(&id).expect("a node that runs");
            let mut effects = Vec::new();
            let load = Input::Load {
                name: "counter".into(),
                module: b"counter".as_slice().into(),
                arguments: [].as_slice().into(),
            };
            node.process.as_mut().expect("it leads").replica.step(now, load, &mut effects);
            self.carry_out(id, effects);
        }
    }

    fn respond(&mut self, id: NodeId, client: ClientToken, response: Response) {
        let client = usize::try_from(client.0).expect("few clients");
        for delay in self.network.delays(Place::Node(id), Place::Client(client), &mut self.chance) {
            self.schedule(delay, Event::Response { client, response: response.clone() });
        }
    }

    fn on_wake_client(&mut self, client: usize) {
        let now_us = self.now_us;
        if !self.loaded {
            return self.schedule(20_000, Event::WakeClient { client });
        }
        let it = &mut self.clients[client];
        if now_us >= it.wakes_at_us {
            let request = it.wake(now_us, self.addresses, &mut self.checks, &mut self.chance);
            self.send_request(client, request);
        }
        self.schedule_client(client);
    }

    fn on_response(&mut self, client: usize, response: Response) {
        match self.clients[client].hear(response, self.now_us, &mut self.checks, &mut self.chance) {
            Ok(request) => self.send_request(client, request),
            Err(violation) => {
                self.violation.get_or_insert(violation);
            }
        }
        self.schedule_client(client);
    }

    fn schedule_client(&mut self, client: usize) {
        let wakes_at_us = self.clients[client].wakes_at_us;
        if wakes_at_us != u64::MAX {
            self.schedule(wakes_at_us.saturating_sub(self.now_us), Event::WakeClient { client });
        }
    }

    fn send_request(&mut self, client: usize, request: Option<Request>) {
        let Some(request) = request else { return };
        let Some(to) = self.running_at(self.clients[client].target) else { return };
        for delay in self.network.delays(Place::Client(client), Place::Node(to), &mut self.chance) {
            self.schedule(delay, Event::Request { client, to, request: request.clone() });
        }
    }

    /// The node that runs at an address.
    fn running_at(&self, number: usize) -> Option<NodeId> {
        let mut here = self.nodes.values().filter(|node| node.address == number && node.process.is_some());
        here.next_back().map(|node| node.id)
    }

    fn on_join(&mut self, id: NodeId, at: usize) {
        if self.nodes[&id].process.is_some() || self.nodes[&id].gone {
            return;
        }
        let again = (at + 1) % self.addresses;
        self.schedule(JOIN_RETRY_US, Event::Join { node: id, at: again });
        let Some(asked) = self.running_at(at) else { return };
        let both_ways = self.network.passes(Place::Node(id), Place::Node(asked))
            && self.network.passes(Place::Node(asked), Place::Node(id));
        if both_ways {
            self.last_token += 1;
            let join = JoinToken(self.last_token);
            self.joining.insert(id, join);
            let member = self.member(id, self.nodes[&id].address);
            self.input(asked, Input::Join { join, member, reached: Ok(()) });
        }
    }

    fn send_join_reply(&mut self, _from: NodeId, join: JoinToken, reply: JoinReply) {
        let joiner = self.joining.iter().find(|(_, token)| **token == join).map(|(id, _)| *id);
        if let Some(node) = joiner {
            let delay = self.chance.between(50, 2_000);
            self.schedule(delay, Event::JoinReply { node, reply });
        }
    }

    fn on_join_reply(&mut self, id: NodeId, reply: JoinReply) {
        let node = self.nodes.get_mut(&id).expect("who asked");
        if node.process.is_some() || node.gone || !node.disk.is_empty() {
            return;
        }
        match reply {
            JoinReply::Accepted(welcome) => {
                node.genesis = welcome.genesis;
                self.faults.coverage.joined += 1;
                self.start(id, welcome.members.into_iter().map(|(id, _)| id).collect());
            }
            JoinReply::Redirect { leader } => {
                let at = usize::from(leader.port() - PORT_FIRST);
                self.schedule(1_000, Event::Join { node: id, at });
            }
            JoinReply::Retry(_) => {}
            JoinReply::Refused(why) => {
                self.violation.get_or_insert(Violation::new(format!("{id:?} was refused: {why}")));
            }
        }
    }

    fn start(&mut self, id: NodeId, contacts: Vec<NodeId>) {
        self.lives += 1;
        let (life, seed, now_us) = (self.lives, self.chance.number(), self.now_us);
        let node = self.nodes.get_mut(&id).expect("a known node");
        let disk = node.disk.len();
        let effects = node.start(CLUSTER, contacts, Timing::default(), seed, life, now_us);
        self.say(|| format!("{id:?} starts with {disk} records"));
        self.compared.remove(&id);
        self.ticks.remove(&id);
        self.carry_out(id, effects);
        self.input(id, Input::Tick);
    }

    fn restart(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        if node.process.is_some() || node.gone {
            return;
        }
        let contacts = self.newest_view().members.into_keys().collect();
        self.start(id, contacts);
    }

    /// It left the cluster and its process ended.
    fn retire(&mut self, id: NodeId) {
        self.say(|| format!("{id:?} leaves for good"));
        let node = self.nodes.get_mut(&id).expect("a node that ran");
        node.process = None;
        node.gone = true;
        node.stopping = false;
        let number = node.address;
        let occupied = self.nodes.values().any(|node| node.address == number && !node.gone);
        if !occupied {
            let delay = self.chance.between(20_000, 300_000);
            self.add_joiner(number, delay);
        }
    }

    /// The driver waits only so long for a stop to be handed over.
    pub fn give_up_later(&mut self, id: NodeId) {
        if let Some(process) = self.nodes.get(&id).and_then(|node| node.process.as_ref()) {
            let life = process.life;
            self.schedule(STOP_WAIT_US, Event::GiveUp { node: id, life });
        }
    }

    fn on_fault(&mut self) {
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

    /// A crash; it starts again from its disk after a while.
    pub fn crash(&mut self, id: NodeId) {
        let kept = usize::try_from(self.chance.between(0, 3)).expect("few");
        let node = self.nodes.get_mut(&id).expect("a node that runs");
        node.crash(kept);
        self.checks.crashed(id, &node.disk);
        let delay = self.chance.between(20_000, 700_000);
        self.schedule(delay, Event::Restart { node: id });
    }
}
