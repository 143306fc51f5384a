//! The slots of one replica: what it accepted in which ballot, and how far they are decided.

use concoord_wire::peer::AcceptedValue;
use concoord_wire::value::Value;
use concoord_wire::{Ballot, Slot};

/// What a slot holds.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The highest ballot it was accepted in; for a value learned as decided, what was promised then.
    pub(super) ballot: Ballot,
    pub(super) value: Value,
}

/// All slots from 1.
///
/// Invariants: every slot up to `decided` has an entry, and none of them ever changes its value.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Option<Entry>>,
    decided: u64,
}

impl Log {
    /// The last slot up to which everything is decided.
    pub(super) fn decided(&self) -> Slot {
        Slot(self.decided)
    }

    /// What is known of a slot.
    pub(super) fn entry(&self, slot: Slot) -> Option<&Entry> {
        let index = usize::try_from(slot.0.checked_sub(1)?).ok()?;
        self.entries.get(index)?.as_ref()
    }

    /// The decided value of a slot.
    pub(super) fn decided_value(&self, slot: Slot) -> Option<&Value> {
        if slot.0 <= self.decided { self.entry(slot).map(|entry| &entry.value) } else { None }
    }

    /// Notes an acceptance above the decided slots.
    pub(super) fn accept(&mut self, slot: Slot, ballot: Ballot, value: Value) {
        assert!(slot.0 > self.decided, "slot {slot} is decided and never changes");
        let index = usize::try_from(slot.0 - 1).expect("a log in memory has fewer slots than addresses");
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        let known = &mut self.entries[index];
        assert!(known.as_ref().is_none_or(|entry| entry.ballot <= ballot), "the ballot of slot {slot} never falls");
        *known = Some(Entry { ballot, value });
    }

    /// The next slot is decided with the value it holds, which is returned.
    pub(super) fn decide_next(&mut self) -> (Slot, &Value) {
        self.decided += 1;
        let slot = Slot(self.decided);
        let value = &self.entry(slot).expect("only a slot with a value is decided").value;
        (slot, value)
    }

    /// Forgets acceptances above the decided slots: they are of a view that ended.
    pub(super) fn forget_undecided(&mut self) {
        self.entries.truncate(usize::try_from(self.decided).expect("a log in memory has fewer slots than addresses"));
    }

    /// Everything accepted above `decided`.
    pub(super) fn undecided(&self) -> Vec<AcceptedValue> {
        let start = usize::try_from(self.decided).expect("a log in memory has fewer slots than addresses");
        let slots = self.decided + 1..;
        let undecided = self.entries[start.min(self.entries.len())..].iter().zip(slots);
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
