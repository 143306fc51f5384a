//! The threads over a real directory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::disk::{Directory, DirectoryError, Fault, FaultKind, RealDirectory};
use crate::snapshots::Saver;

/// A directory of its own, removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("concoord-log-{}-{number}", std::process::id()));
        Scratch(path)
    }

    fn open(&self) -> Arc<RealDirectory> {
        Arc::new(RealDirectory::open(&self.0).expect("a directory"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(log: Log) -> (LogWriter, UnboundedReceiver<LogEvent>) {
    let (events, receiver) = unbounded_channel();
    (LogWriter::start(log, events).expect("threads"), receiver)
}

fn start_saver(directory: Arc<dyn Directory>) -> (Saver, UnboundedReceiver<LogEvent>) {
    let (events, receiver) = unbounded_channel();
    (Saver::start(Snapshots::new(directory), events).expect("a thread"), receiver)
}

fn next(events: &mut UnboundedReceiver<LogEvent>) -> LogEvent {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match events.try_recv() {
            Ok(event) => return event,
            Err(error) => assert!(Instant::now() < deadline, "no event within 20 s: {error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wait_durable(events: &mut UnboundedReceiver<LogEvent>, position: u64) {
    loop {
        match next(events) {
            LogEvent::Durable(durable) if durable.0 >= position => return,
            LogEvent::Durable(_) => {}
            other => panic!("{other:?} before {position} is durable"),
        }
    }
}

#[test]
fn records_of_the_threads_are_found_again() {
    let scratch = Scratch::new();
    let mut life = Life::default();
    let start_state = (checkpoint(Slot::ZERO), body(Slot::ZERO));
    let directory = scratch.open();
    let log = Log::create(directory.clone(), IDENTITY, &start_state.0, &start_state.1, options()).expect("set up");
    let (mut writer, mut events) = start(log);
    let (saver, mut saved) = start_saver(directory);
    let mut chance = Chance(2);
    for _ in 0..100 {
        for (position, record) in life.records(&mut chance) {
            writer.append(position, record);
        }
        writer.commit();
    }
    wait_durable(&mut events, life.written.len() as u64);
    let slot = Slot(life.decided);
    saver.save(checkpoint(slot), Box::new(move || body(slot)));
    assert!(matches!(next(&mut saved), LogEvent::Saved(file) if file.checkpoint.slot == slot));
    writer.truncate(Slot::ZERO);
    assert!(matches!(RealDirectory::open(&scratch.0), Err(DirectoryError::InUse { .. })));
    assert!(matches!(check(&scratch.0), Err(CheckError::Directory(DirectoryError::InUse { .. }))));
    drop(saver);
    writer.close().expect("closed");
    let report = check(&scratch.0).expect("a report");
    assert!(!report.is_damaged() && report.torn.is_none(), "{report:?}");
    assert_eq!(report.segments.iter().map(|segment| segment.records).sum::<u64>(), life.written.len() as u64);
    assert_eq!(report.snapshots.len(), 2);
    life.synced = life.written.len() as u64;
    life.saved = Some(slot);
    let (_, recovered) = Log::open(scratch.open(), options()).expect("opened");
    life.check(&recovered, "after the threads");
}

#[test]
fn a_snapshot_goes_over_in_parts_and_a_broken_transfer_goes_on() {
    let from = Snapshots::new(Arc::new(crate::disk::MemoryDirectory::new()));
    let slot = Slot(77);
    let state = body(slot).repeat(1000);
    from.save(&checkpoint(slot), &state).expect("saved");
    let scratch = Scratch::new();
    let directory = scratch.open();
    let (saver, mut events) = start_saver(directory);
    let mut have = 0;
    for _ in 0..2 {
        let part = from.read_raw(slot, have, 100_000).expect("a part");
        saver.receive(slot, have, part.into());
        let LogEvent::Received { have: more, .. } = next(&mut events) else { panic!("not received") };
        have = more;
    }
    drop(saver);
    let (saver, mut events) = start_saver(scratch.open());
    saver.receive(slot, 0, Bytes::new());
    let LogEvent::Received { mut have, .. } = next(&mut events) else { panic!("not received") };
    assert_eq!(have, 200_000, "what has arrived is kept");
    loop {
        let part = from.read_raw(slot, have, 100_000).expect("a part");
        if part.is_empty() {
            break;
        }
        saver.receive(slot, have, part.into());
        let LogEvent::Received { have: more, .. } = next(&mut events) else { panic!("not received") };
        have = more;
    }
    saver.complete(slot);
    let LogEvent::Installed(loaded) = next(&mut events) else { panic!("not installed") };
    assert_eq!((loaded.checkpoint, loaded.body), (checkpoint(slot), state));
}

#[test]
fn a_failed_sync_is_told_and_ends_the_log() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    while log.prepare_spare().expect("there is room") {}
    let (mut writer, mut events) = start(log);
    disk.inject(Fault { at: disk.operations() + 2, kind: FaultKind::Error });
    writer.append(LogPosition(1), Record::Promised(ballot(1)));
    writer.commit();
    match next(&mut events) {
        LogEvent::Failed(LogError::File(error)) => assert_eq!(error.operation, "sync"),
        other => panic!("{other:?}"),
    }
    assert!(writer.close().is_err());
}

#[test]
fn want_of_room_is_told_and_its_end_too() {
    let disk = SimulatedDisk::new();
    let log = Life::default().create(&disk).expect("set up");
    disk.limit(Some(0));
    let (_writer, mut events) = start(log);
    assert!(matches!(next(&mut events), LogEvent::Space(Space::Low { .. })));
    disk.limit(None);
    assert!(matches!(next(&mut events), LogEvent::Space(Space::Enough)));
}

#[test]
fn another_reason_that_no_spare_can_be_made_ends_the_log() {
    let disk = SimulatedDisk::new();
    let log = Life::default().create(&disk).expect("set up");
    disk.inject(Fault { at: disk.operations() + 1, kind: FaultKind::Error });
    let (writer, mut events) = start(log);
    let LogEvent::Failed(error) = next(&mut events) else { panic!("it fails first") };
    assert!(error.to_string().contains("create"), "{error}");
    assert!(matches!(writer.close(), Err(LogError::Ended)));
}
