//! What snapshots promise, over a disk that crashes and rots.

use concoord_wire::member::View;
use concoord_wire::{ClusterId, Timestamp, ViewId};

use super::*;
use crate::disk::{Fault, FaultKind, SECTOR_BYTES, SimulatedDisk};

fn checkpoint(slot: u64) -> Checkpoint {
    let view = View { id: ViewId(3), ..View::first([]) };
    Checkpoint {
        cluster: ClusterId(1),
        slot: Slot(slot),
        view,
        view_slot: Slot(2),
        stamp: Timestamp(9),
        genesis: View::first([]),
    }
}

/// Two blocks and a bit.
fn body(slot: u64) -> Vec<u8> {
    (0..2 * format::BLOCK_BYTES + 1000).map(|index| (index as u64 * 31 + slot).to_le_bytes()[0]).collect()
}

fn on(disk: &SimulatedDisk) -> Snapshots {
    Snapshots::new(Arc::new(disk.clone()))
}

#[test]
fn the_newest_two_are_kept() {
    let disk = SimulatedDisk::new();
    let snapshots = on(&disk);
    for slot in [0, 5, 9] {
        let saved = snapshots.save(&checkpoint(slot), &body(slot)).expect("saved");
        assert_eq!(snapshots.describe(Slot(slot)).expect("there"), saved);
    }
    assert_eq!(snapshots.slots().expect("a list"), [Slot(5), Slot(9)]);
    assert_eq!(snapshots.load(Slot(5)).expect("whole").body, body(5));
    assert!(matches!(snapshots.load(Slot(0)), Err(SnapshotError::Missing { slot: Slot(0) })));
    let empty = snapshots.save(&checkpoint(10), &[]).expect("saved");
    assert_eq!(snapshots.load(Slot(10)).expect("whole").bytes, empty.bytes);
}

