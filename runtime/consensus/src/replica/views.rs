//! Membership: joining as learner, promotion, replacement at the same address, and what an operator wants.

use std::collections::BTreeMap;

use concoord_wire::client::{Action, AdministerError, Response};
use concoord_wire::join::{JoinRefusal, JoinReply, RetryReason, Welcome};
use concoord_wire::member::{Member, Standing, View};
use concoord_wire::peer::{Heartbeat, Message};
use concoord_wire::value::{Removal, ViewChange, ViewCommand};
use concoord_wire::{Ballot, NodeId, Slot};

use super::silence::Marks;
use super::stopping::Departing;
use super::{Replica, Role};
use crate::io::{ClientToken, Effect, JoinToken};
use crate::limits::{EXPELLED_MAX, MEMBERS_MAX, PROMOTION_LAG_SLOTS_MAX};
use crate::mutated;
use crate::quorum::majority;

/// View changes that somebody here waits for.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// New replicas whose entry is proposed and not decided.
    joins: BTreeMap<NodeId, JoinToken>,
    /// Operators whose removal is proposed and not decided.
    removals: Vec<Removing>,
    pub(super) marks: Marks,
    /// When a replica outside the view asked to be taken in last.
    returned_us: u64,
}

#[derive(Debug)]
struct Removing {
    member: NodeId,
    client: ClientToken,
    request: u64,
}

