//! A learner to whom nobody speaks.

use std::collections::BTreeSet;

use concoord_consensus::io::{Effect, Input, Time};
use concoord_consensus::{Config, Policy, Replica, Timing};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::peer::Message;
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{ClusterId, NodeId};

fn member(id: u64, standing: Standing) -> Member {
    Member {
        id: NodeId(id),
        address: ([127, 0, 0, 1], 14_000 + u16::try_from(id).expect("small ids")).into(),
        services: Services::default(),
        volatile: false,
        standing,
        silent: false,
        supports: Versions::OF_BUILD,
    }
}

/// It was evicted while it was down, so in its own view it is still a member, and the members of the newest send it
/// nothing. (The simulation found this as a replica that never came back.)
#[test]
fn a_learner_that_hears_no_leader_asks_every_voter_it_knows() {
    let learner = member(4, Standing::Learner { replaces: None });
    let voters = (1..=3).map(|id| member(id, Standing::Voter));
    let view = View::first(voters.chain([learner.clone()]));
    let config = Config {
        node: learner.id,
        base: Checkpoint::genesis(ClusterId(1), view),
        version: ClusterVersion::FIRST,
        member: learner,
        contacts: vec![],
        timing: Timing::default(),
        policy: Policy::default(),
        seed: 1,
    };
    let at = |ms: u64| Time { monotonic_us: ms * 1000, wall_us: ms * 1000 };
    let mut replica = Replica::new(config, at(0));
    let mut effects = Vec::new();
    for ms in (0..1_000).step_by(25) {
        replica.step(at(ms), Input::Tick, &mut effects);
        replica.step(at(ms), Input::Flush, &mut effects);
    }
    let asked = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, message: Message::Fetch { .. }, .. } => Some(*to),
        _ => None,
    });
    assert_eq!(asked.collect::<BTreeSet<_>>(), [NodeId(1), NodeId(2), NodeId(3)].into());
}
