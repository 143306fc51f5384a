//! Reads all segments in order and tells what is damaged from what a crash may leave. Changes nothing.
//!
//! A bad place is judged by what comes later. A frame is written only when all before it is synced, so whatever stands before
//! a later frame's header was synced; so was whatever the mark covers, and whatever stands before a segment. A bad
//! place before any of these is damage. One that nothing speaks for is the tail that a crash tore.
//!
//! What a damaged place may have held: with a good header, exactly its slots. Else any slot above those that were decided
//! before it, up to the highest that was accepted in all frames before the next one, or before the mark.

use concoord_consensus::io::LogPosition;
use concoord_wire::Slot;

use super::error::OpenError;
use super::frame::{self, Facts, Found, Header, Place};
use super::identity::Identity;
use super::mark::Mark;
use super::names;
use super::recovered::{Damage, DamageKind, Replayed};
use crate::disk::{self, Directory, FileError, Named, SECTOR_BYTES};

/// What the segments hold.
#[derive(Debug)]
pub(crate) struct Scan {
    /// In file order.
    pub(crate) items: Vec<Replayed>,
    pub(crate) damage: Vec<Damage>,
    /// What all records add up to, lost ones included.
    pub(crate) facts: Facts,
    /// Oldest first.
    pub(crate) segments: Vec<Scanned>,
    /// What was torn, in the last segment.
    pub(crate) torn: Option<Torn>,
    /// Where the next frame goes.
    pub(crate) end: End,
    /// The position of the next record.
    pub(crate) next: LogPosition,
    /// The last good frame, if it is in the last segment: its place there and its bytes.
    pub(crate) last_frame: Option<(u64, Vec<u8>)>,
}

/// One segment.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) first: LogPosition,
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Lowest and highest slot accepted in its good frames.
    pub(crate) slots: Option<(Slot, Slot)>,
    /// The highest slot it has, or may have had, an acceptance for.
    pub(crate) accepted: Slot,
}

/// A place in the last segment that is no damage and yet no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Into the last segment.
    At(u64),
    /// Into a new segment: what stands at the end of the last one is evidence.
    NewSegment,
}

/// A frame whose header is good and whose body is not.
#[derive(Clone, Copy, Debug)]
struct BadBody {
    segment: usize,
    header: Header,
}

/// A place where a frame could stand and none does.
#[derive(Clone, Copy, Debug)]
struct Hole {
    /// Index of the segment; `None` when there is none at all.
    segment: Option<usize>,
    offset: u64,
    /// Neither zeros nor former content.
    bad: bool,
}

struct Scanner<'a> {
    identity: &'a Identity,
    /// State after this slot is in the snapshot.
    snapshot: Slot,
    items: Vec<Replayed>,
    damage: Vec<Damage>,
    facts: Facts,
    segments: Vec<Scanned>,
    expected: LogPosition,
    seen_header: bool,
    body: Option<BadBody>,
    hole: Option<Hole>,
    /// Segment, offset and bytes of the last good frame.
    last_frame: Option<(usize, u64, u64)>,
}

/// Reads the segments among `names`. `snapshot` is the slot of the newest whole snapshot.
pub(crate) fn scan(
    directory: &dyn Directory,
    names: &[String],
    identity: &Identity,
    mark: &Mark,
    snapshot: Slot,
) -> Result<Scan, OpenError> {
    let mut firsts = names.iter().filter_map(|name| names::parse_segment(name)).collect::<Vec<_>>();
    firsts.sort_unstable();
    if !firsts.contains(&mark.segment) && mark.synced < mark.segment {
        return Err(promise_lost(directory, mark.segment, "it is missing, and nothing tells what was in it"));
    }
    let mut scanner = Scanner {
        identity,
        snapshot,
        items: Vec::new(),
        damage: Vec::new(),
        facts: Facts::NONE,
        segments: Vec::new(),
        expected: firsts.first().copied().unwrap_or(mark.segment),
        seen_header: false,
        body: None,
        hole: firsts.is_empty().then_some(Hole { segment: None, offset: 0, bad: false }),
        last_frame: None,
    };
    let mut content = Vec::new();
    for first in firsts {
        content = disk::read(directory, &names::segment(first))?;
        scanner.segment(directory, first, &content)?;
    }
    scanner.finish(directory, mark, &content)
}

fn promise_lost(directory: &dyn Directory, segment: LogPosition, why: &str) -> OpenError {
    OpenError::PromiseLost { file: directory.path().join(names::segment(segment)), why: why.into() }
}

