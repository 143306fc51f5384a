//! The slots of one replica: what it accepted in which ballot, and how far they are decided.

use std::collections::VecDeque;

use concoord_wire::peer::AcceptedValue;
use concoord_wire::value::Value;
use concoord_wire::{Ballot, Slot, ViewId};

use super::slots::Slots;
use crate::mutated;

/// What a slot holds.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The highest ballot it was accepted in; for a value learned as decided, what was promised then.
    pub(super) ballot: Ballot,
    pub(super) value: Value,
}

/// All slots above a snapshot.
///
/// Invariants: every slot above `base` and up to `decided` has an entry, and none of them ever changes its value.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The entry of slot `base + 1` comes first; a snapshot holds what is before.
    entries: VecDeque<Option<Entry>>,
    base: u64,
    decided: u64,
    /// Undecided slots of which the disk lost what was accepted: an entry here is not the last word.
    unknown: Slots,
}

impl Log {
    /// An empty log above a snapshot.
    pub(super) fn above(base: Slot) -> Log {
        Log { base: base.0, decided: base.0, ..Log::default() }
    }

    /// The last slot up to which everything is decided.
    pub(super) fn decided(&self) -> Slot {
        Slot(self.decided)
    }

    /// Everything up to here is in a snapshot, and not here.
    pub(super) fn base(&self) -> Slot {
        Slot(self.base)
    }

