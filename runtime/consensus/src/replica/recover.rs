//! Starting again from the records of an earlier life.

use concoord_wire::Slot;
use concoord_wire::record::Record;

use super::{Config, Replica};
use crate::io::{Effect, LogPosition, Time};

/// Why records are not those of one replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// The first record does not say who this is.
    #[error("the log does not start with the record that says whose it is")]
    NoStart,
    /// The log is that of another replica or cluster.
    #[error("the log belongs to another replica or cluster")]
    NotOurs,
    /// The log says that a slot is decided for which it has no value.
    #[error("the log says that everything up to slot {decided} is decided, but has no value for slot {missing}")]
    Missing {
        /// How far it is decided.
        decided: Slot,
        /// The slot without a value.
        missing: Slot,
    },
}

impl Replica {
    /// The replica that wrote `records`, all of which are durable. Decided batches are handed to the application again,
    /// in `effects`.
    ///
    /// # Errors
    /// [`RecoverError`] when the records are not those of this replica.
    pub fn recover(
        config: Config,
        now: Time,
        records: impl IntoIterator<Item = Record>,
        effects: &mut Vec<Effect>,
    ) -> Result<Replica, RecoverError> {
        let mut replica = Replica::blank(config, now);
        let mut records = records.into_iter();
        let Some(Record::Start { cluster, node, genesis }) = records.next() else { return Err(RecoverError::NoStart) };
        if (cluster, node) != (replica.cluster, replica.node) {
            return Err(RecoverError::NotOurs);
        }
        replica.view = genesis.clone();
        replica.genesis = genesis;
        let mut appended = 1;
        for record in records {
            appended += 1;
            replica.replay(record)?;
        }
        replica.appended = LogPosition(appended);
        replica.durable = replica.appended;
        effects.append(&mut replica.effects);
        Ok(replica)
    }

    fn replay(&mut self, record: Record) -> Result<(), RecoverError> {
        match record {
            Record::Start { .. } => return Err(RecoverError::NotOurs),
            Record::Promised(ballot) => self.promised = self.promised.max(ballot),
            Record::Accepted { slot, ballot, value } => {
                self.promised = self.promised.max(ballot);
                if slot > self.log.decided() {
                    self.log.accept(slot, ballot, value);
                }
            }
            Record::Decided(decided) => {
                self.decided_persisted = decided;
                while self.log.decided() < decided {
                    let missing = self.log.decided().next();
                    if self.log.entry(missing).is_none() {
                        return Err(RecoverError::Missing { decided, missing });
                    }
                    self.decide_next();
                }
            }
        }
        Ok(())
    }
}
