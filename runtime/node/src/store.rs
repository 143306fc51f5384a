//! Where a replica's log and snapshots are kept, and what waits until they are kept safely.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use concoord_consensus::io::LogPosition;
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::{NodeId, Slot};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::disk::{Directory, MemoryDirectory};
use crate::error::NodeError;
use crate::log::{Log, LogError, LogEvent, LogWriter};
use crate::snapshots::{Saver, Snapshots};

/// A replica's log and snapshots, on disk or in memory. What comes of each request is a [`LogEvent`].
///
/// Records are appended in the order of their positions, without gaps. A record counts as durable only when
/// [`LogEvent::Durable`] said so.
#[derive(Debug)]
pub(crate) struct Store {
    records: Records,
    saver: Saver,
}

#[derive(Debug)]
enum Records {
    /// Threads of their own write.
    Disk(LogWriter),
    /// Nothing survives the process.
    Memory(Memory),
}

impl Store {
    /// On disk: goes on with this log in this directory, which has the snapshots too.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn on_disk(
        log: Log,
        directory: Arc<dyn Directory>,
    ) -> Result<(Store, UnboundedReceiver<LogEvent>), NodeError> {
        let (events, receiver) = unbounded_channel();
        let saver = Saver::start(Snapshots::new(directory), events.clone()).map_err(no_thread)?;
        let records = Records::Disk(LogWriter::start(log, events).map_err(no_thread)?);
        Ok((Store { records, saver }, receiver))
    }

    /// In memory, with the snapshot that the replica starts from.
    ///
    /// # Errors
    /// When the system gives no thread, and as [`Snapshots::save`].
    pub(crate) fn in_memory(
        checkpoint: &Checkpoint,
        body: &[u8],
    ) -> Result<(Store, UnboundedReceiver<LogEvent>), NodeError> {
        let snapshots = Snapshots::new(Arc::new(MemoryDirectory::new()));
        snapshots.save(checkpoint, body)?;
        let (events, receiver) = unbounded_channel();
        let saver = Saver::start(snapshots, events.clone()).map_err(no_thread)?;
        let records = Records::Memory(Memory { last: LogPosition(0), told: LogPosition(0), events });
        Ok((Store { records, saver }, receiver))
    }

    /// Takes a record, which goes on its way with the next [`Store::commit`].
    pub(crate) fn append(&mut self, position: LogPosition, record: Record) {
        match &mut self.records {
            Records::Disk(writer) => writer.append(position, record),
            Records::Memory(memory) => {
                assert_eq!(position.0, memory.last.0 + 1, "records are numbered without gaps");
                memory.last = position;
            }
        }
    }

    /// Hands over what was taken. [`LogEvent::Durable`] follows.
    pub(crate) fn commit(&mut self) {
        match &mut self.records {
            Records::Disk(writer) => writer.commit(),
            Records::Memory(memory) => memory.commit(),
        }
    }

    /// Records of slots up to here are not needed any more.
    pub(crate) fn truncate(&self, upto: Slot) {
        if let Records::Disk(writer) = &self.records {
            writer.truncate(upto);
        }
    }

    /// The snapshots.
    pub(crate) fn saver(&self) -> &Saver {
        &self.saver
    }

    /// Ends, when all is written that it was given.
    ///
    /// # Errors
    /// As [`LogWriter::close`].
    pub(crate) fn close(self) -> Result<(), LogError> {
        drop(self.saver);
        match self.records {
            Records::Disk(writer) => writer.close(),
            Records::Memory(_) => Ok(()),
        }
    }
}

fn no_thread(error: io::Error) -> NodeError {
    NodeError::HostFault { why: format!("the log's threads can't start: {error}") }
}

/// Counts records and forgets them, so a replica that stops is a lost identity. Its members join as volatile ones.
#[derive(Debug)]
struct Memory {
    last: LogPosition,
    told: LogPosition,
    events: UnboundedSender<LogEvent>,
}

impl Memory {
    fn commit(&mut self) {
        if self.told < self.last {
            self.told = self.last;
            // Without a driver there is nobody to tell.
            let _ = self.events.send(LogEvent::Durable(self.last));
        }
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
        let (from, mut said) = memory();
        let checkpoint = Checkpoint { slot: Slot(7), ..Checkpoint::genesis(ClusterId(1), View::first([])) };
        from.saver().save(checkpoint.clone(), Box::new(|| vec![7; 1000]));
        let Some(LogEvent::Saved(file)) = said.blocking_recv() else { panic!("it is saved") };
        let (to, mut heard) = memory();
        let mut have = 0;
        while have < file.bytes {
            let part = from.saver().snapshots().read_raw(Slot(7), have, 300).expect("it is there");
            to.saver().receive(Slot(7), have, part.into());
            let Some(LogEvent::Received { have: now, .. }) = heard.blocking_recv() else { panic!("a part is taken") };
            assert!(now > have);
            have = now;
        }
        to.saver().complete(Slot(7));
        let Some(LogEvent::Installed(loaded)) = heard.blocking_recv() else { panic!("it is whole") };
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
