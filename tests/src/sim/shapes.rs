//! Networks in which some replicas hear each other and others don't: partitions, and the three shapes of partial
//! connectivity of the OmniPaxos paper (Ng, Haridi, Carbone: Omni-Paxos, EuroSys 2023, section 2).

use concoord::wire::NodeId;

use super::coverage::Kind;
use super::network::Place;
use super::world::{Event, World};

/// How long a replica lags before the leader is cut off in a constrained election.
const LAG_MIN_US: u64 = 30_000;
const LAG_MAX_US: u64 = 200_000;

impl World {
    /// Two sides, cut both ways or one way: any, or `victim` and another one on one of them, as a leader that is about to be
    /// deposed and still has somebody.
    pub(super) fn partition(&mut self, running: &[NodeId], victim: NodeId) {
        let one_way = self.chance.percent(40);
        self.faults.coverage.count(if one_way { Kind::OneWayPartition } else { Kind::Partition });
        let pair = self.chance.percent(50).then(|| self.another(running, victim)).flatten();
        let side = |world: &mut World, id: NodeId| match pair {
            Some(other) => id == victim || id == other,
            None => world.chance.percent(50),
        };
        let sides: Vec<bool> = running.iter().map(|id| side(self, *id)).collect();
        for (a, a_side) in running.iter().zip(&sides) {
            for (b, b_side) in running.iter().zip(&sides) {
                if *a_side && !*b_side {
                    self.network.cut(Place::Node(*a), Place::Node(*b));
                }
                if !*a_side && *b_side && !one_way {
                    self.network.cut(Place::Node(*a), Place::Node(*b));
                }
            }
        }
    }

    /// One pair, cut one way or both ways.
    pub(super) fn cut_link(&mut self, running: &[NodeId], victim: NodeId) {
        let Some(other) = self.another(running, victim) else { return };
        self.faults.coverage.count(Kind::LinkCut);
        self.network.cut(Place::Node(victim), Place::Node(other));
        if self.chance.percent(50) {
            self.network.cut(Place::Node(other), Place::Node(victim));
        }
    }

    /// One of the shapes of partial connectivity. `victim` is the leader more often than not.
    pub(super) fn connect_partially(&mut self, running: &[NodeId], victim: NodeId) {
        let Some(hub) = self.another(running, victim) else { return };
        match self.chance.between(0, 2) {
            0 => {
                self.faults.coverage.count(Kind::QuorumLoss);
                self.connect_only_to(running, hub);
            }
            1 => {
                self.network.cut_both_ways(Place::Node(victim), Place::Node(hub));
                let delay = self.chance.between(LAG_MIN_US, LAG_MAX_US);
                self.schedule(delay, Event::Constrain { leader: victim, hub });
            }
            _ => {
                self.faults.coverage.count(Kind::Chain);
                let mut chain = running.to_vec();
                self.chance.shuffle(&mut chain);
                for (place, a) in chain.iter().enumerate() {
                    for b in chain.iter().skip(place + 2) {
                        self.network.cut_both_ways(Place::Node(*a), Place::Node(*b));
                    }
                }
            }
        }
    }

    /// The second part of a constrained election: `hub`, which lags, is the only one with a majority from now on, and
    /// the leader has nobody.
    pub(super) fn on_constrain(&mut self, leader: NodeId, hub: NodeId) {
        if self.is_healing() {
            return;
        }
        self.faults.coverage.count(Kind::ConstrainedElection);
        let running = self.running();
        for other in running.iter().filter(|other| **other != leader) {
            self.network.cut_both_ways(Place::Node(leader), Place::Node(*other));
        }
        let rest: Vec<NodeId> = running.into_iter().filter(|other| *other != leader).collect();
        self.connect_only_to(&rest, hub);
        self.say(|| format!("of {rest:?} only {hub:?} has a majority, and {leader:?} has nobody"));
    }

    fn connect_only_to(&mut self, nodes: &[NodeId], hub: NodeId) {
        for a in nodes {
            for b in nodes {
                if a != b && *a != hub && *b != hub {
                    self.network.cut(Place::Node(*a), Place::Node(*b));
                }
            }
        }
    }

    /// A link, or all links of a replica, hold what is sent for a while.
    pub(super) fn clog(&mut self, running: &[NodeId], victim: NodeId) {
        let until_us = self.now_us + self.chance.between(20_000, 500_000);
        let Some(only) = self.another(running, victim) else { return };
        self.faults.coverage.count(Kind::Clog);
        let all = self.chance.percent(30);
        for other in running.iter().filter(|other| **other != victim && (all || **other == only)) {
            if self.chance.percent(70) {
                self.network.clog(Place::Node(victim), Place::Node(*other), until_us);
            } else {
                self.network.clog(Place::Node(*other), Place::Node(victim), until_us);
            }
        }
    }

    /// What a replica hears comes late, and soon what it says comes even later: if it leads, others elect one of them, while
    /// it gets confirmations of what it had asked before.
    pub(super) fn make_late(&mut self, running: &[NodeId], victim: NodeId) {
        self.faults.coverage.count(Kind::LateLeader);
        let hears_us = self.now_us + self.chance.between(50_000, 195_000);
        for other in running.iter().filter(|other| **other != victim) {
            self.network.clog(Place::Node(*other), Place::Node(victim), hears_us);
        }
        let delay = self.chance.between(0, 30_000);
        self.schedule(delay, Event::Mute { node: victim });
    }

    /// The second part of making a replica late.
    pub(super) fn on_mute(&mut self, node: NodeId) {
        if !self.is_healing() {
            let heard_us = self.now_us + self.chance.between(150_000, 600_000);
            self.hold_back(node, heard_us);
        }
    }

    fn hold_back(&mut self, node: NodeId, heard_us: u64) {
        for other in self.running().into_iter().filter(|other| *other != node) {
            self.network.clog(Place::Node(node), Place::Node(other), heard_us);
        }
    }

    /// A leader's seal is decided. Perhaps the others hear of it from one another before they hear of it from the leader.
    pub(super) fn on_seal(&mut self, leader: NodeId) {
        if self.is_healing() || !self.chance.percent(25) {
            return;
        }
        self.faults.coverage.count(Kind::LateSeal);
        let heard_us = self.now_us + self.chance.between(100_000, 600_000);
        self.hold_back(leader, heard_us);
    }

    /// A client loses its way to some replicas, or its way back.
    pub(super) fn cut_client(&mut self, running: &[NodeId]) {
        self.faults.coverage.count(Kind::ClientCut);
        let last = self.clients.len() as u64 - 1;
        let client = Place::Client(usize::try_from(self.chance.between(0, last)).expect("few clients"));
        for node in running {
            if self.chance.percent(50) {
                self.network.cut(client, Place::Node(*node));
            }
            if self.chance.percent(30) {
                self.network.cut(Place::Node(*node), client);
            }
        }
    }

    fn another(&mut self, running: &[NodeId], victim: NodeId) -> Option<NodeId> {
        let others: Vec<NodeId> = running.iter().copied().filter(|id| *id != victim).collect();
        self.chance.pick(&others)
    }
}
