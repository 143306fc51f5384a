//! A faulty disk for a replica: chosen operations fail, and a kill can be made to lose what was not synced.
//!
//! `disk_faults.c` says how: it is compiled with `cc` and preloaded into the replica. This side arms the faults, also while
//! the replica runs, reads the counts, and after a kill takes back what no sync covers ([`DiskFaults::lose_unsynced`]).

mod journal;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Scratch;

pub use journal::Lost;

const SOURCE: &str = include_str!("disk_faults.c");
/// Words of `struct control`.
const OPERATIONS: u64 = 5;
const FAIL_AT: u64 = OPERATIONS;
const ERROR: u64 = 2 * OPERATIONS;
const LASTING: u64 = ERROR + 1;
const FAILED: u64 = LASTING + 1;
const WORDS: u64 = FAILED + 1;
const WORD_BYTES: u64 = 8;

/// What is counted, and can fail; the order is that of `enum operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writing into a file.
    Write,
    /// Syncing a file or a directory.
    Sync,
    /// Opening or making a file.
    Open,
    /// Renaming a file.
    Rename,
    /// Making a file longer, by a write too: what fails first when a disk is full.
    Grow,
}

/// What the failed operation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// EIO: the disk is broken.
    Broken,
    /// ENOSPC: the disk is full.
    Full,
}

impl DiskError {
    fn number(self) -> u64 {
        match self {
            DiskError::Broken => 5,
            DiskError::Full => 28,
        }
    }

    /// How the system words it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            DiskError::Broken => "Input/output error",
            DiskError::Full => "No space left on device",
        }
    }
}

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of operation.
    pub operation: Operation,
    /// The how many-th of its kind since [`DiskFaults::reset`], from 1.
    pub at: u64,
    /// What it says.
    pub error: DiskError,
    /// Whether all later ones of its kind fail too.
    pub lasting: bool,
}

/// The disk below one directory, as one process sees it.
#[derive(Debug)]
pub struct DiskFaults {
    library: PathBuf,
    directory: PathBuf,
    control_path: PathBuf,
    control: File,
    journal: PathBuf,
}

impl DiskFaults {
    /// Makes the directory `name` in `scratch`, for a process whose disk fails on demand.
    ///
    /// # Panics
    /// When there is no C compiler, or no place.
    #[must_use]
    pub fn new(scratch: &Scratch, name: &str) -> DiskFaults {
        let (directory, library) = (scratch.path().join(name), scratch.path().join("disk_faults.so"));
        fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("can't make {}: {error}", directory.display()));
        if !library.exists() {
            compile(scratch, &library);
        }
        let control_path = scratch.path().join(format!("{name}.control"));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&control_path);
        let control = opened.unwrap_or_else(|error| panic!("can't make {}: {error}", control_path.display()));
        control.set_len(WORDS * WORD_BYTES).expect("there is room for a hundred bytes");
        // The process sees real paths.
        let directory = directory.canonicalize().expect("it was just made");
        DiskFaults {
            library,
            directory,
            control_path,
            control,
            journal: scratch.path().join(format!("{name}.journal")),
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What a process has to be started with. With `taken_back`, its writes are noted, for [`Self::lose_unsynced`].
    #[must_use]
    pub fn environment(&self, taken_back: bool) -> Vec<(String, String)> {
        let variable = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        let mut environment = vec![
            variable("LD_PRELOAD", &self.library),
            variable("CONCOORD_FAULT_DIR", &self.directory),
            variable("CONCOORD_FAULT_CONTROL", &self.control_path),
        ];
        if taken_back {
            environment.push(variable("CONCOORD_FAULT_JOURNAL", &self.journal));
        }
        environment
    }

    /// Counts from zero again, and no fault is armed. While the process runs, only [`Self::disarm`] is of use.
    pub fn reset(&self) {
        for word in 0..WORDS {
            self.set(word, 0);
        }
    }

    /// Makes an operation fail that is yet to come.
    pub fn arm(&self, fault: Fault) {
        self.disarm();
        self.set(ERROR, fault.error.number());
        self.set(LASTING, u64::from(fault.lasting));
        self.set(FAIL_AT + fault.operation as u64, fault.at);
    }

    /// Nothing fails any more.
    pub fn disarm(&self) {
        for operation in 0..OPERATIONS {
            self.set(FAIL_AT + operation, 0);
        }
    }

    /// Operations of one kind since the last [`Self::reset`].
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.word(operation as u64)
    }

    /// Operations that were made to fail since the last [`Self::reset`].
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.word(FAILED)
    }

    /// After a kill: leaves the files as a power cut would. What a sync covers stays. Of the rest, `keep` chooses anew for
    /// each sector of each write whether the disk had it already.
    ///
    /// # Panics
    /// When the journal or a file can't be read or written.
    pub fn lose_unsynced(&self, keep: &mut impl FnMut() -> bool) -> Lost {
        journal::lose_unsynced(&self.journal, &self.directory, keep)
    }

    fn set(&self, word: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), word * WORD_BYTES).expect("the control file can be written");
    }

    fn word(&self, word: u64) -> u64 {
        let mut bytes = [0; WORD_BYTES as usize];
        self.control.read_exact_at(&mut bytes, word * WORD_BYTES).expect("the control file has its length");
        u64::from_ne_bytes(bytes)
    }
}

fn compile(scratch: &Scratch, library: &Path) {
    let source = scratch.write("disk_faults.c", SOURCE.as_bytes());
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
    let output = command.arg(library).arg(source).arg("-ldl").output();
    let output = output.unwrap_or_else(|error| panic!("'cc' can't be run: {error}; install a C compiler"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(test)]
mod tests;
