//! Membership: joining as learner, promotion, replacement at the same address, leaving.

use std::collections::BTreeMap;

use concoord_wire::join::{JoinRefusal, JoinReply, RetryReason, Welcome};
use concoord_wire::member::{Member, Standing, View};
use concoord_wire::peer::{Heartbeat, Message};
use concoord_wire::value::{ViewChange, ViewCommand};
use concoord_wire::{Ballot, NodeId, Slot};

use super::{Replica, Role};
use crate::io::{Effect, JoinToken};
use crate::limits::{MEMBERS_MAX, PROMOTION_LAG_SLOTS_MAX};
use crate::quorum::majority;

/// View changes that somebody here waits for.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// New replicas whose entry is proposed and not decided.
    joins: BTreeMap<NodeId, JoinToken>,
    /// The operator wants this replica to stop.
    stopping: bool,
    /// This replica led the view that it left: it stops once a majority of the new view knows.
    departing: Option<Departing>,
}

#[derive(Debug)]
struct Departing {
    ballot: Ballot,
    seal: Slot,
}

/// The view after `change`; the same rules on every replica.
fn changed(view: &View, change: &ViewChange) -> View {
    let mut members = view.members.clone();
    match change {
        ViewChange::Add(member) => {
            let here = |other: &Member| other.address == member.address && other.id != member.id;
            members.retain(|_, other| !(here(other) && other.standing != Standing::Voter));
            let replaces = members.values().find(|other| here(other)).map(|other| other.id);
            let learner = Member { standing: Standing::Learner { replaces }, ..member.clone() };
            members.entry(member.id).or_insert(learner);
        }
        ViewChange::Promote(id) => {
            if let Some(member) = members.get_mut(id)
                && let Standing::Learner { replaces } = std::mem::replace(&mut member.standing, Standing::Voter)
                && let Some(replaced) = replaces
            {
                members.remove(&replaced);
            }
        }
        ViewChange::Remove(id) => {
            members.remove(id);
        }
    }
    View { id: view.id.next(), members }
}

impl Replica {
    pub(super) fn on_join(&mut self, join: JoinToken, member: Member, reached: Result<(), String>) {
        if let Some(reply) = self.propose_join(join, member, reached) {
            self.effects.push(Effect::JoinReply { join, reply });
        }
    }

    /// The answer, unless it has to wait for the entry to be decided.
    fn propose_join(&mut self, join: JoinToken, member: Member, reached: Result<(), String>) -> Option<JoinReply> {
        if !self.is_leader() {
            let leader = self.leader().and_then(|leader| self.view.members.get(&leader));
            return Some(match leader {
                Some(leader) => JoinReply::Redirect { leader: leader.address },
                None => JoinReply::Retry(RetryReason::NoLeader),
            });
        }
        if let Err(why) = reached {
            return Some(JoinReply::Refused(JoinRefusal::Unreachable { address: member.address, why }));
        }
        if self.view.members.contains_key(&member.id) {
            return Some(JoinReply::Accepted(self.welcome()));
        }
        if let Some(holder) = self.live_voter_at(&member) {
            return Some(JoinReply::Retry(RetryReason::AddressTaken { holder, address: member.address }));
        }
        if self.view.members.len() >= MEMBERS_MAX {
            return Some(JoinReply::Refused(JoinRefusal::Full { limit: MEMBERS_MAX as u32 }));
        }
        let id = member.id;
        if !self.propose_view_change(ViewChange::Add(member)) {
            return Some(JoinReply::Retry(RetryReason::Busy));
        }
        self.membership.joins.insert(id, join);
        None
    }

    fn live_voter_at(&self, joiner: &Member) -> Option<NodeId> {
        let here = self.view.members.values().find(|member| {
            member.address == joiner.address && member.standing == Standing::Voter && member.id != joiner.id
        })?;
        (here.id == self.node || self.has_round_trips(here.id)).then_some(here.id)
    }

    fn welcome(&self) -> Welcome {
        let members = self.view.members.values().map(|member| (member.id, member.address)).collect();
        Welcome { cluster: self.cluster, genesis: self.genesis.clone(), members }
    }

    /// Leadership is gone: new replicas ask again.
    pub(super) fn fail_joins(&mut self) {
        for join in std::mem::take(&mut self.membership.joins).into_values() {
            self.effects.push(Effect::JoinReply { join, reply: JoinReply::Retry(RetryReason::NoLeader) });
        }
    }

    /// A peer answered a heartbeat: if it is a learner that has caught up, it may vote from now on.
    pub(super) fn promote_if_ready(&mut self, id: NodeId) {
        let Some(Member { standing: Standing::Learner { .. }, .. }) = self.view.members.get(&id) else { return };
        let applied = self.election.applied_of(id);
        let near = applied.0.saturating_add(PROMOTION_LAG_SLOTS_MAX) >= self.log.decided().0;
        let caught_up = applied >= self.view_slot && near;
        let next = changed(&self.view, &ViewChange::Promote(id));
        if caught_up && self.would_live(&next) {
            self.propose_view_change(ViewChange::Promote(id));
        }
    }

