//! Learning what is decided: from the leader's index, or from any peer by fetching.

use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::value::{Batch, Value};
use concoord_wire::{Ballot, NodeId, Slot};

use super::{Replica, Role};
use crate::io::Effect;
use crate::limits::FETCH_BYTES_MAX;
use crate::mutated;

/// Where a lagging replica asks, and when it asked last.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Members to ask while nobody speaks to this replica by himself.
    contacts: Vec<NodeId>,
    /// How many of them were asked so far.
    turns: usize,
    /// What was asked last and not answered.
    asked: Option<Asked>,
    /// Since when no question was answered, if one was asked.
    unanswered_since_us: Option<u64>,
}

#[derive(Debug)]
struct Asked {
    peer: NodeId,
    at_us: u64,
}

impl CatchUp {
    pub(super) fn new(contacts: Vec<NodeId>) -> CatchUp {
        CatchUp { contacts, turns: 0, asked: None, unanswered_since_us: None }
    }
}

impl Replica {
    /// The leader of `ballot` knows slots up to `upto` as decided. That covers what was accepted here in this very
    /// ballot and is not hidden by a loss; from the first other slot on, values must be fetched.
    pub(super) fn learn_decided_in(&mut self, ballot: Ballot, upto: Slot, from: NodeId) {
        while self.log.decided() < upto && self.view.id == ballot.view {
            let next = self.log.decided().next();
            let accepted =
                self.log.kept(next).is_some_and(|entry| entry.ballot == ballot || mutated!(DecidedOfOtherBallot));
            if !accepted {
                break;
            }
            self.decide_next();
        }
        self.catch_up_with(from, upto);
    }

    /// `peer` knows slots up to `decided`: asks it for those that are missing here, one question at a time.
    pub(super) fn catch_up_with(&mut self, peer: NodeId, decided: Slot) {
        if decided > self.log.decided() && (!self.awaits_entries() || self.asks_in_vain_but(peer)) {
            self.fetch_from(peer);
        }
    }

    /// As [`Replica::catch_up_with`], while a leader is heard: only where questions stay unanswered, since perhaps nothing
    /// from here reaches the leader.
    pub(super) fn catch_up_elsewhere(&mut self, peer: NodeId, decided: Slot) {
        if decided > self.log.decided() && self.asks_in_vain_but(peer) {
            self.fetch_from(peer);
        }
    }

    /// Whether a question was asked that may still be answered.
    fn awaits_entries(&self) -> bool {
        let now_us = self.now.monotonic_us;
        self.catch_up.asked.as_ref().is_some_and(|asked| now_us < asked.at_us + self.timing.resend_us)
    }

    /// Whether nobody has answered for long, and `peer` was not the last to be asked: so all are asked in turn.
    fn asks_in_vain_but(&self, peer: NodeId) -> bool {
        let now_us = self.now.monotonic_us;
        let in_vain = |since_us: u64| now_us >= since_us + self.timing.resend_us;
        self.catch_up.unanswered_since_us.is_some_and(in_vain)
            && self.catch_up.asked.as_ref().is_none_or(|asked| asked.peer != peer)
    }

    fn fetch_from(&mut self, peer: NodeId) {
        if self.receives_snapshot() {
            return;
        }
        let now_us = self.now.monotonic_us;
        self.catch_up.asked = Some(Asked { peer, at_us: now_us });
        self.catch_up.unanswered_since_us.get_or_insert(now_us);
        self.send_as_known(peer, Message::Fetch { from: self.log.decided().next() });
    }

    /// A replica that is in no view it knows asks whom it knows of, one after another. So does a learner that hears no
    /// leader: it may have been evicted while it was down, and whoever is in the view by now does not speak to it.
    pub(super) fn ask_contacts(&mut self) {
        let outside = !self.view.members.contains_key(&self.node);
        let unheard = !self.view.is_voter(self.node) && self.leader().is_none();
        if !(outside || unheard) || self.awaits_entries() {
            return;
        }
        let mut known = self.catch_up.contacts.clone();
        known.extend(self.other_voters());
        known.retain(|contact| *contact != self.node);
        self.catch_up.turns += 1;
        if let Some(contact) = known.get(self.catch_up.turns % known.len().max(1)) {
            self.fetch_from(*contact);
        }
    }

    pub(super) fn on_fetch(&mut self, from: NodeId, slot: Slot) {
        // Whoever asks from here on knows what is before.
        self.election.note_known(from, Slot(slot.0.saturating_sub(1)));
        if slot <= self.log.base() {
            return self.offer_snapshot(from);
        }
        let values = self.log.decided_from(slot.max(Slot(1)), FETCH_BYTES_MAX);
        self.send(from, Message::Entries { first: slot.max(Slot(1)), values, decided: self.log.decided() });
    }

    pub(super) fn on_entries(&mut self, from: NodeId, first: Slot, values: Vec<Value>, decided: Slot) {
        if self.catch_up.asked.as_ref().is_some_and(|asked| asked.peer == from) {
            self.catch_up.asked = None;
        }
        self.catch_up.unanswered_since_us = None;
        let before = self.log.decided();
        if self.disk_full {
            // What is learned is written down, and there is no room for it.
            return;
        }
        if first > before.next() {
            return;
        }
        let mut slot = first;
        for value in values {
            if slot == self.log.decided().next() {
                self.learn(slot, value);
            }
            slot = slot.next();
        }
        if self.log.decided() > before {
            self.catch_up_with(from, decided);
        }
        self.lead_if_promised();
    }

    /// A peer knows that `slot`, the next undecided one, is decided with `value`.
    fn learn(&mut self, slot: Slot, value: Value) {
        let known = self.log.kept(slot).is_some_and(|entry| entry.value == value);
        if !known {
            if matches!(self.role, Role::Leader(_)) {
                // Somebody else decided what this replica did not propose: it was deposed and did not hear of it.
                self.become_follower();
            }
            let accepted = self.log.entry(slot).map(|entry| entry.ballot);
            let ballot = accepted.map_or(self.promised, |accepted| accepted.max(self.promised));
            self.log.accept(slot, ballot, value.clone());
            if !mutated!(LearnedNotPersisted) {
                self.persist(Record::Accepted { slot, ballot, value });
            }
        }
        self.decide_next();
    }

    /// The next slot is decided with the value that the log holds for it.
    pub(super) fn decide_next(&mut self) {
        let replies = self.clients.anybody_waits() || matches!(self.role, Role::Leader(_));
        let waits = self.waits_for_state();
        let (slot, value) = self.log.decide_next();
        let value_bytes = value.size();
        let witness = self.policy.witness;
        let command = match value {
            Value::Noop => None,
            Value::Batch(batch) => {
                // Whoever leads next stamps from here on, even where its application is behind.
                if let Ok(stamp) = Batch::stamp_of(batch) {
                    self.clock.observe(stamp, self.now);
                }
                if !witness && !waits {
                    self.clients.handed = slot;
                    self.effects.push(Effect::Apply { slot, batch: batch.clone(), replies });
                }
                None
            }
            Value::View(_) | Value::Mark { .. } => Some(value.clone()),
        };
        self.close_proposal(slot);
        match command {
            Some(Value::View(command)) => self.on_view_decided(slot, &command),
            Some(Value::Mark { view, member, silent, services }) => {
                self.on_mark_decided(slot, view, member, silent, services);
            }
            _ => {}
        }
        self.count_toward_snapshot(value_bytes);
        self.release_reads();
    }
}
