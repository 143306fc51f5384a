//! Phase 2: the leader puts batches into slots and counts acceptances.

use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::codec;
use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::value::{Batch, Value, ViewChange, ViewCommand};
use concoord_wire::{Ballot, NodeId, Slot};

use super::{Replica, Role};
use crate::io::LogPosition;
use crate::limits::{LATE_VOTER_PATIENCE_US, RACE_SLOTS, RESEND_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_SLOTS_MAX};
use crate::mutated;
use crate::quorum::majority;

/// A replica that leads.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) ballot: Ballot,
    /// The slot of its first own value. Reads wait until it is decided: before, the leader may not know of everything
    /// that its predecessors decided.
    pub(super) first: Slot,
    /// Proposed and not decided.
    open: BTreeMap<Slot, Proposal>,
    open_bytes: usize,
    /// The slot of a proposed change of view: nothing is proposed beyond it.
    pub(super) seal: Option<Slot>,
    next: Slot,
    /// Voters without whose acceptance slots are decided. What they are sent may wait a little, so that they take several
    /// slots at a time: a voter pays for each time that it wakes and syncs. If one is needed after all, it has the value
    /// that much later, and is not among them any more when it is decided.
    late: BTreeSet<NodeId>,
}

/// A value on its way to being decided.
#[derive(Debug)]
struct Proposal {
    bytes: usize,
    /// The leader's own acceptance is durable once the log is durable up to here.
    own_at: LogPosition,
    accepted_by: BTreeSet<NodeId>,
    sent_at_us: u64,
    /// Sent to everybody at once: who has not accepted it when it is decided is late from then on.
    is_race: bool,
}

impl Replica {
    /// Leads in `ballot`, first with what phase 1 found, then with a slot of its own.
    pub(super) fn become_leader(&mut self, ballot: Ballot, found: Vec<Value>) {
        let next = self.log.decided().next();
        let first = Slot(next.0 + found.len() as u64);
        self.led_from = self.led_from.max(first);
        self.role = Role::Leader(Leader {
            ballot,
            first,
            open: BTreeMap::new(),
            open_bytes: 0,
            seal: None,
            next,
            late: BTreeSet::new(),
        });
        self.election.leads(ballot, self.now.monotonic_us);
        self.membership.marks.clear();
        for value in found {
            self.propose(value);
        }
        let sealed = matches!(&self.role, Role::Leader(Leader { seal: Some(_), .. }));
        if !sealed {
            self.propose(Value::Noop);
        }
        self.send_heartbeats();
        self.requeue_reads();
        self.propose_pending();
    }

    /// Puts what waits into slots, as far as the window has room.
    pub(super) fn propose_pending(&mut self) {
        self.clients.queue_signs(self.now.monotonic_us);
        while !self.clients.pending_is_empty() && self.window_has_room() {
            let stamp = self.clock.stamp(self.now);
            let commands = self.clients.take_batch();
            let batch = codec::to_bytes(&Batch { stamp, commands });
            self.propose(Value::Batch(batch.into()));
        }
    }

    /// Proposes an empty batch where there is something to do that waits for nothing but time, and nothing else is on its
    /// way that would do it too.
    pub(super) fn propose_due(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let Some(due) = self.clients.due else { return };
        if !leader.open.is_empty() || self.clients.applied_of(self.log.decided()) < self.log.decided() {
            return;
        }
        let stamp = self.clock.stamp(self.now);
        if stamp >= due && self.window_has_room() {
            let batch = codec::to_bytes(&Batch { stamp, commands: Vec::new() });
            self.propose(Value::Batch(batch.into()));
        }
    }

    fn window_has_room(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        (leader.seal.is_none() || mutated!(ProposesBeyondSeal))
            && !self.disk_full
            && (leader.open.len() as u64) < WINDOW_SLOTS_MAX
            && (leader.open_bytes < WINDOW_BYTES_MAX || leader.open.is_empty())
    }

