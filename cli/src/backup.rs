//! `concoord backup`: the state of a living cluster as a file.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use concoord_client::{Backup, BackupPiece};
use concoord_node::snapshots;

use crate::connect::{self, Connect, OPERATOR_TIMEOUT};
use crate::duration;
use crate::print::{self, Progress};

/// Write the state of a cluster to a file, without stopping it
///
/// The file holds everything that was acknowledged before the command was started: objects, sessions and replies.
/// `concoord restore` makes a new cluster of it. A file of that name is replaced once the backup is whole and checked.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    connect: Connect,

    /// How long to wait for the cluster while nothing of the backup comes
    #[arg(long, value_name = "TIME", default_value = OPERATOR_TIMEOUT, value_parser = duration::parse)]
    timeout: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = &arguments.file;
    let Some(name) = file.file_name().filter(|_| !file.is_dir()) else {
        bail!("{} is a directory: name a file to write", file.display());
    };
    let mut part = name.to_owned();
    part.push(".part");
    let part = file.with_file_name(part);
    let taken = take(arguments, &part).and_then(|backup| publish(&part, file).map(|()| backup));
    let Backup { slot, bytes } = taken.inspect_err(|_| {
        // What can't be removed is overwritten by the next backup.
        let _ = fs::remove_file(&part);
    })?;
    print::line(format!("backup of slot {slot}, {bytes} bytes, in {}", file.display()))
}

/// Writes the backup aside, makes it durable and checks it.
fn take(arguments: &Arguments, part: &Path) -> anyhow::Result<Backup> {
    let cant = || format!("can't write {}", part.display());
    let mut file = File::create(part).with_context(cant)?;
    let mut progress = Progress::new();
    let backup = connect::runtime()?.block_on(async {
        let operator = arguments.connect.operator(arguments.timeout).await?;
        let backup = operator.backup(|piece| {
            progress.update(|| so_far(piece));
            keep(&mut file, piece)
        });
        backup.await.context("no backup was taken")
    })?;
    progress.clear();
    file.sync_all().with_context(cant)?;
    let checked = snapshots::verify_file(part).context("the backup is not what the cluster has: take it again")?;
    if (checked.checkpoint.slot, checked.bytes) != (backup.slot, backup.bytes) {
        bail!("{} is not the backup of slot {} that was read: take it again", part.display(), backup.slot);
    }
    Ok(backup)
}

fn keep(file: &mut File, piece: &BackupPiece) -> std::io::Result<()> {
    if piece.offset == 0 {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
    }
    file.write_all(&piece.data)
}

fn so_far(piece: &BackupPiece) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let have = piece.offset + piece.data.len() as u64;
    format!("slot {}: {:.1} of {:.1} MiB", piece.slot, mebibytes(have), mebibytes(piece.total))
}

/// Gives a whole, synced file its name, durably.
fn publish(part: &Path, file: &Path) -> anyhow::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::rename(part, file)
        .and_then(|()| File::open(parent)?.sync_all())
        .with_context(|| format!("can't write {}", file.display()))
}
