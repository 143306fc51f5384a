//! The write-ahead log: what a replica promised, accepted and knows as decided, on disk before anybody hears of it.
//!
//! A log is a run of *segments*, preallocated files that hold *frames*; a frame is what one group commit wrote. The rules
//! that make it safe:
//!
//! * **One frame at a time.** A frame is written only when everything before it is synced. So at most the last frame can be
//!   torn, and a frame is proof that all before it were durable.
//! * **Nothing synced is touched.** Frames begin on sectors, and a segment has its full length, durably, before it is used.
//! * **Every frame carries what all before it add up to**: promised ballot, decided slot, highest accepted slot. So old
//!   segments can go, and damage in the middle loses no promise.
//! * **The mark** ([`Log`] keeps it, apart from the segments) says how far the log was synced. What is bad and not covered
//!   by the mark or a later frame is a torn tail and is cut; everything else is damage, and its slots are unknown.
//! * **A failure ends the log.** No write or sync is retried.
//!
//! Files of a data directory: `identity`, `mark`, `log-<first position>`, `spare-<number>`, `snapshot-<slot>`, `lock`;
//! `*.part` are unfinished.
//!
//! What it does not survive: after a power cut the mark, which is not synced with each frame, may lag behind the log. A last
//! frame that is damaged *and* that the lagging mark does not cover looks like a torn one.
//!
//! | file          | role                                                              |
//! |---------------|-------------------------------------------------------------------|
//! | `frame.rs`    | the bytes of a frame                                              |
//! | `mark.rs`     | the bytes and the file of the mark                                |
//! | `identity.rs` | whose directory it is                                             |
//! | `spares.rs`   | segments made ahead of need                                       |
//! | `create.rs`   | setting up a directory                                            |
//! | `scan.rs`     | reading all segments, and telling damage from a torn tail         |
//! | `recovered.rs`| what reading comes to                                             |
//! | `open.rs`     | recovery: what the scan found is made good                        |
//! | `writer.rs`   | the threads that write in production                              |
//! | `check.rs`    | looking at a directory without changing it                        |

mod check;
mod create;
mod error;
pub(crate) mod fields;
mod frame;
mod identity;
mod mark;
pub(crate) mod names;
mod open;
mod recovered;
mod scan;
mod spares;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::sync::Arc;

use concoord_consensus::io::LogPosition;
use concoord_consensus::mutated;
use concoord_wire::Slot;
use concoord_wire::record::Record;

use self::frame::{Facts, FrameBuffer, Place};
use self::mark::{Mark, MarkFile};
use crate::disk::{Directory, File, Named, SECTOR_BYTES};

pub use check::{CheckError, Report, SegmentReport, SnapshotReport, check};
pub use error::{CreateError, LogError, OpenError};
pub use identity::Identity;
pub(crate) use open::read;
pub use recovered::{Cut, Damage, DamageKind, Recovered, Replayed};
pub use spares::{Spare, SpareMaker};
pub(crate) use writer::PanicGuard;
pub use writer::{LogEvent, LogWriter, Space};

/// Bytes of a segment, if nothing else is said: rolling is rare, and what one segment may waste is little.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// The smallest segment there may be.
pub const SEGMENT_BYTES_MIN: u64 = 8 * SECTOR_BYTES;
/// Spares to keep: one for the next roll, and the *reserve*, which takes promises and a hand-over while the disk is full.
pub const SPARES_WANTED: usize = 2;

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    segment_bytes: u64,
}

impl LogOptions {
    /// Segments of about `segment_bytes`, rounded up to whole sectors and to no less than [`SEGMENT_BYTES_MIN`].
    #[must_use]
    pub fn new(segment_bytes: u64) -> LogOptions {
        LogOptions { segment_bytes: segment_bytes.max(SEGMENT_BYTES_MIN).next_multiple_of(SECTOR_BYTES) }
    }
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions::new(SEGMENT_BYTES)
    }
}

/// A replica's log, open for writing. It has no thread and no clock; see [`LogWriter`] for those.
///
/// Invariants: positions have no gap but where damage at the tail was found; at most one frame is not synced;
/// `facts` are those of all records written.
#[derive(Debug)]
pub struct Log {
    directory: Arc<dyn Directory>,
    identity: Identity,
    /// All segments but the current one, oldest first.
    older: VecDeque<Segment>,
    current: Segment,
    file: Box<dyn File>,
    /// Where the next frame goes in the current segment.
    offset: u64,
    spares: Vec<Spare>,
    maker: SpareMaker,
    mark: MarkFile,
    facts: Facts,
    /// The position of the next record.
    next: LogPosition,
    synced: LogPosition,
    /// Whether the current segment has a synced frame.
    anchored: bool,
    buffer: FrameBuffer,
    ended: bool,
}