    /// What is known of a slot.
    pub(super) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(self.index(slot)?)?.as_ref()
    }

    fn index(&self, slot: Slot) -> Option<usize> {
        usize::try_from(slot.0.checked_sub(self.base)?.checked_sub(1)?).ok()
    }

    /// The decided value of a slot.
    pub(super) fn decided_value(&self, slot: Slot) -> Option<&Value> {
        if slot.0 <= self.decided { self.entry(slot).map(|entry| &entry.value) } else { None }
    }

    /// Notes an acceptance above the decided slots. It is the last word on the slot: no ballot before was higher.
    pub(super) fn accept(&mut self, slot: Slot, ballot: Ballot, value: Value) {
        assert!(slot.0 > self.decided, "slot {slot} is decided and never changes");
        let index = self.index(slot).expect("decided slots are not below the base");
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        let known = &mut self.entries[index];
        assert!(known.as_ref().is_none_or(|entry| entry.ballot <= ballot), "the ballot of slot {slot} never falls");
        *known = Some(Entry { ballot, value });
        self.unknown.remove(slot);
    }

    /// The next slot is decided with the value it holds, which is returned.
    pub(super) fn decide_next(&mut self) -> (Slot, &Value) {
        self.decided += 1;
        let slot = Slot(self.decided);
        self.unknown.remove(slot);
        let value = &self.entry(slot).expect("only a slot with a value is decided").value;
        (slot, value)
    }

    /// The disk lost what was accepted in these slots, both included.
    pub(super) fn forget(&mut self, first: Slot, last: Slot) {
        self.unknown.insert(first.max(self.decided().next()), last);
    }

    /// Undecided slots of which the disk lost what was accepted, first and last of each range.
    pub(super) fn unknown(&self) -> Vec<(Slot, Slot)> {
        self.unknown.ranges()
    }

    pub(super) fn is_unknown(&self, slot: Slot) -> bool {
        self.unknown.contains(slot)
    }

    /// What is accepted in a slot and can be read again after a restart: a loss there hides what was written before it.
    pub(super) fn kept(&self, slot: Slot) -> Option<&Entry> {
        self.entry(slot).filter(|_| !self.is_unknown(slot) || mutated!(HiddenNotPersisted))
    }

    /// Forgets acceptances above the decided slots that are of views before `view`: these have ended.
    pub(super) fn forget_views_before(&mut self, view: ViewId) {
        let start = usize::try_from(self.decided - self.base).expect("a log in memory has fewer slots than addresses");
        for entry in self.entries.iter_mut().skip(start) {
            if entry.as_ref().is_some_and(|entry| entry.ballot.view < view) {
                *entry = None;
            }
        }
        while self.entries.len() > start && self.entries.back().is_some_and(Option::is_none) {
            self.entries.pop_back();
        }
    }

    /// A snapshot holds everything up to `slot`, all of it decided: it is not kept here any longer.
    pub(super) fn truncate(&mut self, slot: Slot) {
        assert!(slot.0 <= self.decided, "slot {slot} is not decided, so no snapshot holds it");
        while self.base < slot.0 {
            self.entries.pop_front();
            self.base += 1;
        }
    }

    /// A snapshot of a slot that is not decided here takes the place of everything up to it.
    pub(super) fn restart_above(&mut self, slot: Slot) {
        assert!(slot.0 > self.decided, "a snapshot never takes decided slots back");
        while self.base < slot.0 {
            self.entries.pop_front();
            self.base += 1;
        }
        self.decided = slot.0;
        self.unknown.remove_up_to(slot);
    }

    /// Everything accepted above `decided`.
    pub(super) fn undecided(&self) -> Vec<AcceptedValue> {
        let start = usize::try_from(self.decided - self.base).expect("a log in memory has fewer slots than addresses");
        let undecided = self.entries.iter().skip(start).zip(self.decided + 1..);
        undecided
            .filter_map(|(entry, slot)| {
                let Entry { ballot, value } = entry.clone()?;
                Some(AcceptedValue { slot: Slot(slot), ballot, value })
            })
            .collect()
    }

    /// Decided values from `from` on, up to about `bytes_max` bytes, at least one if there is one.
    pub(super) fn decided_from(&self, from: Slot, bytes_max: usize) -> Vec<Value> {
        let mut values = Vec::new();
        let mut bytes = 0;
        let mut slot = from;
        while let Some(value) = self.decided_value(slot) {
            bytes += value.size();
            if bytes > bytes_max && !values.is_empty() {
                break;
            }
            values.push(value.clone());
            slot = slot.next();
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::NodeId;

    use super::*;

    fn ballot(view: u64, round: u64) -> Ballot {
        Ballot { view: ViewId(view), round, leader: NodeId(1) }
    }

    fn log(slots: u64, decided: u64) -> Log {
        let mut log = Log::default();
        for slot in 1..=slots {
            log.accept(Slot(slot), ballot(1, 1), Value::Noop);
        }
        for _ in 0..decided {
            log.decide_next();
        }
        log
    }

    #[test]
    fn a_truncated_log_keeps_what_is_above() {
        let mut log = log(9, 6);
        log.truncate(Slot(4));
        assert_eq!((log.base(), log.decided()), (Slot(4), Slot(6)));
        assert!(log.entry(Slot(4)).is_none() && log.entry(Slot(5)).is_some());
        assert_eq!(log.decided_from(Slot(4), 99), [], "a snapshot has it");
        assert_eq!(log.decided_from(Slot(5), 99).len(), 2);
        assert_eq!(log.undecided().iter().map(|accepted| accepted.slot.0).collect::<Vec<_>>(), [7, 8, 9]);
    }

    #[test]
    fn a_snapshot_from_ahead_keeps_acceptances_beyond_it() {
        let mut log = log(9, 2);
        log.forget(Slot(7), Slot(9));
        log.restart_above(Slot(8));
        assert_eq!((log.base(), log.decided()), (Slot(8), Slot(8)));
        assert_eq!(log.undecided().len(), 1);
        assert_eq!(log.unknown(), [(Slot(9), Slot(9))]);
        log.restart_above(Slot(20));
        assert_eq!((log.undecided().len(), log.unknown()), (0, vec![]));
        log.accept(Slot(21), ballot(2, 1), Value::Noop);
        assert_eq!(log.decide_next().0, Slot(21));
    }

    #[test]
    fn a_lost_acceptance_is_unknown_until_a_later_one_or_a_decision() {
        let mut log = log(3, 1);
        log.forget(Slot(1), Slot(3));
        assert_eq!(log.unknown(), [(Slot(2), Slot(3))], "what is decided is known");
        log.accept(Slot(3), ballot(1, 2), Value::Noop);
        assert_eq!(log.unknown(), [(Slot(2), Slot(2))]);
        log.decide_next();
        assert_eq!(log.unknown(), []);
    }

    #[test]
    fn acceptances_of_an_ended_view_are_forgotten_and_newer_ones_are_not() {
        let mut log = log(5, 3);
        log.accept(Slot(5), ballot(2, 1), Value::Noop);
        log.forget_views_before(ViewId(2));
        assert_eq!(log.undecided().iter().map(|accepted| accepted.slot.0).collect::<Vec<_>>(), [5]);
    }
}