    /// Whether a majority of `view` has round trips with this replica.
    fn would_live(&self, view: &View) -> bool {
        let live = view.voters().filter(|voter| *voter == self.node || self.has_round_trips(*voter)).count();
        live >= majority(view.voters().count())
    }

    /// A change of view is decided in `slot`; under any other view than the one it is based on, it does nothing.
    pub(super) fn on_view_decided(&mut self, slot: Slot, command: &ViewCommand) {
        if command.based_on != self.view.id {
            return;
        }
        let next = changed(&self.view, &command.change);
        let old = std::mem::replace(&mut self.view, next);
        self.view_slot = slot;
        // A promise in the new view says that the seal is known as decided: the log says so before it.
        self.persist_decided();
        self.view_at = self.appended;
        self.log.forget_undecided();
        match std::mem::replace(&mut self.role, Role::Follower) {
            Role::Leader(leader) => {
                assert_eq!(leader.seal, Some(slot), "a leader's view changes only at its own seal");
                self.leave_leadership(leader.ballot, slot, &old);
            }
            Role::Candidate(_) => {
                self.fail_clients();
                self.fail_joins();
                self.await_leader();
            }
            Role::Follower => self.await_leader(),
        }
        let known = &self.view.members;
        self.election.keep_peers(|id| known.contains_key(&id));
        if !self.view.members.contains_key(&self.node) && old.members.contains_key(&self.node) {
            self.on_removed(slot);
        }
    }

    /// Leadership ends at the seal: old and new members hear that it is decided, and phase 1 of the new view begins.
    fn leave_leadership(&mut self, ballot: Ballot, seal: Slot, old: &View) {
        self.requeue_reads();
        self.send_departure(ballot, old.members.keys().chain(self.view.members.keys()).copied().collect());
        self.answer_joins();
        if self.view.is_voter(self.node) {
            self.become_candidate(true);
        } else {
            self.membership.departing = Some(Departing { ballot, seal });
            self.fail_clients();
            self.fail_joins();
        }
    }

    /// Says as the leader of the view that ended how far it is decided.
    fn send_departure(&mut self, ballot: Ballot, to: std::collections::BTreeSet<NodeId>) {
        let heartbeat = Heartbeat { leading: Some(ballot), hears: Some(ballot), connected: true, ..self.heartbeat(0) };
        for member in to {
            if member != self.node {
                self.send(member, Message::Heartbeat(heartbeat.clone()));
            }
        }
    }

    fn answer_joins(&mut self) {
        let joins = std::mem::take(&mut self.membership.joins);
        for (id, join) in joins {
            let entered = self.view.members.contains_key(&id);
            let reply = if entered { JoinReply::Accepted(self.welcome()) } else { JoinReply::Retry(RetryReason::Busy) };
            self.effects.push(Effect::JoinReply { join, reply });
        }
    }

    fn on_removed(&mut self, slot: Slot) {
        if self.membership.stopping {
            self.continue_stopping();
        } else {
            self.stopped = true;
            let view = self.view.id;
            let reason = format!("this replica was taken out of the cluster by view {view}, decided in slot {slot}");
            self.effects.push(Effect::Removed { reason });
        }
    }

    pub(super) fn on_stop(&mut self) {
        self.membership.stopping = true;
        self.continue_stopping();
    }

    /// A member that wants to go: it is taken out of the view, since it keeps nothing on disk to come back with.
    pub(super) fn on_leave(&mut self, from: NodeId) {
        self.propose_removal(from);
    }

    /// One step nearer to stopping: leave the view, and go once those who stay know.
    pub(super) fn continue_stopping(&mut self) {
        if !self.membership.stopping || self.stopped {
            return;
        }
        if let Some(Departing { ballot, seal }) = self.membership.departing {
            return self.continue_departing(ballot, seal);
        }
        // A learner that is about to vote is waited for: it takes over what would end with this replica.
        let alone = self.view.members.keys().all(|member| *member == self.node || !self.has_round_trips(*member));
        let alone = alone && self.view.voters().all(|voter| voter == self.node);
        if alone || !self.view.members.contains_key(&self.node) {
            self.stopped = true;
            self.effects.push(Effect::Stopped);
        } else if self.is_leader() {
            self.propose_removal(self.node);
        } else if let Some(leader) = self.leader() {
            self.send(leader, Message::Leave);
        }
    }

    /// Takes a member out, unless the view without it would have no live majority.
    fn propose_removal(&mut self, id: NodeId) {
        let removal = ViewChange::Remove(id);
        if self.view.members.contains_key(&id) && self.would_live(&changed(&self.view, &removal)) {
            self.propose_view_change(removal);
        }
    }

    fn continue_departing(&mut self, ballot: Ballot, seal: Slot) {
        let told = self.view.voters().filter(|voter| self.election.decided_of(*voter) >= seal).collect::<Vec<_>>();
        if told.len() >= majority(self.view.voters().count()) {
            let successor = told.into_iter().max_by_key(|voter| self.election.decided_of(*voter));
            if let Some(successor) = successor {
                self.send(successor, Message::HandOver);
            }
            self.stopped = true;
            self.effects.push(Effect::Stopped);
        } else {
            self.send_departure(ballot, self.view.members.keys().copied().collect());
        }
    }
}
