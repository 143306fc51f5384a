//! The journal that `disk_faults.c` keeps, and taking back what no sync covers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// A disk writes this much or nothing.
const SECTOR_BYTES: u64 = 512;
const HEAD_WORDS: usize = 6;
const HEAD_BYTES: usize = 8 * HEAD_WORDS;

/// What a power cut took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes that no sync covers.
    pub unsynced: u64,
    /// Sectors of those that are lost.
    pub sectors: u64,
}

/// `struct entry` and what follows it.
#[derive(Debug)]
struct Entry<'a> {
    kind: Kind,
    inode: u64,
    offset: u64,
    old_size: u64,
    old: &'a [u8],
    new: &'a [u8],
    /// Where it stands in the journal.
    at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Write,
    Resize,
    Sync,
    Gone,
}

impl<'a> Entry<'a> {
    /// The entry at the beginning of `bytes`, and what is behind it; `None` where the last one was not finished.
    fn read(at: u64, bytes: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let word = |index: usize| {
            let word = head[8 * index..8 * index + 8].try_into().expect("eight bytes");
            u64::from_ne_bytes(word)
        };
        let length = |index: usize| usize::try_from(word(index)).expect("as long as memory");
        let (old, rest) = rest.split_at_checked(length(4))?;
        let (new, rest) = rest.split_at_checked(length(5))?;
        let kind = match word(0) {
            1 => Kind::Write,
            2 => Kind::Resize,
            3 => Kind::Sync,
            4 => Kind::Gone,
            other => panic!("there is no entry of kind {other}, at byte {at} of the journal"),
        };
        Some((Entry { kind, inode: word(1), offset: word(2), old_size: word(3), old, new, at }, rest))
    }

    fn undo(&self, file: &File) {
        file.write_all_at(self.old, self.offset).expect("it was written before");
        file.set_len(self.old_size).expect("it was that long before");
    }

    fn redo(&self, file: &File, keep: &mut impl FnMut() -> bool, lost: &mut Lost) {
        lost.unsynced += 1;
        if self.kind == Kind::Resize {
            if keep() {
                file.set_len(self.offset).expect("it was that long before");
            } else {
                lost.sectors += 1;
            }
            return;
        }
        let mut done = 0;
        while done < self.new.len() {
            let at = self.offset + done as u64;
            let room = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).expect("at most a sector");
            let end = self.new.len().min(done + room);
            if keep() {
                file.write_all_at(&self.new[done..end], at).expect("it was written before");
            } else {
                lost.sectors += 1;
            }
            done = end;
        }
    }
}

pub(super) fn lose_unsynced(journal: &Path, directory: &Path, keep: &mut impl FnMut() -> bool) -> Lost {
    let bytes = fs::read(journal).unwrap_or_else(|error| panic!("can't read {}: {error}", journal.display()));
    let entries = read(&bytes);
    let open = open_by_inode(directory);
    let unsynced = unsynced(&entries).into_iter().filter_map(|entry| Some((entry, open.get(&entry.inode)?)));
    let unsynced = unsynced.collect::<Vec<_>>();
    // First the state as of the last syncs, and from there on what the disk had beside.
    for (entry, file) in unsynced.iter().rev() {
        entry.undo(file);
    }
    let mut lost = Lost::default();
    for (entry, file) in &unsynced {
        entry.redo(file, keep, &mut lost);
    }
    fs::write(journal, []).expect("it was read");
    lost
}

fn read(bytes: &[u8]) -> Vec<Entry<'_>> {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while let Some((entry, behind)) = Entry::read((bytes.len() - rest.len()) as u64, rest) {
        entries.push(entry);
        rest = behind;
    }
    entries
}

/// Changes of files that no later sync covers, in their order.
fn unsynced<'a, 'b>(entries: &'b [Entry<'a>]) -> Vec<&'b Entry<'a>> {
    // Everything noted of an inode before this place is on the disk, or of a file that is gone.
    let mut settled = BTreeMap::<u64, u64>::new();
    for entry in entries {
        let until = match entry.kind {
            Kind::Write | Kind::Resize => continue,
            Kind::Sync => entry.offset,
            Kind::Gone => entry.at,
        };
        let known = settled.entry(entry.inode).or_default();
        *known = until.max(*known);
    }
    let is_open = |entry: &&Entry<'_>| {
        matches!(entry.kind, Kind::Write | Kind::Resize)
            && settled.get(&entry.inode).is_none_or(|until| entry.at >= *until)
    };
    entries.iter().filter(is_open).collect()
}

/// All files below the directory.
fn open_by_inode(directory: &Path) -> BTreeMap<u64, File> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of ours can be read") {
            let path = entry.expect("a directory of ours can be read").path();
            let known = fs::symlink_metadata(&path).expect("nobody else removes it");
            if known.is_dir() {
                directories.push(path);
            } else if known.is_file() {
                let file = OpenOptions::new().read(true).write(true).open(&path).expect("a file of ours");
                found.insert(known.ino(), file);
            }
        }
    }
    found
}
