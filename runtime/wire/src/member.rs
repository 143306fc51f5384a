//! Who replicates: members, views, and the roster that tells the world about them.

use core::fmt;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::version::{ClusterVersion, Versions};
use crate::{ClusterId, NodeId, Slot, ViewId};

/// What a member offers beside replicating; a set of flags with room to grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Services(pub u32);

impl Services {
    /// Answers DNS queries for the cluster's domain.
    pub const DNS: Services = Services(1);
    /// Votes and stores, but runs no objects.
    pub const WITNESS: Services = Services(2);
    /// Can publish the members to Route 53.
    pub const ROUTE53: Services = Services(4);

    /// Whether all of `other` is offered.
    #[must_use]
    pub fn contains(self, other: Services) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub fn with(self, other: Services) -> Services {
        Services(self.0 | other.0)
    }
}

/// A replica of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Identity.
    pub id: NodeId,
    /// Where peers and clients reach it.
    pub address: SocketAddr,
    /// What else it offers.
    pub services: Services,
    /// Keeps nothing on disk, so a restart is a new identity.
    pub volatile: bool,
    /// Whether it votes yet.
    pub standing: Standing,
    /// Decided: nobody heard it lately, so discovery leaves it out. Quorums count it all the same.
    pub silent: bool,
    /// The versions that it applied when it asked to be taken in. What it applies now, it says in its answers to heartbeats.
    pub supports: Versions,
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Counts in quorums.
    Voter,
    /// Catches up and does not count yet.
    Learner {
        /// The member at the same address that leaves the view when this one is promoted.
        replaces: Option<NodeId>,
    },
}

/// A membership. Changed only by a decided [`crate::value::ViewCommand`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its number.
    pub id: ViewId,
    /// All members by id.
    pub members: BTreeMap<NodeId, Member>,
    /// The cluster was made to keep nothing on disk; else volatile voters stay a minority.
    pub volatile: bool,
    /// Whom an operator took out for good, the lowest ids first forgotten: they are not taken back.
    pub expelled: BTreeSet<NodeId>,
}

impl View {
    /// A first view of these members.
    #[must_use]
    pub fn first(members: impl IntoIterator<Item = Member>) -> View {
        let members = members.into_iter().map(|member| (member.id, member)).collect::<BTreeMap<_, _>>();
        let volatile = members.values().all(|member| member.volatile);
        View { id: ViewId(1), members, volatile, expelled: BTreeSet::new() }
    }

    /// The ids that vote, in order.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.values().filter(|member| member.standing == Standing::Voter).map(|member| member.id)
    }

    /// Whether `id` votes in this view.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.members.get(&id).is_some_and(|member| member.standing == Standing::Voter)
    }

    /// The member at `address`, if there is one. A learner that is to replace a voter comes before that voter.
    #[must_use]
    pub fn at_address(&self, address: SocketAddr) -> Option<&Member> {
        let mut here = self.members.values().filter(|member| member.address == address).collect::<Vec<_>>();
        here.sort_by_key(|member| member.standing == Standing::Voter);
        here.into_iter().next()
    }
}

/// How a member takes part, in the words of `concoord view`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Votes and runs objects.
    Replica,
    /// Catches up before it votes.
    Learner,
    /// Votes and runs no objects.
    Witness,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Replica => "replica",
            Role::Learner => "learner",
            Role::Witness => "witness",
        })
    }
}

impl Member {
    /// Whether it stores and runs no objects.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.services.contains(Services::WITNESS)
    }

    /// How it takes part.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.standing {
            Standing::Learner { .. } => Role::Learner,
            Standing::Voter if self.is_witness() => Role::Witness,
            Standing::Voter => Role::Replica,
        }
    }
}

/// The newest membership as one replica knows it, for people, clients and view plugins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The cluster.
    pub cluster: ClusterId,
    /// The view.
    pub view: ViewId,
    /// Who leads, where that is known.
    pub leader: Option<NodeId>,
    /// Everybody in the view, by id.
    pub members: Vec<RosterMember>,
    /// Slot of the last change of view, leader or silence.
    pub revision: Slot,
    /// Highest slot that the answering replica knows as decided.
    pub decided: Slot,
    /// Who says so.
    pub reporter: NodeId,
    /// The version that the reporter applies; `None` from a witness, which applies nothing.
    pub version: Option<ClusterVersion>,
    /// How the reporter's view plugins are doing: whoever tells the outside of the members.
    pub plugins: Vec<PluginState>,
}

/// How a view plugin is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginState {
    /// What it is called.
    pub name: String,
    /// Revision of the roster that it published last.
    pub published: Option<Slot>,
    /// Who publishes for all that have the plugin, where it is not the reporter.
    pub left_to: Option<NodeId>,
    /// Why it could not publish since then, if so, in one line.
    pub failure: Option<String>,
}

/// A member as a roster shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterMember {
    /// Identity.
    pub id: NodeId,
    /// Where it is reached.
    pub address: SocketAddr,
    /// How it takes part.
    pub role: Role,
    /// What else it offers.
    pub services: Services,
    /// Whether the reporting replica has heard it lately.
    pub live: bool,
    /// Decided: it was unheard for so long that discovery leaves it out.
    pub silent: bool,
    /// Whether it keeps nothing on disk: a restart is a new identity.
    pub volatile: bool,
    /// Whether it told the reporting replica that its disk is full: it accepts nothing until there is room.
    pub full: bool,
    /// The slot at which its applied state was found to differ from that of a majority: it does not lead or serve until it
    /// has fetched that state anew.
    pub differs: Option<Slot>,
    /// The versions that it said it applies; `None` while the reporting replica has not heard.
    pub supports: Option<Versions>,
}
