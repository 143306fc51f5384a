//! A directory of files that only this replica can have written.
//!
//! What it defends against: damage of the disk; other users, who may neither open nor replace a file without our seeing
//! it; and copies, since a data directory that somebody else packed must not bring code that runs here. It does not
//! defend against who can write as this user: they can replace the program as well.
//!
//! So the directory and its files are ours and closed to others, and each file begins with an HMAC-SHA256 over its name
//! and its content. The key is drawn for each directory and stands in it; what is signed with is made of that and of
//! inode and change time of the key's file, which the system gives and no copy of the directory keeps.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Name of the file with the key.
const KEY: &str = "key";
const KEY_BYTES: usize = 32;
/// Bytes of an HMAC-SHA256.
const SEAL_BYTES: usize = 32;
/// End of the names of files that are being written.
const PART: &str = ".part";

/// The directory, and the key to its files.
#[derive(Debug)]
pub(super) struct SealedDirectory {
    path: PathBuf,
    /// Us.
    user: u32,
    key: hmac::Key,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsealed {
    /// There is none with this name.
    #[error("there is none")]
    Missing,
    /// The system does not let us read it.
    #[error("it can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Somebody else could have written it.
    #[error("it belongs to another user, or others may write it")]
    Open,
    /// Its length is not that of any file here.
    #[error("it has {bytes} bytes, but at most {limit} and at least {SEAL_BYTES} are possible")]
    Length {
        /// Bytes that it has.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// It is not what was written here under this name.
    #[error("it is damaged, or was written elsewhere")]
    Broken,
}

impl SealedDirectory {
    /// The directory at `path`, which is made where it is missing.
    ///
    /// # Errors
    /// When it can't be used, or others could write to it.
    pub(super) fn open(path: &Path) -> io::Result<SealedDirectory> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let user = fs::metadata("/proc/self")?.uid();
        let found = fs::symlink_metadata(path)?;
        if !found.is_dir() || !is_closed(&found, user) {
            return Err(io::Error::other("it is no directory of this user alone: remove it, and it is made again"));
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(PART) {
                fs::remove_file(entry.path())?;
            }
        }
        let key = match read_key(path, user)? {
            Some(key) => key,
            None => {
                let mut secret = [0; KEY_BYTES];
                SystemRandom::new()
                    .fill(&mut secret)
                    .map_err(|_| io::Error::other("the system gives no randomness"))?;
                write(path, KEY, &[&secret])?;
                read_key(path, user)?.ok_or_else(|| io::Error::other("its key does not stay what was written"))?
            }
        };
        Ok(SealedDirectory { path: path.to_owned(), user, key })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was written under this name, if it has at most `limit` bytes. Marks it as used just now.
    ///
    /// # Errors
    /// [`Unsealed`].
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Unsealed> {
        let mut file = File::open(self.path.join(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Unsealed::Missing,
            _ => Unsealed::Unreadable(error),
        })?;
        let found = file.metadata()?;
        if !found.is_file() || !is_closed(&found, self.user) {
            return Err(Unsealed::Open);
        }
        let (bytes, limit) = (found.len(), limit + SEAL_BYTES as u64);
        if bytes > limit || bytes < SEAL_BYTES as u64 {
            return Err(Unsealed::Length { bytes, limit });
        }
        let mut seal = [0; SEAL_BYTES];
        file.read_exact(&mut seal)?;
        let mut content = Vec::new();
        (&file).take(limit).read_to_end(&mut content)?;
        let expected = self.seal(name, &content);
        // How long this takes may be seen: whoever could try seals here could write here.
        if expected.as_ref() != seal {
            return Err(Unsealed::Broken);
        }
        // Only the order in which files are removed suffers where that is not possible.
        let _ = file.set_modified(SystemTime::now());
        Ok(content)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        write(&self.path, name, &[self.seal(name, content).as_ref(), content])
    }

    /// Removes the files that were used longest ago, until at most so many are left, with so many bytes.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn prune(&self, files_max: usize, bytes_max: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != KEY {
                let found = entry.metadata()?;
                files.push((found.modified()?, found.len(), entry.path()));
            }
        }
        files.sort();
        let mut bytes = files.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        let mut count = files.len();
        for (_, length, path) in files {
            if count <= files_max && bytes <= bytes_max {
                break;
            }
            fs::remove_file(path)?;
            (count, bytes) = (count - 1, bytes - length);
        }
        Ok(())
    }

    fn seal(&self, name: &str, content: &[u8]) -> hmac::Tag {
        let mut seal = hmac::Context::with_key(&self.key);
        seal.update(&(name.len() as u64).to_le_bytes());
        seal.update(name.as_bytes());
        seal.update(content);
        seal.sign()
    }
}

/// Whether it is the user's, and nobody else may open it.
fn is_closed(found: &Metadata, user: u32) -> bool {
    found.uid() == user && found.mode() & 0o077 == 0
}

/// The key of the directory at `path`; `None` when there is none that can be trusted.
fn read_key(path: &Path, user: u32) -> io::Result<Option<hmac::Key>> {
    let mut file = match File::open(path.join(KEY)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() || !is_closed(&found, user) || found.len() != KEY_BYTES as u64 {
        return Ok(None);
    }
    let mut secret = [0; KEY_BYTES];
    file.read_exact(&mut secret)?;
    let mut made = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &secret));
    made.update(&found.ino().to_le_bytes());
    made.update(&found.ctime().to_le_bytes());
    made.update(&found.ctime_nsec().to_le_bytes());
    Ok(Some(hmac::Key::new(hmac::HMAC_SHA256, made.sign().as_ref())))
}

fn write(path: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let aside = path.join(format!("{name}{PART}"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(aside, path.join(name))?;
    File::open(path)?.sync_all()
}
