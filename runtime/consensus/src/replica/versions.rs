//! When the cluster goes on to the next version of applying: once every member of the view that runs objects has said that it
//! applies that one, and none of them is in doubt. A witness applies nothing, so its build may be any.
//!
//! The leader proposes it as a command in a batch, so the slot of the change is the same for all. A member that was started
//! again with an older build between its word and the change stops at that slot, and so does a joiner of which a leader did
//! not know that the change was on its way; neither executes anything.

use concoord_wire::join::JoinRefusal;
use concoord_wire::member::Member;
use concoord_wire::value::Command;
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{Ballot, NodeId};

use super::{ByNode, Replica, Role};
use crate::mutated;

/// What is known of versions.
#[derive(Debug)]
pub(super) struct Known {
    /// What the application has come to.
    version: ClusterVersion,
    /// What each peer last said that it applies, since this replica was started.
    supported: ByNode<Versions>,
    /// What this replica proposed, and in which ballot.
    proposed: Option<(Ballot, ClusterVersion)>,
}

impl Known {
    pub(super) fn new(version: ClusterVersion) -> Known {
        Known { version, supported: ByNode::new(), proposed: None }
    }

    pub(super) fn note_version(&mut self, version: ClusterVersion) {
        self.version = version;
    }

    pub(super) fn note_supported(&mut self, id: NodeId, supports: Versions) {
        self.supported.insert(id, supports);
    }
}

impl Replica {
    /// The version that is applied here; `None` on a witness.
    pub(super) fn version(&self) -> Option<ClusterVersion> {
        (!self.policy.witness).then_some(self.versions.version)
    }

    /// What a member last said that it applies.
    pub(super) fn supported(&self, id: NodeId) -> Option<Versions> {
        if id == self.node { Some(self.member.supports) } else { self.versions.supported.get(&id).copied() }
    }

    /// Leader: proposes the next version if all members apply it that run objects.
    pub(super) fn raise_version(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let (ballot, members) = (leader.ballot, &self.view.members);
        self.versions.supported.retain(|id, _| members.contains_key(id));
        let Some(next) = self.versions.version.next() else { return };
        if self.versions.proposed == Some((ballot, next)) || leader.seal.is_some() {
            return;
        }
        let applies = |id: NodeId| {
            let heard = id == self.node || self.has_round_trips(id);
            heard && self.supported(id).is_some_and(|supports| supports.contains(next))
        };
        let mut members = self.view.members.values().filter(|member| !member.is_witness());
        let all = members.all(|member| applies(member.id));
        if all || mutated!(VersionOfLeader) && applies(self.node) {
            self.versions.proposed = Some((ballot, next));
            self.clients.push(Command::Version(next));
        }
    }

    /// Why a new member could not apply what is decided here, or about to be, if so.
    pub(super) fn version_in_the_way(&self, member: &Member) -> Option<JoinRefusal> {
        let Role::Leader(leader) = &self.role else { return None };
        if member.is_witness() {
            return None;
        }
        let under_way = self.versions.proposed.filter(|(ballot, _)| *ballot == leader.ballot);
        let proposed = under_way.map(|(_, version)| version);
        let mut needed = [Some(self.versions.version), proposed].into_iter().flatten();
        let lacked = needed.find(|version| !member.supports.contains(*version))?;
        Some(JoinRefusal::Version { cluster: lacked, supports: member.supports })
    }
}
