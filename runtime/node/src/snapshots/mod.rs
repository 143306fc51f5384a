//! Snapshots: files beside the log, each the whole state after one slot. The newest two are kept, so that one that rots is
//! no loss of the other.
//!
//! A snapshot is written aside, synced, renamed and the directory synced; only then the log may be cut below it. The
//! same files go over the wire as they are: [`Snapshots::read_raw`] on one side, [`Incoming`] on the other. The body is
//! opaque here, so a witness keeps what it can't read.
//!
//! | file          | role                                     |
//! |---------------|------------------------------------------|
//! | `format.rs`   | the bytes of a snapshot file             |
//! | `incoming.rs` | a snapshot on its way from another node  |
//! | `saver.rs`    | the thread that saves and receives them  |

mod format;
mod incoming;
mod saver;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use concoord_consensus::mutated;
use concoord_wire::Slot;
use concoord_wire::checkpoint::Checkpoint;

use crate::disk::{Directory, FileError, Named, PART, RealDirectory};
use crate::log::names;
pub use incoming::Incoming;
pub use saver::{Body, Saver};

/// Snapshots kept.
pub const SNAPSHOTS_KEPT: usize = 2;
const PREFIX: &str = "snapshot-";
const INCOMING: &str = "incoming-";

/// Why a snapshot can't be saved, read or received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// An operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what was written.
    #[error("{} at byte {offset}: {why}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// From where on it can't be used.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// Another build wrote it.
    #[error("{} has format version {found}, but this build reads {}: use the newer build", .file.display(),
        format::VERSION)]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A part of an incoming snapshot is not the next one.
    #[error("bytes from {offset} of an incoming snapshot that has {have}: send from {have} on")]
    OutOfOrder {
        /// Where the part begins.
        offset: u64,
        /// Bytes that are there already.
        have: u64,
    },
    /// There is none of that slot.
    #[error("there is no snapshot of slot {slot}")]
    Missing {
        /// The slot.
        slot: Slot,
    },
}

impl SnapshotError {
    /// Whether there was no room on the disk: worth another try later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, SnapshotError::File(error) if error.is_full())
    }
}

/// A snapshot that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Where in the log it stands.
    pub checkpoint: Checkpoint,
    /// Bytes of its file.
    pub bytes: u64,
}

/// A snapshot with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSnapshot {
    /// Where in the log it stands.
    pub checkpoint: Checkpoint,
    /// The state; what saved it knows its format.
    pub body: Vec<u8>,
    /// Bytes of its file.
    pub bytes: u64,
}

/// The newest snapshot that is whole, and what is wrong with the newer ones.
#[derive(Debug)]
pub struct Newest {
    /// `None` when there is no whole one.
    pub snapshot: Option<LoadedSnapshot>,
    /// Snapshots that are there and damaged, newest first.
    pub damaged: Vec<(Slot, SnapshotError)>,
}

/// The snapshots of one replica. A clone is another handle; saving and receiving belong to one thread at a time.
#[derive(Clone, Debug)]
pub struct Snapshots {
    directory: Arc<dyn Directory>,
    /// Slots of files that were found damaged: they do not count as kept.
    damaged: Arc<Mutex<BTreeSet<Slot>>>,
}

