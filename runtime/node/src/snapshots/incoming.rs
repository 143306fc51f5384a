//! A snapshot on its way from another node. What has arrived survives a restart, so a broken transfer goes on where it
//! stopped; nothing of it counts before it was checked as a whole.

use std::io;

use concoord_wire::Slot;

use super::{SnapshotError, SnapshotFile, Snapshots, format, incoming_name, is_incoming};
use crate::disk::{File, Named};

/// The part of a snapshot file that has arrived.
#[derive(Debug)]
pub struct Incoming {
    snapshots: Snapshots,
    slot: Slot,
    name: String,
    file: Box<dyn File>,
    received: u64,
}

impl Incoming {
    pub(super) fn open(snapshots: Snapshots, slot: Slot) -> Result<Incoming, SnapshotError> {
        let directory = &*snapshots.directory;
        let name = incoming_name(slot);
        for other in directory.list().named(directory, "list", "")? {
            if is_incoming(&other) && other != name {
                directory.remove(&other).named(directory, "remove", &other)?;
            }
        }
        let file = match directory.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => directory.create(&name),
            opened => opened,
        };
        let file = file.named(directory, "open", &name)?;
        let received = file.bytes().named(directory, "read", &name)?;
        Ok(Incoming { snapshots, slot, name, file, received })
    }

    /// Which snapshot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Bytes that are there: the next part begins at this offset.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Adds a part.
    ///
    /// # Errors
    /// [`SnapshotError::OutOfOrder`] when it does not begin where the last one ended, and [`SnapshotError::File`]; the
    /// transfer can go on from [`Incoming::received`] after both.
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        if offset != self.received {
            return Err(SnapshotError::OutOfOrder { offset, have: self.received });
        }
        self.file.write_at(offset, bytes).named(&*self.snapshots.directory, "write", &self.name)?;
        let before = self.received;
        self.received += bytes.len() as u64;
        if format::is_sync_due(before, self.received) {
            self.file.sync().named(&*self.snapshots.directory, "sync", &self.name)?;
        }
        Ok(())
    }

    /// All parts are there: checks them as a whole and makes them a snapshot, durably.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when they are not the snapshot of this slot: then they are removed, and the transfer
    /// has to begin again. [`SnapshotError::File`] as for [`Snapshots::save`].
    pub fn complete(mut self) -> Result<SnapshotFile, SnapshotError> {
        let directory = &*self.snapshots.directory;
        self.file.sync().named(directory, "sync", &self.name)?;
        let file = format::verify(directory, &self.name, self.slot).inspect_err(|error| {
            if matches!(error, SnapshotError::Damaged { .. }) {
                // Else the next try finds it damaged again.
                let _ = directory.remove(&self.name);
            }
        })?;
        self.snapshots.publish(&self.name, self.slot)?;
        Ok(file)
    }

    /// The transfer is not wanted any more.
    ///
    /// # Errors
    /// [`SnapshotError::File`].
    pub fn abandon(self) -> Result<(), SnapshotError> {
        let directory = &*self.snapshots.directory;
        Ok(directory.remove(&self.name).named(directory, "remove", &self.name)?)
    }
}