/// A segment in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    first: LogPosition,
    bytes: u64,
    /// The highest slot that it has, or may have had before it was damaged, an acceptance for.
    accepted: Slot,
}

impl Log {
    /// Writes records, whose positions go on where the last ones ended. They count once [`Log::sync`] says so.
    ///
    /// Usually that is one frame and one write. Only where the records are more than fits a segment, or the segment
    /// is full, everything before is synced here.
    ///
    /// # Errors
    /// [`LogError`]; the log takes nothing more then.
    ///
    /// # Panics
    /// When positions do not go on.
    pub fn write(&mut self, records: &[(LogPosition, Record)]) -> Result<(), LogError> {
        self.guarded(|log| log.write_frames(records))
    }

    /// Makes durable what was written, and tells up to where the log is durable now.
    ///
    /// # Errors
    /// [`LogError`]; the log takes nothing more then.
    pub fn sync(&mut self) -> Result<LogPosition, LogError> {
        self.guarded(Log::sync_frame)
    }

    /// Removes segments of which no acceptance is above `below`, oldest first. The caller holds a durable snapshot of
    /// that slot or a later one, and keeps it; where it keeps an older snapshot to fall back to, `below` is that one's slot.
    ///
    /// # Errors
    /// [`LogError`]; the log takes nothing more then.
    pub fn truncate(&mut self, below: Slot) -> Result<(), LogError> {
        self.guarded(|log| log.remove_segments(below))
    }

