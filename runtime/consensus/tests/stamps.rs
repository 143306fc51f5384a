//! What a leader stamps batches with after a restart.

use concoord_consensus::io::{Effect, Input, LogPosition, Past, Replayed, Time};
use concoord_consensus::{Config, Policy, Replica, Timing};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::objects::ObjectAction;
use concoord_wire::record::Record;
use concoord_wire::value::{Batch, Value};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{Ballot, ClusterId, NodeId, ObjectId, Slot, Timestamp, ViewId};

const NODE: NodeId = NodeId(1);

fn config() -> Config {
    let member = Member {
        id: NODE,
        address: ([127, 0, 0, 1], 14_000).into(),
        services: Services::default(),
        volatile: false,
        standing: Standing::Voter,
        silent: false,
        supports: Versions::OF_BUILD,
    };
    Config {
        node: NODE,
        base: Checkpoint::genesis(ClusterId(1), View::first([member.clone()])),
        version: ClusterVersion::FIRST,
        member,
        contacts: vec![],
        timing: Timing::default(),
        policy: Policy::default(),
        seed: 1,
    }
}

/// A wall clock that is an hour ahead when a replica starts again does not make an hour pass for sessions and timers,
/// even before its application has caught up.
#[test]
fn a_restarted_leader_goes_on_from_the_last_decided_stamp() {
    let stamp = Timestamp(1_000_000_000);
    let ballot = Ballot { view: ViewId(1), round: 1, leader: NODE };
    let batch = Value::Batch(concoord_wire::codec::to_bytes(&Batch { stamp, commands: vec![] }).into());
    let records = [Record::Accepted { slot: Slot(1), ballot, value: batch }, Record::Decided(Slot(1))];
    let past = Past {
        promised: ballot,
        replayed: records.into_iter().map(Replayed::Record).collect(),
        position: LogPosition(2),
    };
    let hour_us = 3_600_000_000;
    let at = |ms: u64| Time { monotonic_us: ms * 1000, wall_us: stamp.0 + hour_us + ms * 1000 };
    let mut effects = Vec::new();
    let mut replica = Replica::recover(config(), at(0), past, &mut effects);

    replica.step(at(0), Input::Tick, &mut effects);
    replica.step(at(0), Input::Durable { position: LogPosition(3) }, &mut effects);
    assert!(replica.is_leader());
    let load = Input::Operate { nonce: 1, action: ObjectAction::Resume { object: ObjectId(1) } };
    replica.step(at(1_000), load, &mut effects);
    replica.step(at(1_000), Input::Flush, &mut effects);

    let proposed = effects.iter().rev().find_map(|effect| match effect {
        Effect::Persist { record: Record::Accepted { value: Value::Batch(batch), .. }, .. } => Some(batch),
        _ => None,
    });
    let proposed = Batch::stamp_of(proposed.expect("the load is proposed")).expect("a batch");
    assert_eq!(proposed, Timestamp(stamp.0 + 1_100_000), "a second passed, slewed by a tenth");
}
