//! What the disks promise, the simulated one above all: the tests of log and snapshots stand on it.

use std::path::PathBuf;

use super::*;

fn write(disk: &dyn Directory, name: &str, offset: u64, bytes: &[u8]) {
    disk.open(name).expect("there").write_at(offset, bytes).expect("written");
}

fn synced(content: &[u8]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    replace(&disk, "file", content).expect("written");
    disk
}

#[test]
fn what_is_not_synced_may_be_lost_in_any_part() {
    let mut seen = std::collections::BTreeSet::new();
    for case in 0..9_u64 {
        let disk = synced(&[1; 1024]);
        write(&disk, "file", 0, &[2; 1024]);
        write(&disk, "file", 0, &[3; 1024]);
        assert_eq!(disk.content("file"), [3; 1024], "programs see what they wrote");
        let mut choices = [case % 3, case / 3].into_iter();
        disk.crash(&mut |_| choices.next().expect("two sectors"));
        let content = disk.content("file");
        assert!(content[..512].iter().all(|byte| *byte == content[0]), "sectors are whole");
        seen.insert((content[0], content[1023]));
    }
    assert_eq!(seen.len(), 9, "each sector may have any of its versions: {seen:?}");
}

#[test]
fn names_that_were_not_synced_may_be_undone_one_by_one() {
    let disk = synced(&[1; 10]);
    disk.create("new").expect("created");
    disk.rename("file", "moved").expect("renamed");
    let (kept, undone) = (disk.fork(), disk.fork());
    kept.crash(&mut |_| 0);
    undone.crash(&mut |bound| bound - 1);
    assert_eq!(kept.list().expect("a list"), ["moved", "new"]);
    assert_eq!(undone.list().expect("a list"), ["file"]);
    Directory::sync(&disk).expect("synced");
    disk.crash(&mut |bound| bound - 1);
    assert_eq!(disk.list().expect("a list"), ["moved", "new"]);
}

#[test]
fn a_failed_sync_is_forgotten_and_what_it_should_have_written_too() {
    let disk = synced(&[1; 512]);
    let mut file = disk.open("file").expect("there");
    file.write_at(0, &[2; 512]).expect("written");
    disk.inject(Fault { at: disk.operations() + 1, kind: FaultKind::Error });
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok(), "the second one lies");
    disk.kill();
    assert_eq!(disk.content("file"), [2; 512], "the page cache goes on showing it");
    disk.crash(&mut |_| 0);
    assert_eq!(disk.content("file"), [1; 512]);
    assert!(file.bytes().is_err(), "a file that was open before the crash is of no use");
}

#[test]
fn a_fork_goes_its_own_way_and_a_clone_does_not() {
    let disk = synced(&[1; 512]);
    let (fork, clone) = (disk.fork(), disk.clone());
    write(&disk, "file", 0, &[2; 512]);
    assert_eq!((fork.content("file")[0], clone.content("file")[0]), (1, 2));
}

#[test]
fn a_full_disk_takes_no_more_until_there_is_room() {
    let disk = synced(&[1; 512]);
    disk.limit(Some(600));
    let mut file = disk.open("file").expect("there");
    let error = file.write_at(512, &[2; 512]).expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.write_at(0, &[2; 512]).expect("what is there can be overwritten");
    disk.remove("file").expect("removed");
    let mut other = disk.create("other").expect("created");
    other.write_at(0, &[1; 600]).expect("there is room again");
}

/// What each kind of directory does alike.
fn behaves(directory: &dyn Directory) {
    replace(directory, "a", b"first").expect("written");
    replace(directory, "a", b"second").expect("written again");
    assert_eq!(read(directory, "a").expect("read"), b"second");
    let mut file = directory.open("a").expect("there");
    file.write_at(8, b"end").expect("written");
    file.sync().expect("synced");
    assert_eq!(file.bytes().expect("a length"), 11);
    let mut rest = [9; 6];
    assert_eq!(file.read_at(5, &mut rest).expect("read"), 6);
    assert_eq!(&rest, b"d\0\0end");
    assert_eq!(file.read_at(100, &mut rest).expect("read"), 0);
    directory.rename("a", "b").expect("renamed");
    assert_eq!(directory.open("a").expect_err("gone").kind(), io::ErrorKind::NotFound);
    assert_eq!(directory.list().expect("a list"), ["b"]);
    directory.create("b").expect("emptied");
    assert_eq!(read(directory, "b").expect("read"), b"");
    directory.remove("b").expect("removed");
    assert!(directory.list().expect("a list").is_empty());
    let error = read(directory, "b").expect_err("gone");
    assert!(error.to_string().starts_with(&format!("open {}/b failed: ", directory.path().display())), "{error}");
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("concoord-disk-{}-{name}", std::process::id()))
}

#[test]
fn all_directories_behave_alike() {
    behaves(&SimulatedDisk::new());
    behaves(&MemoryDirectory::new());
    let path = scratch("alike").join("in/depth");
    behaves(&RealDirectory::open(&path).expect("a directory"));
    std::fs::remove_dir_all(scratch("alike")).expect("removed");
}

#[test]
fn a_directory_has_one_writer() {
    let path = scratch("lock");
    let first = RealDirectory::open(&path).expect("a directory");
    let error = RealDirectory::open(&path).expect_err("in use");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(matches!(RealDirectory::open_read_only(&path), Err(DirectoryError::InUse { .. })));
    drop(first);
    let looking = RealDirectory::open_read_only(&path).expect("free");
    let too = RealDirectory::open_read_only(&path).expect("several may look");
    assert!(matches!(RealDirectory::open(&path), Err(DirectoryError::InUse { .. })));
    assert!(looking.create("file").is_err() && looking.remove("lock").is_err() && too.rename("lock", "x").is_err());
    drop((looking, too));
    RealDirectory::open(&path).expect("free again");
    std::fs::remove_dir_all(path).expect("removed");
}
