//! The file layer under log and snapshots: few operations, each of which may fail, so that the simulator can put its own
//! disk in the place of the real one.
//!
//! What is promised about durability is what POSIX promises: bytes are durable after [`File::sync`], a name (created,
//! renamed, removed) after [`Directory::sync`], and a write that was not synced may be on disk in any part. One sector of
//! [`SECTOR_BYTES`] is assumed to be written whole or not at all.

mod memory;
mod real;
mod simulated;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use memory::MemoryDirectory;
pub use real::{DirectoryError, RealDirectory};
pub use simulated::{Fault, FaultKind, SimulatedDisk};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;

/// One flat directory.
pub trait Directory: fmt::Debug + Send + Sync {
    /// The names of its files, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Creates an empty file; what stood there under the name is emptied.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Renames a file in one step; what stood under the new name is gone.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable as they are now.
    ///
    /// # Errors
    /// What the system says. It is not retried: what is durable is unknown then.
    fn sync(&self) -> io::Result<()>;

    /// Where it is, for messages.
    fn path(&self) -> PathBuf;
}

/// One open file.
pub trait File: fmt::Debug + Send {
    /// Its length.
    ///
    /// # Errors
    /// What the system says.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads from `offset` until `buffer` is full or the file ends, and tells how many bytes were read.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes`; the file grows where it has to.
    ///
    /// # Errors
    /// What the system says; part of it may be written then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes all that was written durable, with the length.
    ///
    /// # Errors
    /// What the system says. It is not retried: the system may have dropped what it could not write, and say nothing of
    /// it the next time.
    fn sync(&mut self) -> io::Result<()>;
}

/// An operation on a file that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {} failed: {source}", .file.display())]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// What was tried: `read`, `write`, `sync`, `create`, `rename`, `remove`, `list`.
    pub operation: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// Whether there was no room on the disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Names file and operation in an error.
pub(crate) trait Named<T> {
    /// `name` is empty for the directory itself.
    fn named(self, directory: &dyn Directory, operation: &'static str, name: &str) -> Result<T, FileError>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, directory: &dyn Directory, operation: &'static str, name: &str) -> Result<T, FileError> {
        self.map_err(|source| {
            let path = directory.path();
            FileError { file: if name.is_empty() { path } else { path.join(name) }, operation, source }
        })
    }
}

/// Ending of a file that is not complete yet; after a crash it is garbage, except where its owner says otherwise.
pub(crate) const PART: &str = ".part";

/// Reads a whole file.
pub(crate) fn read(directory: &dyn Directory, name: &str) -> Result<Vec<u8>, FileError> {
    let file = directory.open(name).named(directory, "open", name)?;
    let bytes = file.bytes().named(directory, "read", name)?;
    let mut content = vec![0; usize::try_from(bytes).map_err(too_big).named(directory, "read", name)?];
    let read = file.read_at(0, &mut content).named(directory, "read", name)?;
    content.truncate(read);
    Ok(content)
}

/// Writes a file aside and puts it in its place durably: afterwards the name stands for all of it or for what it did
/// before.
pub(crate) fn replace(directory: &dyn Directory, name: &str, content: &[u8]) -> Result<(), FileError> {
    let part = format!("{name}{PART}");
    let mut file = directory.create(&part).named(directory, "create", &part)?;
    file.write_at(0, content).named(directory, "write", &part)?;
    file.sync().named(directory, "sync", &part)?;
    directory.rename(&part, name).named(directory, "rename", &part)?;
    directory.sync().named(directory, "sync", "")
}

fn too_big(_: std::num::TryFromIntError) -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}
