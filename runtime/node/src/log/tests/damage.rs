//! The disk matrix: flipped, zeroed, cut and misdirected sectors, everywhere. Each is found, and what is unknown for it
//! is told; or the log refuses to open and names the file.

use std::collections::BTreeMap;

use super::*;
use crate::disk::{Directory, SECTOR_BYTES};

/// A disk with several segments, two snapshots and an exact mark, and the life that made it.
fn grown(seed: u64) -> (SimulatedDisk, Life) {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    life.go_on(&mut log, &disk, 47, &mut Chance(seed)).expect("all is well");
    log.close().expect("closed");
    disk.crash(&mut |_| 0);
    (disk, life)
}

/// What is known of a slot after a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Value(Ballot, Value),
    Unknown,
}

fn replay(items: &[Replayed]) -> BTreeMap<Slot, Known> {
    let mut slots = BTreeMap::new();
    for item in items {
        match item {
            Replayed::Record(Record::Accepted { slot, ballot, value }) => {
                slots.insert(*slot, Known::Value(*ballot, value.clone()));
            }
            Replayed::Record(_) => {}
            Replayed::Unknown { lowest, highest } => {
                assert!(lowest <= highest);
                slots.extend((lowest.0..=highest.0).map(|slot| (Slot(slot), Known::Unknown)));
            }
        }
    }
    slots
}

fn truth(life: &Life) -> BTreeMap<Slot, Known> {
    replay(&life.written.iter().cloned().map(Replayed::Record).collect::<Vec<_>>())
}

/// Each slot above the snapshot is known as it is, or as unknown; nothing is older than it was or missing.
fn check_slots(life: &Life, recovered: &Recovered, context: &str) {
    let found = replay(&recovered.replay);
    let snapshot = recovered.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.checkpoint.slot);
    for (slot, known) in truth(life).range(snapshot.next()..) {
        match found.get(slot) {
            Some(Known::Unknown) => {}
            Some(value) => assert_eq!(value, known, "{context}: slot {slot}"),
            None => panic!("{context}: slot {slot} was forgotten without a word"),
        }
    }
}

fn unknown(recovered: &Recovered) -> Vec<Slot> {
    let slots = replay(&recovered.replay);
    slots.into_iter().filter(|(_, known)| *known == Known::Unknown).map(|(slot, _)| slot).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    LogTail,
    LogMiddle,
    LogUnused,
    Mark,
    Identity,
    Snapshot,
    Spare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Flip,
    Zero,
    Cut,
    Misdirect,
}

/// What the log made of one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Opened, and reported with what is unknown.
    Reported,
    /// Not opened, and the file named.
    Refused,
    /// Opened without a word, and all that was written is there: the place has no meaning.
    Harmless,
}

/// Where frames begin in each segment, and the end of the last.
fn frames(disk: &SimulatedDisk, name: &str) -> Vec<u64> {
    let content = disk.content(name);
    let segment = names::parse_segment(name).expect("a segment");
    let mut offset = 0;
    let mut frames = vec![0];
    while let Some(rest) = content.get(usize::try_from(offset).expect("small")..).filter(|rest| rest.len() >= 512) {
        let frame::Found::Header(header) = frame::find(rest, Place { segment, offset }, &IDENTITY) else { break };
        offset += header.frame_bytes();
        frames.push(offset);
    }
    frames
}

fn kind(disk: &SimulatedDisk, name: &str, sector: u64, last_segment: &str) -> Kind {
    if name == names::IDENTITY {
        return Kind::Identity;
    }
    if name == names::MARK {
        return Kind::Mark;
    }
    if name.starts_with("snapshot") {
        return Kind::Snapshot;
    }
    if name.starts_with("spare") {
        return Kind::Spare;
    }
    let frames = frames(disk, name);
    let offset = sector * SECTOR_BYTES;
    match frames.as_slice() {
        [.., last, end] if name == last_segment && (*last..*end).contains(&offset) => Kind::LogTail,
        [.., end] if offset < *end => Kind::LogMiddle,
        _ => Kind::LogUnused,
    }
}

