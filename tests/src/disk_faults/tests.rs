//! The library in small programs that everybody has: `dd` writes and syncs, `mv` renames, `truncate` makes longer.

use std::process::Command;

use super::*;

struct Disk {
    faults: DiskFaults,
    _scratch: Scratch,
}

impl Disk {
    fn new() -> Disk {
        let scratch = Scratch::new("faulty-disk");
        Disk { faults: DiskFaults::new(&scratch, "disk"), _scratch: scratch }
    }

    /// Runs a line of the shell in the directory; gives what it complained about.
    fn run(&self, line: &str) -> Result<(), String> {
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(self.faults.directory()).env("LC_ALL", "C");
        let output = command.envs(self.faults.environment(true)).output().expect("there is a shell");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// Writes `bytes` at an offset, given in blocks of so many bytes, and perhaps syncs it.
    fn write(&self, file: &str, bytes: &[u8], at: u64, flags: &str) -> Result<(), String> {
        let source = self.faults.directory().with_file_name("source");
        fs::write(&source, bytes).expect("there is room");
        let (source, length) = (source.display(), bytes.len());
        self.run(&format!("dd if={source} of={file} bs={length} seek={at} conv=notrunc{flags} status=none"))
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.faults.directory().join(file)).expect("it is there")
    }

    fn fails(&self, fault: (Operation, u64, DiskError, bool), run: impl FnOnce(&Disk) -> Result<(), String>) {
        let (operation, more, error, lasting) = fault;
        let at = self.faults.count(operation) + more;
        let failed = self.faults.failed();
        self.faults.arm(Fault { operation, at, error, lasting });
        let said = run(self).expect_err("it fails");
        assert!(said.contains(error.text()), "{said}");
        assert_eq!(self.faults.failed(), failed + 1, "{said}");
    }
}

#[test]
fn the_nth_operation_of_each_kind_fails_once() {
    let disk = Disk::new();
    disk.write("a", &[1; 512], 0, "").expect("nothing is armed");
    assert_eq!(disk.faults.count(Operation::Write), 1);
    assert_eq!(disk.faults.count(Operation::Grow), 1, "the file got longer");
    disk.fails((Operation::Write, 1, DiskError::Broken, false), |disk| disk.write("a", &[2; 512], 0, ""));
    assert_eq!(disk.read("a"), [1; 512], "a write that fails writes nothing");
    disk.write("a", &[2; 512], 0, "").expect("it fails once");
    let counts = [Operation::Write, Operation::Grow].map(|operation| disk.faults.count(operation));
    assert_eq!(counts, [3, 1], "overwriting makes nothing longer");
    disk.fails((Operation::Grow, 1, DiskError::Full, false), |disk| disk.write("a", &[3; 512], 1, ""));
    disk.fails((Operation::Grow, 1, DiskError::Full, false), |disk| disk.run("truncate -s 4096 a"));
    disk.fails((Operation::Sync, 1, DiskError::Broken, false), |disk| disk.write("a", &[3; 512], 0, ",fsync"));
    disk.fails((Operation::Sync, 1, DiskError::Full, false), |disk| disk.write("a", &[3; 512], 0, ",fdatasync"));
    disk.fails((Operation::Open, 1, DiskError::Full, false), |disk| disk.write("b", &[3; 512], 0, ""));
    disk.fails((Operation::Rename, 1, DiskError::Broken, false), |disk| disk.run("mv a b"));
    disk.run("mv a b").expect("it fails once");
    assert_eq!(disk.read("b"), [3; 512]);
}

#[test]
fn the_second_of_two_fails_and_from_there_on_all() {
    let disk = Disk::new();
    disk.fails((Operation::Write, 2, DiskError::Full, true), |disk| {
        disk.write("a", &[1; 512], 0, "").expect("the first");
        disk.write("a", &[2; 512], 0, "")
    });
    assert!(disk.write("a", &[3; 512], 0, "").is_err(), "it lasts");
    disk.faults.disarm();
    disk.write("a", &[4; 512], 0, "").expect("there is room again");
    assert_eq!(disk.read("a"), [4; 512]);
}

#[test]
fn other_directories_are_left_alone() {
    let disk = Disk::new();
    disk.faults.arm(Fault { operation: Operation::Write, at: 1, error: DiskError::Broken, lasting: true });
    disk.write("../beside", &[1; 512], 0, ",fsync").expect("not below the directory");
    assert_eq!((disk.faults.count(Operation::Write), disk.faults.count(Operation::Sync)), (0, 0));
}

#[test]
fn what_was_not_synced_is_lost_and_nothing_else() {
    let disk = Disk::new();
    disk.write("a", &[1; 1024], 0, ",fsync").expect("nothing is armed");
    disk.write("a", &[2; 512], 1, "").expect("nothing is armed");
    disk.write("a", &[3; 512], 4, "").expect("nothing is armed");
    disk.write("b", &[4; 512], 0, "").expect("nothing is armed");
    disk.run("mv b c").expect("nothing is armed");
    assert_eq!((disk.read("a").len(), disk.read("c").len()), (2560, 512), "a process sees all that was written");
    assert_eq!(disk.faults.lose_unsynced(&mut || false), Lost { unsynced: 3, sectors: 3 });
    assert_eq!(disk.read("a"), [1; 1024]);
    assert!(disk.read("c").is_empty(), "names are not taken back");
    assert_eq!(disk.faults.lose_unsynced(&mut || false), Lost::default(), "that is settled");
}

#[test]
fn a_disk_may_have_some_sectors_of_what_was_not_synced() {
    let disk = Disk::new();
    disk.write("a", &[1; 2048], 0, ",fsync").expect("nothing is armed");
    disk.write("a", &[2; 2048], 0, "").expect("nothing is armed");
    disk.write("a", &[3; 512], 1, "").expect("nothing is armed");
    // Of the four sectors of the second write the first and the last, then all of the third.
    let mut kept = [true, false, false, true, true].into_iter();
    let lost = disk.faults.lose_unsynced(&mut || kept.next().expect("five sectors were written"));
    assert_eq!(lost, Lost { unsynced: 2, sectors: 2 });
    let sectors = disk.read("a").chunks(512).map(|sector| sector[0]).collect::<Vec<_>>();
    assert_eq!(sectors, [2, 3, 1, 2]);
}

#[test]
fn removed_and_replaced_files_do_not_come_back() {
    let disk = Disk::new();
    disk.write("a", &[1; 512], 0, "").expect("nothing is armed");
    disk.run("rm a").expect("nothing is armed");
    disk.write("b", &[2; 512], 0, ",fsync").expect("nothing is armed");
    disk.write("c", &[3; 512], 0, ",fsync").expect("nothing is armed");
    disk.run("mv c b").expect("nothing is armed");
    assert_eq!(disk.faults.lose_unsynced(&mut || false), Lost::default());
    assert_eq!(disk.read("b"), [3; 512]);
    // What cuts a file off is a change like a write.
    disk.run("truncate -s 100 b").expect("nothing is armed");
    assert_eq!(disk.faults.lose_unsynced(&mut || false), Lost { unsynced: 1, sectors: 1 });
    assert_eq!(disk.read("b"), [3; 512]);
}
