//! Whom a leader sends a proposal at once, and whom a little later.

use concoord_consensus::io::{Effect, Input, Time};
use concoord_consensus::limits::{LATE_VOTER_PATIENCE_US, RACE_SLOTS};
use concoord_consensus::{Config, Policy, Replica, Timing};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::objects::ObjectAction;
use concoord_wire::peer::{Heartbeat, Message};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{Ballot, ClusterId, NodeId, ObjectId, Slot};

const LEADER: NodeId = NodeId(1);
const FIRST: NodeId = NodeId(2);
const SECOND: NodeId = NodeId(3);

fn member(id: NodeId) -> Member {
    Member {
        id,
        address: ([127, 0, 0, 1], 14_000 + u16::try_from(id.0).expect("small ids")).into(),
        services: Services::default(),
        volatile: false,
        standing: Standing::Voter,
        silent: false,
        supports: Versions::OF_BUILD,
    }
}

/// The leader of three, whose log is durable at once.
struct Lead {
    replica: Replica,
    now_us: u64,
    effects: Vec<Effect>,
    nonce: u128,
    ballot: Ballot,
}

impl Lead {
    fn new() -> Lead {
        let config = Config {
            node: LEADER,
            base: Checkpoint::genesis(ClusterId(1), View::first([LEADER, FIRST, SECOND].map(member))),
            version: ClusterVersion::FIRST,
            member: member(LEADER),
            contacts: vec![],
            timing: Timing::default(),
            policy: Policy::default(),
            seed: 1,
        };
        let replica = Replica::new(config, Time { monotonic_us: 0, wall_us: 0 });
        let mut lead = Lead { replica, now_us: 0, effects: Vec::new(), nonce: 0, ballot: Ballot::default() };
        while !lead.replica.is_leader() {
            lead.now_us += 10_000;
            for from in [FIRST, SECOND] {
                let heartbeat = Heartbeat {
                    round: lead.now_us,
                    leading: None,
                    hears: None,
                    connected: true,
                    first: Slot::ZERO,
                    decided: Slot::ZERO,
                    full: false,
                    checked: None,
                };
                lead.step(Input::Peer { from, message: Message::Heartbeat(heartbeat) });
            }
            for (to, message, _) in lead.step(Input::Tick) {
                let reply = match message {
                    Message::Prepare { ballot, decided } => {
                        Message::Promise { ballot, decided, accepted: vec![], unknown: vec![] }
                    }
                    Message::Heartbeat(heartbeat) => Message::HeartbeatReply {
                        round: heartbeat.round,
                        ballot: heartbeat.leading,
                        decided: Slot::ZERO,
                        applied: Slot::ZERO,
                        services: Services::default(),
                        supports: Versions::OF_BUILD,
                    },
                    _ => continue,
                };
                lead.step(Input::Peer { from: to, message: reply });
            }
            assert!(lead.now_us < 10_000_000, "it is elected");
        }
        lead
    }

    /// What comes of an input, and of all that it makes durable: what is sent, and how patiently.
    fn step(&mut self, input: Input) -> Vec<(NodeId, Message, u64)> {
        let now = Time { monotonic_us: self.now_us, wall_us: self.now_us };
        self.replica.step(now, input, &mut self.effects);
        self.replica.step(now, Input::Flush, &mut self.effects);
        let mut sent = Vec::new();
        loop {
            let mut durable = None;
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Persist { position, .. } => durable = Some(position),
                    Effect::Send { to, message, patience_us, .. } => {
                        if let Message::Accept { ballot, .. } = message {
                            self.ballot = ballot;
                        }
                        sent.push((to, message, patience_us));
                    }
                    _ => {}
                }
            }
            let Some(position) = durable else { return sent };
            self.replica.step(now, Input::Durable { position }, &mut self.effects);
        }
    }

    /// Proposes something: its slot, and the patience with which each of the other two is sent it.
    fn propose(&mut self) -> (Slot, [u64; 2]) {
        self.nonce += 1;
        let action = ObjectAction::Resume { object: ObjectId(1) };
        let sent = self.step(Input::Operate { nonce: self.nonce, action });
        let mut proposed = None;
        let patience = [FIRST, SECOND].map(|voter| {
            let accepts = sent.iter().filter_map(|(to, message, patience)| match message {
                Message::Accept { slot, .. } if *to == voter => Some((*slot, *patience)),
                _ => None,
            });
            let (slot, patience) = accepts.last().expect("each voter is sent it");
            proposed = Some(slot);
            patience
        });
        (proposed.expect("there are two"), patience)
    }

    fn accepted(&mut self, from: NodeId, slot: Slot) {
        let ballot = self.ballot;
        self.step(Input::Peer { from, message: Message::Accepted { ballot, slot } });
    }

    /// Decides all that the leader has proposed to become one.
    fn settle(&mut self, by: NodeId) {
        (1..=self.replica.decided().0 + 1).for_each(|slot| self.accepted(by, Slot(slot)));
    }
}

const AT_ONCE: u64 = 0;
const LATE: u64 = LATE_VOTER_PATIENCE_US;

#[test]
fn whose_acceptance_is_not_needed_is_sent_the_next_slots_late() {
    let mut lead = Lead::new();
    lead.settle(FIRST);
    for _ in 0..3 {
        let (slot, patience) = lead.propose();
        assert_eq!(patience, [AT_ONCE, LATE], "{slot}");
        lead.accepted(FIRST, slot);
        assert_eq!(lead.replica.decided(), slot);
        // Too late to matter.
        lead.accepted(SECOND, slot);
    }
    // It happens to be faster once: that alone changes nothing.
    let (slot, _) = lead.propose();
    lead.accepted(SECOND, slot);
    assert_eq!(lead.propose().1, [AT_ONCE, LATE]);
}

#[test]
fn one_that_is_needed_after_all_is_sent_the_next_slots_at_once() {
    let mut lead = Lead::new();
    lead.settle(FIRST);
    let (slot, patience) = lead.propose();
    assert_eq!(patience, [AT_ONCE, LATE]);
    lead.now_us += LATE_VOTER_PATIENCE_US;
    lead.accepted(SECOND, slot);
    assert_eq!(lead.replica.decided(), slot, "the first does not answer any more");
    let (slot, patience) = lead.propose();
    assert_eq!(patience, [LATE, AT_ONCE]);
    lead.accepted(SECOND, slot);
    assert_eq!(lead.propose().1, [LATE, AT_ONCE]);
}

#[test]
fn now_and_then_all_are_sent_a_slot_at_once_and_the_fastest_stay_with_it() {
    let mut lead = Lead::new();
    lead.settle(FIRST);
    let mut races = 0;
    for _ in 0..3 * RACE_SLOTS {
        let (slot, patience) = lead.propose();
        let is_race = slot.0.is_multiple_of(RACE_SLOTS);
        assert_eq!(patience == [AT_ONCE, AT_ONCE], is_race, "{slot}");
        races += u64::from(is_race);
        // The first has become slow.
        lead.accepted(SECOND, slot);
        lead.accepted(FIRST, slot);
        if races > 0 && !is_race {
            assert_eq!(patience, [LATE, AT_ONCE], "{slot}");
        }
    }
    assert_eq!(races, 3);
}