    /// Syncs log and mark: the next start finds a clean end.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn close(mut self) -> Result<(), LogError> {
        self.guarded(|log| {
            log.sync_frame()?;
            log.write_mark()?;
            Ok(log.mark.sync(&*log.directory)?)
        })
    }

    /// Bytes from the oldest record to the newest, with what damage and rolling left unused between them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.older.iter().map(|segment| segment.bytes).sum::<u64>() + self.offset
    }

    /// The position of the next record.
    #[must_use]
    pub fn next(&self) -> LogPosition {
        self.next
    }

    /// Whose log it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Spare segments at hand; [`SPARES_WANTED`] are wanted.
    #[must_use]
    pub fn spares(&self) -> usize {
        self.spares.len()
    }

    /// Makes spare segments elsewhere, for [`Log::add_spare`].
    #[must_use]
    pub fn spare_maker(&self) -> SpareMaker {
        self.maker.clone()
    }

    /// Takes a segment that this log's [`SpareMaker`] made.
    pub fn add_spare(&mut self, spare: Spare) {
        self.spares.push(spare);
    }

    /// Makes one spare segment if fewer than wanted are there, and tells whether it did.
    ///
    /// # Errors
    /// [`crate::disk::FileError`]; the log goes on, and another try may go well.
    pub fn prepare_spare(&mut self) -> Result<bool, crate::disk::FileError> {
        if self.spares.len() >= SPARES_WANTED {
            return Ok(false);
        }
        let spare = self.maker.make()?;
        self.spares.push(spare);
        Ok(true)
    }

    /// Refuses everything after the first failure.
    fn guarded<T>(&mut self, act: impl FnOnce(&mut Log) -> Result<T, LogError>) -> Result<T, LogError> {
        if self.ended {
            return Err(LogError::Ended);
        }
        let done = act(self);
        self.ended = done.is_err();
        done
    }

    fn write_frames(&mut self, records: &[(LogPosition, Record)]) -> Result<(), LogError> {
        let mut records = records.iter().peekable();
        while records.peek().is_some() {
            // One frame at a time: a frame is proof that all before it are durable.
            self.sync_frame()?;
            let first = self.next;
            let before = self.facts;
            self.buffer.begin();
            while let Some((position, record)) = records.peek() {
                let expected = LogPosition(first.0 + u64::from(self.buffer.records()));
                assert_eq!(*position, expected, "records are numbered without gaps");
                if !self.buffer.push(record, self.maker.bytes()) {
                    break;
                }
                self.facts.add(record);
                records.next();
            }
            self.write_frame(first, before)?;
        }
        Ok(())
    }

    /// Writes what is in the buffer.
    fn write_frame(&mut self, first: LogPosition, before: Facts) -> Result<(), LogError> {
        let bytes = self.buffer.frame_bytes();
        if self.offset + bytes > self.current.bytes {
            self.roll(first, bytes, &before)?;
        }
        if let Some((_, highest)) = self.buffer.accepted() {
            self.current.accepted = self.current.accepted.max(highest);
        }
        self.next = LogPosition(first.0 + u64::from(self.buffer.records()));
        let place = Place { segment: self.current.first, offset: self.offset };
        let room = self.current.bytes - self.offset;
        let frame = self.buffer.finish(&self.identity, place, first, &before, &self.facts, room);
        let name = names::segment(self.current.first);
        self.file.write_at(self.offset, frame).named(&*self.directory, "write", &name)?;
        self.offset += bytes;
        if mutated!(MarkLeads) {
            self.synced = LogPosition(self.next.0 - 1);
            self.write_mark()?;
            self.synced = LogPosition(first.0 - 1);
        }
        Ok(())
    }

    fn sync_frame(&mut self) -> Result<LogPosition, LogError> {
        let written = LogPosition(self.next.0 - 1);
        if self.synced < written {
            let name = names::segment(self.current.first);
            if !mutated!(LogNotSynced) {
                self.file.sync().named(&*self.directory, "sync", &name)?;
            }
            self.synced = written;
            self.anchored = true;
            self.write_mark()?;
        }
        Ok(self.synced)
    }

    fn write_mark(&mut self) -> Result<(), LogError> {
        let mark = self.mark_of(&self.facts);
        Ok(self.mark.write(&*self.directory, mark)?)
    }

    /// The mark that says that everything up to `synced`, which adds up to `facts`, is durable.
    fn mark_of(&self, facts: &Facts) -> Mark {
        let Segment { first, bytes, .. } = self.current;
        Mark { sequence: 0, synced: self.synced, facts: *facts, segment: first, segment_bytes: bytes }
    }

    /// Goes on in another segment, whose first record has the position `first`. Everything written is synced, and adds
    /// up to `facts`.
    fn roll(&mut self, first: LogPosition, bytes_min: u64, facts: &Facts) -> Result<(), LogError> {
        let directory = Arc::clone(&self.directory);
        let fits = self.spares.iter().position(|spare| spare.bytes >= bytes_min);
        let spare = match fits {
            Some(index) => self.spares.remove(index),
            None => self.maker.make_of(bytes_min.max(self.maker.bytes()))?,
        };
        let name = names::segment(first);
        let file = directory.open(&spare.name).named(&*directory, "open", &spare.name)?;
        directory.rename(&spare.name, &name).named(&*directory, "rename", &spare.name)?;
        if !mutated!(SegmentNameNotSynced) {
            directory.sync().named(&*directory, "sync", "")?;
        }
        let segment = Segment { first, bytes: spare.bytes, accepted: Slot::ZERO };
        self.older.push_back(std::mem::replace(&mut self.current, segment));
        self.file = file;
        self.offset = 0;
        self.anchored = false;
        // Now the mark covers all before this segment, whatever happens to its unsynced writings.
        let mark = self.mark_of(facts);
        self.mark.write(&*directory, mark)?;
        Ok(self.mark.sync(&*directory)?)
    }

    fn remove_segments(&mut self, below: Slot) -> Result<(), LogError> {
        let directory = Arc::clone(&self.directory);
        // The current segment's frames carry what the removed ones added up to.
        while self.anchored && self.older.front().is_some_and(|oldest| oldest.accepted <= below) {
            let Some(oldest) = self.older.pop_front() else { break };
            let name = names::segment(oldest.first);
            if self.spares.len() < SPARES_WANTED && oldest.bytes == self.maker.bytes() {
                let spare = Spare { name: self.maker.name(), bytes: oldest.bytes };
                directory.rename(&name, &spare.name).named(&*directory, "rename", &name)?;
                self.spares.push(spare);
            } else {
                directory.remove(&name).named(&*directory, "remove", &name)?;
            }
            // One by one, so that a crash never leaves a gap.
            directory.sync().named(&*directory, "sync", "")?;
        }
        Ok(())
    }
}
