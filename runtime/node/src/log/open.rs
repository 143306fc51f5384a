//! Recovery: reads what is there, makes good what a crash may leave, and goes on.
//!
//! Everything that the replica will act on is durable when [`Log::open`] returns: the page cache may show what the disk never
//! got, so the last frame is written and synced again, and a torn tail is overwritten with zeros. Each step can be
//! interrupted and done again.

use std::collections::VecDeque;
use std::sync::Arc;

use concoord_consensus::io::LogPosition;
use concoord_consensus::mutated;
use concoord_wire::Slot;

use super::error::OpenError;
use super::fields::u64_at;
use super::frame::FrameBuffer;
use super::mark::{Mark, MarkFile};
use super::recovered::{Cut, Damage, DamageKind, Recovered};
use super::scan::{self, End, Scan};
use super::spares::{Spare, SpareMaker};
use super::{Identity, Log, LogOptions, SPARES_WANTED, Segment, names};
use crate::disk::{self, Directory, File, FileError, Named, SECTOR_BYTES};
use crate::snapshots::{self, Newest, SnapshotError, Snapshots};

/// All that can be told of a directory without changing it.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) identity: Identity,
    pub(crate) mark: Mark,
    pub(crate) newest: Newest,
    pub(crate) scan: Scan,
    /// Of mark, snapshots and log.
    pub(crate) damage: Vec<Damage>,
}

/// Reads everything.
pub(crate) fn survey(directory: &dyn Directory, snapshots: &Snapshots) -> Result<Survey, OpenError> {
    let names = directory.list().named(directory, "list", "")?;
    let identity = read_identity(directory, &names)?;
    if !names.iter().any(|name| name == names::MARK) {
        let file = directory.path().join(names::MARK);
        return Err(OpenError::PromiseLost { file, why: "the file is missing".into() });
    }
    let (mark, bad_sectors) = Mark::read(directory, &identity)?;
    let newest = snapshots.load_newest()?;
    let snapshot = newest.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.checkpoint.slot);
    let mut scan = scan::scan(directory, &names, &identity, &mark, snapshot)?;
    let mut damage = bad_sectors.into_iter().map(mark_damage).collect::<Vec<_>>();
    damage.extend(newest.damaged.iter().map(|(slot, error)| snapshot_damage(*slot, error)));
    damage.append(&mut scan.damage);
    Ok(Survey { identity, mark, newest, scan, damage })
}

fn read_identity(directory: &dyn Directory, names: &[String]) -> Result<Identity, OpenError> {
    if names.iter().any(|name| name == names::IDENTITY) {
        return Identity::read(directory);
    }
    match sign_of_life(directory, names)? {
        Some(sign) => Err(OpenError::IdentityLost {
            file: directory.path().join(names::IDENTITY),
            why: format!("the file is missing, while {sign} shows that a replica used this directory"),
        }),
        None => Err(OpenError::Empty { path: directory.path() }),
    }
}

