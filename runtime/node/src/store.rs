//! Where a replica's log and snapshots are kept, and what waits until they are kept safely.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use concoord_consensus::io::LogPosition;
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::{NodeId, Slot};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::disk::MemoryDirectory;
use crate::log::{LogEvent, LogWriter};
use crate::snapshots::{Incoming, SnapshotError, Snapshots, report_not_dropped};

/// A replica's log and snapshots, on disk or in memory. What comes of each request is a [`LogEvent`].
///
/// Records are appended in the order of their positions, without gaps. A record counts as durable only when
/// [`LogEvent::Durable`] said so.
#[derive(Debug)]
pub(crate) enum Store {
    /// Threads of their own write.
    Disk(LogWriter),
    /// Nothing survives the process.
    Memory(Memory),
}

impl Store {
    /// In memory, with the snapshot that the replica starts from.
    ///
    /// # Errors
    /// As [`Snapshots::save`].
    pub(crate) fn in_memory(
        checkpoint: &Checkpoint,
        body: &[u8],
    ) -> Result<(Store, UnboundedReceiver<LogEvent>), SnapshotError> {
        let snapshots = Snapshots::new(Arc::new(MemoryDirectory::new()));
        snapshots.save(checkpoint, body)?;
        let (events, receiver) = unbounded_channel();
        let memory = Memory { last: LogPosition(0), told: LogPosition(0), snapshots, incoming: None, events };
        Ok((Store::Memory(memory), receiver))
    }

    /// Takes a record, which goes on its way with the next [`Store::commit`].
    pub(crate) fn append(&mut self, position: LogPosition, record: Record) {
        match self {
            Store::Disk(writer) => writer.append(position, record),
            Store::Memory(memory) => {
                assert_eq!(position.0, memory.last.0 + 1, "records are numbered without gaps");
                memory.last = position;
            }
        }
    }

    /// Hands over what was taken. [`LogEvent::Durable`] follows.
    pub(crate) fn commit(&mut self) {
        match self {
            Store::Disk(writer) => writer.commit(),
            Store::Memory(memory) if memory.told < memory.last => {
                memory.told = memory.last;
                memory.tell(LogEvent::Durable(memory.last));
            }
            Store::Memory(_) => {}
        }
    }

    /// Records of slots up to here are not needed any more.
    pub(crate) fn truncate(&self, upto: Slot) {
        if let Store::Disk(writer) = self {
            writer.truncate(upto);
        }
    }

    /// [`LogEvent::Saved`] or [`LogEvent::NotSaved`] follows.
    pub(crate) fn save_snapshot(&mut self, checkpoint: Checkpoint, body: Bytes) {
        match self {
            Store::Disk(writer) => writer.save_snapshot(checkpoint, body),
            Store::Memory(memory) => {
                let event = match memory.snapshots.save(&checkpoint, &body) {
                    Ok(file) => LogEvent::Saved(file),
                    Err(error) => LogEvent::NotSaved { slot: checkpoint.slot, error },
                };
                memory.tell(event);
            }
        }
    }

    /// Removes the snapshots of slots above `after` and below `before`.
    pub(crate) fn drop_snapshots(&self, after: Slot, before: Slot) {
        match self {
            Store::Disk(writer) => writer.drop_snapshots(after, before),
            Store::Memory(memory) => report_not_dropped(memory.snapshots.remove_between(after, before)),
        }
    }

    /// Takes a part of a peer's snapshot. [`LogEvent::Received`] or [`LogEvent::NotReceived`] follows.
    pub(crate) fn receive(&mut self, slot: Slot, offset: u64, bytes: Bytes) {
        match self {
            Store::Disk(writer) => writer.receive(slot, offset, bytes),
            Store::Memory(memory) => {
                let event = match memory.receive(slot, offset, &bytes) {
                    Ok(have) => LogEvent::Received { slot, have },
                    Err(error) => LogEvent::NotReceived { slot, error },
                };
                memory.tell(event);
            }
        }
    }

    /// All parts are there. [`LogEvent::Installed`] or [`LogEvent::NotReceived`] follows.
    pub(crate) fn complete(&mut self, slot: Slot) {
        match self {
            Store::Disk(writer) => writer.complete(slot),
            Store::Memory(memory) => {
                let event = match memory.complete(slot) {
                    Ok(loaded) => LogEvent::Installed(loaded),
                    Err(error) => LogEvent::NotReceived { slot, error },
                };
                memory.tell(event);
            }
        }
    }

