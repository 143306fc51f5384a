//! What replicas compare to find one that differs: two numbers, at the first batch at or behind each multiple of
//! [`CHECK_SLOTS`].
//!
//! Both follow from the decided prefix alone. The number over replies goes on from slot to slot and is a part of the state
//! and of its snapshots: so a reply that differed once is never forgotten, and replicas that started from different
//! snapshots have the same. The number over the state is taken of the objects as they are after the slot. Queries, and
//! inputs that were undone, have left nothing that either could see.

use concoord_wire::Slot;
use concoord_wire::check::Check;
use serde::Serialize;

use super::Application;
use super::digest::Digest;
use crate::limits::CHECK_SLOTS;
use crate::objects::Objects;

/// Whether `slot`, which has a batch, is checked: `before` is the last one with a batch.
pub(super) fn is_due(before: Slot, slot: Slot) -> bool {
    slot.0 / CHECK_SLOTS > before.0 / CHECK_SLOTS
}

/// Notes what a command came to, whether anybody waits for it or not.
pub(super) fn note<T: Serialize + ?Sized>(replies: &mut u64, reply: &T) {
    *replies = Digest::new().with(replies).with(reply).finish();
}

impl<O: Objects> Application<O> {
    /// The check behind `slot`. Of the sessions it sees how many there are and what they hold: what they are asked shows
    /// in the replies.
    pub(super) fn check(&mut self, slot: Slot) -> Check {
        let sessions = (self.sessions.len(), self.sessions.kept_bytes());
        let mut digest = Digest::new().with(&(self.cluster, self.version, self.position, self.now, slot, sessions));
        for id in self.registry.ids() {
            digest = digest.with(&(id, self.objects.state_hash(id)));
        }
        Check { slot, replies: self.replies, state: digest.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_batch_at_or_behind_a_multiple_is_checked() {
        let due = |before, slot| is_due(Slot(before), Slot(slot));
        assert!(!due(0, 1) && !due(1, CHECK_SLOTS - 1));
        assert!(due(CHECK_SLOTS - 1, CHECK_SLOTS));
        assert!(due(3, CHECK_SLOTS + 9), "slots in between had no batch");
        assert!(!due(CHECK_SLOTS, CHECK_SLOTS + 1) && !due(CHECK_SLOTS + 9, 2 * CHECK_SLOTS - 1));
    }
}
