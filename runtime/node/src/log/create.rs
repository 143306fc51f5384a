//! Setting up a data directory. The identity comes last and durably: without it nothing was set up.

use std::collections::VecDeque;
use std::sync::Arc;

use concoord_consensus::io::LogPosition;
use concoord_wire::Slot;
use concoord_wire::checkpoint::Checkpoint;

use super::error::CreateError;
use super::frame::{Facts, FrameBuffer};
use super::mark::{Mark, MarkFile};
use super::spares::SpareMaker;
use super::{Identity, Log, LogOptions, Segment, names, open};
use crate::disk::{Directory, Named};
use crate::snapshots::{Snapshots, is_snapshot};

/// The position of the first record of all.
const FIRST: LogPosition = LogPosition(1);

impl Log {
    /// A new log that starts from a snapshot: that of slot 0, or the one that a joiner was sent. When this returns,
    /// everything is durable; when it fails or is interrupted, nothing was set up, and it can be tried again.
    ///
    /// # Errors
    /// [`CreateError::Exists`] when the directory belongs to a replica, or is what is left of one's.
    pub fn create(
        directory: Arc<dyn Directory>,
        identity: Identity,
        checkpoint: &Checkpoint,
        body: &[u8],
        options: LogOptions,
    ) -> Result<Log, CreateError> {
        let names = directory.list().named(&*directory, "list", "")?;
        if let Some(name) = open::sign_of_life(&*directory, &names)? {
            return Err(CreateError::Exists { file: directory.path().join(name) });
        }
        for name in names.iter().filter(|name| is_ours(name)) {
            directory.remove(name).named(&*directory, "remove", name)?;
        }
        Snapshots::new(Arc::clone(&directory)).save(checkpoint, body)?;
        let maker = SpareMaker::new(Arc::clone(&directory), options.segment_bytes, 0);
        let spare = maker.make()?;
        let name = names::segment(FIRST);
        directory.rename(&spare.name, &name).named(&*directory, "rename", &spare.name)?;
        let file = directory.open(&name).named(&*directory, "open", &name)?;
        let nothing = LogPosition(FIRST.0 - 1);
        let mark = Mark {
            sequence: 0,
            synced: nothing,
            facts: Facts::NONE,
            segment: FIRST,
            segment_bytes: options.segment_bytes,
        };
        let mark = MarkFile::create(&*directory, identity, mark)?;
        directory.sync().named(&*directory, "sync", "")?;
        identity.write(&*directory)?;
        Ok(Log {
            directory,
            identity,
            older: VecDeque::new(),
            current: Segment { first: FIRST, bytes: options.segment_bytes, accepted: Slot::ZERO },
            file,
            offset: 0,
            spares: Vec::new(),
            maker,
            mark,
            facts: Facts::NONE,
            next: FIRST,
            synced: nothing,
            anchored: false,
            buffer: FrameBuffer::default(),
            ended: false,
        })
    }
}

fn is_ours(name: &str) -> bool {
    name == names::MARK
        || names::parse_segment(name).is_some()
        || names::parse_spare(name).is_some()
        || names::is_part(name)
        || is_snapshot(name)
}
