//! Starting again from an earlier life's snapshot and log.

use concoord_wire::record::Record;
use concoord_wire::{Ballot, Slot};

use super::{Config, Replica};
use crate::io::{Effect, Past, Replayed, Time};
use crate::mutated;

impl Replica {
    /// The replica that wrote `past`, all of which is durable, above the snapshot of `config`, which the application has
    /// taken over. Decided batches are handed to the application again, in `effects`.
    ///
    /// What is said to be decided counts as far as each value before it is known for certain. The rest is learned again
    /// from peers: a mark that is not followed costs time and never safety.
    #[must_use]
    pub fn recover(config: Config, now: Time, past: Past, effects: &mut Vec<Effect>) -> Replica {
        let snapshot_bytes = config.policy.snapshot_bytes;
        let mut replica = Replica::new(config, now);
        // What is replayed counts toward the next snapshot; none is made on the way.
        replica.policy.snapshot_bytes = u64::MAX;
        replica.promised = past.promised;
        for replayed in past.replayed {
            replica.replay(replayed);
        }
        // A mark that could not be followed is written again once it can be: the next start has to find a change of view
        // before what is accepted behind it.
        replica.decided_persisted = replica.decided_persisted.max(replica.log.decided());
        if mutated!(PromiseForgotten) {
            replica.promised = Ballot::ZERO;
        }
        replica.appended = past.position;
        replica.appended_before = past.position;
        replica.durable = past.position;
        replica.view_at = past.position;
        // Who left its view may ask to be taken in again.
        replica.stopped = false;
        replica.effects.retain(|effect| matches!(effect, Effect::Apply { .. }));
        replica.policy.snapshot_bytes = snapshot_bytes;
        effects.append(&mut replica.effects);
        replica
    }

    fn replay(&mut self, replayed: Replayed) {
        match replayed {
            Replayed::Record(Record::Promised(ballot)) => self.promised = self.promised.max(ballot),
            Replayed::Record(Record::Accepted { slot, ballot, value }) => {
                self.promised = self.promised.max(ballot);
                if slot > self.log.decided() {
                    self.log.accept(slot, ballot, value);
                }
            }
            Replayed::Record(Record::Decided(decided)) => self.replay_decided(decided),
            Replayed::Record(Record::Void { first, last }) => self.log.forget(first, last),
            Replayed::Unknown { .. } if mutated!(UnknownIgnored) => {}
            Replayed::Unknown { first, last } => self.log.forget(first, last),
        }
    }

    fn replay_decided(&mut self, decided: Slot) {
        if mutated!(DecidedNotPersistedAgain) {
            self.decided_persisted = self.decided_persisted.max(decided);
        }
        while self.log.decided() < decided {
            let next = self.log.decided().next();
            if self.log.entry(next).is_none() || self.log.is_unknown(next) {
                break;
            }
            self.decide_next();
        }
    }
}
