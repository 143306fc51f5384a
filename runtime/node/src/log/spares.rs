//! Segments that wait to be used: made ahead of need, because writing zeros takes long and may find no room, while a
//! full log has no time and a promise can't be refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names;
use crate::disk::{Directory, FileError, Named, PART, SECTOR_BYTES};

/// What is written at a time while a segment is filled with zeros.
const ZEROS_BYTES: usize = 256 << 10;

/// When a new segment is synced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syncs {
    /// When all of it is written: soonest done.
    Once,
    /// After each piece that is written, so that the log's own syncs come in between.
    Piecewise,
}

/// A segment that waits: durable, of full length, its content of no meaning.
#[derive(Debug)]
pub struct Spare {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Makes spare segments, beside the log and on any thread.
#[derive(Clone, Debug)]
pub struct SpareMaker {
    directory: Arc<dyn Directory>,
    bytes: u64,
    next: Arc<AtomicU64>,
}

impl SpareMaker {
    /// Makes segments of `bytes` bytes; no spare that is there has a number of `next` or above.
    pub(crate) fn new(directory: Arc<dyn Directory>, bytes: u64, next: u64) -> SpareMaker {
        SpareMaker { directory, bytes, next: Arc::new(AtomicU64::new(next)) }
    }

    /// Makes one. It takes as long as writing its bytes.
    ///
    /// # Errors
    /// [`FileError`], with [`FileError::is_full`] when there is no room. Nothing is left of it then, and another try may
    /// go well.
    pub fn make(&self) -> Result<Spare, FileError> {
        self.make_of(self.bytes)
    }

    /// The same, beside a log that is written: behind one sync of the whole, its syncs would wait for as long as the disk takes
    /// for that, some 50 ms on a small one.
    ///
    /// # Errors
    /// As [`SpareMaker::make`].
    pub fn make_beside_log(&self) -> Result<Spare, FileError> {
        self.fill_new(self.bytes, Syncs::Piecewise)
    }

    pub(crate) fn make_of(&self, bytes: u64) -> Result<Spare, FileError> {
        self.fill_new(bytes, Syncs::Once)
    }

    fn fill_new(&self, bytes: u64, syncs: Syncs) -> Result<Spare, FileError> {
        let name = self.name();
        let part = format!("{name}{PART}");
        let made = fill(&*self.directory, &part, bytes, syncs)
            .and_then(|()| self.directory.rename(&part, &name).named(&*self.directory, "rename", &part));
        made.inspect_err(|_| {
            // It is removed at the next start if not now.
            let _ = self.directory.remove(&part);
        })?;
        Ok(Spare { name, bytes })
    }

    /// A name that no spare has.
    pub(crate) fn name(&self) -> String {
        names::spare(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn fill(directory: &dyn Directory, name: &str, bytes: u64, syncs: Syncs) -> Result<(), FileError> {
    assert!(bytes.is_multiple_of(SECTOR_BYTES), "a segment is made of whole sectors");
    let mut file = directory.create(name).named(directory, "create", name)?;
    let zeros = vec![0; usize::try_from(bytes).map_or(ZEROS_BYTES, |bytes| bytes.min(ZEROS_BYTES))];
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_at(offset, &zeros[..length]).named(directory, "write", name)?;
        offset += length as u64;
        if syncs == Syncs::Piecewise || offset == bytes {
            file.sync().named(directory, "sync", name)?;
        }
    }
    Ok(())
}
