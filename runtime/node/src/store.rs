//! Where a replica's log is kept, and what waits until it is kept safely.

use std::collections::BTreeMap;

use concoord_consensus::io::LogPosition;
use concoord_wire::NodeId;
use concoord_wire::peer::Message;
use concoord_wire::record::Record;

/// A replica's log on its way to something durable.
///
/// Records are appended in the order of their positions, without gaps. A record counts as durable only when
/// [`Store::sync`] said so; an error of it ends the process, because what the disk holds is then unknown.
pub(crate) trait Store: Send {
    /// Takes a record. It may be lost until a sync covers it.
    ///
    /// # Errors
    /// [`StoreError`] when it can't be taken.
    fn append(&mut self, position: LogPosition, record: Record) -> Result<(), StoreError>;

    /// Makes what was appended durable as far as that goes without waiting for long, and tells up to where the log
    /// is durable now.
    ///
    /// # Errors
    /// [`StoreError`]; it is not retried.
    fn sync(&mut self) -> Result<LogPosition, StoreError>;
}

/// The log can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log position {position}: {why}")]
pub struct StoreError {
    /// The first position that is not durable.
    pub position: LogPosition,
    /// What happened.
    pub why: String,
}

/// Memory only: it counts records and forgets them, so a replica that stops is a lost identity. Its members join as
/// volatile ones.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    last: LogPosition,
}

impl Store for MemoryStore {
    fn append(&mut self, position: LogPosition, _record: Record) -> Result<(), StoreError> {
        assert_eq!(position.0, self.last.0 + 1, "records are numbered without gaps");
        self.last = position;
        Ok(())
    }

    fn sync(&mut self) -> Result<LogPosition, StoreError> {
        Ok(self.last)
    }
}

/// A message that waits for the log.
pub(crate) type Outgoing = (NodeId, Message);

/// Messages that must not be seen before the log is durable up to a position.
#[derive(Debug, Default)]
pub(crate) struct Held {
    durable: LogPosition,
    waiting: BTreeMap<LogPosition, Vec<Outgoing>>,
}

impl Held {
    /// Gives the message back when it may go at once, else keeps it.
    pub(crate) fn admit(&mut self, after: LogPosition, outgoing: Outgoing) -> Option<Outgoing> {
        if after <= self.durable {
            return Some(outgoing);
        }
        self.waiting.entry(after).or_default().push(outgoing);
        None
    }

    /// The log is durable up to `durable`: gives what waited for no more than that, in the order of positions.
    ///
    /// # Panics
    /// When durability falls, which no store may say.
    pub(crate) fn release(&mut self, durable: LogPosition) -> Vec<Outgoing> {
        assert!(durable >= self.durable, "durable up to {} after {}", durable, self.durable);
        self.durable = durable;
        let still = self.waiting.split_off(&LogPosition(durable.0 + 1));
        std::mem::replace(&mut self.waiting, still).into_values().flatten().collect()
    }

    pub(crate) fn durable(&self) -> LogPosition {
        self.durable
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::{Ballot, Slot};

    use super::*;

    fn outgoing(to: u64) -> Outgoing {
        (NodeId(to), Message::Fetch { from: Slot(to) })
    }

    #[test]
    fn the_memory_store_is_durable_up_to_what_it_was_given() {
        let mut store = MemoryStore::default();
        assert_eq!(store.sync(), Ok(LogPosition(0)));
        store.append(LogPosition(1), Record::Promised(Ballot::ZERO)).expect("memory takes everything");
        store.append(LogPosition(2), Record::Decided(Slot(1))).expect("memory takes everything");
        assert_eq!(store.sync(), Ok(LogPosition(2)));
    }

    #[test]
    #[should_panic(expected = "without gaps")]
    fn a_gap_in_the_log_is_our_own_bug() {
        let _ = MemoryStore::default().append(LogPosition(2), Record::Decided(Slot(1)));
    }

    #[test]
    fn a_message_waits_until_its_position_is_durable() {
        let mut held = Held::default();
        assert_eq!(held.admit(LogPosition(0), outgoing(1)), Some(outgoing(1)), "0 is always durable");
        assert_eq!(held.admit(LogPosition(2), outgoing(2)), None);
        assert_eq!(held.admit(LogPosition(1), outgoing(3)), None);
        assert_eq!(held.admit(LogPosition(3), outgoing(4)), None);
        assert_eq!(held.release(LogPosition(2)), vec![outgoing(3), outgoing(2)]);
        assert!(!held.is_empty());
        assert_eq!(held.admit(LogPosition(2), outgoing(5)), Some(outgoing(5)), "durable by now");
        assert_eq!(held.release(LogPosition(2)), vec![]);
        assert_eq!(held.release(LogPosition(9)), vec![outgoing(4)]);
        assert!(held.is_empty());
    }
}
