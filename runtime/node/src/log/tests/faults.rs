//! Operations that fail one at a time, with the process ending at the first failure of the log.

use super::*;
use crate::disk::{Fault, FaultKind};

const COMMITS: u64 = 60;

fn run(at: u64, kind: FaultKind) -> (SimulatedDisk, Life, bool) {
    let disk = SimulatedDisk::new();
    disk.inject(Fault { at, kind });
    let mut life = Life::default();
    let failed = match life.create(&disk) {
        Ok(mut log) => life.go_on(&mut log, &disk, COMMITS, &mut Chance(9)).is_err(),
        Err(_) => true,
    };
    (disk, life, failed)
}

#[test]
fn any_operation_may_fail_without_an_acknowledged_loss() {
    let operations = run(u64::MAX, FaultKind::Error).0.operations();
    assert!(operations > 300, "{operations}");
    let mut ended = 0;
    for kind in [FaultKind::Error, FaultKind::Full] {
        for at in 1..=operations {
            let context = format!("{kind:?} at operation {at}");
            let (disk, mut life, failed) = run(at, kind);
            ended += u64::from(failed);
            // The process ends and starts again: it sees what the page cache shows, written or not.
            disk.kill();
            let mut chance = Chance(at);
            match open(&disk) {
                Err(OpenError::Empty { .. }) if life.saved.is_none() => continue,
                Err(error) => panic!("{context}: {error}"),
                Ok((log, shown)) => {
                    life.check(&shown, &context);
                    life.resume(&shown);
                    drop(log);
                }
            }
            // And then the machine: what the start has shown is there.
            disk.crash(&mut |bound| chance.below(bound));
            let (mut log, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            life.check(&recovered, &format!("{context}, then a crash"));
            life.resume(&recovered);
            life.go_on(&mut log, &disk, 3, &mut chance).unwrap_or_else(|error| panic!("{context}: {error}"));
        }
    }
    assert!(ended > operations, "most failures end the log: {ended}");
}

#[test]
fn a_log_that_failed_takes_nothing_more() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    let records = life.records(&mut Chance(1));
    log.write(&records).expect("written");
    disk.inject(Fault { at: disk.operations() + 1, kind: FaultKind::Error });
    let error = log.sync().expect_err("the sync fails");
    assert!(error.to_string().contains("sync (simulated)/log-00000000000000000001 failed"), "{error}");
    assert!(matches!(log.sync(), Err(LogError::Ended)), "a second sync would lie");
    assert!(matches!(log.write(&life.records(&mut Chance(1))), Err(LogError::Ended)));
    assert!(matches!(log.truncate(Slot(1)), Err(LogError::Ended)));
}

#[test]
fn a_full_disk_leaves_the_reserve() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    while log.prepare_spare().expect("there is room") {}
    assert_eq!(log.spares(), SPARES_WANTED);
    disk.limit(Some(0));
    let mut chance = Chance(1);
    let mut failed = None;
    while log.spares() > 0 && failed.is_none() {
        let records = life.records(&mut chance);
        failed = log.write(&records).and_then(|()| log.sync()).err();
        if log.spares() < SPARES_WANTED {
            assert!(log.prepare_spare().expect_err("there is no room").is_full());
        }
    }
    assert!(failed.is_none(), "what was made ahead takes records: {failed:?}");
    let names = crate::disk::Directory::list(&disk).expect("a list");
    assert!(names.iter().all(|name| !names::is_part(name)), "a spare that failed leaves nothing: {names:?}");
    disk.limit(None);
    assert!(log.prepare_spare().expect("there is room again"));
}
