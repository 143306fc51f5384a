//! The acceptor: promises and accepts, durable first.

use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::value::Value;
use concoord_wire::{Ballot, NodeId, Slot};

use super::Replica;
use crate::io::LogPosition;
use crate::limits::WINDOW_SLOTS_MAX;
use crate::mutated;

/// Acceptances this far beyond the decided slots are dropped: their sender sees us lag, and we catch up by fetching.
pub(super) const ACCEPT_AHEAD_MAX: u64 = 4 * WINDOW_SLOTS_MAX;

impl Replica {
    pub(super) fn on_prepare(&mut self, from: NodeId, ballot: Ballot, decided: Slot) {
        if self.is_ahead(from, ballot, decided) || !self.both_vote(from, ballot) {
            return;
        }
        if ballot < self.promised || ballot.view < self.view.id {
            return self.reject(from);
        }
        self.election.note_round(ballot);
        if ballot > self.promised {
            self.promise(ballot);
            self.persist(Record::Promised(ballot));
            self.become_follower();
            self.await_leader();
        }
        let promise = Message::Promise {
            ballot,
            decided: self.log.decided(),
            accepted: if mutated!(PromiseOmitsAccepted) { Vec::new() } else { self.log.undecided() },
            unknown: self.log.unknown(),
        };
        let after = if mutated!(PromiseSentEarly) { LogPosition(0) } else { self.appended };
        self.send_after(after, from, promise);
    }

    pub(super) fn on_accept(&mut self, from: NodeId, ballot: Ballot, slot: Slot, value: Value, decided: Slot) {
        if self.is_ahead(from, ballot, decided) || !self.both_vote(from, ballot) {
            return;
        }
        let below = ballot < self.promised && !mutated!(AcceptsBelowPromise);
        if below || ballot.view < self.view.id {
            return self.reject(from);
        }
        if ballot > self.promised {
            // The record of the acceptance below, or of this promise where the slot is decided already.
            self.promise(ballot);
            self.persist(Record::Promised(ballot));
        }
        self.follow(ballot);
        if slot > self.log.decided() {
            if slot.0 > self.log.decided().0 + ACCEPT_AHEAD_MAX {
                return;
            }
            let known = self.log.kept(slot).is_some_and(|entry| entry.ballot == ballot);
            if !known && self.disk_full {
                return;
            }
            if !known {
                self.log.accept(slot, ballot, value.clone());
                self.persist(Record::Accepted { slot, ballot, value });
            }
        }
        let after = if mutated!(AcceptanceSentEarly) { LogPosition(0) } else { self.appended };
        self.send_after(after, from, Message::Accepted { ballot, slot });
        let decided = if mutated!(AcceptedIsDecided) { slot } else { decided };
        self.learn_decided_in(ballot, decided, from);
    }

    /// A candidate or leader learns that its ballot is too low, and what it may have to catch up with.
    pub(super) fn on_reject(&mut self, from: NodeId, promised: Ballot, decided: Slot) {
        self.election.note_round(promised);
        self.election.note_decided(from, decided);
        self.catch_up_with(from, decided);
        let ours = match &self.role {
            super::Role::Follower => return,
            super::Role::Candidate(candidate) => candidate.ballot,
            super::Role::Leader(leader) => leader.ballot,
        };
        if promised > ours {
            self.become_follower();
            self.await_leader();
        }
    }

    pub(super) fn reject(&mut self, to: NodeId) {
        let reject = Message::Reject { promised: self.promised, decided: self.log.decided() };
        self.send_after(self.appended, to, reject);
    }

    /// Whether the sender is in a newer view: then nothing it says counts before we are there too.
    fn is_ahead(&mut self, from: NodeId, ballot: Ballot, decided: Slot) -> bool {
        let ahead = ballot.view > self.view.id;
        if ahead {
            self.catch_up_with(from, decided.max(self.log.decided().next()));
        }
        ahead
    }

    /// Whether the leader or candidate of `ballot` itself speaks, and both it and this replica vote.
    fn both_vote(&self, from: NodeId, ballot: Ballot) -> bool {
        from == ballot.leader && self.view.is_voter(self.node) && self.view.is_voter(from)
    }
}
