//! What the log promises, over a disk that crashes, fails and rots.

mod crashes;
mod damage;
mod faults;
mod production;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use concoord_consensus::io::LogPosition;
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::View;
use concoord_wire::record::Record;
use concoord_wire::value::Value;
use concoord_wire::{Ballot, ClusterId, NodeId, Slot, Timestamp, ViewId};

use super::*;
use crate::disk::SimulatedDisk;
use crate::snapshots::Snapshots;

pub(super) const IDENTITY: Identity =
    Identity { cluster: ClusterId(7), node: NodeId(0xabc), tag: 0x1234_5678_9abc_def0 };

/// Small, so that a short run has several.
pub(super) fn options() -> LogOptions {
    LogOptions::new(8 << 10)
}

/// Chance, from a seed (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

pub(super) fn ballot(round: u64) -> Ballot {
    Ballot { view: ViewId(1), round, leader: NodeId(0xabc) }
}

pub(super) fn checkpoint(slot: Slot) -> Checkpoint {
    let view = View { id: ViewId(1), ..View::first([]) };
    Checkpoint {
        cluster: IDENTITY.cluster,
        slot,
        view,
        view_slot: Slot::ZERO,
        stamp: Timestamp(slot.0 * 10),
        genesis: View::first([]),
    }
}

pub(super) fn body(slot: Slot) -> Vec<u8> {
    format!("state after slot {slot};").into_bytes().repeat(50)
}

/// What a replica did with its disk, and what it knows of that.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// By position, from 1.
    pub(super) written: Vec<Record>,
    /// The last position that was said to be durable.
    pub(super) synced: u64,
    /// The last snapshot that was said to be durable.
    pub(super) saved: Option<Slot>,
    /// A snapshot that may be durable.
    pub(super) saving: Slot,
    /// Below what the log was cut.
    pub(super) below: Slot,
    pub(super) slot: u64,
    pub(super) round: u64,
    pub(super) decided: u64,
}

impl Life {
    /// Records of one commit.
    pub(super) fn records(&mut self, chance: &mut Chance) -> Vec<(LogPosition, Record)> {
        let count = 1 + chance.below(4);
        let mut records = Vec::new();
        for _ in 0..count {
            let record = match chance.below(10) {
                0 => {
                    self.round += 1;
                    Record::Promised(ballot(self.round))
                }
                1 | 2 if self.decided < self.slot => {
                    self.decided += 1 + chance.below(self.slot - self.decided);
                    Record::Decided(Slot(self.decided))
                }
                _ => {
                    // Now and then a slot that has a value gets another one.
                    if self.decided == self.slot || chance.below(5) > 0 {
                        self.slot += 1;
                    } else {
                        self.round += 1;
                    }
                    let length = usize::try_from(chance.below(900)).expect("small");
                    let value = vec![u8::try_from(chance.below(256)).expect("a byte"); length];
                    let value = Value::Batch(Bytes::from(value));
                    Record::Accepted { slot: Slot(self.slot), ballot: ballot(self.round.max(1)), value }
                }
            };
            self.written.push(record.clone());
            records.push((LogPosition(self.written.len() as u64), record));
        }
        records
    }

    /// What the records up to a position add up to.
    pub(super) fn facts(&self, last: u64) -> Facts {
        let mut facts = Facts::NONE;
        self.written.iter().take(usize::try_from(last).expect("small")).for_each(|record| facts.add(record));
        facts
    }

    pub(super) fn create(&mut self, disk: &SimulatedDisk) -> Result<Log, CreateError> {
        let log = Log::create(Arc::new(disk.clone()), IDENTITY, &checkpoint(Slot::ZERO), &body(Slot::ZERO), options())?;
        self.saved = Some(Slot::ZERO);
        Ok(log)
    }

    /// Commits, with spares, snapshots and cuts between them, until the first failure of the log.
    pub(super) fn go_on(
        &mut self,
        log: &mut Log,
        disk: &SimulatedDisk,
        commits: u64,
        chance: &mut Chance,
    ) -> Result<(), LogError> {
        let snapshots = Snapshots::new(Arc::new(disk.clone()));
        for commit in 1..=commits {
            let mut records = self.records(chance);
            if commit % 7 == 0 {
                // More than a segment holds.
                while records.len() < 30 {
                    records.append(&mut self.records(chance));
                }
            }
            log.write(&records)?;
            self.synced = log.sync()?.0;
            assert_eq!(self.synced, self.written.len() as u64);
            if commit % 10 == 0 {
                // No room is no failure.
                let _ = log.prepare_spare();
            }
            if commit % 11 == 0 {
                let slot = Slot(self.decided);
                self.saving = slot;
                if snapshots.save(&checkpoint(slot), &body(slot)).is_ok() {
                    let kept = snapshots.slots().expect("reading works");
                    self.below = self.below.max(kept[0]);
                    self.saved = Some(slot);
                    log.truncate(self.below)?;
                }
            }
        }
        Ok(())
    }

    /// Holds what a start after a crash found to what was promised.
    pub(super) fn check(&self, recovered: &Recovered, context: &str) {
        assert_eq!(recovered.damage, [], "{context}: a crash is no damage");
        let last = recovered.next.0 - 1;
        assert!(last >= self.synced, "{context}: {} was said to be durable, {last} is there", self.synced);
        assert!(last <= self.written.len() as u64, "{context}: more than was written");
        let found = recovered.replay.iter().map(|item| match item {
            Replayed::Record(record) => record,
            Replayed::Unknown { .. } => panic!("{context}: unknown without damage"),
        });
        let last = usize::try_from(last).expect("small");
        let start = last - recovered.replay.len();
        assert!(found.eq(&self.written[start..last]), "{context}: other records than those written");
        for record in &self.written[..start] {
            if let Record::Accepted { slot, .. } = record {
                assert!(*slot <= self.below, "{context}: slot {slot} was cut off above {}", self.below);
            }
        }
        let facts = self.facts(last as u64);
        assert_eq!(recovered.promised, facts.promised, "{context}");
        assert_eq!(recovered.decided, facts.decided, "{context}");
        assert_eq!(recovered.accepted, facts.accepted, "{context}");
        let snapshot = recovered.snapshot.as_ref().unwrap_or_else(|| panic!("{context}: no snapshot"));
        let slot = snapshot.checkpoint.slot;
        assert!(Some(slot) == self.saved || slot == self.saving, "{context}: the snapshot of slot {slot}");
        assert!(Some(slot) >= self.saved, "{context}: the snapshot of slot {slot}");
        assert_eq!(snapshot.body, body(slot), "{context}");
    }

    /// The replica starts again: what was found is what was written.
    pub(super) fn resume(&mut self, recovered: &Recovered) {
        self.written.truncate(usize::try_from(recovered.next.0 - 1).expect("small"));
        self.synced = self.written.len() as u64;
        self.saved = recovered.snapshot.as_ref().map(|snapshot| snapshot.checkpoint.slot);
        self.saving = self.saved.unwrap_or_default();
        let facts = self.facts(self.synced);
        self.slot = facts.accepted.0;
        self.decided = facts.decided.0;
        self.round = self.round.max(facts.promised.round);
    }
}

pub(super) fn open(disk: &SimulatedDisk) -> Result<(Log, Recovered), OpenError> {
    Log::open(Arc::new(disk.clone()), options())
}
