//! States that are spoiled on purpose: one bit of what a member has applied is another one, as memory that fails may do.
//!
//! Until the member finds out, at the next check that a majority has, what it answers from that state may be wrong, and no
//! protocol could prevent it. So the checkers hear nothing of its answers about objects meanwhile: its clients wait, and
//! ask again. Nor can it keep a snapshot meanwhile, as if its disk had no room for one: a state that has spread to others,
//! or to all that is left of the log, before anybody compared it is not that of a minority any more. All else that it
//! does counts as ever. It is as the others again when its whole state after a slot is what another one had after it; and no
//! run ends before that.

use std::collections::BTreeMap;

use concoord::wire::client::Response;
use concoord::wire::{NodeId, Slot};
use concoord_consensus::io::Divergence;
use concoord_consensus::limits::CHECK_SLOTS;

use super::checks::Violation;
use super::coverage::Kind;
use super::world::World;

/// A check is passed over when too few others have it: one that went on from a snapshot has none of what is below. So many are
/// passed over at most.
const CHECKS_PASSED_OVER_MAX: u64 = 5;

/// So many checks a node may have applied until it hears of the one that tells it.
const CHECKS_UNNOTICED_MAX: u64 = 5;

/// How long it may apply more than that until it has heard.
const UNNOTICED_US_MAX: u64 = 1_000_000;

/// Where a state was spoiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoil {
    /// The last slot that was applied before.
    after: Slot,
    /// In which life.
    life: u64,
    /// Since when it should have found out.
    late_since_us: Option<u64>,
    /// What it had after a slot that nobody else had applied, to be compared when somebody has.
    ahead: Option<(Slot, u64)>,
}

/// Members whose state is spoiled.
pub(super) type Spoiled = BTreeMap<NodeId, Spoil>;

impl World {
    /// Flips a bit of the counter of a member, where all the others are well and are a majority that can tell.
    pub(super) fn flip(&mut self, victim: NodeId) {
        let plain = self.newest_view.members.values().all(|member| !member.volatile && !member.is_witness());
        if !plain || !self.has_one_to_spare(victim) {
            return;
        }
        let bit = self.chance.between(1, 6);
        let process = self.nodes.get_mut(&victim).and_then(|node| node.process.as_mut()).expect("it runs");
        if process.application.objects_mut().flip(bit) {
            let (after, life) = (process.application.applied(), process.life);
            let spoil = Spoil { after, life, late_since_us: None, ahead: None };
            self.faults.coverage.count(Kind::Flip);
            self.spoiled.insert(victim, spoil);
            self.say(|| format!("{victim:?} has bit {bit} of its counter wrong after slot {}", spoil.after));
        }
    }

    /// Whether what this node has applied was spoiled, and is not known to be right again.
    pub(super) fn is_spoiled(&self, id: NodeId) -> bool {
        self.spoiled.contains_key(&id) && !self.nodes[&id].gone
    }

    /// Whether anybody's state is spoiled.
    pub(super) fn is_any_spoiled(&self) -> bool {
        self.spoiled.keys().any(|id| !self.nodes[id].gone)
    }

    /// Whether an answer comes from a state that is spoiled.
    pub(super) fn may_be_wrong(&self, id: NodeId, response: &Response) -> bool {
        let of_object =
            matches!(response, Response::Called { result: Ok(_), .. } | Response::Queried { result: Ok(_), .. });
        of_object && self.is_spoiled(id)
    }

    /// A node has come to a state: that of all others after the same slot, unless it is spoiled.
    pub(super) fn compare_state(&mut self, id: NodeId, slot: Slot) {
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("it runs");
        let state = process.application.state_hash();
        // A snapshot's slot need not have one, and then nobody applies it.
        let has_batch = process.application.applied() == slot;
        if self.spoiled.contains_key(&id) {
            match self.checks.state_after(slot) {
                Some(known) if known == state => self.is_right(id, slot),
                known => {
                    let spoil = self.spoiled.get_mut(&id).expect("its state is wrong");
                    if known.is_none() && has_batch {
                        spoil.ahead.get_or_insert((slot, state));
                    }
                    return self.judge_unnoticed(id, slot);
                }
            }
        }
        let objects = self.nodes[&id].process.as_ref().expect("it runs").application.objects();
        if let Err(violation) = self.checks.applied(id, slot, state, objects) {
            self.violation.get_or_insert(violation);
        }
        self.compare_with_those_ahead(slot, state);
        self.count_waiters(id);
    }

