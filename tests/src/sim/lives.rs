//! How nodes come and go: joining, starting, crashing, leaving.

use concoord::wire::join::{JoinRefusal, JoinReply};
use concoord::wire::member::{Member, Services, Standing, View};
use concoord::wire::version::Versions;
use concoord::wire::{ClusterId, NodeId};
use concoord_consensus::Policy;
use concoord_consensus::io::{Input, JoinToken};

use super::checks::Violation;
use super::coverage::Kind;
use super::network::Place;
use super::node::{Beginning, Node, StartError, Stop};
use super::upgrades::any_build;
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
            silent: false,
            supports: Versions::OF_BUILD,
        }
    }

    pub(super) fn new_id(&mut self) -> NodeId {
        NodeId(self.chance.number())
    }

    /// A new replica at an address asks to join, after a while.
    pub fn add_joiner(&mut self, number: usize, delay_us: u64) {
        let id = self.new_id();
        let mut member = self.member(id, number);
        member.supports = any_build(&mut self.chance);
        match self.chance.between(0, 9) {
            0 => member.volatile = true,
            1 => member.services = Services::WITNESS,
            _ => {}
        }
        self.nodes.insert(id, Node::new(member, number, View::first([])));
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
        if node.process.is_some() || node.gone || node.started || self.attempts.get(&id) != Some(&attempt) {
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
            let member = self.nodes[&id].member.clone();
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
        if node.process.is_some() || node.gone || node.started {
            return;
        }
        match reply {
            JoinReply::Accepted(welcome) => {
                node.genesis = welcome.genesis;
                self.faults.coverage.count(Kind::Join);
                if node.member.volatile {
                    self.faults.coverage.count(Kind::Volatile);
                }
                if node.member.is_witness() {
                    self.faults.coverage.count(Kind::Witness);
                }
                self.start(id, welcome.members.into_iter().map(|(id, _)| id).collect());
            }
            JoinReply::Redirect { leader } => {
                let at = usize::from(leader.port() - PORT_FIRST);
                self.join_later(id, at, REDIRECTED_US);
            }
            JoinReply::Retry(_) => {}
            // Too many of its kind: it comes as an ordinary one.
            JoinReply::Refused(JoinRefusal::Minority { .. }) => {
                (node.member.volatile, node.member.services) = (false, Services::default());
            }
            JoinReply::Refused(why @ JoinRefusal::Version { .. }) => self.replace_build(id, &why.to_string()),
            JoinReply::Refused(why) => {
                self.violation.get_or_insert(Violation::new(format!("{id:?} was refused: {why}")));
            }
        }
    }

    pub(super) fn start(&mut self, id: NodeId, contacts: Vec<NodeId>) {
        self.lives += 1;
        let seed = self.chance.number();
        if self.nodes[&id].started {
            self.upgrade(id);
        }
        let node = self.nodes.get_mut(&id).expect("a known node");
        if node.started && self.lives.is_multiple_of(2) {
            // Its operator has it do something else as well, or no longer.
            node.member.services = Services(node.member.services.0 ^ Services::DNS.0);
        }
        let policy = Policy {
            volatile: node.member.volatile,
            witness: node.member.is_witness(),
            leave_on_stop: false,
            snapshot_bytes: self.snapshot_bytes,
        };
        let (cluster, timing, life, now_us) = (CLUSTER, self.timing, self.lives, self.now_us);
        let started = node.start(&Beginning { cluster, contacts, timing, policy, seed, life, now_us });
        let effects = match started {
            Ok(effects) => effects,
            Err(StartError::NotNow) => {
                let delay = self.chance.between(100_000, 300_000);
                // A new replica that can't set up its disk asks again, and is known already.
                return self.schedule(delay, Event::Restart { node: id });
            }
            Err(StartError::Refused(why)) => return self.refuse(id, &why),
        };
        let process = node.process.as_ref().expect("it runs");
        let promised = process.durable_ballot;
        let damaged = node.is_damaged && !node.was_damaged;
        let (decided, wrote) = (process.replica.decided(), node.wrote_decided);
        if let Err(violation) = self.checks.keeps_its_word(id, promised, &process.replica) {
            self.violation.get_or_insert(violation);
        }
        self.check_promise(id, promised);
        if damaged {
            self.note_violation(format!("{id:?} finds damage that nobody did"));
        }
        if decided < wrote {
            self.note_violation(format!("{id:?} had written that {wrote} is decided and starts again at {decided}"));
        }
        self.say(|| format!("{id:?} starts, having promised {promised}"));
        self.compared.remove(&id);
        self.ticks.remove(&id);
        self.carry_out(id, effects);
        self.input(id, Input::Tick);
    }

    /// A start refused the data for its damage: an operator puts in an empty disk, and so a new replica.
    fn refuse(&mut self, id: NodeId, why: &str) {
        self.say(|| format!("{id:?} refuses its data: {why}"));
        if self.nodes[&id].was_damaged {
            self.faults.coverage.count(Kind::RefusedData);
        } else {
            self.note_violation(format!("{id:?} refuses data that nobody damaged: {why}"));
        }
        let number = self.nodes[&id].address;
        self.nodes.get_mut(&id).expect("a known node").lose_disk();
        let delay = self.chance.between(20_000, 300_000);
        self.add_joiner(number, delay);
    }

    pub(super) fn restart(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        if node.process.is_some() || node.gone || self.down_for_good.contains(&id) {
            return;
        }
        let contacts = self.newest_view.members.keys().copied().collect();
        self.start(id, contacts);
    }

    /// Its process has ended as it was asked to.
    pub(super) fn on_stopped(&mut self, id: NodeId) {
        if self.nodes[&id].stopping == Some(Stop::ToRestart) {
            self.say(|| format!("{id:?} has stopped"));
            let node = self.nodes.get_mut(&id).expect("a node that ran");
            node.end();
            node.disk.kill();
            let delay = self.chance.between(20_000, 700_000);
            self.schedule(delay, Event::Restart { node: id });
        } else {
            self.retire(id);
        }
    }

    /// It left the cluster for good and its process ended.
    fn retire(&mut self, id: NodeId) {
        self.say(|| format!("{id:?} leaves for good"));
        let node = self.nodes.get_mut(&id).expect("a node that ran");
        node.end();
        node.gone = true;
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

    /// Its machine loses power: what was not synced may be lost, sector by sector. It starts again after a while.
    pub fn crash(&mut self, id: NodeId) {
        let chance = &mut self.chance;
        let node = self.nodes.get_mut(&id).expect("a node that runs");
        node.end();
        node.disk.crash(&mut |below| chance.between(0, below - 1));
        self.come_back(id);
    }

    /// Its process is killed, and the machine lives on.
    pub fn kill(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a node that runs");
        node.end();
        node.disk.kill();
        self.come_back(id);
    }

    fn come_back(&mut self, id: NodeId) {
        self.ticks.remove(&id);
        let node = &self.nodes[&id];
        if node.is_volatile() {
            // Nothing is left of it but its address.
            let number = node.address;
            self.nodes.get_mut(&id).expect("a known node").gone = true;
            let delay = self.chance.between(20_000, 300_000);
            return self.add_joiner(number, delay);
        }
        let delay = self.chance.between(20_000, 700_000);
        self.schedule(delay, Event::Restart { node: id });
    }
}