/// A file that shows that setting up came to its end once; what an interrupted one leaves is none.
pub(crate) fn sign_of_life(directory: &dyn Directory, names: &[String]) -> Result<Option<String>, FileError> {
    for name in names {
        let alive = match name.as_str() {
            names::IDENTITY => true,
            // Something was synced; the place of that number in both sectors.
            names::MARK => disk::read(directory, name)?
                .chunks_exact(SECTOR_BYTES as usize)
                .any(|sector| u64_at(sector, super::mark::SYNCED_AT) != 0),
            _ => names::parse_segment(name).is_some() && !scan::is_blank(directory, name)?,
        };
        if alive {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

fn mark_damage(sector: u64) -> Damage {
    Damage {
        file: names::MARK.into(),
        offset: sector * SECTOR_BYTES,
        bytes: SECTOR_BYTES,
        kind: DamageKind::Mark,
        positions: None,
        unknown: None,
    }
}

fn snapshot_damage(slot: Slot, error: &SnapshotError) -> Damage {
    let (offset, why) = match error {
        SnapshotError::Damaged { offset, why, .. } => (*offset, why.clone()),
        other => (0, other.to_string()),
    };
    Damage {
        file: snapshots::file_name(slot),
        offset,
        bytes: 0,
        kind: DamageKind::Snapshot(why),
        positions: None,
        unknown: None,
    }
}

impl Log {
    /// Opens the log of a directory for writing, after making good what a crash may have left.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Empty`] when there is none. Nothing was changed where the identity, the mark or the
    /// promises of the log are lost.
    pub fn open(directory: Arc<dyn Directory>, options: LogOptions) -> Result<(Log, Recovered), OpenError> {
        let snapshots = Snapshots::new(Arc::clone(&directory));
        let Survey { identity, mark, newest, scan, damage } = survey(&*directory, &snapshots)?;
        let (spares, maker) = clear(&directory, options)?;
        let mut older = scan.segments.iter().map(segment).collect::<VecDeque<_>>();
        let mut anchored = false;
        let (current, file, offset) = match (scan.end, older.pop_back()) {
            (End::At(offset), Some(current)) => {
                anchored = scan.segments.last().is_some_and(|last| last.frames > 0);
                (current, make_good(&*directory, current.first, &scan)?, offset)
            }
            (_, last) => {
                older.extend(last);
                let (current, file) = begin(&*directory, &maker, scan.next)?;
                (current, file, 0)
            }
        };
        directory.sync().named(&*directory, "sync", "")?;
        let mut log = Log {
            mark: MarkFile::open(&*directory, identity, mark.sequence)?,
            directory,
            identity,
            older,
            current,
            file,
            offset,
            spares,
            maker,
            facts: scan.facts,
            next: scan.next,
            synced: LogPosition(scan.next.0 - 1),
            anchored,
            buffer: FrameBuffer::default(),
            ended: false,
        };
        let mark = log.mark_of(&log.facts);
        log.mark.settle(&*log.directory, mark)?;
        let cut = scan.torn.map(|torn| Cut {
            file: names::segment(log.current.first),
            offset: torn.offset,
            bytes: torn.bytes,
        });
        let recovered = Recovered {
            identity,
            snapshot: newest.snapshot,
            replay: scan.items,
            promised: scan.facts.promised,
            decided: scan.facts.decided,
            accepted: scan.facts.accepted,
            damage,
            cut,
            next: scan.next,
        };
        Ok((log, recovered))
    }
}

/// What [`Log::open`] would come to, without changing anything; the log can't be written then.
///
/// # Errors
/// As [`Log::open`].
pub(crate) fn read(directory: Arc<dyn Directory>) -> Result<Recovered, OpenError> {
    let snapshots = Snapshots::new(Arc::clone(&directory));
    let Survey { identity, mark: _, newest, scan, damage } = survey(&*directory, &snapshots)?;
    let cut = scan.torn.zip(scan.segments.last()).map(|(torn, last)| Cut {
        file: names::segment(last.first),
        offset: torn.offset,
        bytes: torn.bytes,
    });
    Ok(Recovered {
        identity,
        snapshot: newest.snapshot,
        replay: scan.items,
        promised: scan.facts.promised,
        decided: scan.facts.decided,
        accepted: scan.facts.accepted,
        damage,
        cut,
        next: scan.next,
    })
}

fn segment(scanned: &scan::Scanned) -> Segment {
    Segment { first: scanned.first, bytes: scanned.bytes, accepted: scanned.accepted }
}

/// Writes the last frame again, overwrites a torn tail, and syncs both.
fn make_good(directory: &dyn Directory, segment: LogPosition, scan: &Scan) -> Result<Box<dyn File>, FileError> {
    let name = names::segment(segment);
    let mut file = directory.open(&name).named(directory, "open", &name)?;
    if mutated!(TailNotSyncedAgain) {
        return Ok(file);
    }
    if let Some((offset, bytes)) = &scan.last_frame {
        file.write_at(*offset, bytes).named(directory, "write", &name)?;
    }
    if let Some(torn) = scan.torn {
        let zeros = vec![0; usize::try_from(torn.bytes).expect("it was read into memory")];
        file.write_at(torn.offset, &zeros).named(directory, "write", &name)?;
    }
    file.sync().named(directory, "sync", &name)?;
    Ok(file)
}

/// Begins a segment after damage at the tail, which stays where it is as evidence.
fn begin(
    directory: &dyn Directory,
    maker: &SpareMaker,
    first: LogPosition,
) -> Result<(Segment, Box<dyn File>), FileError> {
    let spare = maker.make()?;
    let name = names::segment(first);
    directory.rename(&spare.name, &name).named(directory, "rename", &spare.name)?;
    let file = directory.open(&name).named(directory, "open", &name)?;
    Ok((Segment { first, bytes: spare.bytes, accepted: Slot::ZERO }, file))
}

/// Removes what is unfinished or of no use, and finds the spares.
fn clear(directory: &Arc<dyn Directory>, options: LogOptions) -> Result<(Vec<Spare>, SpareMaker), FileError> {
    let mut spares = Vec::new();
    let mut next = 0;
    for name in directory.list().named(&**directory, "list", "")? {
        let number = names::parse_spare(&name);
        next = number.map_or(next, |number| next.max(number + 1));
        if number.is_some() && spares.len() < SPARES_WANTED {
            let file = directory.open(&name).named(&**directory, "open", &name)?;
            let bytes = file.bytes().named(&**directory, "read", &name)?;
            if bytes == options.segment_bytes {
                spares.push(Spare { name, bytes });
                continue;
            }
        }
        if number.is_some() || (names::is_part(&name) && !snapshots::is_incoming(&name)) {
            directory.remove(&name).named(&**directory, "remove", &name)?;
        }
    }
    Ok((spares, SpareMaker::new(Arc::clone(directory), options.segment_bytes, next)))
}
