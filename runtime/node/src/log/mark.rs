//! The mark: a record, stored apart from the log, of how far the log is known to be synced. It tells damage from a
//! tail that was torn by a crash.
//!
//! Two sectors are written in turn, so that one is whole at any time. The mark is written after every sync of the log but
//! synced only where a segment begins and at a clean end, so after a power cut it may lag behind the log; it never leads.

use concoord_consensus::io::LogPosition;
use concoord_wire::{Ballot, Slot};

use super::error::OpenError;
use super::fields::{ballot_at, put_ballot, put_u32, put_u64, u32_at, u64_at};
use super::frame::Facts;
use super::identity::{self, Identity};
use super::names::MARK;
use crate::disk::{self, Directory, File, FileError, Named, SECTOR_BYTES};

const MAGIC: &[u8; 8] = b"conmark\0";
const SECTOR: usize = SECTOR_BYTES as usize;
const CRC_AT: usize = SECTOR - 4;
/// Where a sector says up to which position the log is synced.
pub(crate) const SYNCED_AT: usize = 40;

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Grows with each writing.
    pub(crate) sequence: u64,
    /// Every record up to this one was synced.
    pub(crate) synced: LogPosition,
    /// What those records add up to.
    pub(crate) facts: Facts,
    /// The segment written to.
    pub(crate) segment: LogPosition,
    /// The length that segment was made with.
    pub(crate) segment_bytes: u64,
}

impl Mark {
    fn encode(&self, identity: &Identity) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        bytes[..8].copy_from_slice(MAGIC);
        put_u32(&mut bytes, 8, identity::VERSION);
        put_u64(&mut bytes, 16, identity.node.0);
        put_u64(&mut bytes, 24, identity.tag);
        put_u64(&mut bytes, 32, self.sequence);
        put_u64(&mut bytes, SYNCED_AT, self.synced.0);
        put_ballot(&mut bytes, 48, self.facts.promised);
        put_u64(&mut bytes, 72, self.facts.decided.0);
        put_u64(&mut bytes, 80, self.facts.accepted.0);
        put_u64(&mut bytes, 88, self.segment.0);
        put_u64(&mut bytes, 96, self.segment_bytes);
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put_u32(&mut bytes, CRC_AT, crc);
        bytes
    }

    /// `None` when the sector was not written as it is, or not to this place.
    fn decode(bytes: &[u8], place: u64, identity: &Identity) -> Option<Mark> {
        let whole = bytes.len() == SECTOR
            && bytes.starts_with(MAGIC)
            && crc32c::crc32c(&bytes[..CRC_AT]) == u32_at(bytes, CRC_AT);
        let ours = whole && u64_at(bytes, 16) == identity.node.0 && u64_at(bytes, 24) == identity.tag;
        if !ours || u64_at(bytes, 32) % 2 != place {
            return None;
        }
        let promised: Ballot = ballot_at(bytes, 48);
        Some(Mark {
            sequence: u64_at(bytes, 32),
            synced: LogPosition(u64_at(bytes, SYNCED_AT)),
            facts: Facts { promised, decided: Slot(u64_at(bytes, 72)), accepted: Slot(u64_at(bytes, 80)) },
            segment: LogPosition(u64_at(bytes, 88)),
            segment_bytes: u64_at(bytes, 96),
        })
    }

    /// The newest whole sector, and the places of sectors that are not whole.
    pub(crate) fn read(directory: &dyn Directory, identity: &Identity) -> Result<(Mark, Vec<u64>), OpenError> {
        let bytes = disk::read(directory, MARK)?;
        let sectors = [0, 1].map(|place| {
            let start = SECTOR * usize::from(place == 1);
            let sector = bytes.get(start..start + SECTOR).unwrap_or_default();
            Mark::decode(sector, place, identity)
        });
        let bad = (0..).zip(&sectors).filter(|(_, mark)| mark.is_none()).map(|(place, _)| place).collect();
        match sectors.into_iter().flatten().max_by_key(|mark| mark.sequence) {
            Some(mark) => Ok((mark, bad)),
            None => Err(OpenError::PromiseLost {
                file: directory.path().join(MARK),
                why: "neither of its two sectors is whole".into(),
            }),
        }
    }
}

/// The mark's file, open for writing.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: Box<dyn File>,
    identity: Identity,
    sequence: u64,
}

impl MarkFile {
    /// Makes the first mark of a new log durable; its name becomes so with the directory's next sync.
    pub(crate) fn create(directory: &dyn Directory, identity: Identity, mark: Mark) -> Result<MarkFile, FileError> {
        let file = directory.create(MARK).named(directory, "create", MARK)?;
        let mut mark_file = MarkFile { file, identity, sequence: 0 };
        mark_file.settle(directory, mark)?;
        Ok(mark_file)
    }

    /// Goes on from the newest mark, which had this sequence.
    pub(crate) fn open(directory: &dyn Directory, identity: Identity, sequence: u64) -> Result<MarkFile, FileError> {
        let file = directory.open(MARK).named(directory, "open", MARK)?;
        Ok(MarkFile { file, identity, sequence })
    }

    /// Writes the mark; its own sequence is filled in.
    pub(crate) fn write(&mut self, directory: &dyn Directory, mark: Mark) -> Result<(), FileError> {
        self.sequence += 1;
        let bytes = Mark { sequence: self.sequence, ..mark }.encode(&self.identity);
        let place = self.sequence % 2;
        self.file.write_at(place * SECTOR_BYTES, &bytes).named(directory, "write", MARK)
    }

    pub(crate) fn sync(&mut self, directory: &dyn Directory) -> Result<(), FileError> {
        self.file.sync().named(directory, "sync", MARK)
    }

    /// Makes the mark durable in both sectors, one after the other, so that none is left damaged.
    pub(crate) fn settle(&mut self, directory: &dyn Directory, mark: Mark) -> Result<(), FileError> {
        for _ in 0..2 {
            self.write(directory, mark)?;
            self.sync(directory)?;
        }
        Ok(())
    }
}
