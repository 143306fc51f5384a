//! How nodes come and go: joining, starting, crashing, leaving.

use std::collections::BTreeMap;

use concoord::wire::join::JoinReply;
use concoord::wire::member::{Member, Services, Standing, View};
use concoord::wire::{ClusterId, NodeId, ViewId};
use concoord_consensus::Timing;
use concoord_consensus::io::{Input, JoinToken};

use super::checks::Violation;
use super::coverage::Kind;
use super::network::Place;
use super::node::Node;
use super::world::{Event, PORT_FIRST, World, address};

pub(super) const CLUSTER: ClusterId = ClusterId(7);
const JOIN_RETRY_US: u64 = 100_000;
/// How long a new replica takes to ask where it was sent.
const REDIRECTED_US: u64 = 1_000;
/// How long a driver waits for a stop to be handed over.
const STOP_WAIT_US: u64 = 3_000_000;

impl World {
    pub(super) fn member(&self, id: NodeId, number: usize) -> Member {
        Member {
            id,
            address: address(number),
            services: Services::default(),
            volatile: false,
            standing: Standing::Learner { replaces: None },
        }
    }

    pub(super) fn new_id(&mut self) -> NodeId {
        NodeId(self.chance.number())
    }

    /// A new replica at an address asks to join, after a while.
    pub fn add_joiner(&mut self, number: usize, delay_us: u64) {
        let id = self.new_id();
        let genesis = View { id: ViewId(1), members: BTreeMap::new() };
        self.nodes.insert(id, Node::new(id, number, genesis));
        self.join_later(id, 0, delay_us);
    }

    /// The next attempt of a new replica to join, instead of any that was to come.
    fn join_later(&mut self, node: NodeId, at: usize, delay_us: u64) {
        let attempt = self.attempts.entry(node).or_default();
        *attempt += 1;
        let attempt = *attempt;
        self.schedule(delay_us, Event::Join { node, at, attempt });
    }

    pub(super) fn on_join(&mut self, id: NodeId, at: usize, attempt: u64) {
        let node = &self.nodes[&id];
        if node.process.is_some() || node.gone || self.attempts.get(&id) != Some(&attempt) {
            return;
        }
        self.join_later(id, (at + 1) % self.addresses, JOIN_RETRY_US);
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

    pub(super) fn send_join_reply(&mut self, _from: NodeId, join: JoinToken, reply: JoinReply) {
        let joiner = self.joining.iter().find(|(_, token)| **token == join).map(|(id, _)| *id);
        if let Some(node) = joiner {
            let delay = self.chance.between(50, 2_000);
            self.schedule(delay, Event::JoinReply { node, reply });
        }
    }

    pub(super) fn on_join_reply(&mut self, id: NodeId, reply: JoinReply) {
        let node = self.nodes.get_mut(&id).expect("who asked");
        if node.process.is_some() || node.gone || !node.disk.is_empty() {
            return;
        }
        match reply {
            JoinReply::Accepted(welcome) => {
                node.genesis = welcome.genesis;
                self.faults.coverage.count(Kind::Join);
                self.start(id, welcome.members.into_iter().map(|(id, _)| id).collect());
            }
            JoinReply::Redirect { leader } => {
                let at = usize::from(leader.port() - PORT_FIRST);
                self.join_later(id, at, REDIRECTED_US);
            }
            JoinReply::Retry(_) => {}
            JoinReply::Refused(why) => {
                self.violation.get_or_insert(Violation::new(format!("{id:?} was refused: {why}")));
            }
        }
    }

    pub(super) fn start(&mut self, id: NodeId, contacts: Vec<NodeId>) {
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

    pub(super) fn restart(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        if node.process.is_some() || node.gone || self.down_for_good.contains(&id) {
            return;
        }
        let contacts = self.newest_view.members.keys().copied().collect();
        self.start(id, contacts);
    }

    /// It left the cluster and its process ended.
    pub(super) fn retire(&mut self, id: NodeId) {
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

    /// A crash; it starts again from its disk after a while.
    pub fn crash(&mut self, id: NodeId) {
        let kept = usize::try_from(self.chance.between(0, 3)).expect("few");
        let node = self.nodes.get_mut(&id).expect("a node that runs");
        node.crash(kept);
        self.ticks.remove(&id);
        self.checks.crashed(id, &node.disk);
        if node.disk.is_empty() {
            // It had not even written down who it is: it starts as somebody else.
            return self.retire(id);
        }
        let delay = self.chance.between(20_000, 700_000);
        self.schedule(delay, Event::Restart { node: id });
    }
}
