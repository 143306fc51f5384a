//! What a log that nothing happens to does.

use super::*;
use crate::disk::Directory;

#[test]
fn what_is_written_and_closed_is_found_again() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    life.go_on(&mut log, &disk, 30, &mut Chance(3)).expect("all is well");
    log.close().expect("closed");
    let before = disk.operations();
    let (log, recovered) = open(&disk).expect("opened");
    life.check(&recovered, "a clean end");
    assert_eq!(recovered.cut, None, "nothing is torn after a clean end");
    assert_eq!(log.next(), recovered.next);
    assert!(disk.operations() - before < 10, "a start writes little");
}

#[test]
fn reading_finds_what_opening_does_and_changes_nothing() {
    let disk = SimulatedDisk::new();
    let (mut life, mut chance) = (Life::default(), Chance(9));
    let mut log = life.create(&disk).expect("set up");
    life.go_on(&mut log, &disk, 30, &mut chance).expect("all is well");
    // A commit under way, of which the crash leaves a part.
    log.write(&life.records(&mut chance)).expect("written");
    drop(log);
    disk.crash(&mut |bound| bound / 2);
    let before = disk.operations();
    let read = super::super::read(Arc::new(disk.clone())).expect("readable");
    assert_eq!(disk.operations(), before, "nothing was written");
    life.check(&read, "reading");
    let (_, opened) = open(&disk).expect("opened");
    assert_eq!((read.replay, read.cut, read.next), (opened.replay, opened.cut, opened.next));
}

#[test]
fn a_frame_larger_than_a_segment_gets_its_own() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    for length in [10, 100_000, 10, 300_000, 8_100, 7_900, 10] {
        life.slot += 1;
        let value = Value::Batch(Bytes::from(vec![7; length]));
        life.written.push(Record::Accepted { slot: Slot(life.slot), ballot: ballot(1), value });
        let position = LogPosition(life.written.len() as u64);
        log.write(&[(position, life.written[life.written.len() - 1].clone())]).expect("written");
        assert_eq!(log.sync().expect("synced"), position);
    }
    life.synced = life.written.len() as u64;
    drop(log);
    disk.crash(&mut |_| 0);
    life.check(&open(&disk).expect("opened").1, "large frames");
}

#[test]
fn many_records_at_once_become_several_frames() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    let mut records = Vec::new();
    let mut chance = Chance(5);
    while records.len() < 200 {
        records.append(&mut life.records(&mut chance));
    }
    log.write(&records).expect("written");
    life.synced = log.sync().expect("synced").0;
    assert_eq!(life.synced, life.written.len() as u64);
    drop(log);
    disk.crash(&mut |_| 0);
    life.check(&open(&disk).expect("opened").1, "several frames");
}

#[test]
fn truncation_keeps_what_is_above_and_uses_old_segments_again() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    let mut chance = Chance(8);
    let mut most = 0;
    for _ in 0..40 {
        life.go_on(&mut log, &disk, 11, &mut chance).expect("all is well");
        most = most.max(log.bytes());
    }
    assert!(most < 40 * 8 * 1024, "the log does not grow without end: {most}");
    let segments = disk.list().expect("a list").into_iter().filter(|name| names::parse_segment(name).is_some());
    assert!(segments.count() < 40);
    let before = log.bytes();
    log.truncate(Slot(life.slot)).expect("cut");
    assert!(log.bytes() < before);
    life.below = Slot(life.slot);
    log.close().expect("closed");
    let (_, recovered) = open(&disk).expect("opened");
    life.check(&recovered, "after many cuts");
    assert_eq!(recovered.cut, None, "the former content of a segment is not taken for a torn tail");
}