fn damage(disk: &SimulatedDisk, how: How, name: &str, sector: u64, chance: &mut Chance) {
    match how {
        How::Flip => {
            let bytes = (disk.content(name).len() as u64 - sector * SECTOR_BYTES).min(SECTOR_BYTES);
            disk.flip(name, (sector * SECTOR_BYTES + chance.below(bytes)) * 8 + chance.below(8));
        }
        How::Zero => disk.zero(name, sector),
        How::Cut => disk.cut(name, sector * SECTOR_BYTES),
        How::Misdirect => {
            // Some sector of the log that differs.
            let here = disk.content(name);
            let here = here.chunks(512).nth(usize::try_from(sector).expect("small")).expect("a sector").to_vec();
            let segments = disk.list().expect("a list").into_iter().filter(|name| name.starts_with("log-"));
            let segments = segments.collect::<Vec<_>>();
            loop {
                let from = &segments[usize::try_from(chance.below(segments.len() as u64)).expect("small")];
                let content = disk.content(from);
                let place = chance.below(content.len() as u64 / SECTOR_BYTES);
                let source = content.chunks(512).nth(usize::try_from(place).expect("small")).expect("a sector");
                if !source.starts_with(&here) {
                    return disk.misdirect((from, place), (name, sector));
                }
            }
        }
    }
}

fn judge(disk: &SimulatedDisk, life: &Life, name: &str, context: &str) -> Outcome {
    let before = disk.fork();
    match open(disk) {
        Err(error) => {
            assert!(error.to_string().contains(name), "{context}: '{error}' does not name {name}");
            for file in before.list().expect("a list") {
                assert_eq!(before.content(&file), disk.content(&file), "{context}: a refusal changes nothing");
            }
            Outcome::Refused
        }
        Ok((log, recovered)) => {
            check_slots(life, &recovered, context);
            let facts = life.facts(life.synced);
            assert_eq!(recovered.promised, facts.promised, "{context}");
            assert!(recovered.decided == facts.decided && recovered.accepted == facts.accepted, "{context}");
            assert_eq!(recovered.next.0, life.synced + 1, "{context}: positions go on");
            if recovered.damage.is_empty() {
                life.check(&recovered, context);
                return Outcome::Harmless;
            }
            assert!(recovered.damage.iter().any(|damage| damage.file == name), "{context}: {:?}", recovered.damage);
            go_on_after(log, disk, life, &recovered, context);
            Outcome::Reported
        }
    }
}

/// After damage the log takes records, and the next starts say the same.
fn go_on_after(mut log: Log, disk: &SimulatedDisk, life: &Life, first: &Recovered, context: &str) {
    let mut life = life.clone();
    let mut known = unknown(first);
    for round in 0..3 {
        let mut next = log.next().0;
        assert_eq!(next, life.written.len() as u64 + 1, "{context}");
        if round > 0 {
            life.slot += 1;
            let value = Value::Noop;
            for slot in [Some(Slot(life.slot)), known.first().copied()].into_iter().flatten() {
                let record = Record::Accepted { slot, ballot: ballot(1000 + round), value: value.clone() };
                life.written.push(record.clone());
                log.write(&[(LogPosition(next), record)]).expect("written");
                next += 1;
            }
            if !known.is_empty() {
                known.remove(0);
            }
            life.synced = log.sync().expect("synced").0;
        }
        drop(log);
        disk.crash(&mut |_| 0);
        let (again, recovered) = open(disk).unwrap_or_else(|error| panic!("{context}, start {round}: {error}"));
        check_slots(&life, &recovered, &format!("{context}, start {round}"));
        assert_eq!(unknown(&recovered), known, "{context}, start {round}: the same is unknown, but what was repaired");
        let of_log = |damage: &&Damage| damage.kind != DamageKind::Mark;
        let before = first.damage.iter().filter(of_log).collect::<Vec<_>>();
        let after = recovered.damage.iter().filter(of_log).collect::<Vec<_>>();
        assert_eq!(before, after, "{context}, start {round}: damage is reported until it is cut off");
        assert_eq!(recovered.promised, life.facts(life.synced).promised, "{context}, start {round}");
        log = again;
    }
}

