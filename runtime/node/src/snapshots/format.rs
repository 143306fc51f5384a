//! The bytes of a snapshot file.
//!
//! ```text
//!  0  magic (8)              24  slot (8)
//!  8  format version (4)     32  CRC32C of the above (4)
//! 12  checkpoint bytes (4)   36  the encoded `Checkpoint`, CRC32C of it (4)
//! 16  body bytes (8)             blocks of the body, 256 KiB but the last, each with CRC32C of its number and bytes (4)
//!                                XXH3-64 of the whole file up to here (8)
//! ```

use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::{Slot, codec};
use xxhash_rust::xxh3::Xxh3Default;

use super::{LoadedSnapshot, SnapshotError, SnapshotFile};
use crate::disk::{Directory, File, FileError, Named};
use crate::log::fields::{put_u32, put_u64, u32_at, u64_at};

/// Format of snapshot files.
pub(super) const VERSION: u32 = 1;
/// Bytes that are written before they are synced: what a disk holds back then delays the log's own syncs by no more.
const SYNC_BYTES: u64 = 4 << 20;
/// Bytes of the body under one checksum.
pub(super) const BLOCK_BYTES: usize = 256 << 10;
const MAGIC: &[u8; 8] = b"consnap\0";
const HEADER_BYTES: usize = 36;
const HEADER_CRC_AT: usize = HEADER_BYTES - 4;
const CRC_BYTES: usize = 4;
const HASH_BYTES: usize = 8;
/// A checkpoint holds a view, which is small.
const CHECKPOINT_BYTES_MAX: u32 = 16 << 20;

/// Writes a snapshot and syncs it, and tells how many bytes it has.
pub(super) fn write(
    directory: &dyn Directory,
    name: &str,
    checkpoint: &Checkpoint,
    body: &[u8],
) -> Result<u64, FileError> {
    let file = directory.create(name).named(directory, "create", name)?;
    let mut writer = Writer { directory, name, file, offset: 0, hash: Xxh3Default::new() };
    let meta = codec::to_bytes(checkpoint);
    let mut head = vec![0; HEADER_BYTES];
    head[..8].copy_from_slice(MAGIC);
    put_u32(&mut head, 8, VERSION);
    put_u32(&mut head, 12, u32::try_from(meta.len()).expect("a view is small"));
    put_u64(&mut head, 16, body.len() as u64);
    put_u64(&mut head, 24, checkpoint.slot.0);
    let crc = crc32c::crc32c(&head[..HEADER_CRC_AT]);
    put_u32(&mut head, HEADER_CRC_AT, crc);
    head.extend_from_slice(&meta);
    head.extend_from_slice(&crc32c::crc32c(&meta).to_le_bytes());
    writer.put(&head)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES.min(body.len()) + CRC_BYTES);
    for (number, content) in (0..).zip(body.chunks(BLOCK_BYTES)) {
        block.clear();
        block.extend_from_slice(content);
        block.extend_from_slice(&block_crc(number, content).to_le_bytes());
        writer.put(&block)?;
    }
    let hash = writer.hash.digest();
    writer.put(&hash.to_le_bytes())?;
    writer.file.sync().named(directory, "sync", name)?;
    Ok(writer.offset)
}

/// Whether a file is to be synced that grew so.
pub(super) fn is_sync_due(before: u64, after: u64) -> bool {
    before / SYNC_BYTES < after / SYNC_BYTES
}

struct Writer<'a> {
    directory: &'a dyn Directory,
    name: &'a str,
    file: Box<dyn File>,
    offset: u64,
    hash: Xxh3Default,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_at(self.offset, bytes).named(self.directory, "write", self.name)?;
        self.hash.update(bytes);
        let before = self.offset;
        self.offset += bytes.len() as u64;
        if is_sync_due(before, self.offset) {
            self.file.sync().named(self.directory, "sync", self.name)?;
        }
        Ok(())
    }
}

/// A block's number is part of its checksum, so that one in the place of another shows.
fn block_crc(number: u64, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), content)
}

/// Reads what a snapshot says about itself.
pub(super) fn read_head(directory: &dyn Directory, name: &str, slot: Slot) -> Result<SnapshotFile, SnapshotError> {
    let mut reader = Reader::open(directory, name)?;
    let (checkpoint, _) = reader.head(slot)?;
    Ok(SnapshotFile { checkpoint, bytes: reader.bytes })
}

/// Reads and checks a snapshot as a whole.
pub(super) fn read(directory: &dyn Directory, name: &str, slot: Slot) -> Result<LoadedSnapshot, SnapshotError> {
    let mut body = Vec::new();
    let checkpoint = walk(directory, name, slot, &mut |bytes, block| {
        if body.is_empty() {
            body.reserve_exact(bytes);
        }
        body.extend_from_slice(block);
    })?;
    Ok(LoadedSnapshot { checkpoint: checkpoint.checkpoint, body, bytes: checkpoint.bytes })
}

/// Checks a snapshot as a whole without keeping it.
pub(super) fn verify(directory: &dyn Directory, name: &str, slot: Slot) -> Result<SnapshotFile, SnapshotError> {
    walk(directory, name, slot, &mut |_, _| {})
}

