//! Who hears whom.

use std::collections::{BTreeMap, BTreeSet};

use concoord::wire::NodeId;

use super::random::Chance;

/// The links between all processes. A process is a replica or a client, each with a place of its own.
#[derive(Debug)]
pub struct Network {
    /// One-way cuts: from, to.
    cut: BTreeSet<(Place, Place)>,
    /// Cuts that no healing mends.
    cut_for_good: BTreeSet<(Place, Place)>,
    /// Links that hold everything until then.
    clogged: BTreeMap<(Place, Place), u64>,
    /// Of 100 messages, how many are lost.
    pub loss_percent: u64,
    /// Of 100 messages, how many arrive twice.
    pub duplicate_percent: u64,
    /// Longest delay of a message in microseconds. Delays differ, so messages overtake each other.
    pub delay_max_us: u64,
}

/// Where a process is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A replica.
    Node(NodeId),
    /// A client, by number.
    Client(usize),
}

/// The shortest delay of a message.
const DELAY_MIN_US: u64 = 50;
/// The longest delay of a message in a network that works.
const DELAY_MAX_US: u64 = 2_000;

impl Network {
    /// A network that works.
    #[must_use]
    pub fn healthy() -> Network {
        Network {
            cut: BTreeSet::new(),
            cut_for_good: BTreeSet::new(),
            clogged: BTreeMap::new(),
            loss_percent: 0,
            duplicate_percent: 0,
            delay_max_us: DELAY_MAX_US,
        }
    }

    /// Nothing passes from one place to the other.
    pub fn cut(&mut self, from: Place, to: Place) {
        self.cut.insert((from, to));
    }

    /// Nothing passes between the two places.
    pub fn cut_both_ways(&mut self, a: Place, b: Place) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Nothing passes from one place to the other, ever again.
    pub fn cut_for_good(&mut self, from: Place, to: Place) {
        self.cut_for_good.insert((from, to));
    }

    /// The link holds everything that is sent, and delivers it from `until_us` on.
    pub fn clog(&mut self, from: Place, to: Place, until_us: u64) {
        self.clogged.insert((from, to), until_us);
    }

    /// Everything passes again but for what is cut for good, and nothing is lost or doubled.
    pub fn heal(&mut self) {
        let cut_for_good = std::mem::take(&mut self.cut_for_good);
        *self = Network { cut_for_good, ..Network::healthy() };
    }

    /// The delays after which a message arrives that is sent at `now_us`: none if it is lost, two if it is doubled.
    pub fn delays(&self, from: Place, to: Place, now_us: u64, chance: &mut Chance) -> [Option<u64>; 2] {
        if !self.passes(from, to) || chance.percent(self.loss_percent) {
            return [None; 2];
        }
        let held_us = self.clogged.get(&(from, to)).map_or(0, |until_us| until_us.saturating_sub(now_us));
        let is_doubled = chance.percent(self.duplicate_percent);
        let mut delay = || held_us + chance.between(DELAY_MIN_US, self.delay_max_us);
        [Some(delay()), is_doubled.then(delay)]
    }

    /// Whether a message would pass.
    #[must_use]
    pub fn passes(&self, from: Place, to: Place) -> bool {
        let cut = |cuts: &BTreeSet<(Place, Place)>| !cuts.is_empty() && cuts.contains(&(from, to));
        !(cut(&self.cut) || cut(&self.cut_for_good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Place = Place::Client(0);
    const B: Place = Place::Client(1);

    fn arrives(network: &Network, from: Place, to: Place) -> Option<u64> {
        network.delays(from, to, 1_000, &mut Chance::new(1))[0]
    }

    #[test]
    fn cuts_are_one_way_and_heal_unless_they_are_for_good() {
        let mut network = Network::healthy();
        network.cut(A, B);
        assert!(arrives(&network, A, B).is_none() && arrives(&network, B, A).is_some());
        network.cut_for_good(B, A);
        network.heal();
        assert!(arrives(&network, A, B).is_some() && arrives(&network, B, A).is_none());
    }

    #[test]
    fn a_clog_holds_what_is_sent_and_loses_nothing() {
        let mut network = Network::healthy();
        network.clog(A, B, 51_000);
        assert!(arrives(&network, A, B).is_some_and(|delay| delay >= 50_000));
        assert!(arrives(&network, B, A).is_some_and(|delay| delay <= DELAY_MAX_US));
    }

    #[test]
    fn duplicates_arrive_as_often_as_they_should() {
        let network = Network { duplicate_percent: 20, ..Network::healthy() };
        let mut chance = Chance::new(3);
        let doubled = (0..1_000).filter(|_| network.delays(A, B, 0, &mut chance)[1].is_some()).count();
        assert!((150..250).contains(&doubled), "{doubled} of 1,000");
    }
}