#[test]
fn no_damage_is_silently_accepted() {
    let mut table: BTreeMap<(Kind, How, Outcome), u64> = BTreeMap::new();
    for seed in 1..=12 {
        let (grown, life) = grown(seed);
        let mut files = grown.list().expect("a list");
        files.sort();
        let last_segment = files.iter().rfind(|name| name.starts_with("log-")).expect("a segment").clone();
        assert!(files.iter().filter(|name| name.starts_with("log-")).count() >= 3, "{files:?}");
        let older = files.iter().find(|name| name.starts_with("snapshot-")).expect("a snapshot");
        for name in &files {
            for sector in 0..(grown.content(name).len() as u64).div_ceil(SECTOR_BYTES) {
                let kind = kind(&grown, name, sector, &last_segment);
                for how in [How::Flip, How::Zero, How::Cut, How::Misdirect] {
                    let context = format!("seed {seed}, {name} ({kind:?}), {how:?} at sector {sector}");
                    let disk = grown.fork();
                    damage(&disk, how, name, sector, &mut Chance(seed * 1_000 + sector));
                    let changed = disk.content(name) != grown.content(name);
                    let report = check::examine(Arc::new(disk.fork()));
                    let outcome = judge(&disk, &life, name, &context);
                    let used = !matches!(kind, Kind::LogUnused | Kind::Spare) && name != older;
                    if changed && used {
                        assert_ne!(outcome, Outcome::Harmless, "{context}");
                    }
                    match report {
                        Ok(report) => {
                            let named = report.damage.iter().any(|damage| damage.file == *name);
                            // The older snapshot is read only when the newest is damaged, and when somebody checks.
                            assert_eq!(named, outcome == Outcome::Reported || (changed && name == older), "{context}");
                        }
                        Err(_) => assert_eq!(outcome, Outcome::Refused, "{context}"),
                    }
                    *table.entry((kind, how, outcome)).or_default() += 1;
                }
            }
        }
    }
    for ((kind, how, outcome), count) in &table {
        println!("{kind:?} {how:?}: {outcome:?} in {count} cases");
    }
    let count = |kind, outcome| {
        table.iter().filter(|((at, _, came), _)| (*at, *came) == (kind, outcome)).map(|(_, count)| count).sum::<u64>()
    };
    for kind in [Kind::LogTail, Kind::LogMiddle] {
        let cut = table.get(&(kind, How::Cut, Outcome::Refused)).copied().unwrap_or_default();
        assert_eq!(count(kind, Outcome::Refused), cut, "peers repair all but a last segment that is too short");
        assert!(count(kind, Outcome::Reported) > 50, "{table:?}");
    }
    assert_eq!(count(Kind::Snapshot, Outcome::Refused), 0, "there is an older one");
    assert_eq!(count(Kind::Identity, Outcome::Reported), 0, "an identity can't be repaired");
    assert!(count(Kind::Mark, Outcome::Refused) > 0 && count(Kind::Mark, Outcome::Reported) > 0);
}

