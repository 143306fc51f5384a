//! Learning what is decided: from the leader's index, or from any peer by fetching.

use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::value::{Batch, Value};
use concoord_wire::{Ballot, NodeId, Slot};

use super::{Replica, Role};
use crate::io::Effect;
use crate::limits::FETCH_BYTES_MAX;

/// Where a lagging replica asks, and when it asked last.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Members to ask while this replica is in no view that it knows.
    contacts: Vec<NodeId>,
    /// What was asked and not answered.
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    peer: NodeId,
    at_us: u64,
}

impl CatchUp {
    pub(super) fn new(contacts: Vec<NodeId>) -> CatchUp {
        CatchUp { contacts, asked: None }
    }
}

impl Replica {
    /// The leader of `ballot` knows slots up to `upto` as decided. That covers what was accepted here in this very
    /// ballot; from the first slot that was not, its value must be fetched.
    pub(super) fn learn_decided_in(&mut self, ballot: Ballot, upto: Slot, from: NodeId) {
        while self.log.decided() < upto && self.view.id == ballot.view {
            let next = self.log.decided().next();
            let accepted = self.log.entry(next).is_some_and(|entry| entry.ballot == ballot);
            if !accepted {
                break;
            }
            self.decide_next();
        }
        self.catch_up_with(from, upto);
    }

    /// `peer` knows slots up to `decided`: asks it for those that are missing here, one question at a time.
    pub(super) fn catch_up_with(&mut self, peer: NodeId, decided: Slot) {
        if decided <= self.log.decided() {
            return;
        }
        let now_us = self.now.monotonic_us;
        let waiting = self.catch_up.asked.as_ref().is_some_and(|asked| now_us < asked.at_us + self.timing.resend_us);
        if !waiting {
            self.fetch_from(peer);
        }
    }

    fn fetch_from(&mut self, peer: NodeId) {
        self.catch_up.asked = Some(Asked { peer, at_us: self.now.monotonic_us });
        self.send_as_known(peer, Message::Fetch { from: self.log.decided().next() });
    }

    /// A replica that is in no view it knows asks its contacts, one after another.
    pub(super) fn ask_contacts(&mut self) {
        let lost = !self.view.members.contains_key(&self.node);
        let now_us = self.now.monotonic_us;
        let waiting = self.catch_up.asked.as_ref().is_some_and(|asked| now_us < asked.at_us + self.timing.resend_us);
        if lost && !waiting && !self.catch_up.contacts.is_empty() {
            self.catch_up.contacts.rotate_left(1);
            let contact = self.catch_up.contacts[0];
            if contact != self.node {
                self.fetch_from(contact);
            }
        }
    }

    pub(super) fn on_fetch(&mut self, from: NodeId, slot: Slot) {
        // Whoever asks from here on knows what is before.
        self.election.note_decided(from, Slot(slot.0.saturating_sub(1)));
        let values = self.log.decided_from(slot.max(Slot(1)), FETCH_BYTES_MAX);
        self.send(from, Message::Entries { first: slot.max(Slot(1)), values, decided: self.log.decided() });
    }

    pub(super) fn on_entries(&mut self, from: NodeId, first: Slot, values: Vec<Value>, decided: Slot) {
        if self.catch_up.asked.as_ref().is_some_and(|asked| asked.peer == from) {
            self.catch_up.asked = None;
        }
        let before = self.log.decided();
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
        let known = self.log.entry(slot).is_some_and(|entry| entry.value == value);
        if !known {
            if matches!(self.role, Role::Leader(_)) {
                // Somebody else decided what this replica did not propose: it was deposed and did not hear of it.
                self.become_follower();
            }
            let accepted = self.log.entry(slot).map(|entry| entry.ballot);
            let ballot = accepted.map_or(self.promised, |accepted| accepted.max(self.promised));
            self.log.accept(slot, ballot, value.clone());
            self.persist(Record::Accepted { slot, ballot, value });
        }
        self.decide_next();
    }

    /// The next slot is decided with the value that the log holds for it.
    pub(super) fn decide_next(&mut self) {
        let replies = self.clients.anybody_waits() || matches!(self.role, Role::Leader(_));
        let (slot, value) = self.log.decide_next();
        let command = match value {
            Value::Noop => None,
            Value::Batch(batch) => {
                // Whoever leads next stamps from here on, even where its application is behind.
                if let Ok(stamp) = Batch::stamp_of(batch) {
                    self.clock.observe(stamp, self.now);
                }
                self.clients.handed = slot;
                self.effects.push(Effect::Apply { slot, batch: batch.clone(), replies });
                None
            }
            Value::View(command) => Some(command.clone()),
        };
        self.close_proposal(slot);
        if let Some(command) = command {
            self.on_view_decided(slot, &command);
        }
        self.release_reads();
    }
}
