//! The time that a leader stamps batches with.

use concoord_wire::Timestamp;

use crate::io::Time;
use crate::mutated;

/// How much of the elapsed time the stamp may gain or lose to approach the wall clock: one part in this many.
const SLEW: u64 = 10;

/// Decided time: the last stamp seen plus the monotonic time since, slewed toward the wall clock by at most a tenth.
///
/// It neither falls nor stands still while time passes, whatever the wall clock does.
#[derive(Debug, Default)]
pub(super) struct Clock {
    stamp_us: u64,
    seen_at_us: u64,
    /// The highest stamp that is decided.
    decided_us: u64,
}

impl Clock {
    /// A decided stamp was seen.
    pub(super) fn observe(&mut self, stamp: Timestamp, now: Time) {
        self.decided_us = self.decided_us.max(stamp.0);
        if stamp.0 > self.stamp_us {
            (self.stamp_us, self.seen_at_us) = (stamp.0, now.monotonic_us);
        }
    }

    /// The highest decided stamp, the same on every replica that has decided as far.
    pub(super) fn decided(&self) -> Timestamp {
        Timestamp(self.decided_us)
    }

    /// The stamp for a batch proposed now.
    pub(super) fn stamp(&mut self, now: Time) -> Timestamp {
        if self.stamp_us == 0 {
            self.stamp_us = now.wall_us;
        } else {
            let elapsed = now.monotonic_us.saturating_sub(self.seen_at_us);
            let plain = self.stamp_us.saturating_add(elapsed);
            let (least, most) = (plain - elapsed / SLEW, plain.saturating_add(elapsed / SLEW));
            self.stamp_us = if mutated!(WallClockStamp) { now.wall_us } else { now.wall_us.clamp(least, most) };
        }
        self.seen_at_us = now.monotonic_us;
        Timestamp(self.stamp_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_us: u64, wall_us: u64) -> Time {
        Time { monotonic_us, wall_us }
    }

    #[test]
    fn approaches_the_wall_clock_by_a_tenth_and_never_falls() {
        let mut clock = Clock::default();
        assert_eq!(clock.stamp(at(0, 1_000_000)), Timestamp(1_000_000));
        assert_eq!(clock.stamp(at(100, 1_000_100)), Timestamp(1_000_100), "in step with the wall");
        assert_eq!(clock.stamp(at(1_100, 9_000_000)), Timestamp(1_001_200), "the wall jumped ahead");
        assert_eq!(clock.stamp(at(2_100, 0)), Timestamp(1_002_100), "the wall jumped back");
        clock.observe(Timestamp(500), at(2_100, 0));
        assert_eq!(clock.stamp(at(2_100, 0)), Timestamp(1_002_100), "an older stamp changes nothing");
    }
}
