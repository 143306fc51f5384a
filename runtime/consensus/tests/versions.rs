//! When a cluster goes on to the next version of applying, and who is refused for it.

use std::collections::BTreeMap;

use concoord_consensus::io::{Applied, Effect, Input, JoinToken, Time};
use concoord_consensus::{Config, Policy, Replica, Timing};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::join::{JoinRefusal, JoinReply};
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::peer::Message;
use concoord_wire::value::{Batch, Command};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{ClusterId, NodeId, Timestamp, codec};

const TICK_MS: u64 = 25;

fn up_to(last: u16) -> Versions {
    Versions { first: ClusterVersion::FIRST, last: ClusterVersion(last) }
}

fn member(id: u64, supports: Versions) -> Member {
    Member {
        id: NodeId(id),
        address: ([127, 0, 0, 1], 14_000 + u16::try_from(id).expect("small ids")).into(),
        services: Services::default(),
        volatile: true,
        standing: Standing::Voter,
        silent: false,
        supports,
    }
}

/// Voters whose messages arrive at once, and the version that each has come to.
struct Cluster {
    now_ms: u64,
    replicas: BTreeMap<NodeId, (Replica, ClusterVersion)>,
    /// What joiners were told.
    told: Vec<JoinReply>,
}

impl Cluster {
    /// A voter for each: the versions that it applies, and whether it runs.
    fn new(voters: &[(Versions, bool)]) -> Cluster {
        let members: Vec<Member> = (1..).zip(voters).map(|(id, (supports, _))| member(id, *supports)).collect();
        let running = members.iter().zip(voters).filter(|(_, (_, runs))| *runs).map(|(member, _)| member);
        let start = |own: &Member| {
            let config = Config {
                node: own.id,
                base: Checkpoint::genesis(ClusterId(1), View::first(members.clone())),
                version: ClusterVersion::FIRST,
                member: own.clone(),
                contacts: vec![],
                timing: Timing::default(),
                policy: Policy { volatile: true, ..Policy::default() },
                seed: own.id.0,
            };
            (own.id, (Replica::new(config, Time::default()), ClusterVersion::FIRST))
        };
        Cluster { now_ms: 0, replicas: running.map(start).collect(), told: Vec::new() }
    }

    fn step(&mut self, id: NodeId, input: Input) {
        let now = Time { monotonic_us: self.now_ms * 1000, wall_us: self.now_ms * 1000 };
        let Some((replica, version)) = self.replicas.get_mut(&id) else { return };
        let mut effects = Vec::new();
        replica.step(now, input, &mut effects);
        replica.step(now, Input::Flush, &mut effects);
        let mut sent: Vec<(NodeId, Message)> = Vec::new();
        let mut inputs = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { to, message, .. } => sent.push((to, message)),
                Effect::Persist { position, .. } => inputs.push(Input::Durable { position }),
                Effect::Apply { slot, batch, .. } => {
                    let batch: Batch = codec::from_bytes(&batch).expect("a batch");
                    for command in batch.commands {
                        let Command::Version(decided) = command else { panic!("nobody asked for {command:?}") };
                        *version = decided;
                    }
                    let (stamp, version) = (Timestamp(0), *version);
                    inputs.push(Input::Applied(Applied {
                        slot,
                        stamp,
                        replies: vec![],
                        notices: vec![],
                        watched: Vec::new(),
                        check: None,
                        version,
                        due: None,
                    }));
                }
                Effect::JoinReply { reply, .. } => self.told.push(reply),
                _ => {}
            }
        }
        inputs.into_iter().for_each(|input| self.step(id, input));
        for (to, message) in sent {
            self.step(to, Input::Peer { from: id, message });
        }
    }

    /// A second and what comes of it: the version of each that runs.
    fn run(&mut self) -> Vec<u16> {
        let until_ms = self.now_ms + 1_000;
        while self.now_ms < until_ms {
            self.now_ms += TICK_MS;
            let ids: Vec<NodeId> = self.replicas.keys().copied().collect();
            ids.into_iter().for_each(|id| self.step(id, Input::Tick));
        }
        self.replicas.values().map(|(_, version)| version.0).collect()
    }

    fn leader(&self) -> NodeId {
        let leader = self.replicas.iter().find(|(_, (replica, _))| replica.is_leader());
        *leader.expect("somebody leads after a second").0
    }

    /// What a joiner is told that applies these versions.
    fn join(&mut self, supports: Versions) -> Option<JoinReply> {
        let join = Input::Join { join: JoinToken(1), member: member(9, supports), reached: Ok(()) };
        self.step(self.leader(), join);
        self.told.pop()
    }
}

#[test]
fn a_version_is_decided_when_all_members_apply_it_and_the_next_after_it() {
    assert_eq!(Cluster::new(&[(up_to(3), true), (up_to(2), true), (up_to(4), true)]).run(), [2, 2, 2]);
    assert_eq!(Cluster::new(&[(up_to(3), true), (up_to(3), true), (up_to(3), true)]).run(), [3, 3, 3]);
    assert_eq!(Cluster::new(&[(up_to(2), true)]).run(), [2], "alone");
}

#[test]
fn one_member_that_lacks_it_or_is_not_heard_holds_it_up() {
    assert_eq!(Cluster::new(&[(up_to(2), true), (up_to(2), true), (up_to(1), true)]).run(), [1, 1, 1]);
    assert_eq!(Cluster::new(&[(up_to(2), true), (up_to(2), true), (up_to(2), false)]).run(), [1, 1]);
}

#[test]
fn a_joiner_that_lacks_the_decided_version_is_refused_and_told_why() {
    let mut cluster = Cluster::new(&[(up_to(2), true), (up_to(2), true), (up_to(2), true)]);
    assert_eq!(cluster.run(), [2, 2, 2]);
    let refused = JoinRefusal::Version { cluster: ClusterVersion(2), supports: up_to(1) };
    assert_eq!(refused.to_string(), "the cluster runs version 2, and your build applies 1 only: upgrade it");
    assert_eq!(cluster.join(up_to(1)), Some(JoinReply::Refused(refused)));
    assert!(matches!(cluster.join(up_to(2)), Some(JoinReply::Accepted(_))));
}

#[test]
fn what_members_apply_is_shown() {
    let mut cluster = Cluster::new(&[(up_to(2), true), (up_to(3), true), (up_to(2), false)]);
    cluster.run();
    let roster = cluster.replicas[&cluster.leader()].0.roster();
    let shown: Vec<_> = roster.members.iter().map(|member| member.supports).collect();
    assert_eq!((roster.version, shown), (Some(ClusterVersion(1)), vec![Some(up_to(2)), Some(up_to(3)), None]));
}
