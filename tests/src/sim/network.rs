//! Who hears whom.

use std::collections::BTreeSet;

use concoord::wire::NodeId;

use super::random::Chance;

/// The links between all processes. A process is a replica or a client, each with a place of its own.
#[derive(Debug)]
pub struct Network {
    /// One-way cuts: from, to.
    cut: BTreeSet<(Place, Place)>,
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

impl Network {
    /// A network that works.
    #[must_use]
    pub fn healthy() -> Network {
        Network { cut: BTreeSet::new(), loss_percent: 0, duplicate_percent: 0, delay_max_us: 2_000 }
    }

    /// Nothing passes from one place to the other.
    pub fn cut(&mut self, from: Place, to: Place) {
        self.cut.insert((from, to));
    }

    /// Everything passes again, and nothing is lost or doubled.
    pub fn heal(&mut self) {
        *self = Network::healthy();
    }

    /// The delays after which a message arrives: none if it is lost, two if it is doubled.
    pub fn delays(&self, from: Place, to: Place, chance: &mut Chance) -> Vec<u64> {
        if self.cut.contains(&(from, to)) || chance.percent(self.loss_percent) {
            return Vec::new();
        }
        let copies = 1 + u64::from(chance.percent(self.duplicate_percent));
        (0..copies).map(|_| chance.between(DELAY_MIN_US, self.delay_max_us)).collect()
    }

    /// Whether a message would pass.
    #[must_use]
    pub fn passes(&self, from: Place, to: Place) -> bool {
        !self.cut.contains(&(from, to))
    }
}
