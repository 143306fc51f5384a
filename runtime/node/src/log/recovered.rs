//! What reading a log comes to.

use std::fmt;

use concoord_consensus::io::LogPosition;
use concoord_wire::record::Record;
use concoord_wire::{Ballot, Slot};

use super::Identity;
use crate::snapshots::LoadedSnapshot;

/// A log as it was found, after everything that a crash may leave was made good.
#[derive(Debug)]
pub struct Recovered {
    /// Whose log it is.
    pub identity: Identity,
    /// The newest whole snapshot. `None` when all are damaged: then the view is unknown too.
    pub snapshot: Option<LoadedSnapshot>,
    /// What the log says, in the order in which it is to be replayed over the snapshot: later items win.
    pub replay: Vec<Replayed>,
    /// The highest ballot that was promised or accepted in, also in what is damaged. It is above all ballots in `replay`
    /// or equal to the highest.
    pub promised: Ballot,
    /// The highest slot known as decided, also from what is damaged.
    pub decided: Slot,
    /// The highest slot accepted, also from what is damaged.
    pub accepted: Slot,
    /// What is not as it was written. Reported at each start until the log is cut beyond it.
    pub damage: Vec<Damage>,
    /// The torn tail that was cut; nobody had heard of it.
    pub cut: Option<Cut>,
    /// The position of the next record.
    pub next: LogPosition,
}

/// One item of the replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// A record.
    Record(Record),
    /// Records for any of these slots may be lost here: what was accepted there is unknown, until a later record of the
    /// slot makes it known again, a peer repairs it or a snapshot covers it.
    Unknown {
        /// The lowest such slot.
        lowest: Slot,
        /// The highest.
        highest: Slot,
    },
}

/// A place that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Name of the file in the data directory.
    pub file: String,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes can't be used; 0 when the place itself is missing.
    pub bytes: u64,
    /// What is wrong.
    pub kind: DamageKind,
    /// First and last position of the records that are lost, where that can be told.
    pub positions: Option<(LogPosition, LogPosition)>,
    /// First and last slot that are unknown for it.
    pub unknown: Option<(Slot, Slot)>,
}

/// What is wrong with a damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A frame's header is not what was written.
    Header,
    /// A frame's header is good and its body is not.
    Body,
    /// Frames that were here are gone: zeros, a shortened file, or a missing one.
    Missing,
    /// Segments before the first one are gone that no snapshot covers.
    Beginning,
    /// Slots up to the decided one are neither in the snapshot nor in the log.
    Snapshotless,
    /// A snapshot is not what was written.
    Snapshot(String),
    /// One of the mark's two sectors is not what was written. The other one stands for both.
    Mark,
}

/// A torn tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Name of the segment.
    pub file: String,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DamageKind::Header => f.write_str("a frame's header is damaged"),
            DamageKind::Body => f.write_str("the records of a frame are damaged"),
            DamageKind::Missing => f.write_str("frames are missing"),
            DamageKind::Beginning => f.write_str("the segments before this one are missing"),
            DamageKind::Snapshotless => f.write_str("decided slots are neither in a snapshot nor in the log"),
            DamageKind::Snapshot(why) => write!(f, "the snapshot is damaged: {why}"),
            DamageKind::Mark => f.write_str("one of the two sectors of the mark is damaged"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.kind)?;
        if let Some((first, last)) = self.positions {
            write!(f, "; records {first} to {last} are lost")?;
        }
        if let Some((lowest, highest)) = self.unknown {
            write!(f, "; slots {lowest} to {highest} are unknown")?;
        }
        Ok(())
    }
}