impl Scanner<'_> {
    fn segment(&mut self, directory: &dyn Directory, first: LogPosition, content: &[u8]) -> Result<(), OpenError> {
        if first == self.expected {
            // The segment before came to its end; what stands behind its frames has no meaning.
            self.hole = None;
        } else if self.hole.is_none() {
            self.hole = Some(self.end_of_last());
        }
        let index = self.segments.len();
        self.segments.push(Scanned {
            first,
            bytes: content.len() as u64,
            frames: 0,
            records: 0,
            slots: None,
            accepted: Slot::ZERO,
        });
        let mut offset = 0;
        while let Some(rest) = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)) {
            if (rest.len() as u64) < SECTOR_BYTES {
                break;
            }
            match frame::find(rest, Place { segment: first, offset }, self.identity) {
                Found::Header(header) if header.first >= self.expected => {
                    self.on_header(index, &header);
                    self.on_body(directory, index, &header, rest)?;
                    offset += header.frame_bytes();
                    continue;
                }
                Found::Newer(found) => {
                    return Err(OpenError::Version { file: directory.path().join(names::segment(first)), found });
                }
                Found::Zeros | Found::Stale => self.note_hole(index, offset, false),
                Found::Bad | Found::Header(_) => self.note_hole(index, offset, true),
            }
            offset += SECTOR_BYTES;
        }
        Ok(())
    }

    fn note_hole(&mut self, segment: usize, offset: u64, bad: bool) {
        self.hole.get_or_insert(Hole { segment: Some(segment), offset, bad });
    }

    /// The end of the last segment, which is full.
    fn end_of_last(&self) -> Hole {
        let segment = self.segments.len().checked_sub(1);
        let offset = segment.map_or(0, |index| self.segments[index].bytes);
        Hole { segment, offset, bad: false }
    }

    /// A header speaks for everything before it.
    fn on_header(&mut self, index: usize, header: &Header) {
        self.resolve_body();
        let before = header.accepted_before;
        let gap = header.first > self.expected || self.hole.is_some();
        if gap {
            let hole =
                self.hole.take().unwrap_or(Hole { segment: Some(index), offset: header.place.offset, bad: false });
            let end = (hole.segment == Some(index)).then_some(header.place.offset);
            self.lose(hole, end, LogPosition(header.first.0 - 1), before);
        } else if !self.seen_header && before > self.snapshot {
            let unknown = (self.snapshot.next(), before);
            self.damage.push(Damage {
                file: names::segment(self.segments[index].first),
                offset: 0,
                bytes: 0,
                kind: DamageKind::Beginning,
                positions: None,
                unknown: Some(unknown),
            });
            self.forget(Some(index), Some(unknown));
        }
        self.seen_header = true;
        self.expected = LogPosition(header.last().0 + 1);
    }

    fn on_body(
        &mut self,
        directory: &dyn Directory,
        index: usize,
        header: &Header,
        bytes: &[u8],
    ) -> Result<(), OpenError> {
        let read = frame::records(bytes, header).map_err(|why| OpenError::Unreadable {
            file: directory.path().join(names::segment(header.place.segment)),
            offset: header.place.offset,
            why,
        })?;
        let Some(records) = read else {
            self.body = Some(BadBody { segment: index, header: *header });
            return Ok(());
        };
        self.facts.merge(&header.facts());
        let segment = &mut self.segments[index];
        segment.frames += 1;
        segment.records += u64::from(header.records);
        if let Some((lowest, highest)) = header.accepted {
            let (low, high) = segment.slots.unwrap_or((lowest, highest));
            segment.slots = Some((low.min(lowest), high.max(highest)));
            segment.accepted = segment.accepted.max(highest);
        }
        self.items.extend(records.into_iter().map(Replayed::Record));
        self.last_frame = Some((index, header.place.offset, header.frame_bytes()));
        Ok(())
    }

    /// The frame with a bad body was synced, so it is damaged. Its header tells what it held.
    fn resolve_body(&mut self) {
        let Some(BadBody { segment, header }) = self.body.take() else { return };
        let left = self.segments[segment].bytes - header.place.offset;
        self.damage.push(Damage {
            file: names::segment(header.place.segment),
            offset: header.place.offset,
            bytes: header.frame_bytes().min(left),
            kind: DamageKind::Body,
            positions: Some((header.first, header.last())),
            unknown: header.accepted.and_then(|range| self.clip(range)),
        });
        self.forget(Some(segment), header.accepted);
        self.facts.merge(&header.facts());
    }

    /// Records from the expected position to `last` were in `hole` and are gone. `end` is where the hole ends, if that is
    /// not the end of its segment. No slot above `accepted` was accepted before or in it.
    fn lose(&mut self, hole: Hole, end: Option<u64>, last: LogPosition, accepted: Slot) {
        let (name, bytes) = match hole.segment {
            Some(index) => (self.segments[index].first, self.segments[index].bytes),
            None => (self.expected, 0),
        };
        let range = (self.facts.decided.next(), accepted);
        self.damage.push(Damage {
            file: names::segment(name),
            offset: hole.offset,
            bytes: end.unwrap_or(bytes) - hole.offset,
            kind: if hole.bad { DamageKind::Header } else { DamageKind::Missing },
            positions: (self.expected <= last).then_some((self.expected, last)),
            unknown: self.clip(range),
        });
        self.forget(hole.segment, Some(range));
        self.facts.accepted = self.facts.accepted.max(accepted);
    }

    /// What was accepted in a range of slots is unknown from here on.
    fn forget(&mut self, segment: Option<usize>, range: Option<(Slot, Slot)>) {
        let Some((lowest, highest)) = range.and_then(|range| self.clip(range)) else { return };
        self.items.push(Replayed::Unknown { lowest, highest });
        if let Some(index) = segment {
            let segment = &mut self.segments[index];
            segment.accepted = segment.accepted.max(highest);
        }
    }

    /// A range without what the snapshot covers; `None` when nothing is left.
    fn clip(&self, (lowest, highest): (Slot, Slot)) -> Option<(Slot, Slot)> {
        let lowest = lowest.max(self.snapshot.next());
        (lowest <= highest).then_some((lowest, highest))
    }

    fn finish(mut self, directory: &dyn Directory, mark: &Mark, content: &[u8]) -> Result<Scan, OpenError> {
        let last = self.segments.last().cloned();
        let before_last = last.as_ref().map_or(0, |last| last.first.0 - 1);
        let covered = LogPosition(mark.synced.0.max(before_last));
        let hole = self.hole.take().unwrap_or_else(|| self.end_of_last());
        if let Some(last) = &last {
            // One sector of zeros follows the last frame. Where the file ends before it, there may have been more than
            // the mark, which may lag, knows of.
            let here = hole.segment == self.segments.len().checked_sub(1);
            let frames_end = if here { hole.offset } else { 0 };
            if last.first == mark.segment && last.bytes < mark.segment_bytes && frames_end + SECTOR_BYTES > last.bytes {
                let why = format!("it has {} bytes instead of {}", last.bytes, mark.segment_bytes);
                return Err(promise_lost(directory, last.first, &why));
            }
        }
        let mut torn = None;
        let mut end = End::At(hole.offset);
        if let Some(body) = self.body.filter(|body| body.header.first > covered) {
            let Place { offset, .. } = body.header.place;
            self.body = None;
            self.expected = body.header.first;
            end = End::At(offset);
            torn = Some(Torn { offset, bytes: body.header.frame_bytes().min(content.len() as u64 - offset) });
        } else {
            self.resolve_body();
            if covered >= self.expected {
                if covered > mark.synced {
                    let name = LogPosition(before_last + 1);
                    let why = "frames before it are missing, and the mark does not tell what was in them";
                    return Err(promise_lost(directory, name, why));
                }
                self.lose(hole, None, covered, mark.facts.accepted);
                self.expected = LogPosition(covered.0 + 1);
                let unused = last.as_ref().filter(|last| last.first == self.expected);
                end = if unused.is_some() { End::At(0) } else { End::NewSegment };
            } else if hole.bad {
                torn = Some(Torn { offset: hole.offset, bytes: SECTOR_BYTES });
            }
        }
        self.facts.merge(&mark.facts);
        self.find_uncovered();
        let last_index = self.segments.len().checked_sub(1);
        let last_frame =
            self.last_frame.filter(|(segment, ..)| Some(*segment) == last_index).map(|(_, offset, bytes)| {
                let start = usize::try_from(offset).expect("read into memory");
                (offset, content[start..start + usize::try_from(bytes).expect("read into memory")].to_vec())
            });
        let Scanner { items, damage, facts, segments, expected: next, .. } = self;
        Ok(Scan { items, damage, facts, segments, torn, end, next, last_frame })
    }

    /// Slots up to the decided one that are in no snapshot, in no record and not known as unknown: the snapshot that
    /// covered them is gone.
    fn find_uncovered(&mut self) {
        let mut ranges = Vec::new();
        for item in &self.items {
            match item {
                Replayed::Record(concoord_wire::record::Record::Accepted { slot, .. }) => ranges.push((*slot, *slot)),
                Replayed::Record(_) => {}
                Replayed::Unknown { lowest, highest } => ranges.push((*lowest, *highest)),
            }
        }
        ranges.sort_unstable();
        let mut uncovered = Vec::new();
        let mut next = self.snapshot.next();
        for (lowest, highest) in ranges {
            if lowest > next && next <= self.facts.decided {
                uncovered.push((next, Slot(lowest.0 - 1).min(self.facts.decided)));
            }
            next = next.max(highest.next());
        }
        if next <= self.facts.decided {
            uncovered.push((next, self.facts.decided));
        }
        for (lowest, highest) in uncovered.into_iter().rev() {
            let file = self.segments.first().map_or(LogPosition(1), |oldest| oldest.first);
            self.damage.push(Damage {
                file: names::segment(file),
                offset: 0,
                bytes: 0,
                kind: DamageKind::Snapshotless,
                positions: None,
                unknown: Some((lowest, highest)),
            });
            self.items.insert(0, Replayed::Unknown { lowest, highest });
        }
    }
}

/// Whether a file has nothing but zeros, like a segment that was never written to.
pub(crate) fn is_blank(directory: &dyn Directory, name: &str) -> Result<bool, FileError> {
    let file = directory.open(name).named(directory, "open", name)?;
    let mut block = vec![0; 1 << 16];
    let mut offset = 0;
    loop {
        let read = file.read_at(offset, &mut block).named(directory, "read", name)?;
        if block[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read < block.len() {
            return Ok(true);
        }
        offset += read as u64;
    }
}
