//! Whose directory it is. Written once, last of all when a directory is set up: without it there is nothing here.

use concoord_wire::{ClusterId, NodeId};

use super::error::OpenError;
use super::fields::{put_u32, put_u64, u32_at, u64_at, u128_at};
use super::names::IDENTITY;
use crate::disk::{self, Directory, FileError};

const MAGIC: &[u8; 8] = b"concoord";
/// Format of the whole directory.
pub(crate) const VERSION: u32 = 1;
const BYTES: usize = 52;
const CRC_AT: usize = BYTES - 4;

/// Who writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The replica.
    pub node: NodeId,
    /// Drawn at random with the directory and never told to anybody: it begins every frame of the log, so that nothing
    /// that a client lets us write can look like a frame.
    pub tag: u64,
}

impl Identity {
    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        put_u32(&mut bytes, 8, VERSION);
        bytes[12..28].copy_from_slice(&self.cluster.0.to_le_bytes());
        put_u64(&mut bytes, 28, self.node.0);
        put_u64(&mut bytes, 36, self.tag);
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put_u32(&mut bytes, CRC_AT, crc);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Identity, Unreadable> {
        if bytes.len() != BYTES {
            return Err(Unreadable::Damaged(format!("it has {} bytes instead of {BYTES}", bytes.len())));
        }
        if crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) || !bytes.starts_with(MAGIC) {
            return Err(Unreadable::Damaged("its checksum is wrong".into()));
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            found => return Err(Unreadable::Version(found)),
        }
        let cluster = ClusterId(u128_at(bytes, 12));
        Ok(Identity { cluster, node: NodeId(u64_at(bytes, 28)), tag: u64_at(bytes, 36) })
    }

    /// Writes it durably.
    pub(crate) fn write(&self, directory: &dyn Directory) -> Result<(), FileError> {
        disk::replace(directory, IDENTITY, &self.encode())
    }

    /// Reads it; the file is there.
    pub(crate) fn read(directory: &dyn Directory) -> Result<Identity, OpenError> {
        let file = directory.path().join(IDENTITY);
        Identity::decode(&disk::read(directory, IDENTITY)?).map_err(|why| match why {
            Unreadable::Damaged(why) => OpenError::IdentityLost { file, why },
            Unreadable::Version(found) => OpenError::Version { file, found },
        })
    }
}

enum Unreadable {
    Damaged(String),
    Version(u32),
}
