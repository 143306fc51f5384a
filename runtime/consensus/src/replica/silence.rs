//! Members that nobody hears: marked as silent, then evicted, both by decided values. And members that offer other
//! services than before, which is marked in the same way.
//!
//! The leader judges, by its own ears, and only after it has listened for long enough itself. A mark changes no quorum,
//! so it is an ordinary slot; an eviction is a change of view.

use std::collections::BTreeMap;

use concoord_wire::member::{Member, Services, Standing};
use concoord_wire::value::{Removal, Value, ViewChange};
use concoord_wire::{NodeId, Slot, ViewId};

use super::views::changed;
use super::{Replica, Role};

/// Fewer voters than this are not left by an eviction.
const VOTERS_AFTER_EVICTION_MIN: usize = 3;

/// What is told of a member: whether it is silent, and what it offers.
pub(super) type Told = (bool, Services);
/// Marks that this leader has proposed and not seen decided.
pub(super) type Marks = BTreeMap<NodeId, Told>;

impl Replica {
    /// Leader: marks who is unheard or heard again, and evicts who was silent for too long.
    pub(super) fn judge_silence(&mut self) {
        if !self.is_leader() || self.disk_full {
            return;
        }
        let members: Vec<NodeId> = self.view.members.keys().copied().collect();
        for member in members {
            let unheard_us = if member == self.node { 0 } else { self.unheard_us(member) };
            let silent = unheard_us >= self.timing.silent_us;
            let known = &self.view.members[&member];
            let told = (silent, self.offered(known));
            if told != (known.silent, known.services) && self.membership.marks.get(&member) != Some(&told) {
                self.mark(member, told);
            }
            let overdue = self.timing.evict_us.is_some_and(|evict_us| unheard_us >= evict_us);
            if overdue && self.view.members[&member].silent {
                self.evict_if_safe(member);
            }
        }
    }

    /// For how long this replica has listened to a member and heard nothing.
    fn unheard_us(&self, member: NodeId) -> u64 {
        let since = self.election.heard_at(member).unwrap_or(0).max(self.listens_since_us);
        // A learner speaks only when it is spoken to, and who does not lead may not be known to it.
        let since = since.max(self.election.led_since_us());
        self.now.monotonic_us.saturating_sub(since)
    }

    /// What a member has said that it offers. Whether it is a witness is decided with its entry and never changes.
    fn offered(&self, member: &Member) -> Services {
        let said = if member.id == self.node { Some(self.member.services) } else { self.election.offered(member.id) };
        said.filter(|said| said.contains(Services::WITNESS) == member.is_witness()).unwrap_or(member.services)
    }

    fn mark(&mut self, member: NodeId, told: Told) {
        let Role::Leader(leader) = &self.role else { return };
        if leader.seal.is_some() {
            return;
        }
        self.membership.marks.insert(member, told);
        let (silent, services) = told;
        self.propose(Value::Mark { view: self.view.id, member, silent, services });
    }

    /// An eviction by itself never leaves fewer than three voters, nor a view without a live majority.
    fn evict_if_safe(&mut self, member: NodeId) {
        let change = ViewChange::Remove { member, why: Removal::Evicted };
        let next = changed(&self.view, &change);
        let votes = self.view.is_voter(member);
        let enough = !votes || next.voters().count() >= VOTERS_AFTER_EVICTION_MIN;
        if enough && self.would_live(&self.view) && self.would_live(&next) && self.minorities_hold(&next) {
            self.propose_view_change(change);
        }
    }

    /// A mark is decided; under another view than the one it was made for, it does nothing.
    pub(super) fn on_mark_decided(
        &mut self,
        slot: Slot,
        view: ViewId,
        member: NodeId,
        silent: bool,
        services: Services,
    ) {
        self.membership.marks.remove(&member);
        if view == self.view.id
            && let Some(member) = self.view.members.get_mut(&member)
        {
            (member.silent, member.services) = (silent, services);
            self.mark_slot = slot;
        }
    }

    /// Whether witnesses and, in a durable cluster, volatile voters are minorities of the view.
    pub(super) fn minorities_hold(&self, view: &concoord_wire::member::View) -> bool {
        let voters = view.members.values().filter(|member| member.standing == Standing::Voter);
        let (mut count, mut witnesses, mut volatile) = (0, 0, 0);
        for voter in voters {
            count += 1;
            witnesses += usize::from(voter.is_witness());
            volatile += usize::from(voter.volatile);
        }
        2 * witnesses < count && (view.volatile || 2 * volatile < count)
    }

    /// Why a new member could never vote here, if that is so: its kind must stay a minority of the voters.
    pub(super) fn minority_in_the_way(&self, member: &Member) -> Option<&'static str> {
        let mut next = self.view.clone();
        next.members.insert(member.id, Member { standing: Standing::Voter, ..member.clone() });
        if self.minorities_hold(&next) {
            return None;
        }
        Some(if member.is_witness() { "witness" } else { "volatile" })
    }
}