    /// Whoever waits as far as the application knows waits as far as its object knows, and nobody else does: no waiter is
    /// leaked, and nothing is granted to a call that is gone.
    fn count_waiters(&mut self, id: NodeId) {
        let application = &self.nodes[&id].process.as_ref().expect("it runs").application;
        let parked = application.parked();
        for (object, native) in application.objects().iter() {
            let (known, waits) = (native.waiters(), parked.get(&object).copied().unwrap_or(0));
            if known.is_some_and(|known| known != waits) {
                let what = format!("{waits} calls wait for object {object} at {id:?}, which knows of {known:?}");
                self.violation.get_or_insert(Violation::new(what));
            }
        }
    }

    /// A state is known to be right: whoever was ahead with it was right as well.
    fn compare_with_those_ahead(&mut self, slot: Slot, state: u64) {
        let at_slot = |spoil: &&mut Spoil| spoil.ahead.is_some_and(|(ahead, _)| ahead == slot);
        let mut right = Vec::new();
        for (id, spoil) in self.spoiled.iter_mut().filter(|(_, spoil)| at_slot(spoil)) {
            if spoil.ahead.take() == Some((slot, state)) {
                right.push(*id);
            }
        }
        right.into_iter().for_each(|id| self.is_right(id, slot));
    }

    fn is_right(&mut self, id: NodeId, slot: Slot) {
        self.spoiled.remove(&id);
        self.mended_us = self.now_us;
        self.say(|| format!("{id:?} has the right state after slot {slot}"));
    }

    /// A node whose state is wrong has applied a slot: it can't be much behind the check at which it should have found out.
    fn judge_unnoticed(&mut self, id: NodeId, slot: Slot) {
        let now_us = self.now_us;
        let spoil = self.spoiled.get_mut(&id).expect("its state is wrong");
        if slot.0 / CHECK_SLOTS <= spoil.after.0 / CHECK_SLOTS + CHECKS_UNNOTICED_MAX {
            return;
        }
        // It may have caught up with all of these at once.
        let since_us = *spoil.late_since_us.get_or_insert(now_us);
        let spoil = *spoil;
        if now_us > since_us + UNNOTICED_US_MAX && self.lives_on(id, spoil.life) {
            self.note_violation(format!(
                "{id:?} differs since slot {} and has not found out at slot {slot}",
                spoil.after
            ));
        }
    }

    /// A node says that its state differs: it must, and it must have found out at the first check that a majority has.
    pub(super) fn on_quarantine(&mut self, id: NodeId, divergence: &Divergence) {
        self.say(|| format!("{id:?} finds that it differs: {divergence}"));
        self.faults.coverage.count(Kind::Quarantine);
        self.unsettle();
        let Some(spoil) = self.spoiled.get(&id) else {
            return self.note_violation(format!("{id:?} takes its state for wrong, and it is right: {divergence}"));
        };
        let slot = divergence.own.slot;
        let first = spoil.after.0 / CHECK_SLOTS + 1;
        if self.lives_on(id, spoil.life) && slot.0 / CHECK_SLOTS > first + CHECKS_PASSED_OVER_MAX {
            let after = spoil.after;
            self.note_violation(format!("{id:?} differs since slot {after}, and found out at slot {slot} only"));
        }
    }

    /// A node stops since nobody can tell whose state is right. An operator starts it again.
    pub(super) fn on_halt(&mut self, id: NodeId, reason: &str) {
        self.say(|| format!("{id:?} stops: {reason}"));
        self.unsettle();
        // What a peer said before its state was right again may be judged a little later.
        if !self.is_any_spoiled() && self.now_us > self.mended_us + UNNOTICED_US_MAX {
            self.note_violation(format!("{id:?} stops over states that are all right: {reason}"));
        }
        self.kill(id);
    }
}
