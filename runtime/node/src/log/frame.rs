//! Frames: what one group commit writes. A frame begins on a sector and fills whole sectors, so that writing one never
//! touches what was synced before.
//!
//! ```text
//!   0  tag (8)            from the identity       56  promised (24)          facts after this frame
//!   8  format version (4)                         80  decided (8)
//!  12  records (4)                                88  accepted before (8)    highest slot of all earlier frames
//!  16  node (8)                                   96  lowest, highest (8, 8) slots accepted in this frame; 0, 0 if none
//!  24  segment (8)        first position there   112  zeros
//!  32  offset (8)         in the segment         124  CRC32C of the above (4)
//!  40  first position (8)                        128  body: per record u32 length and the encoded `GroupRecord`,
//!  48  body bytes (4)                                 then zeros to the end of the sector
//!  52  CRC32C of the body and its zeros (4)
//! ```
//!
//! Segment and offset say where the frame belongs, so that neither a misdirected write nor the former content of a
//! segment that is used again is taken for a frame.

use concoord_consensus::io::LogPosition;
use concoord_consensus::mutated;
use concoord_wire::codec;
use concoord_wire::record::{GroupRecord, Record};
use concoord_wire::{Ballot, GroupId, Slot};

use super::fields::{ballot_at, put_ballot, put_u32, put_u64, u32_at, u64_at};
use super::identity::{self, Identity};
use crate::disk::SECTOR_BYTES;

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 128;
const CRC_AT: usize = HEADER_BYTES - 4;
const LENGTH_BYTES: usize = 4;
const SECTOR: usize = SECTOR_BYTES as usize;
/// The only group there is for now.
const GROUP: GroupId = GroupId(0);

/// What the records of a log add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The highest ballot promised or accepted in.
    pub(crate) promised: Ballot,
    /// All slots up to this one are decided.
    pub(crate) decided: Slot,
    /// The highest slot accepted.
    pub(crate) accepted: Slot,
}

impl Facts {
    /// Of no record.
    pub(crate) const NONE: Facts = Facts { promised: Ballot::ZERO, decided: Slot::ZERO, accepted: Slot::ZERO };

    pub(crate) fn add(&mut self, record: &Record) {
        if let Record::Promised(ballot) | Record::Accepted { ballot, .. } = record {
            self.promised = self.promised.max(*ballot);
        }
        if let Some((_, last)) = spoken_of(record) {
            self.accepted = self.accepted.max(last);
        }
        if let Record::Decided(slot) = record {
            self.decided = self.decided.max(*slot);
        }
    }

    pub(crate) fn merge(&mut self, other: &Facts) {
        self.promised = self.promised.max(other.promised);
        self.decided = self.decided.max(other.decided);
        self.accepted = self.accepted.max(other.accepted);
    }
}

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The segment's name.
    pub(crate) segment: LogPosition,
    /// Bytes from its beginning.
    pub(crate) offset: u64,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) place: Place,
    pub(crate) first: LogPosition,
    pub(crate) records: u32,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
    pub(crate) promised: Ballot,
    pub(crate) decided: Slot,
    pub(crate) accepted_before: Slot,
    /// Lowest and highest slot accepted in the frame.
    pub(crate) accepted: Option<(Slot, Slot)>,
}

/// What stands where a frame may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame's header, as it was written to this place.
    Header(Header),
    /// Zeros.
    Zeros,
    /// A frame of ours that was written to another place: the former content of this segment.
    Stale,
    /// A frame of a format that this build does not know.
    Newer(u32),
    /// Anything else.
    Bad,
}

impl Header {
    /// The position of its last record.
    pub(crate) fn last(&self) -> LogPosition {
        LogPosition(self.first.0 + u64::from(self.records) - 1)
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        (HEADER_BYTES as u64 + u64::from(self.body_bytes)).next_multiple_of(SECTOR_BYTES)
    }

    /// What all records up to the end of this frame add up to.
    pub(crate) fn facts(&self) -> Facts {
        let accepted = self.accepted_before.max(self.accepted.map_or(Slot::ZERO, |(_, highest)| highest));
        Facts { promised: self.promised, decided: self.decided, accepted }
    }

    fn encode(&self, identity: &Identity, bytes: &mut [u8]) {
        put_u64(bytes, 0, identity.tag);
        put_u32(bytes, 8, identity::VERSION);
        put_u32(bytes, 12, self.records);
        put_u64(bytes, 16, identity.node.0);
        put_u64(bytes, 24, self.place.segment.0);
        put_u64(bytes, 32, self.place.offset);
        put_u64(bytes, 40, self.first.0);
        put_u32(bytes, 48, self.body_bytes);
        put_u32(bytes, 52, self.body_crc);
        put_ballot(bytes, 56, self.promised);
        put_u64(bytes, 80, self.decided.0);
        put_u64(bytes, 88, self.accepted_before.0);
        let (lowest, highest) = self.accepted.unwrap_or_default();
        put_u64(bytes, 96, lowest.0);
        put_u64(bytes, 104, highest.0);
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put_u32(bytes, CRC_AT, crc);
    }
}

