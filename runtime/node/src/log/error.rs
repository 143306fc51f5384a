//! Why a log can't be set up, opened or written.

use std::path::PathBuf;

use crate::disk::FileError;
use crate::snapshots::SnapshotError;

/// Why a log can't go on. After the first one the log takes nothing more: what the disk holds is unknown, and only a new
/// start, which reads it, can tell.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// An operation failed. It is not retried.
    #[error("the log can't go on, and the replica ends so that it promises nothing it can't keep: {0}")]
    File(#[from] FileError),
    /// It failed before.
    #[error("the log has failed before and takes nothing more")]
    Ended,
    /// A bug in writing.
    #[error("writing the log panicked; this is a bug in concoord, please report it")]
    Panicked,
}

/// Why a directory can't be set up for a new log.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// It holds a log, or what is left of one.
    #[error("{} is there already: this directory belongs to a replica; give a new one another directory", .file.display())]
    Exists {
        /// A file that shows it.
        file: PathBuf,
    },
    /// An operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The first snapshot can't be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing was ever set up here, or its setting up did not come to its end: a new log may be created.
    #[error("{} holds no replica's log", .path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// The log does not say whose it is.
    #[error(
        "{} is lost: {why}; the replica that wrote this log can't go on: move the directory away and join the cluster \
         as a new member",
        .file.display()
    )]
    IdentityLost {
        /// The identity file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What was promised can't be told, so this replica must never vote again.
    #[error(
        "{} is lost: {why}; what this replica has promised can't be told any more, so it must not vote: move the \
         directory away and join the cluster as a new member",
        .file.display()
    )]
    PromiseLost {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another build wrote it.
    #[error("{} has format version {found}, but this build reads {}: use the newer build", .file.display(),
        super::identity::VERSION)]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Bytes that are as they were written and yet make no sense to this build.
    #[error("{} at byte {offset}: a record can't be read although its checksum is right: {why}; use the build that \
        wrote it", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Where its frame begins.
        offset: u64,
        /// Why.
        why: String,
    },
    /// An operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A snapshot can't be read for another reason than damage.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}
