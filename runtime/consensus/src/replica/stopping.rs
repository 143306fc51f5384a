//! Clean stops: leadership is handed over, and a replica that the others could not do without leaves the view first.

use concoord_wire::peer::Message;
use concoord_wire::value::{Removal, ViewChange};
use concoord_wire::{Ballot, NodeId, Slot};

use super::{Replica, Role};
use crate::io::Effect;
use crate::quorum::majority;

/// How far a stop has come.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// The operator wants this replica to stop.
    pub(super) wanted: bool,
    /// It leaves the view before.
    leaves: bool,
    /// This replica led the view that it left: it stops once a majority of the new view knows.
    pub(super) departing: Option<Departing>,
    /// Whom leadership was handed to last.
    successor: Option<NodeId>,
}

/// A leader that took itself out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departing {
    pub(super) ballot: Ballot,
    pub(super) seal: Slot,
}

impl Replica {
    pub(super) fn on_stop(&mut self, leave: bool) {
        self.stopping.wanted = true;
        self.stopping.leaves |= leave || self.policy.leave_on_stop || self.policy.volatile || !self.others_suffice();
        self.continue_stopping();
    }

    /// Whether the view as it is has a live majority without this replica.
    fn others_suffice(&self) -> bool {
        let live = self.other_voters().into_iter().filter(|voter| self.has_round_trips(*voter)).count();
        // A follower has round trips only with whom it hears; a leader that it hears counts for its majority.
        live >= majority(self.view.voters().count())
    }

    /// A member that wants to go is taken out of the view.
    pub(super) fn on_leave(&mut self, from: NodeId) {
        self.propose_departure(from);
    }

    /// One step nearer to stopping.
    pub(super) fn continue_stopping(&mut self) {
        if !self.stopping.wanted || self.stopped {
            return;
        }
        if let Some(Departing { ballot, seal }) = self.stopping.departing {
            return self.continue_departing(ballot, seal);
        }
        // A learner that is about to vote is waited for: it takes over what would end with this replica.
        let alone = self.view.members.keys().all(|member| *member == self.node || !self.has_round_trips(*member));
        let alone = alone && self.view.voters().all(|voter| voter == self.node);
        let counts = self.view.is_voter(self.node);
        if alone || !self.view.members.contains_key(&self.node) || !self.stopping.leaves && !counts {
            self.end_stopped();
        } else if !self.stopping.leaves {
            self.hand_over_or_stop();
        } else if self.is_leader() {
            self.propose_departure(self.node);
        } else if let Some(leader) = self.leader() {
            self.send(leader, Message::Leave);
        }
    }

    /// The others go on without this replica, as soon as one of them leads.
    fn hand_over_or_stop(&mut self) {
        if !self.is_leader() {
            return self.end_stopped();
        }
        self.hand_over();
    }

    /// Asks the member that is nearest to this leader to lead; another one each time.
    pub(super) fn hand_over(&mut self) {
        let last = self.stopping.successor;
        let may = |voter: &NodeId| {
            *voter != self.node
                && !self.view.members[voter].is_witness()
                && self.has_round_trips(*voter)
                && self.checks.differs(*voter).is_none()
        };
        let nearest = |voter: &NodeId| (Some(*voter) != last, self.election.decided_of(*voter));
        if let Some(successor) = self.view.voters().filter(may).max_by_key(nearest) {
            self.stopping.successor = Some(successor);
            self.send(successor, Message::HandOver);
        }
    }

    fn end_stopped(&mut self) {
        self.stopped = true;
        self.effects.push(Effect::Stopped);
    }

    /// Takes a member out that stops, unless the view without it would have no live majority.
    fn propose_departure(&mut self, member: NodeId) {
        let change = ViewChange::Remove { member, why: Removal::Left };
        if self.removal_is_safe(member) {
            self.propose_view_change(change);
        }
    }

    /// The leader took itself out: it goes when those who stay know that.
    fn continue_departing(&mut self, ballot: Ballot, seal: Slot) {
        let told = self.view.voters().filter(|voter| self.election.known_of(*voter) >= seal).collect::<Vec<_>>();
        if told.len() >= majority(self.view.voters().count()) {
            let may_lead = told.into_iter().filter(|voter| !self.view.members[voter].is_witness());
            if let Some(successor) = may_lead.max_by_key(|voter| self.election.decided_of(*voter)) {
                self.send(successor, Message::HandOver);
            }
            self.end_stopped();
        } else {
            self.send_departure(ballot, self.view.members.keys().copied().collect());
        }
    }

    /// The disk has only its reserve left, or room again.
    pub(super) fn on_disk_full(&mut self, full: bool) {
        self.disk_full = full;
        if full && matches!(self.role, Role::Leader(_)) {
            self.hand_over();
        }
    }
}