/// The view after `change`; the same rules on every replica.
pub(super) fn changed(view: &View, change: &ViewChange) -> View {
    let mut next = View { id: view.id.next(), ..view.clone() };
    let members = &mut next.members;
    match change {
        ViewChange::Add(member) => {
            let here = |other: &Member| other.address == member.address && other.id != member.id;
            members.retain(|_, other| !(here(other) && other.standing != Standing::Voter));
            let replaces = members.values().find(|other| here(other)).map(|other| other.id);
            let learner = Member { standing: Standing::Learner { replaces }, silent: false, ..member.clone() };
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
        ViewChange::Remove { member, why } => {
            members.remove(member);
            if *why == Removal::Expelled {
                next.expelled.insert(*member);
                while next.expelled.len() > EXPELLED_MAX {
                    next.expelled.pop_first();
                }
            }
        }
    }
    next
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
        if self.view.expelled.contains(&member.id) {
            return Some(JoinReply::Refused(JoinRefusal::Expelled { member: member.id }));
        }
        if let Some(refusal) = self.version_in_the_way(&member) {
            return Some(JoinReply::Refused(refusal));
        }
        if let Some(kind) = self.minority_in_the_way(&member) {
            return Some(JoinReply::Refused(JoinRefusal::Minority { kind: kind.into() }));
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
        self.fail_removals();
    }

    /// A peer answered a heartbeat: if it is a learner that has caught up, it may vote from now on.
    pub(super) fn promote_if_ready(&mut self, id: NodeId) {
        let Some(Member { standing: Standing::Learner { .. }, .. }) = self.view.members.get(&id) else { return };
        let applied = self.election.applied_of(id);
        let near = applied.0.saturating_add(PROMOTION_LAG_SLOTS_MAX) >= self.log.decided().0;
        let caught_up = applied >= self.view_slot && near;
        let next = changed(&self.view, &ViewChange::Promote(id));
        if caught_up && !self.is_full(id) && self.would_live(&next) && self.minorities_hold(&next) {
            self.propose_view_change(ViewChange::Promote(id));
        }
    }

    /// Whether a majority of `view` has round trips with this replica, and room on its disks.
    pub(super) fn would_live(&self, view: &View) -> bool {
        let is_live = |voter| voter == self.node || self.has_round_trips(voter) && !self.is_full(voter);
        let live = view.voters().filter(|voter| is_live(*voter)).count();
        live >= majority(view.voters().count())
    }

    /// Whether the view without `member` has a live majority, and its witnesses and volatile voters stay minorities.
    pub(super) fn removal_is_safe(&self, member: NodeId) -> bool {
        let next = changed(&self.view, &ViewChange::Remove { member, why: Removal::Left });
        self.view.members.contains_key(&member)
            && next.voters().next().is_some()
            && self.would_live(&next)
            && (self.minorities_hold(&next) || !self.minorities_hold(&self.view))
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
        self.enter_view(&old, slot);
    }

    /// The view is another one than `old`, as of `slot`.
    pub(super) fn enter_view(&mut self, old: &View, slot: Slot) {
        self.log.forget_views_before(self.view.id);
        self.membership.marks.clear();
        match std::mem::replace(&mut self.role, Role::Follower) {
            Role::Leader(leader) => {
                assert_eq!(leader.seal, Some(slot), "a leader's view changes only at its own seal");
                self.leave_leadership(leader.ballot, slot, old);
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
        self.answer_removals();
        if self.view.is_voter(self.node) {
            self.become_candidate(true);
            if mutated!(LeadsAfterSeal) {
                self.become_leader(self.promised, Vec::new());
            }
        } else {
            self.stopping.departing = Some(Departing { ballot, seal });
            self.fail_clients();
            self.fail_joins();
        }
    }

    /// Says as the leader of the view that ended how far it is decided.
    pub(super) fn send_departure(&mut self, ballot: Ballot, to: std::collections::BTreeSet<NodeId>) {
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

    fn answer_removals(&mut self) {
        for Removing { member, client, request } in std::mem::take(&mut self.membership.removals) {
            let gone = !self.view.members.contains_key(&member);
            let result = if gone { Ok(self.view.id) } else { Err(AdministerError::UnderWay) };
            self.reply(client, Response::Administered { request, result });
        }
    }

    /// This replica is not a member any more.
    fn on_removed(&mut self, slot: Slot) {
        let view = self.view.id;
        if self.view.expelled.contains(&self.node) {
            self.stopped = true;
            let reason = format!("an operator took it out by view {view}, decided in slot {slot}");
            self.effects.push(Effect::Removed { reason });
        } else if self.stopping.wanted {
            // It goes when those who stay would know of its departure also after a crash of their own.
            let ballot = self.promised;
            self.stopping.departing.get_or_insert(Departing { ballot, seal: slot });
            self.continue_stopping();
        } else if self.policy.volatile {
            self.stopped = true;
            let reason = format!("it was silent for too long and keeps nothing on disk; view {view}, slot {slot}");
            self.effects.push(Effect::Removed { reason });
        }
    }

    /// A replica outside the view that it knows, evicted or back after it left, asks one member after another to be taken
    /// in again under its id.
    pub(super) fn ask_to_return(&mut self) {
        let now_us = self.now.monotonic_us;
        let outside = !self.view.members.contains_key(&self.node) && !self.stopping.wanted;
        let waiting = now_us < self.membership.returned_us + self.timing.resend_us;
        let refused = self.view.expelled.contains(&self.node);
        // Who has no disk never comes back under its id.
        if outside && !waiting && !refused && !self.policy.volatile {
            self.membership.returned_us = now_us;
            let members: Vec<NodeId> = self.view.members.keys().copied().collect();
            for to in members {
                let member = self.member.clone();
                self.send(to, Message::Return { member });
            }
        }
    }

    /// A former member asks to be taken in again. Should it not be reached, it stays a learner until it is evicted.
    pub(super) fn on_return(&mut self, from: NodeId, member: Member) {
        let known = self.view.members.contains_key(&from);
        if member.id != from || known || !self.is_leader() || self.stopping.wanted {
            return;
        }
        let refused = self.view.expelled.contains(&from)
            || self.minority_in_the_way(&member).is_some()
            || self.version_in_the_way(&member).is_some()
            || self.live_voter_at(&member).is_some()
            || self.view.members.len() >= MEMBERS_MAX;
        if !refused {
            self.propose_view_change(ViewChange::Add(member));
        }
    }

    /// What an operator wants of the membership.
    pub(super) fn on_administer(&mut self, client: ClientToken, request: u64, action: Action) {
        let result = match action {
            Action::Leave => {
                self.on_stop(true);
                Err(None)
            }
            Action::Remove(member) => self.propose_removal(member, Removal::Expelled).map_err(Some),
            Action::Evict(member) => self.propose_removal(member, Removal::Evicted).map_err(Some),
        };
        match result {
            Ok(member) => self.membership.removals.push(Removing { member, client, request }),
            Err(Some(error)) => self.reply(client, Response::Administered { request, result: Err(error) }),
            Err(None) => self.reply(client, Response::Administered { request, result: Ok(self.view.id) }),
        }
    }

    fn propose_removal(&mut self, member: NodeId, why: Removal) -> Result<NodeId, AdministerError> {
        if !self.is_leader() {
            let leader = self.leader().and_then(|leader| Some(self.view.members.get(&leader)?.address));
            return Err(AdministerError::NotLeader { leader });
        }
        if !self.view.members.contains_key(&member) {
            return Err(AdministerError::NoMember { member, view: self.view.id });
        }
        if !self.removal_is_safe(member) {
            let next = changed(&self.view, &ViewChange::Remove { member, why });
            let live = next.voters().filter(|voter| *voter == self.node || self.has_round_trips(*voter)).count();
            let (voters, live) = (next.voters().count() as u32, live as u32);
            return Err(AdministerError::NoMajority { member, voters, live });
        }
        if !self.propose_view_change(ViewChange::Remove { member, why }) {
            return Err(AdministerError::UnderWay);
        }
        Ok(member)
    }

    /// Leadership is gone: whether the removals were decided, the view will tell.
    pub(super) fn fail_removals(&mut self) {
        for Removing { client, request, .. } in std::mem::take(&mut self.membership.removals) {
            self.reply(client, Response::Administered { request, result: Err(AdministerError::Unknown) });
        }
    }
}