    /// Proposes a change of the current view; `false` when one is under way or this replica does not lead.
    pub(super) fn propose_view_change(&mut self, change: ViewChange) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        if leader.seal.is_some() {
            return false;
        }
        self.propose(Value::View(ViewCommand { based_on: self.view.id, change }));
        true
    }

    /// Whether `value`, decided in the current view, changes it.
    pub(super) fn seals(&self, value: &Value) -> bool {
        matches!(value, Value::View(command) if command.based_on == self.view.id)
    }

    /// Proposes a value in the next slot: to the own log and to all other voters, in parallel.
    pub(super) fn propose(&mut self, value: Value) {
        let seals = self.seals(&value);
        let decided = self.log.decided();
        let now_us = self.now.monotonic_us;
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader proposes") };
        assert!(leader.seal.is_none() || mutated!(ProposesBeyondSeal), "nothing is proposed beyond the seal");
        let (slot, ballot) = (leader.next, leader.ballot);
        assert!(ballot == self.promised, "a leader's ballot is what it promised");
        leader.next = slot.next();
        if seals {
            leader.seal = Some(slot);
        }
        self.log.accept(slot, ballot, value.clone());
        let own_at = self.persist(Record::Accepted { slot, ballot, value: value.clone() });
        let Role::Leader(leader) = &mut self.role else { unreachable!("still the leader") };
        let bytes = value.size();
        leader.open_bytes += bytes;
        let hurries = seals || slot.0.is_multiple_of(RACE_SLOTS);
        let late = if hurries { BTreeSet::new() } else { leader.late.clone() };
        let (accepted_by, is_race) = (BTreeSet::new(), late.is_empty());
        leader.open.insert(slot, Proposal { bytes, own_at, accepted_by, sent_at_us: now_us, is_race });
        for voter in self.other_voters() {
            let message = Message::Accept { ballot, slot, value: value.clone(), decided };
            if late.contains(&voter) { self.send_late(voter, message) } else { self.send(voter, message) }
        }
        self.decide_accepted();
    }

    pub(super) fn on_accepted(&mut self, from: NodeId, ballot: Ballot, slot: Slot) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.ballot != ballot || !self.view.is_voter(from) {
            return;
        }
        if let Some(proposal) = leader.open.get_mut(&slot) {
            proposal.accepted_by.insert(from);
            self.decide_accepted();
        }
    }

    /// The log got durable: our own acceptances count.
    pub(super) fn count_own_acceptances(&mut self) {
        self.decide_accepted();
    }

    /// Decides, in order, every open slot that a majority has accepted durably.
    fn decide_accepted(&mut self) {
        loop {
            let Role::Leader(leader) = &mut self.role else { return };
            let slot = self.log.decided().next();
            let Some(proposal) = leader.open.get(&slot) else { return };
            let own_at = if mutated!(OwnAcceptanceEarly) { LogPosition(0) } else { proposal.own_at };
            let own = usize::from(own_at <= self.durable && self.view.is_voter(self.node));
            let fewer = usize::from(mutated!(SmallAcceptQuorum));
            if own + proposal.accepted_by.len() + fewer < majority(self.view.voters().count()) {
                return;
            }
            if proposal.is_race || self.now.monotonic_us >= proposal.sent_at_us + LATE_VOTER_PATIENCE_US {
                let others = self.view.voters().filter(|voter| *voter != self.node);
                leader.late = others.filter(|voter| !proposal.accepted_by.contains(voter)).collect();
            }
            self.decide_next();
        }
    }

    /// A slot is decided, by our own counting or learned from others: it is not open any more.
    pub(super) fn close_proposal(&mut self, slot: Slot) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(proposal) = leader.open.remove(&slot)
        {
            leader.open_bytes -= proposal.bytes;
        }
    }

    /// Sends again what a voter has left unanswered for too long.
    pub(super) fn resend_accepts(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let now_us = self.now.monotonic_us;
        let ballot = leader.ballot;
        let decided = self.log.decided();
        let mut again = Vec::new();
        let mut bytes = 0;
        for (&slot, proposal) in &mut leader.open {
            if bytes > RESEND_BYTES_MAX {
                break;
            }
            if now_us < proposal.sent_at_us + self.timing.resend_us || mutated!(NoResend) {
                continue;
            }
            proposal.sent_at_us = now_us;
            bytes += proposal.bytes;
            let entry = self.log.entry(slot).expect("a leader has accepted what it proposed");
            for voter in self.view.voters().filter(|voter| *voter != self.node) {
                if !proposal.accepted_by.contains(&voter) {
                    again.push((voter, Message::Accept { ballot, slot, value: entry.value.clone(), decided }));
                }
            }
        }
        for (voter, message) in again {
            self.send(voter, message);
        }
    }
}
