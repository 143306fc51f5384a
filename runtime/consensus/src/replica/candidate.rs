//! Phase 1: gathering promises, and what becomes of the values they list.

use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::peer::{AcceptedValue, Message};
use concoord_wire::record::Record;
use concoord_wire::value::Value;
use concoord_wire::{Ballot, NodeId, Slot};

use super::acceptor::ACCEPT_AHEAD_MAX;
use super::slots::Slots;
use super::{Replica, Role};
use crate::io::LogPosition;
use crate::mutated;
use crate::quorum::majority;

/// A replica that gathers promises.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) ballot: Ballot,
    /// Its own promise is durable once the log is durable up to here.
    promise_at: LogPosition,
    promised: BTreeSet<NodeId>,
    /// Per undecided slot, the value accepted in the highest ballot that a promise listed.
    accepted: BTreeMap<Slot, (Ballot, Value)>,
    /// Voters that promised and do not know what they accepted in some slots.
    unknown: BTreeMap<NodeId, Slots>,
    /// The highest slot that a promise said is decided: known here before leading.
    decided: Slot,
    /// Whether this replica led the view that just ended: what its clients asked for is still pending here.
    pub(super) inherits: bool,
}

impl Replica {
    /// Starts phase 1 with a ballot above all seen in this view.
    pub(super) fn become_candidate(&mut self, inherits: bool) {
        assert!(self.view.is_voter(self.node), "only a voter campaigns");
        let round = self.election.next_round(self.view.id, self.promised);
        let own = self.promised.leader == self.node && self.promised.view == self.view.id;
        let round = if mutated!(BallotUsedTwice) && own { self.promised.round } else { round };
        let ballot = Ballot { view: self.view.id, round, leader: self.node };
        self.become_follower_keeping_clients();
        self.promise(ballot);
        let promise_at = self.persist(Record::Promised(ballot));
        let promise_at = if mutated!(OwnPromiseEarly) { LogPosition(0) } else { promise_at };
        let candidate = Candidate {
            ballot,
            promise_at,
            promised: BTreeSet::new(),
            accepted: BTreeMap::new(),
            unknown: BTreeMap::new(),
            decided: self.log.decided(),
            inherits,
        };
        self.role = Role::Candidate(candidate);
        self.election.campaign_started(&self.timing, &mut self.random, self.now.monotonic_us);
        self.send_prepares();
        self.count_own_promise();
    }

    /// Asks every voter that has not promised yet.
    pub(super) fn send_prepares(&mut self) {
        let Role::Candidate(candidate) = &self.role else { return };
        let (ballot, promise_at) = (candidate.ballot, candidate.promise_at);
        let decided = self.log.decided();
        // Who lost something is asked again: it may have been repaired meanwhile.
        let unsure = |voter: &NodeId| candidate.unknown.get(voter).is_some_and(|unknown| *unknown != Slots::default());
        let asked = |voter: &NodeId| !candidate.promised.contains(voter) || unsure(voter);
        let missing = self.other_voters().into_iter().filter(asked);
        for voter in missing.collect::<Vec<_>>() {
            self.send_after(promise_at, voter, Message::Prepare { ballot, decided });
        }
    }

    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        decided: Slot,
        accepted: Vec<AcceptedValue>,
        unknown: &[(Slot, Slot)],
    ) {
        let Role::Candidate(candidate) = &mut self.role else { return };
        if candidate.ballot != ballot || !self.view.is_voter(from) {
            return;
        }
        candidate.add_promise(from, decided, accepted, unknown);
        self.catch_up_with(from, decided);
        self.lead_if_promised();
    }

    /// The log got durable: perhaps our own promise did.
    pub(super) fn count_own_promise(&mut self) {
        let Role::Candidate(candidate) = &mut self.role else { return };
        if candidate.promise_at <= self.durable && !candidate.promised.contains(&self.node) {
            let (decided, accepted, unknown) = (self.log.decided(), self.log.undecided(), self.log.unknown());
            candidate.add_promise(self.node, decided, accepted, &unknown);
            self.lead_if_promised();
        }
    }

    /// Leads once a majority promised and everything that one of them knows as decided is known here.
    pub(super) fn lead_if_promised(&mut self) {
        let Role::Candidate(candidate) = &self.role else { return };
        if candidate.decided > self.log.decided() && !mutated!(LeadsBehind) || !self.every_slot_has_a_quorum(candidate)
        {
            return;
        }
        let ballot = candidate.ballot;
        let values = self.values_to_propose(candidate);
        self.become_leader(ballot, values);
    }

    /// Whether for every undecided slot a majority promised that knows what it accepted there.
    fn every_slot_has_a_quorum(&self, candidate: &Candidate) -> bool {
        let quorum = majority(self.view.voters().count()) - usize::from(mutated!(SmallPromiseQuorum));
        let promised: Vec<NodeId> = self.view.voters().filter(|voter| candidate.promised.contains(voter)).collect();
        let unknown =
            || candidate.unknown.values().flat_map(Slots::ranges).filter(|(_, last)| *last > self.log.decided());
        // How many know a slot changes only where a range begins, or just behind one: there they are counted.
        let mut edges: Vec<Slot> = unknown().flat_map(|(first, last)| [first, last.next()]).collect();
        edges.push(self.log.decided().next());
        edges.into_iter().map(|slot| slot.max(self.log.decided().next())).all(|slot| {
            let knows = |voter: &&NodeId| !candidate.unknown.get(voter).is_some_and(|unknown| unknown.contains(slot));
            promised.iter().filter(knows).count() >= quorum
        })
    }

    /// For every slot from the first undecided to the last that a promise listed: the value of the highest ballot, or
    /// nothing where no promise listed one. It ends with an effective change of view, which seals its slot.
    fn values_to_propose(&self, candidate: &Candidate) -> Vec<Value> {
        let first = self.log.decided().next();
        let Some((&last, _)) = candidate.accepted.last_key_value().filter(|_| !mutated!(IgnoresAccepted)) else {
            return Vec::new();
        };
        let mut values = Vec::new();
        for slot in first.0..=last.0 {
            let value = candidate.accepted.get(&Slot(slot)).map_or(Value::Noop, |(_, value)| value.clone());
            let seals = self.seals(&value);
            values.push(value);
            if seals {
                break;
            }
        }
        values
    }
}

impl Candidate {
    fn add_promise(&mut self, from: NodeId, decided: Slot, accepted: Vec<AcceptedValue>, unknown: &[(Slot, Slot)]) {
        self.promised.insert(from);
        // The newest word counts: what was repaired since an earlier promise of this ballot is known now.
        let slots = self.unknown.entry(from).or_default();
        *slots = Slots::default();
        for (first, last) in unknown {
            slots.insert(*first, *last);
        }
        self.decided = self.decided.max(decided);
        for AcceptedValue { slot, ballot, value } in accepted {
            if slot.0 > decided.0.saturating_add(ACCEPT_AHEAD_MAX) {
                continue;
            }
            let known = self.accepted.entry(slot).or_insert((ballot, value.clone()));
            if known.0 < ballot && !mutated!(LowestBallotWins) || known.0 > ballot && mutated!(LowestBallotWins) {
                *known = (ballot, value);
            }
        }
    }
}
