//! A replica whose disk lost a part of its log.

use concoord_consensus::io::{Effect, Input, LogPosition, Past, Replayed, Time};
use concoord_consensus::{Config, Policy, Replica, Timing};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::value::{Removal, Value, ViewChange, ViewCommand};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{Ballot, ClusterId, NodeId, Slot, ViewId};

const NOW: Time = Time { monotonic_us: 0, wall_us: 0 };
const BALLOT: Ballot = Ballot { view: ViewId(1), round: 1, leader: NodeId(2) };
const LOST: Replayed = Replayed::Unknown { first: Slot(1), last: Slot(1) };

fn member(id: u64) -> Member {
    Member {
        id: NodeId(id),
        address: ([127, 0, 0, 1], 14_000 + u16::try_from(id).expect("small ids")).into(),
        services: Services::default(),
        volatile: false,
        standing: Standing::Voter,
        silent: false,
        supports: Versions::OF_BUILD,
    }
}

/// Replica 1 of three, having read this from its log.
fn recovered(replayed: &[Replayed]) -> Replica {
    let config = Config {
        node: NodeId(1),
        base: Checkpoint::genesis(ClusterId(1), View::first((1..=3).map(member))),
        version: ClusterVersion::FIRST,
        member: member(1),
        contacts: vec![],
        timing: Timing::default(),
        policy: Policy::default(),
        seed: 1,
    };
    let past = Past { promised: BALLOT, replayed: replayed.to_vec(), position: LogPosition(2) };
    Replica::recover(config, NOW, past, &mut Vec::new())
}

/// What replica 1 of three writes down because of `message` from replica 2, having read this from its log; and up to where
/// it takes slots as decided then.
fn after(replayed: &[Replayed], message: Message) -> (Vec<Record>, Slot) {
    let mut replica = recovered(replayed);
    let mut effects = Vec::new();
    replica.step(NOW, Input::Peer { from: NodeId(2), message }, &mut effects);
    let records = effects.into_iter().filter_map(|effect| match effect {
        Effect::Persist { record, .. } => Some(record),
        _ => None,
    });
    (records.collect(), replica.decided())
}

/// Otherwise the slot would be lost again at the next start, and with it all that is decided above it. (The simulation
/// found this as a replica that had promised a ballot of the next view and did not know any more that there is one.)
#[test]
fn what_a_loss_hides_is_written_again_though_it_is_the_same() {
    let again = Record::Accepted { slot: Slot(1), ballot: BALLOT, value: Value::Noop };
    let replayed = [Replayed::Record(again.clone()), LOST];
    let learned = Message::Entries { first: Slot(1), values: vec![Value::Noop], decided: Slot(1) };
    let (written, decided) = after(&replayed, learned);
    assert!(written.contains(&again) && decided == Slot(1), "{written:?}");
    let accept = |slot, decided| Message::Accept { ballot: BALLOT, slot, value: Value::Noop, decided };
    let (written, decided) = after(&replayed, accept(Slot(1), Slot(1)));
    assert!(written.contains(&again) && decided == Slot(1), "{written:?}");
    let (written, decided) = after(&replayed, accept(Slot(2), Slot(1)));
    assert!(!written.contains(&again) && decided == Slot(0), "decided by what the next start does not know");
}

/// Otherwise the next start would read what is accepted in the next view before it reads that there is one, and forget it.
/// (The simulation found this as a replica that had written that 36 slots are decided and started again at 14.)
#[test]
fn a_mark_that_a_loss_made_useless_is_written_again_before_the_next_view() {
    let change = ViewChange::Remove { member: NodeId(3), why: Removal::Left };
    let value = Value::View(ViewCommand { based_on: ViewId(1), change });
    let marked = Record::Decided(Slot(1));
    let learned = Message::Entries { first: Slot(1), values: vec![value, Value::Noop], decided: Slot(2) };
    let (written, decided) = after(&[LOST, Replayed::Record(marked.clone())], learned);
    let is_of = |slot: u64| move |record: &Record| matches!(record, Record::Accepted { slot: of, .. } if of.0 == slot);
    let place = |found: Option<usize>| found.expect("it is written");
    let first = place(written.iter().position(is_of(1)));
    let mark = place(written.iter().position(|record| *record == marked));
    let second = place(written.iter().position(is_of(2)));
    assert!(first < mark && mark < second && decided == Slot(2), "{written:?}");
}

/// Otherwise the next start, which can't read that snapshot any more, would take what it accepted below for decided: the
/// marks that follow are for what the snapshot holds. (The simulation found this as a slot with two values, seed 372.)
#[test]
fn what_was_accepted_below_a_snapshot_taken_over_is_not_decided_without_it() {
    let accepted = |slot| Record::Accepted { slot: Slot(slot), ballot: BALLOT, value: Value::Noop };
    let mut records = vec![accepted(1), Record::Decided(Slot(1)), accepted(2), accepted(3)];
    let mut replica = recovered(&records.iter().cloned().map(Replayed::Record).collect::<Vec<_>>());
    let checkpoint = Checkpoint { slot: Slot(5), ..Checkpoint::genesis(ClusterId(1), replica.view().clone()) };
    let mut effects = Vec::new();
    replica.step(NOW, Input::SnapshotReceived { checkpoint }, &mut effects);
    let learned = Message::Entries { first: Slot(6), values: vec![Value::Noop], decided: Slot(6) };
    replica.step(NOW, Input::Peer { from: NodeId(2), message: learned }, &mut effects);
    replica.step(NOW, Input::Flush, &mut effects);
    assert_eq!(replica.decided(), Slot(6));
    records.extend(effects.into_iter().filter_map(|effect| match effect {
        Effect::Persist { record, .. } => Some(record),
        _ => None,
    }));
    records.push(Record::Decided(Slot(6)));
    let again = recovered(&records.into_iter().map(Replayed::Record).collect::<Vec<_>>());
    assert_eq!((again.decided(), again.unknown()), (Slot(1), vec![(Slot(2), Slot(5))]));
}
