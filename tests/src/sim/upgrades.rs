//! Builds of different versions side by side: whoever is started again may be of a newer build, and a joiner of any.
//!
//! No build of this repository applies more than one version yet, so the versions here mean the same. What is tested is who
//! may go on to which, and when: a leader proposes a version only when all members of its view apply it that run objects, and nobody executes
//! anything in a version that its build lacks.

use concoord::wire::NodeId;
use concoord::wire::peer::Message;
use concoord::wire::value::{Batch, Command, Value};
use concoord::wire::version::{ClusterVersion, Versions};
use concoord::wire::{Slot, codec};

use super::coverage::Kind;
use super::random::Chance;
use super::world::World;

/// The version of the newest build.
const NEWEST: u16 = 3;

/// A build that applies versions up to this one.
fn build(last: u16) -> Versions {
    Versions { first: ClusterVersion::FIRST, last: ClusterVersion(last) }
}

/// Any build.
pub(super) fn any_build(chance: &mut Chance) -> Versions {
    build(u16::try_from(chance.between(1, u64::from(NEWEST))).expect("a small number"))
}

impl World {
    /// A node is started again: mostly, its operator has put in a build that is newer by one.
    pub(super) fn upgrade(&mut self, id: NodeId) {
        let newer = self.chance.percent(70);
        let supports = &mut self.nodes.get_mut(&id).expect("a known node").member.supports;
        if newer && supports.last.0 < NEWEST {
            supports.last.0 += 1;
            self.faults.coverage.count(Kind::Upgrade);
        }
    }

    /// A node does not apply what is decided, and has said so: it gets the newest build.
    pub(super) fn replace_build(&mut self, id: NodeId, why: &str) {
        self.say(|| format!("{id:?} is too old: {why}"));
        self.faults.coverage.count(Kind::TooOld);
        self.faults.coverage.count(Kind::Upgrade);
        self.nodes.get_mut(&id).expect("a known node").member.supports = build(NEWEST);
    }

    /// A node has applied a slot: in a version of its build.
    pub(super) fn check_version(&mut self, id: NodeId, slot: Slot) {
        let node = &self.nodes[&id];
        let version = node.process.as_ref().expect("it runs").application.version();
        let supports = node.member.supports;
        if !supports.contains(version) {
            self.note_violation(format!("{id:?} applies slot {slot} in version {version}, and its build {supports}"));
        }
        if version > self.newest_version {
            self.newest_version = version;
            self.faults.coverage.count(Kind::Version);
            self.say(|| format!("version {version} from slot {slot} on"));
        }
    }

    /// A node proposes a value. A new version is proposed first by one that knows that all members of its view apply it; whoever
    /// leads next proposes it again, in a view that may have others.
    pub(super) fn check_proposal(&mut self, from: NodeId, message: &Message) {
        let Message::Accept { slot, value: Value::Batch(batch), .. } = message else { return };
        if self.proposals_seen.contains(slot) {
            return;
        }
        self.proposals_seen.insert(*slot);
        let batch: Batch = codec::from_bytes(batch).expect("what is proposed is a batch");
        let versions = batch.commands.iter().filter_map(|command| match command {
            Command::Version(version) => Some(*version),
            _ => None,
        });
        for version in versions {
            let view = self.nodes[&from].process.as_ref().map(|process| process.replica.view().clone());
            let members = view.into_iter().flat_map(|view| view.members.into_values());
            let runs_objects = members.filter(|member| !member.is_witness()).map(|member| member.id);
            let lacks: Vec<NodeId> =
                runs_objects.filter(|id| !self.nodes[id].member.supports.contains(version)).collect();
            if !lacks.is_empty() {
                self.note_violation(format!("{from:?} proposes version {version}, which {lacks:?} do not apply"));
            }
        }
    }
}