#[test]
fn saving_is_all_or_nothing_at_any_crash() {
    let old = SimulatedDisk::new();
    on(&old).save(&checkpoint(1), &body(1)).expect("saved");
    on(&old).save(&checkpoint(2), &body(2)).expect("saved");
    let whole = old.fork();
    on(&whole).save(&checkpoint(3), &body(3)).expect("saved");
    for at in old.operations() + 1..=whole.operations() + 1 {
        for variant in 0..8 {
            let disk = old.fork();
            disk.inject(Fault { at, kind: FaultKind::PowerOff });
            let saved = on(&disk).save(&checkpoint(3), &body(3)).is_ok();
            let mut drawn: u64 = at * 8 + variant;
            disk.crash(&mut |bound| {
                drawn = (drawn * 48_271 + 11) % 2_147_483_647;
                drawn % bound
            });
            let newest = on(&disk).load_newest().expect("readable");
            assert!(newest.damaged.is_empty(), "operation {at}: {:?}", newest.damaged);
            let slot = newest.snapshot.expect("the old one at least").checkpoint.slot;
            assert!(slot == Slot(3) || (slot == Slot(2) && !saved), "operation {at}: {slot}");
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let disk = SimulatedDisk::new();
    let snapshots = on(&disk);
    snapshots.save(&checkpoint(1), &body(1)).expect("saved");
    disk.limit(Some(600_000));
    let error = snapshots.save(&checkpoint(2), &body(2)).expect_err("there is no room");
    assert!(error.is_full(), "{error}");
    assert_eq!(disk.list().expect("a list"), [file_name(Slot(1))]);
    disk.limit(None);
    snapshots.save(&checkpoint(2), &body(2)).expect("saved");
}

#[test]
fn any_damage_is_found_and_the_older_one_is_used_and_kept() {
    let grown = SimulatedDisk::new();
    on(&grown).save(&checkpoint(1), &body(1)).expect("saved");
    let saved = on(&grown).save(&checkpoint(2), &body(2)).expect("saved");
    let name = file_name(Slot(2));
    for sector in (0..saved.bytes.div_ceil(SECTOR_BYTES)).step_by(7) {
        for how in 0..4 {
            let disk = grown.fork();
            match how {
                0 => disk.flip(&name, sector * SECTOR_BYTES * 8 + 3),
                1 => disk.zero(&name, sector),
                2 => disk.cut(&name, sector * SECTOR_BYTES),
                _ => disk.misdirect((&file_name(Slot(1)), sector), (&name, sector)),
            }
            if disk.content(&name) == grown.content(&name) {
                continue;
            }
            let snapshots = on(&disk);
            let newest = snapshots.load_newest().expect("readable");
            assert_eq!(newest.damaged.len(), 1, "sector {sector}, case {how}");
            assert!(newest.damaged[0].1.to_string().contains(&name), "{}", newest.damaged[0].1);
            assert_eq!(newest.snapshot.expect("the older one").body, body(1));
            snapshots.save(&checkpoint(3), &body(3)).expect("saved");
            assert_eq!(snapshots.slots().expect("a list"), [Slot(1), Slot(3)], "a damaged one does not count as kept");
        }
    }
}

#[test]
fn a_block_in_the_place_of_another_is_found() {
    let disk = SimulatedDisk::new();
    let snapshots = on(&disk);
    let mut state = body(1);
    state[format::BLOCK_BYTES] ^= 1;
    snapshots.save(&checkpoint(1), &state).expect("saved");
    let name = file_name(Slot(1));
    let content = disk.content(&name);
    let head = content.len() - state.len() - 3 * 4 - 8;
    let block = format::BLOCK_BYTES + 4;
    let mut swapped = content.clone();
    swapped[head..head + block].copy_from_slice(&content[head + block..head + 2 * block]);
    swapped[head + block..head + 2 * block].copy_from_slice(&content[head..head + block]);
    let mut file = disk.open(&name).expect("there");
    file.write_at(0, &swapped).expect("written");
    let error = snapshots.load(Slot(1)).expect_err("blocks are swapped");
    assert!(error.to_string().contains("block 0"), "{error}");
}

#[test]
fn parts_that_make_no_snapshot_are_dropped() {
    let disk = SimulatedDisk::new();
    let snapshots = on(&disk);
    snapshots.save(&checkpoint(1), &body(1)).expect("saved");
    let raw = snapshots.read_raw(Slot(1), 0, usize::MAX).expect("all");
    let mut incoming = snapshots.incoming(Slot(2)).expect("begun");
    incoming.append(0, &raw[..10]).expect("taken");
    assert!(matches!(incoming.append(11, &raw[11..]), Err(SnapshotError::OutOfOrder { offset: 11, have: 10 })));
    incoming.append(10, &raw[10..]).expect("taken");
    let error = incoming.complete().expect_err("it is the snapshot of another slot");
    assert!(matches!(error, SnapshotError::Damaged { .. }), "{error}");
    assert_eq!(disk.list().expect("a list"), [file_name(Slot(1))]);
    assert_eq!(snapshots.load_newest().expect("readable").snapshot.expect("the old one").checkpoint.slot, Slot(1));
}

#[test]
fn a_snapshot_under_another_name_elsewhere_is_read_and_checked() {
    let disk = SimulatedDisk::new();
    on(&disk).save(&checkpoint(7), &body(7)).expect("saved");
    let mut bytes = disk.content(&file_name(Slot(7)));
    let directory = std::env::temp_dir().join(format!("concoord-snapshots-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("there is room");
    let file = directory.join("counter.backup");
    std::fs::write(&file, &bytes).expect("there is room");
    let (verified, loaded) = (verify_file(&file).expect("whole"), load_file(&file).expect("whole"));
    assert_eq!((verified.checkpoint, verified.bytes), (checkpoint(7), bytes.len() as u64));
    assert_eq!((loaded.checkpoint, loaded.body), (checkpoint(7), body(7)));

    // The slot is in the header, which has a checksum of its own.
    for at in [0, 24, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).expect("there is room");
        let error = verify_file(&file).expect_err("damaged");
        assert!(matches!(&error, SnapshotError::Damaged { file: named, .. } if *named == file), "byte {at}: {error}");
        assert!(load_file(&file).is_err(), "byte {at}");
        bytes[at] ^= 1;
    }
    std::fs::remove_dir_all(&directory).expect("it is ours");
    assert!(matches!(verify_file(&file), Err(SnapshotError::File(_))));
}