impl Snapshots {
    /// Those in `directory`: that of a log, or a [`crate::disk::MemoryDirectory`] for a replica that keeps nothing on disk.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>) -> Snapshots {
        Snapshots { directory, damaged: Arc::default() }
    }

    /// Makes a snapshot durable, then removes all but the newest two.
    ///
    /// # Errors
    /// [`SnapshotError::File`]. What was written aside is removed, and the older snapshots are as they were. Of a failure
    /// of the last steps, which sync the directory, nothing can be said: the snapshot may be there after a restart.
    pub fn save(&self, checkpoint: &Checkpoint, body: &[u8]) -> Result<SnapshotFile, SnapshotError> {
        let name = file_name(checkpoint.slot);
        let part = format!("{name}{PART}");
        let written = format::write(&*self.directory, &part, checkpoint, body);
        let bytes = written.inspect_err(|_| {
            // It is removed at the next start if not now.
            let _ = self.directory.remove(&part);
        })?;
        self.publish(&part, checkpoint.slot)?;
        Ok(SnapshotFile { checkpoint: checkpoint.clone(), bytes })
    }

    /// Gives a whole, synced file its name.
    fn publish(&self, part: &str, slot: Slot) -> Result<(), SnapshotError> {
        let directory = &*self.directory;
        directory.rename(part, &file_name(slot)).named(directory, "rename", part)?;
        if !mutated!(SnapshotNameNotSynced) {
            directory.sync().named(directory, "sync", "")?;
        }
        self.damaged().remove(&slot);
        self.remove_old()
    }

    /// Removes the snapshots of slots above `after` and below `before`.
    ///
    /// # Errors
    /// [`SnapshotError::File`].
    pub fn remove_between(&self, after: Slot, before: Slot) -> Result<(), SnapshotError> {
        let directory = &*self.directory;
        for slot in self.slots()?.into_iter().filter(|slot| *slot > after && *slot < before) {
            let name = file_name(slot);
            directory.remove(&name).named(directory, "remove", &name)?;
        }
        directory.sync().named(directory, "sync", "")?;
        Ok(())
    }

    fn remove_old(&self) -> Result<(), SnapshotError> {
        let directory = &*self.directory;
        let slots = self.slots()?;
        let damaged = self.damaged().clone();
        let whole = slots.iter().rev().filter(|slot| !damaged.contains(slot)).take(SNAPSHOTS_KEPT);
        let kept = whole.copied().collect::<BTreeSet<_>>();
        for slot in slots.into_iter().filter(|slot| !kept.contains(slot)) {
            let name = file_name(slot);
            directory.remove(&name).named(directory, "remove", &name)?;
        }
        // Not synced: an old snapshot that comes back is removed with the next.
        Ok(())
    }

    /// The slots of all snapshots that are there, whole or not, lowest first.
    ///
    /// # Errors
    /// [`SnapshotError::File`].
    pub fn slots(&self) -> Result<Vec<Slot>, SnapshotError> {
        let names = self.directory.list().named(&*self.directory, "list", "")?;
        let mut slots = names.iter().filter_map(|name| parse_name(name)).collect::<Vec<_>>();
        slots.sort_unstable();
        Ok(slots)
    }

    /// What a snapshot says about itself. Its body is not read.
    ///
    /// # Errors
    /// [`SnapshotError`] when it is not there or its head is damaged.
    pub fn describe(&self, slot: Slot) -> Result<SnapshotFile, SnapshotError> {
        format::read_head(&*self.directory, &self.present(slot)?, slot)
    }

    /// A snapshot with its state, checked as a whole.
    ///
    /// # Errors
    /// [`SnapshotError`] when it is not there or damaged.
    pub fn load(&self, slot: Slot) -> Result<LoadedSnapshot, SnapshotError> {
        let loaded = format::read(&*self.directory, &self.present(slot)?, slot);
        if let Err(SnapshotError::Damaged { .. }) = &loaded {
            self.damaged().insert(slot);
        }
        loaded
    }

    /// The newest snapshot that is whole.
    ///
    /// # Errors
    /// [`SnapshotError::File`] and [`SnapshotError::Version`]: damage is no error but in the answer.
    pub fn load_newest(&self) -> Result<Newest, SnapshotError> {
        let mut damaged = Vec::new();
        for slot in self.slots()?.into_iter().rev() {
            match self.load(slot) {
                Ok(snapshot) => return Ok(Newest { snapshot: Some(snapshot), damaged }),
                Err(error @ SnapshotError::Damaged { .. }) => damaged.push((slot, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(Newest { snapshot: None, damaged })
    }

    /// Bytes of a snapshot's file from `offset` on, at most `bytes_max`; none at its end. They are checked by whoever has
    /// them all.
    ///
    /// # Errors
    /// [`SnapshotError`] when it is not there, or no longer: newer ones replace it.
    pub fn read_raw(&self, slot: Slot, offset: u64, bytes_max: usize) -> Result<Vec<u8>, SnapshotError> {
        let directory = &*self.directory;
        let name = self.present(slot)?;
        let file = directory.open(&name).named(directory, "open", &name)?;
        let rest = file.bytes().named(directory, "read", &name)?.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(rest).map_or(bytes_max, |rest| rest.min(bytes_max))];
        let read = file.read_at(offset, &mut bytes).named(directory, "read", &name)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Receives the snapshot of a slot, from where an earlier try ended. What was received of other slots is removed.
    ///
    /// # Errors
    /// [`SnapshotError::File`].
    pub fn incoming(&self, slot: Slot) -> Result<Incoming, SnapshotError> {
        Incoming::open(self.clone(), slot)
    }

    fn present(&self, slot: Slot) -> Result<String, SnapshotError> {
        let name = file_name(slot);
        match self.directory.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SnapshotError::Missing { slot }),
            opened => {
                opened.named(&*self.directory, "open", &name)?;
                Ok(name)
            }
        }
    }

    fn damaged(&self) -> std::sync::MutexGuard<'_, BTreeSet<Slot>> {
        // A set is whole whatever happened to its last user.
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a snapshot file that is no replica's, such as a backup, as a whole.
///
/// # Errors
/// [`SnapshotError`] when it can't be read or is damaged.
pub fn verify_file(file: &Path) -> Result<SnapshotFile, SnapshotError> {
    let (directory, name) = place_of(file)?;
    format::verify(&directory, &name, format::slot_of(&directory, &name)?)
}

/// Reads and checks a snapshot file that is no replica's, such as a backup.
///
/// # Errors
/// [`SnapshotError`] when it can't be read or is damaged.
pub fn load_file(file: &Path) -> Result<LoadedSnapshot, SnapshotError> {
    let (directory, name) = place_of(file)?;
    format::read(&directory, &name, format::slot_of(&directory, &name)?)
}

/// The directory of a file, to look at, and the file's name there.
fn place_of(file: &Path) -> Result<(RealDirectory, String), FileError> {
    let refused = |source| FileError { file: file.to_owned(), operation: "open", source };
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused(io::ErrorKind::InvalidFilename.into()))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((RealDirectory::open_unlocked(parent).map_err(refused)?, name.to_owned()))
}

/// The file of a snapshot.
#[must_use]
pub fn file_name(slot: Slot) -> String {
    names::numbered(PREFIX, slot.0)
}

pub(crate) fn parse_name(name: &str) -> Option<Slot> {
    names::parse(PREFIX, name).map(Slot)
}

pub(crate) fn incoming_name(slot: Slot) -> String {
    format!("{}{PART}", names::numbered(INCOMING, slot.0))
}

/// Whether an unfinished file is an incoming snapshot, which is worth keeping over a restart.
pub(crate) fn is_incoming(name: &str) -> bool {
    name.strip_suffix(PART).is_some_and(|name| names::parse(INCOMING, name).is_some())
}

/// Whether a file is a snapshot, complete or not.
pub(crate) fn is_snapshot(name: &str) -> bool {
    parse_name(name).is_some() || is_incoming(name)
}
