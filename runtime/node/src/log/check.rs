//! Looks at a data directory and says what is there, without changing anything.

use std::path::Path;
use std::sync::Arc;

use concoord_consensus::io::LogPosition;
use concoord_wire::{Ballot, Slot};

use super::open::{self, Survey};
use super::{Cut, Damage, DamageKind, Identity, OpenError, names};
use crate::disk::{Directory, DirectoryError, Named, RealDirectory};
use crate::snapshots::{self, SnapshotError, Snapshots};

/// What a data directory holds.
#[derive(Debug)]
pub struct Report {
    /// Whose it is.
    pub identity: Identity,
    /// Up to which position the mark says that the log was synced.
    pub synced: LogPosition,
    /// The highest ballot promised or accepted in.
    pub promised: Ballot,
    /// The highest slot known as decided.
    pub decided: Slot,
    /// The highest slot accepted.
    pub accepted: Slot,
    /// Oldest first.
    pub segments: Vec<SegmentReport>,
    /// Spare segments.
    pub spares: usize,
    /// Oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
    /// What a crash tore, which the next start cuts. No damage.
    pub torn: Option<Cut>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its file's name.
    pub file: String,
    /// The position that its first record has.
    pub first: LogPosition,
    /// Bytes of the file.
    pub bytes: u64,
    /// Good frames.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Lowest and highest slot accepted in them.
    pub slots: Option<(Slot, Slot)>,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Its file's name.
    pub file: String,
    /// The slot whose state it is.
    pub slot: Slot,
    /// Bytes of the file; 0 where that can't be told.
    pub bytes: u64,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// Why nothing can be said of a directory.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is in use or can't be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// No log can be opened there.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Report {
    /// Whether anything is not as it was written.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.damage.is_empty()
    }
}

/// Reads and checks everything in the directory at `path`.
///
/// # Errors
/// [`CheckError`]: also when a running replica has the directory, because what it writes meanwhile would look damaged.
pub fn check(path: &Path) -> Result<Report, CheckError> {
    Ok(examine(Arc::new(RealDirectory::open_read_only(path)?))?)
}

/// As [`check`], of any directory.
pub(crate) fn examine(directory: Arc<dyn Directory>) -> Result<Report, OpenError> {
    let snapshots = Snapshots::new(Arc::clone(&directory));
    let Survey { identity, mark, newest: _, scan, mut damage } = open::survey(&*directory, &snapshots)?;
    let mut reports = Vec::new();
    for slot in snapshots.slots()? {
        let file = snapshots::file_name(slot);
        let (bytes, problem) = match snapshots.load(slot) {
            Ok(loaded) => (loaded.bytes, None),
            Err(error) => (0, Some(error)),
        };
        if let Some(SnapshotError::Damaged { offset, why, .. }) = &problem
            && damage.iter().all(|damage| damage.file != file)
        {
            damage.push(Damage {
                file: file.clone(),
                offset: *offset,
                bytes: 0,
                kind: DamageKind::Snapshot(why.clone()),
                positions: None,
                unknown: None,
            });
        }
        reports.push(SnapshotReport { file, slot, bytes, problem: problem.map(|problem| problem.to_string()) });
    }
    let listed = directory.list().named(&*directory, "list", "")?;
    let torn = scan.torn.zip(scan.segments.last()).map(|(torn, last)| Cut {
        file: names::segment(last.first),
        offset: torn.offset,
        bytes: torn.bytes,
    });
    let segments = scan.segments.iter().map(|segment| SegmentReport {
        file: names::segment(segment.first),
        first: segment.first,
        bytes: segment.bytes,
        frames: segment.frames,
        records: segment.records,
        slots: segment.slots,
    });
    Ok(Report {
        identity,
        synced: mark.synced,
        promised: scan.facts.promised,
        decided: scan.facts.decided,
        accepted: scan.facts.accepted,
        segments: segments.collect(),
        spares: listed.iter().filter(|name| names::parse_spare(name).is_some()).count(),
        snapshots: reports,
        damage,
        torn,
    })
}
