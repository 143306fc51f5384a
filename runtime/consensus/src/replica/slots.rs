//! Ranges of slots.

use std::collections::BTreeMap;

use concoord_wire::Slot;

/// A set of slots, kept as ranges.
///
/// Invariant: ranges neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// First slot of a range to its last.
    ranges: BTreeMap<u64, u64>,
}

impl Slots {
    /// Adds all from `first` to `last`, both included.
    pub(super) fn insert(&mut self, first: Slot, last: Slot) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first.0, last.0);
        let touching = |(start, end): (&u64, &u64)| {
            (*start <= last.saturating_add(1) && *end >= first.saturating_sub(1)).then_some((*start, *end))
        };
        let merged: Vec<(u64, u64)> = self.ranges.iter().filter_map(touching).collect();
        for (start, end) in merged {
            self.ranges.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// Takes one slot out.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Some((start, end)) = self.range_of(slot) else { return };
        self.ranges.remove(&start);
        if start < slot.0 {
            self.ranges.insert(start, slot.0 - 1);
        }
        if slot.0 < end {
            self.ranges.insert(slot.0 + 1, end);
        }
    }

    /// Takes all up to `slot` out.
    pub(super) fn remove_up_to(&mut self, slot: Slot) {
        while let Some((&start, &end)) = self.ranges.first_key_value() {
            if start > slot.0 {
                return;
            }
            self.ranges.remove(&start);
            if end > slot.0 {
                self.ranges.insert(slot.0 + 1, end);
            }
        }
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.range_of(slot).is_some()
    }

    /// First and last slot of each range, in order.
    pub(super) fn ranges(&self) -> Vec<(Slot, Slot)> {
        self.ranges.iter().map(|(first, last)| (Slot(*first), Slot(*last))).collect()
    }

    fn range_of(&self, slot: Slot) -> Option<(u64, u64)> {
        let (&start, &end) = self.ranges.range(..=slot.0).next_back()?;
        (slot.0 <= end).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(ranges: &[(u64, u64)]) -> Slots {
        let mut slots = Slots::default();
        for (first, last) in ranges {
            slots.insert(Slot(*first), Slot(*last));
        }
        slots
    }

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        assert_eq!(slots(&[(5, 7), (1, 2), (3, 4), (6, 9)]).ranges(), [(Slot(1), Slot(9))]);
        assert_eq!(slots(&[(5, 7), (1, 2)]).ranges(), [(Slot(1), Slot(2)), (Slot(5), Slot(7))]);
        assert_eq!(slots(&[(3, 2)]).ranges(), []);
    }

    #[test]
    fn what_is_taken_out_is_not_there_and_all_else_is() {
        for out in 1..=9 {
            let mut some = slots(&[(1, 3), (5, 9)]);
            some.remove(Slot(out));
            for slot in 0..=10 {
                let expected = slot != out && ((1..=3).contains(&slot) || (5..=9).contains(&slot));
                assert_eq!(some.contains(Slot(slot)), expected, "{slot} without {out}");
            }
            let mut some = slots(&[(1, 3), (5, 9)]);
            some.remove_up_to(Slot(out));
            for slot in 0..=10 {
                let expected = slot > out && slots(&[(1, 3), (5, 9)]).contains(Slot(slot));
                assert_eq!(some.contains(Slot(slot)), expected, "{slot} above {out}");
            }
        }
    }
}