/// Reads a snapshot and hands each block of its body to `each`, with the bytes of the whole body.
fn walk(
    directory: &dyn Directory,
    name: &str,
    slot: Slot,
    each: &mut dyn FnMut(usize, &[u8]),
) -> Result<SnapshotFile, SnapshotError> {
    let mut reader = Reader::open(directory, name)?;
    let (checkpoint, body_bytes) = reader.head(slot)?;
    let mut left = body_bytes;
    let mut block = vec![0; BLOCK_BYTES.min(body_bytes) + CRC_BYTES];
    let mut number = 0;
    while left > 0 {
        let length = left.min(BLOCK_BYTES);
        let start = reader.offset;
        let block = &mut block[..length + CRC_BYTES];
        reader.take(block)?;
        let (content, crc) = block.split_at(length);
        if block_crc(number, content) != u32_at(crc, 0) {
            return Err(reader.damaged(start, format!("block {number} of the body has a wrong checksum")));
        }
        each(body_bytes, content);
        left -= length;
        number += 1;
    }
    let digest = reader.hash.digest();
    let mut hash = [0; HASH_BYTES];
    reader.take(&mut hash)?;
    if u64_at(&hash, 0) != digest {
        return Err(reader.damaged(0, "the checksum of the whole file is wrong".into()));
    }
    Ok(SnapshotFile { checkpoint, bytes: reader.bytes })
}

/// The slot that a snapshot says it is of, unchecked: whoever reads it checks it.
pub(super) fn slot_of(directory: &dyn Directory, name: &str) -> Result<Slot, SnapshotError> {
    let mut reader = Reader::open(directory, name)?;
    let mut header = [0; HEADER_BYTES];
    reader.take(&mut header)?;
    if !header.starts_with(MAGIC) {
        return Err(reader.damaged(0, "it does not begin as a snapshot does".into()));
    }
    Ok(Slot(u64_at(&header, 24)))
}

struct Reader<'a> {
    directory: &'a dyn Directory,
    name: &'a str,
    file: Box<dyn File>,
    bytes: u64,
    offset: u64,
    hash: Xxh3Default,
}

impl<'a> Reader<'a> {
    fn open(directory: &'a dyn Directory, name: &'a str) -> Result<Reader<'a>, SnapshotError> {
        let file = directory.open(name).named(directory, "open", name)?;
        let bytes = file.bytes().named(directory, "read", name)?;
        Ok(Reader { directory, name, file, bytes, offset: 0, hash: Xxh3Default::new() })
    }

    /// The checkpoint, and the bytes of the body. The file is as long as they say.
    fn head(&mut self, slot: Slot) -> Result<(Checkpoint, usize), SnapshotError> {
        let mut header = [0; HEADER_BYTES];
        self.take(&mut header)?;
        let whole =
            header.starts_with(MAGIC) && crc32c::crc32c(&header[..HEADER_CRC_AT]) == u32_at(&header, HEADER_CRC_AT);
        if !whole {
            return Err(self.damaged(0, "the header has a wrong checksum".into()));
        }
        let version = u32_at(&header, 8);
        if version != VERSION {
            return Err(SnapshotError::Version { file: self.directory.path().join(self.name), found: version });
        }
        if u64_at(&header, 24) != slot.0 {
            return Err(self.damaged(24, format!("it is the snapshot of slot {}", u64_at(&header, 24))));
        }
        let meta_bytes = u32_at(&header, 12);
        let body_bytes = u64_at(&header, 16);
        let blocks = body_bytes.div_ceil(BLOCK_BYTES as u64);
        let rest = u64::from(meta_bytes) + (1 + blocks) * CRC_BYTES as u64 + HASH_BYTES as u64;
        let expected = (HEADER_BYTES as u64 + rest).checked_add(body_bytes);
        if expected != Some(self.bytes) || meta_bytes > CHECKPOINT_BYTES_MAX {
            let why = format!("the file has {} bytes, but its header speaks of {body_bytes} in its body", self.bytes);
            return Err(self.damaged(self.bytes.min(expected.unwrap_or(u64::MAX)), why));
        }
        let mut meta = vec![0; meta_bytes as usize + CRC_BYTES];
        self.take(&mut meta)?;
        let (meta, crc) = meta.split_at(meta_bytes as usize);
        let at = HEADER_BYTES as u64;
        if crc32c::crc32c(meta) != u32_at(crc, 0) {
            return Err(self.damaged(at, "the checkpoint has a wrong checksum".into()));
        }
        let checkpoint: Checkpoint = codec::from_bytes(meta)
            .map_err(|error| self.damaged(at, format!("the checkpoint can't be read: {error}")))?;
        let body_bytes = usize::try_from(body_bytes).map_err(|_| self.damaged(16, "it is too large for us".into()))?;
        Ok((checkpoint, body_bytes))
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        let read = self.file.read_at(self.offset, buffer).named(self.directory, "read", self.name)?;
        if read < buffer.len() {
            let end = self.offset + read as u64;
            return Err(self.damaged(end, "the file ends early".into()));
        }
        self.hash.update(buffer);
        self.offset += read as u64;
        Ok(())
    }

    fn damaged(&self, offset: u64, why: String) -> SnapshotError {
        SnapshotError::Damaged { file: self.directory.path().join(self.name), offset, why }
    }
}