    /// The snapshots, for reading them.
    pub(crate) fn snapshots(&self) -> &Snapshots {
        match self {
            Store::Disk(writer) => writer.snapshots(),
            Store::Memory(memory) => &memory.snapshots,
        }
    }
}

/// Counts records and forgets them, so a replica that stops is a lost identity. Its members join as volatile ones.
#[derive(Debug)]
pub(crate) struct Memory {
    last: LogPosition,
    told: LogPosition,
    snapshots: Snapshots,
    incoming: Option<Incoming>,
    events: UnboundedSender<LogEvent>,
}

impl Memory {
    fn tell(&self, event: LogEvent) {
        // Without a driver there is nobody to tell.
        let _ = self.events.send(event);
    }

    fn incoming(&mut self, slot: Slot) -> Result<&mut Incoming, SnapshotError> {
        let incoming = match self.incoming.take().filter(|incoming| incoming.slot() == slot) {
            Some(incoming) => incoming,
            None => self.snapshots.incoming(slot)?,
        };
        Ok(self.incoming.insert(incoming))
    }

    fn receive(&mut self, slot: Slot, offset: u64, bytes: &[u8]) -> Result<u64, SnapshotError> {
        let incoming = self.incoming(slot)?;
        match incoming.append(offset, bytes) {
            Ok(()) | Err(SnapshotError::OutOfOrder { .. }) => Ok(incoming.received()),
            Err(error) => Err(error),
        }
    }

    fn complete(&mut self, slot: Slot) -> Result<crate::snapshots::LoadedSnapshot, SnapshotError> {
        self.incoming(slot)?;
        if let Some(incoming) = self.incoming.take() {
            incoming.complete()?;
        }
        self.snapshots.load(slot)
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
    /// With everything up to `durable` durable already.
    pub(crate) fn from(durable: LogPosition) -> Held {
        Held { durable, waiting: BTreeMap::new() }
    }

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

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::member::View;
    use concoord_wire::{Ballot, ClusterId};

    use super::*;

    fn outgoing(to: u64) -> Outgoing {
        (NodeId(to), Message::Fetch { from: Slot(to) })
    }

    fn memory() -> (Store, UnboundedReceiver<LogEvent>) {
        let checkpoint = Checkpoint::genesis(ClusterId(1), View::first([]));
        Store::in_memory(&checkpoint, b"nothing").expect("memory has room")
    }

    #[test]
    fn a_store_in_memory_is_durable_up_to_what_it_was_given() {
        let (mut store, mut events) = memory();
        store.append(LogPosition(1), Record::Promised(Ballot::ZERO));
        store.append(LogPosition(2), Record::Decided(Slot(1)));
        assert!(events.try_recv().is_err(), "not handed over");
        store.commit();
        store.commit();
        assert!(matches!(events.try_recv(), Ok(LogEvent::Durable(LogPosition(2)))));
        assert!(events.try_recv().is_err(), "said once");
    }

    #[test]
    #[should_panic(expected = "without gaps")]
    fn a_gap_in_the_log_is_our_own_bug() {
        memory().0.append(LogPosition(2), Record::Decided(Slot(1)));
    }

    #[test]
    fn a_snapshot_in_memory_passes_from_one_store_to_another_in_parts() {
        let (mut from, mut said) = memory();
        let checkpoint = Checkpoint { slot: Slot(7), ..Checkpoint::genesis(ClusterId(1), View::first([])) };
        from.save_snapshot(checkpoint.clone(), Bytes::from(vec![7; 1000]));
        let Ok(LogEvent::Saved(file)) = said.try_recv() else { panic!("it is saved") };
        let (mut to, mut heard) = memory();
        let mut have = 0;
        while have < file.bytes {
            let part = from.snapshots().read_raw(Slot(7), have, 300).expect("it is there");
            to.receive(Slot(7), have, part.into());
            let Ok(LogEvent::Received { have: now, .. }) = heard.try_recv() else { panic!("a part is taken") };
            assert!(now > have);
            have = now;
        }
        to.complete(Slot(7));
        let Ok(LogEvent::Installed(loaded)) = heard.try_recv() else { panic!("it is whole") };
        assert_eq!((loaded.checkpoint, loaded.body), (checkpoint, vec![7; 1000]));
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
