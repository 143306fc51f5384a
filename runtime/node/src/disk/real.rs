//! A directory of the file system.

use std::fs::{self, File as SystemFile, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Directory, File};

/// Name of the file whose lock says that a process uses the directory.
const LOCK: &str = "lock";

/// A directory of the file system, locked: no two processes use one at a time.
#[derive(Debug)]
pub struct RealDirectory {
    path: PathBuf,
    handle: SystemFile,
    writable: bool,
    /// Released when it is closed.
    _lock: Option<SystemFile>,
}

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("{} is in use by another process: stop that replica first, or give another directory", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("{} can't be used: {source}", .path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RealDirectory {
    /// The directory at `path`, which is created where it is missing, for this process alone until the value is dropped.
    ///
    /// # Errors
    /// [`DirectoryError::InUse`] when a process has it already, this one included.
    pub fn open(path: &Path) -> Result<RealDirectory, DirectoryError> {
        let refused = |source| DirectoryError::Refused { path: path.to_owned(), source };
        if !path.exists() {
            fs::create_dir_all(path).map_err(refused)?;
            if let Some(parent) = path.canonicalize().map_err(refused)?.parent() {
                SystemFile::open(parent).and_then(|parent| parent.sync_all()).map_err(refused)?;
            }
        }
        let handle = SystemFile::open(path).map_err(refused)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK)).map_err(refused)?;
        lock.try_lock().map_err(|error| not_locked(path, error))?;
        Ok(RealDirectory { path: path.to_owned(), handle, writable: true, _lock: Some(lock) })
    }

    /// The directory at `path`, to look at: files open for reading only, and nothing is created. Several processes may
    /// look at a time.
    ///
    /// # Errors
    /// [`DirectoryError::InUse`] while a process may write there.
    pub fn open_read_only(path: &Path) -> Result<RealDirectory, DirectoryError> {
        let refused = |source| DirectoryError::Refused { path: path.to_owned(), source };
        let handle = SystemFile::open(path).map_err(refused)?;
        if !handle.metadata().map_err(refused)?.is_dir() {
            return Err(refused(io::ErrorKind::NotADirectory.into()));
        }
        let lock = match SystemFile::open(path.join(LOCK)) {
            Ok(lock) => {
                lock.try_lock_shared().map_err(|error| not_locked(path, error))?;
                Some(lock)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(refused(error)),
        };
        Ok(RealDirectory { path: path.to_owned(), handle, writable: false, _lock: lock })
    }

    /// The directory at `path`, to look at without a lock: for files that no replica writes.
    pub(crate) fn open_unlocked(path: &Path) -> io::Result<RealDirectory> {
        let handle = SystemFile::open(path)?;
        Ok(RealDirectory { path: path.to_owned(), handle, writable: false, _lock: None })
    }

    fn writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }
}

fn not_locked(path: &Path, error: TryLockError) -> DirectoryError {
    match error {
        TryLockError::WouldBlock => DirectoryError::InUse { path: path.to_owned() },
        TryLockError::Error(source) => DirectoryError::Refused { path: path.to_owned(), source },
    }
}

impl Directory for RealDirectory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = OpenOptions::new().read(true).write(self.writable).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.writable()?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.writable()?;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.writable()?;
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

#[derive(Debug)]
struct RealFile(SystemFile);

impl File for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
