//! A crash at every operation, with every kind of what a crash may leave.

use super::*;
use crate::disk::{Fault, FaultKind};

const COMMITS: u64 = 45;
/// What the disk may make of one crash is drawn this often.
const VARIANTS: u64 = 5;

/// A life that ends when the power goes off at operation `at`.
fn live_until(at: u64, seed: u64) -> (SimulatedDisk, Life) {
    let disk = SimulatedDisk::new();
    disk.inject(Fault { at, kind: FaultKind::PowerOff });
    let mut life = Life::default();
    if let Ok(mut log) = life.create(&disk) {
        // The end is what it is about.
        let _ = life.go_on(&mut log, &disk, COMMITS, &mut Chance(seed));
    }
    (disk, life)
}

fn operations(seed: u64) -> u64 {
    let (disk, life) = live_until(u64::MAX, seed);
    assert!(life.below > Slot::ZERO, "the run cuts its log");
    assert!(life.written.len() > 60, "the run is long");
    disk.operations()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_synced() {
    let mut crashes = 0;
    let (mut torn, mut unfinished) = (0, 0);
    for seed in 1..=3 {
        for at in 1..=operations(seed) {
            let (disk, life) = live_until(at, seed);
            for variant in 0..VARIANTS {
                let context = format!("seed {seed}, crash at operation {at}, variant {variant}");
                let (disk, mut life) = (disk.fork(), life.clone());
                let mut chance = Chance(at * 1000 + variant);
                disk.crash(&mut |bound| chance.below(bound));
                crashes += 1;
                let (mut log, recovered) = match open(&disk) {
                    Err(OpenError::Empty { .. }) if life.saved.is_none() => {
                        unfinished += 1;
                        life.create(&disk).expect("an unfinished directory can be set up again");
                        open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"))
                    }
                    opened => opened.unwrap_or_else(|error| panic!("{context}: {error}")),
                };
                torn += u64::from(recovered.cut.is_some());
                life.check(&recovered, &context);
                life.resume(&recovered);
                life.go_on(&mut log, &disk, 5, &mut chance).unwrap_or_else(|error| panic!("{context}: {error}"));
                drop(log);
                disk.crash(&mut |bound| chance.below(bound));
                let (_, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
                life.check(&recovered, &format!("{context}, second life"));
            }
        }
    }
    println!("{crashes} crashes: {torn} torn tails were cut, {unfinished} directories were not set up yet");
    assert!(crashes > 5000 && torn > 100 && unfinished > 20, "{crashes} {torn} {unfinished}");
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let seed = 4;
    let mut crashes = 0;
    for at in (1..=operations(seed)).step_by(3) {
        let (disk, life) = live_until(at, seed);
        if life.saved.is_none() {
            continue;
        }
        let mut chance = Chance(at);
        disk.crash(&mut |bound| chance.below(bound));
        let before = disk.operations();
        let whole = disk.fork();
        open(&whole).expect("recovery works");
        for step in 1..=whole.operations() - before {
            let context = format!("crash at operation {at}, again at {step} of recovery");
            let disk = disk.fork();
            disk.inject(Fault { at: before + step, kind: FaultKind::PowerOff });
            assert!(open(&disk).is_err(), "{context}");
            disk.crash(&mut |bound| chance.below(bound));
            crashes += 1;
            let (_, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            life.check(&recovered, &context);
        }
    }
    assert!(crashes > 500, "{crashes}");
}

#[test]
fn what_a_start_has_shown_survives_the_next_crash() {
    // The page cache outlives a killed process: what a start finds there is acted on, so it has to be durable.
    for at in 1..=operations(5) {
        let (disk, mut life) = live_until(at, 5);
        if life.saved.is_none() {
            continue;
        }
        let context = format!("killed at operation {at}");
        disk.kill();
        let (log, shown) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        life.check(&shown, &context);
        life.resume(&shown);
        drop(log);
        let mut chance = Chance(at);
        disk.crash(&mut |bound| chance.below(bound));
        let (_, recovered) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        life.check(&recovered, &format!("{context}, then a crash"));
    }
}