/// What stands at `place`; `bytes` begins there and has at least one sector.
pub(crate) fn find(bytes: &[u8], place: Place, identity: &Identity) -> Found {
    if u64_at(bytes, 0) != identity.tag {
        return if bytes[..SECTOR].iter().all(|byte| *byte == 0) { Found::Zeros } else { Found::Bad };
    }
    if crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
        return Found::Bad;
    }
    if u32_at(bytes, 8) != identity::VERSION {
        return Found::Newer(u32_at(bytes, 8));
    }
    let found = Place { segment: LogPosition(u64_at(bytes, 24)), offset: u64_at(bytes, 32) };
    if u64_at(bytes, 16) != identity.node.0 || found != place {
        return Found::Stale;
    }
    if u32_at(bytes, 12) == 0 {
        return Found::Bad;
    }
    let (lowest, highest) = (u64_at(bytes, 96), u64_at(bytes, 104));
    Found::Header(Header {
        place,
        first: LogPosition(u64_at(bytes, 40)),
        records: u32_at(bytes, 12),
        body_bytes: u32_at(bytes, 48),
        body_crc: u32_at(bytes, 52),
        promised: ballot_at(bytes, 56),
        decided: Slot(u64_at(bytes, 80)),
        accepted_before: Slot(u64_at(bytes, 88)),
        accepted: (highest > 0).then_some((Slot(lowest), Slot(highest))),
    })
}

/// The records of a frame that begins at `bytes`, or `None` when its body is not what was written.
///
/// # Errors
/// Why the body, which is as it was written, can't be decoded.
pub(crate) fn records(bytes: &[u8], header: &Header) -> Result<Option<Vec<Record>>, String> {
    let length = usize::try_from(header.frame_bytes()).unwrap_or(usize::MAX);
    let Some(body) = bytes.get(HEADER_BYTES..length) else { return Ok(None) };
    if crc32c::crc32c(body) != header.body_crc && !mutated!(ChecksumIgnored) {
        return Ok(None);
    }
    let mut rest = &body[..header.body_bytes as usize];
    let mut records = Vec::with_capacity(header.records.min(header.body_bytes) as usize);
    while let Some((length, encoded)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (record, after) = encoded.split_at_checked(length).ok_or("a record is longer than its frame")?;
        let GroupRecord { group, record } = codec::from_bytes(record).map_err(|error| error.to_string())?;
        if group != GROUP {
            return Err(format!("a record belongs to group {group}"));
        }
        records.push(record);
        rest = after;
    }
    if !rest.is_empty() || records.len() != header.records as usize {
        return Err(format!("the frame has {} records instead of {}", records.len(), header.records));
    }
    Ok(Some(records))
}

/// The slots, first and last, of which it is no more known what was accepted when this record is lost.
fn spoken_of(record: &Record) -> Option<(Slot, Slot)> {
    match record {
        Record::Accepted { slot, .. } => Some((*slot, *slot)),
        Record::Void { first, last } => Some((*first, *last)),
        Record::Promised(_) | Record::Decided(_) => None,
    }
}

/// Builds frames in one buffer that is used again and again.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    /// The end of the last record that was pushed.
    body_end: usize,
    records: u32,
    accepted: Option<(Slot, Slot)>,
}

impl FrameBuffer {
    /// Begins an empty frame.
    pub(crate) fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        self.body_end = HEADER_BYTES;
        self.records = 0;
        self.accepted = None;
    }

    /// Adds a record, unless the frame holds some and would become longer than `bytes_max`: then it is left as it was,
    /// and `false` returned.
    pub(crate) fn push(&mut self, record: &Record, bytes_max: u64) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        codec::append(&(GROUP, record), &mut self.bytes);
        if self.records > 0 && self.bytes.len() as u64 > bytes_max {
            self.bytes.truncate(start);
            return false;
        }
        let length = self.bytes.len() - start - LENGTH_BYTES;
        put_u32(&mut self.bytes, start, u32::try_from(length).expect("a record is below the frame limit of peers"));
        self.body_end = self.bytes.len();
        self.records += 1;
        if let Some((first, last)) = spoken_of(record) {
            let (lowest, highest) = self.accepted.unwrap_or((first, last));
            self.accepted = Some((lowest.min(first), highest.max(last)));
        }
        true
    }

    /// Bytes of the frame as it will be written.
    pub(crate) fn frame_bytes(&self) -> u64 {
        (self.body_end as u64).next_multiple_of(SECTOR_BYTES)
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    pub(crate) fn accepted(&self) -> Option<(Slot, Slot)> {
        self.accepted
    }

    /// The frame at `place`, followed by one sector of zeros where it has `room` for that: it shows that no frame follows.
    pub(crate) fn finish(
        &mut self,
        identity: &Identity,
        place: Place,
        first: LogPosition,
        before: &Facts,
        after: &Facts,
        room: u64,
    ) -> &[u8] {
        let frame_bytes = self.body_end.next_multiple_of(SECTOR);
        self.bytes.resize(frame_bytes, 0);
        let header = Header {
            place,
            first,
            records: self.records,
            body_bytes: u32::try_from(self.body_end - HEADER_BYTES).expect("a frame is below 4 GiB"),
            body_crc: crc32c::crc32c(&self.bytes[HEADER_BYTES..]),
            promised: after.promised,
            decided: after.decided,
            accepted_before: before.accepted,
            accepted: self.accepted,
        };
        header.encode(identity, &mut self.bytes[..HEADER_BYTES]);
        if room >= (frame_bytes + SECTOR) as u64 {
            self.bytes.resize(frame_bytes + SECTOR, 0);
        }
        &self.bytes
    }
}