#[test]
fn the_former_content_of_a_segment_is_not_taken_for_a_torn_tail() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    let mut used_again = 0;
    let mut chance = Chance(6);
    for _ in 0..200 {
        let records = life.records(&mut chance);
        let (segment, spares) = (log.current.first, log.spares());
        log.write(&records).expect("written");
        log.sync().expect("synced");
        used_again += u64::from(log.current.first != segment && spares > 0);
        let slot = Slot(life.slot);
        Snapshots::new(Arc::new(disk.clone())).save(&checkpoint(slot), &body(slot)).expect("saved");
        log.truncate(slot).expect("cut");
        let (_, recovered) = open(&disk.fork()).expect("opened");
        assert_eq!((recovered.cut, recovered.damage), (None, vec![]));
        assert_eq!(recovered.next, log.next());
    }
    assert!(used_again > 5, "{used_again}");
}

#[test]
fn nothing_is_cut_before_a_newer_segment_holds_what_it_adds_up_to() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    let mut next = 1;
    let mut write = |log: &mut Log, record: Record| {
        life.written.push(record.clone());
        log.write(&[(LogPosition(next), record)]).expect("written");
        next += 1;
    };
    write(&mut log, Record::Promised(ballot(9)));
    log.sync().expect("synced");
    while log.older.is_empty() {
        write(
            &mut log,
            Record::Accepted { slot: Slot(1), ballot: ballot(9), value: Value::Batch(vec![1; 600].into()) },
        );
    }
    log.truncate(Slot(1)).expect("nothing to do yet");
    assert_eq!(log.older.len(), 1, "nothing is cut yet");
    let before = disk.fork();
    before.crash(&mut |bound| bound - 1);
    assert_eq!(open(&before).expect("opened").1.promised, ballot(9), "the new segment's frame was not synced");
    log.sync().expect("synced");
    log.truncate(Slot(1)).expect("cut");
    assert!(log.older.is_empty());
    drop(log);
    disk.crash(&mut |bound| bound - 1);
    assert_eq!(open(&disk).expect("opened").1.promised, ballot(9), "its frame carries the promise");
}

#[test]
fn a_directory_is_set_up_once() {
    let disk = SimulatedDisk::new();
    assert!(matches!(open(&disk), Err(OpenError::Empty { .. })));
    let mut life = Life::default();
    life.create(&disk).expect("set up");
    assert!(matches!(life.create(&disk), Err(CreateError::Exists { file }) if file.ends_with("identity")));
}

#[test]
#[should_panic(expected = "without gaps")]
fn a_gap_in_the_positions_is_our_own_bug() {
    let mut log = Life::default().create(&SimulatedDisk::new()).expect("set up");
    let _ = log.write(&[(LogPosition(2), Record::Decided(Slot(1)))]);
}

#[test]
fn nothing_a_client_writes_looks_like_a_frame() {
    // A whole former log as the payload of one record, aligned as frames are.
    let disk = SimulatedDisk::new();
    let other = Identity { tag: 1, ..IDENTITY };
    let forged = SimulatedDisk::new();
    let start = checkpoint(Slot::ZERO);
    let mut log = Log::create(Arc::new(forged.clone()), other, &start, &[], options()).expect("set up");
    for position in 1..=8 {
        log.write(&[(LogPosition(position), Record::Promised(ballot(1_000 + position)))]).expect("written");
        log.sync().expect("synced");
    }
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    let forged = forged.content(&names::segment(LogPosition(1)));
    for shift in 0..512 {
        life.slot += 1;
        let mut value = vec![0; shift];
        value.extend_from_slice(&forged[..4096]);
        let record =
            Record::Accepted { slot: Slot(life.slot), ballot: ballot(1), value: Value::Batch(Bytes::from(value)) };
        life.written.push(record.clone());
        log.write(&[(LogPosition(life.slot), record)]).expect("written");
        life.synced = log.sync().expect("synced").0;
    }
    // The header of a frame is damaged, and the search for the next one goes through the payload.
    let (file, offset) = (names::segment(log.current.first), log.offset);
    drop(log);
    let _ = offset;
    disk.flip(&file, 8 * 20);
    let (_, recovered) = open(&disk).expect("opened");
    assert_eq!(recovered.promised, ballot(1));
    assert_eq!(recovered.damage.len(), 1);
}