#[test]
fn several_damaged_places_are_no_worse() {
    let mut opened = 0;
    for seed in 1..=8 {
        let (grown, life) = grown(seed);
        let files = grown.list().expect("a list").into_iter().filter(|name| name.starts_with("log-"));
        let files = files.collect::<Vec<_>>();
        for case in 0..150 {
            let mut chance = Chance(seed * 1_000 + case);
            let disk = grown.fork();
            for _ in 0..2 + chance.below(3) {
                let name = &files[usize::try_from(chance.below(files.len() as u64)).expect("small")];
                let sector = chance.below(disk.content(name).len() as u64 / SECTOR_BYTES);
                let how = [How::Flip, How::Zero, How::Misdirect][usize::try_from(chance.below(3)).expect("small")];
                damage(&disk, how, name, sector, &mut chance);
            }
            let context = format!("seed {seed}, case {case}");
            let (log, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            check_slots(&life, &recovered, &context);
            assert_eq!(recovered.promised, life.facts(life.synced).promised, "{context}");
            assert_eq!(recovered.next.0, life.synced + 1, "{context}");
            if !recovered.damage.is_empty() {
                go_on_after(log, &disk, &life, &recovered, &context);
                opened += 1;
            }
        }
    }
    assert!(opened > 500, "{opened}");
}

#[test]
fn a_mark_that_lags_after_a_power_cut_hides_no_damage_before_the_last_frame() {
    let mut found = 0;
    for seed in 1..=12 {
        let grown = SimulatedDisk::new();
        let mut life = Life::default();
        let mut log = life.create(&grown).expect("set up");
        life.go_on(&mut log, &grown, 47, &mut Chance(seed)).expect("all is well");
        let (last_segment, end) = (log.current.first, log.offset);
        drop(log);
        // Nothing that was not synced survives, the latest marks included.
        grown.crash(&mut |bound| bound - 1);
        let mark = mark::Mark::read(&grown, &IDENTITY).expect("a mark").0;
        let name = names::segment(last_segment);
        let starts = frames(&grown, &name);
        assert_eq!(starts.last(), Some(&end));
        if starts.len() < 3 {
            continue;
        }
        assert!(mark.synced.0 < life.synced, "the mark lags");
        for sector in 0..starts[starts.len() - 2] / SECTOR_BYTES {
            let context = format!("seed {seed}, sector {sector}");
            let disk = grown.fork();
            disk.zero(&name, sector);
            let (log, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(recovered.damage.len(), 1, "{context}");
            check_slots(&life, &recovered, &context);
            assert_eq!(recovered.promised, life.facts(life.synced).promised, "{context}");
            go_on_after(log, &disk, &life, &recovered, &context);
            found += 1;
        }
    }
    assert!(found > 50, "{found}");
}

#[test]
fn a_damaged_body_makes_exactly_its_slots_unknown() {
    let (disk, life) = grown(1);
    let name = names::segment(LogPosition(
        disk.list().expect("a list").iter().filter_map(|name| names::parse_segment(name)).max().expect("a segment").0,
    ));
    let starts = frames(&disk, &name);
    for offset in &starts[..starts.len() - 1] {
        let content = disk.content(&name);
        let place = Place { segment: names::parse_segment(&name).expect("a segment"), offset: *offset };
        let frame::Found::Header(header) =
            frame::find(&content[usize::try_from(*offset).expect("small")..], place, &IDENTITY)
        else {
            panic!("a frame begins at {offset}")
        };
        let disk = disk.fork();
        disk.flip(&name, (offset + frame::HEADER_BYTES as u64) * 8);
        let (_, recovered) = open(&disk).expect("opened");
        assert_eq!(recovered.damage.len(), 1);
        let damage = &recovered.damage[0];
        assert_eq!((damage.file.as_str(), damage.offset, damage.bytes), (name.as_str(), *offset, header.frame_bytes()));
        assert_eq!(damage.kind, DamageKind::Body);
        assert_eq!(damage.positions, Some((header.first, header.last())));
        let snapshot = recovered.snapshot.as_ref().expect("a snapshot").checkpoint.slot;
        let slots = header.accepted.filter(|(_, highest)| *highest > snapshot);
        assert_eq!(damage.unknown, slots.map(|(lowest, highest)| (lowest.max(snapshot.next()), highest)));
        check_slots(&life, &recovered, "a body");
    }
}

#[test]
fn files_that_are_gone_are_noticed() {
    for seed in 1..=6 {
        let (grown, life) = grown(seed);
        for name in grown.list().expect("a list").iter().filter(|name| !name.starts_with("spare")) {
            let context = format!("seed {seed}, {name} is gone");
            let disk = grown.fork();
            disk.lose(name);
            match open(&disk) {
                Err(OpenError::IdentityLost { file, .. }) => assert!(file.ends_with(names::IDENTITY), "{context}"),
                Err(OpenError::PromiseLost { file, .. }) => assert!(file.ends_with(name), "{context}"),
                Err(error) => panic!("{context}: {error}"),
                Ok((_, recovered)) => {
                    check_slots(&life, &recovered, &context);
                    assert_eq!(recovered.promised, life.facts(life.synced).promised, "{context}");
                    assert_eq!(recovered.next.0, life.synced + 1, "{context}");
                    if recovered.damage.is_empty() {
                        let snapshot = recovered.snapshot.expect("a snapshot").checkpoint.slot;
                        let covers = |slot: &Slot| replay(&recovered.replay).contains_key(slot);
                        let above = truth(&life).range(snapshot.next()..).all(|(slot, _)| covers(slot));
                        assert!(above, "{context}: silent although something is lost");
                    }
                }
            }
        }
        let disk = grown.fork();
        disk.lose(names::IDENTITY);
        assert!(matches!(
            Log::create(Arc::new(disk), IDENTITY, &checkpoint(Slot::ZERO), &[], options()),
            Err(CreateError::Exists { .. })
        ));
    }
}

#[test]
fn a_torn_frame_is_cut_and_a_synced_one_is_not() {
    let disk = SimulatedDisk::new();
    let mut life = Life::default();
    let mut log = life.create(&disk).expect("set up");
    for position in 1..=2 {
        life.written.push(Record::Promised(ballot(position)));
        log.write(&[(LogPosition(position), Record::Promised(ballot(position)))]).expect("written");
        log.sync().expect("synced");
    }
    let before = disk.fork();
    drop(log);
    // The power went off before the second frame and its mark were synced.
    let name = names::segment(LogPosition(1));
    disk.flip(&name, (512 + 200) * 8);
    let (_, recovered) = open(&disk).expect("opened");
    assert_eq!(recovered.damage.len(), 1, "the mark says that it was synced");
    assert_eq!(recovered.promised, ballot(2), "and what was promised in it");
    let mark = before.content(names::MARK);
    assert_eq!(mark::Mark::read(&before, &IDENTITY).expect("a mark").0.synced, LogPosition(2));
    // The same without the last mark: sector 0 holds the second of the two that followed the first pair.
    let newest = usize::from(u64::from_le_bytes(mark[32..40].try_into().expect("8 bytes")) < 4) * 512;
    before.flip(&name, (512 + 200) * 8);
    before.flip(names::MARK, (newest as u64 + 100) * 8);
    let (log, recovered) = open(&before).expect("opened");
    assert_eq!(recovered.cut, Some(Cut { file: name, offset: 512, bytes: 512 }));
    assert_eq!((recovered.promised, recovered.next), (ballot(1), LogPosition(2)));
    assert_eq!(log.next(), LogPosition(2));
}
