//! A member that offers something else since it was started again.

use concoord_consensus::io::{Effect, Input, Time};
use concoord_consensus::{Config, Policy, Replica, Timing};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{ClusterId, NodeId};

/// The only voter, which its data knows as offering `before`, started to offer `now`.
fn offered_in_the_end(before: Services, now: Services) -> Services {
    let member = Member {
        id: NodeId(1),
        address: ([127, 0, 0, 1], 14_000).into(),
        services: before,
        volatile: true,
        standing: Standing::Voter,
        silent: false,
        supports: Versions::OF_BUILD,
    };
    let config = Config {
        node: member.id,
        base: Checkpoint::genesis(ClusterId(1), View::first([member.clone()])),
        version: ClusterVersion::FIRST,
        member: Member { services: now, ..member },
        contacts: vec![],
        timing: Timing::default(),
        policy: Policy { volatile: true, ..Policy::default() },
        seed: 1,
    };
    let at = |ms: u64| Time { monotonic_us: ms * 1000, wall_us: ms * 1000 };
    let mut replica = Replica::new(config, at(0));
    for ms in (0..1_000).step_by(25) {
        let mut effects = Vec::new();
        replica.step(at(ms), Input::Tick, &mut effects);
        replica.step(at(ms), Input::Flush, &mut effects);
        let written = effects.iter().filter_map(|effect| match effect {
            Effect::Persist { position, .. } => Some(*position),
            _ => None,
        });
        if let Some(position) = written.max() {
            replica.step(at(ms), Input::Durable { position }, &mut Vec::new());
        }
    }
    assert!(replica.is_leader(), "nobody else could");
    let told = replica.roster();
    assert_eq!(told.members[0].services, replica.view().members[&NodeId(1)].services);
    told.members[0].services
}

#[test]
fn what_it_offers_now_is_decided() {
    assert_eq!(offered_in_the_end(Services::default(), Services::DNS), Services::DNS);
    assert_eq!(offered_in_the_end(Services::DNS, Services::default()), Services::default());
    assert_eq!(offered_in_the_end(Services::DNS, Services::ROUTE53), Services::ROUTE53);
}

#[test]
fn whether_it_is_a_witness_does_not_change() {
    let both = Services::DNS.with(Services::WITNESS);
    assert_eq!(offered_in_the_end(Services::default(), both), Services::default());
}
