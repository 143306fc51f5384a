//! Snapshots: what is restored is what was, and whatever else the bytes are is an error.

use concoord_wire::client::Part;
use concoord_wire::interface::REINITIALIZE;

use super::*;

/// Numbers drawn from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % bound
    }

    fn one_of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[usize::try_from(self.below(choice.len() as u64)).unwrap()]
    }
}

/// Random batches for a cluster with a few sessions and objects, of which many do not exist (yet, or any more).
struct Histories {
    random: Random,
    slot: Slot,
    stamp: Timestamp,
    opened: Vec<SessionId>,
}

impl Histories {
    fn new(seed: u64) -> Histories {
        let opened = vec![SessionId { slot: Slot::ZERO, index: 0 }];
        Histories { random: Random(seed), slot: Slot::ZERO, stamp: Timestamp(SECOND_US), opened }
    }

    fn next(&mut self) -> (Slot, Vec<u8>) {
        self.slot = Slot(self.slot.0 + 1 + self.random.below(3));
        let microseconds = 1 << self.random.below(25);
        self.stamp = Timestamp(self.stamp.0 + self.random.below(microseconds));
        let count = self.random.below(6) as u32;
        let commands = (0..count).map(|index| self.command(index)).collect();
        (self.slot, codec::to_bytes(&Batch { stamp: self.stamp, commands }))
    }

    fn command(&mut self, index: u32) -> Command {
        let session = self.random.one_of(&self.opened);
        match self.random.below(26) {
            0 | 1 => {
                self.opened.push(SessionId { slot: self.slot, index });
                let ttl_ms = 1000 << self.random.below(7);
                Command::OpenSession { nonce: u128::from(self.random.below(12)), ttl_ms }
            }
            2 => Command::CloseSession { session },
            3 => Command::KeepAlive { session },
            24 => Command::ResumeSession {
                session,
                secret: 1 + u128::from(self.random.below(6)),
                nonce: u128::from(self.random.below(4)),
            },
            25 => {
                let methods = ["add", "read", "wake", "emit", "alarm", "fail", "trap"];
                let part = |random: &mut Random| Part {
                    object: ObjectId(1 + random.below(4) as u32),
                    method: random.one_of(&methods).into(),
                    arguments: Bytes::new(),
                };
                let parts: Vec<Part> = (0..self.random.below(4)).map(|_| part(&mut self.random)).collect();
                let call = CallId { session, sequence: self.random.below(30) };
                Command::Atomically { call, floor: 0, received: None, parts: codec::to_bytes(&parts).into() }
            }
            22 | 23 => Command::Cancel { call: CallId { session, sequence: self.random.below(30) } },
            4 => {
                let name = self.random.one_of(&["a", "b", "c", "d", ""]);
                let module = self.random.one_of(&[&b"counter"[..], b"loud", b"deaf", b"refused", b"garbled"]);
                load_with(name, module, self.random.one_of(&[&b""[..], b"", b"bad"]))
            }
            5 | 6 => {
                let (object, based_on) = (ObjectId(1 + self.random.below(4) as u32), 1 + self.random.below(3));
                let module = self.random.one_of(&[&b"counter"[..], b"more", b"less", b"deaf", b"forgetful"]);
                let action = match self.random.below(8) {
                    0 => ObjectAction::Remove { object },
                    1 | 2 => ObjectAction::Rollback { object, based_on },
                    3 => ObjectAction::Resume { object },
                    _ => ObjectAction::Upgrade {
                        object,
                        based_on,
                        module: Bytes::from_static(module),
                        limits: None,
                        allow_breaking: self.random.below(2) == 0,
                    },
                };
                operate(u128::from(self.random.below(1 << 12)), action)
            }
            _ => {
                let (sequence, object) = (self.random.below(30), ObjectId(1 + self.random.below(4) as u32));
                let floor = self.random.below(8) * self.random.below(4);
                let methods = [
                    "add",
                    "fail",
                    "reject",
                    "trap",
                    "garble",
                    "park",
                    "mute",
                    "emit",
                    "read",
                    "none",
                    "wait",
                    "wait",
                    "wait",
                    "wake",
                    "alarm",
                    "answer",
                    REINITIALIZE,
                    "emit",
                ];
                let mut command = call(CallId { session, sequence }, floor, object, self.random.one_of(&methods));
                if let Command::Call { wait_us, received, .. } = &mut command {
                    *wait_us = self.random.below(2) * (1 << self.random.below(25));
                    *received = (self.random.below(2) == 0).then(|| self.random.below(30));
                }
                command
            }
        }
    }
}

#[test]
fn what_is_done_in_several_goes_comes_to_the_same() {
    let (mut later, mut replies, mut parked, mut waited) = (0, 0, 0, 0);
    for seed in 0..200 {
        let mut histories = Histories::new(seed);
        let mut goes = Random(seed);
        let [mut one, mut other] = [(); 2].map(|()| Application::new(ClusterId(7), Native::default()));
        for _ in 0..120 {
            let (slot, batch) = histories.next();
            let applied = one.apply(slot, &batch, true).unwrap();
            replies += applied.replies.len();
            parked += applied.replies.iter().filter(|reply| matches!(reply, Completed::Parked { .. })).count();
            let ends = |reply: &&Completed| matches!(reply, Completed::Call { waited: true, .. });
            waited += applied.replies.iter().filter(ends).count();
            let mut hurry = Some(goes.below(GAS_MAX));
            let done = loop {
                other.hurry(hurry);
                match other.apply(slot, &batch, true) {
                    Err(HostFault::Later) => later += 1,
                    done => break done,
                }
                hurry = (goes.below(2) == 0).then(|| goes.below(GAS_MAX));
            };
            assert_eq!(done, Ok(applied), "seed {seed}, slot {slot}");
            assert_eq!(other.state_hash(), one.state_hash(), "seed {seed}, slot {slot}");
        }
    }
    assert!(later > 2000 && replies > 2000, "{later} goes ended early, {replies} replies were compared");
    assert!(parked > 100 && waited > 100, "{parked} calls were parked, {waited} waits ended");
}

fn restored(bytes: &[u8]) -> Result<Application<Native>, RestoreError> {
    Application::restore(ClusterId(7), Native::default(), bytes)
}

/// A state with a bit of everything, and its snapshot.
fn sample() -> (Application<Native>, Vec<u8>) {
    let mut application = Application::new(ClusterId(7), Native::default());
    let whole = history("add");
    for (slot, batch) in (1..).map(Slot).zip(&whole[..whole.len() - 2]) {
        application.apply(slot, batch, false).unwrap();
    }
    let bytes = application.snapshot().unwrap();
    (application, bytes)
}

#[test]
fn a_restored_application_is_the_same_and_goes_on_the_same() {
    let (mut sessions, mut replies, mut objects) = (0, 0, 0);
    for seed in 0..200 {
        let mut histories = Histories::new(seed);
        let mut one = Application::new(ClusterId(7), Native::default());
        for _ in 0..histories.random.below(120) {
            let (slot, batch) = histories.next();
            one.apply(slot, &batch, false).unwrap();
        }
        let bytes = one.snapshot().unwrap();
        let mut other = restored(&bytes).unwrap();
        assert_eq!(other.state_hash(), one.state_hash(), "seed {seed}");
        assert_eq!(other.snapshot().unwrap(), bytes, "seed {seed}");
        for ask in [Ask::Describe { name: None }, Ask::Objects { name: None }, Ask::Objects { name: Some("a".into()) }]
        {
            let question = Question { client: ClientToken(2), request: 1, ask };
            assert_eq!(other.ask(&question), one.ask(&question));
        }
        (sessions, objects) = (sessions + one.sessions.len(), objects + one.registry.ids().count());
        for _ in 0..60 {
            let (slot, batch) = histories.next();
            let applied = one.apply(slot, &batch, true).unwrap();
            replies += applied.replies.len();
            assert_eq!(other.apply(slot, &batch, true).unwrap(), applied, "seed {seed}, slot {slot}");
            assert_eq!(other.state_hash(), one.state_hash(), "seed {seed}, slot {slot}");
        }
        assert_eq!(other.snapshot().unwrap(), one.snapshot().unwrap(), "seed {seed}");
    }
    assert!(sessions > 200 && objects > 200, "{sessions} sessions and {objects} objects were restored");
    assert!(replies > 2000, "{replies} replies were compared");
}

#[test]
fn a_call_is_executed_once_across_a_snapshot() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    assert_eq!(cluster.call(2, 0, "add"), returned(2));
    let trapped = cluster.call(3, 0, "trap");
    cluster.application = restored(&cluster.application.snapshot().unwrap()).unwrap();
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    assert_eq!(cluster.call(3, 0, "trap"), trapped);
    assert_eq!(cluster.call(2, 1, "add"), returned(2));
    let call = CallId { session: cluster.session, sequence: 1 };
    assert_eq!(cluster.call(1, 0, "add"), Err(CallError::Acknowledged { call, floor: 1 }));
    assert_eq!(cluster.counter().value, 2);
    assert_eq!(cluster.open(1), cluster.session, "the nonce still finds its session");
    assert_eq!(cluster.call(4, 1, "add"), returned(3));
}

#[test]
fn the_bounds_on_replies_hold_across_a_snapshot() {
    let mut cluster = Cluster::new();
    let session = cluster.session;
    let many = (1..=REPLIES_KEPT_MAX as u64).map(|sequence| call(CallId { session, sequence }, 0, COUNTER, "add"));
    cluster.apply(many.collect());
    cluster.application = restored(&cluster.application.snapshot().unwrap()).unwrap();
    let next = REPLIES_KEPT_MAX as u64 + 1;
    assert!(matches!(cluster.call(next, 0, "add"), Err(CallError::Busy { .. })));
    assert_eq!(cluster.call(next, next - 1, "add"), returned(next.cast_signed()));
    cluster.apply(vec![Command::CloseSession { session }]);
    assert_eq!(cluster.application.sessions.kept_bytes(), 0, "every byte was counted");
}

#[test]
fn silence_goes_on_across_a_snapshot() {
    let mut cluster = Cluster::new();
    let session = cluster.session;
    cluster.stamp = Timestamp(cluster.stamp.0 + TTL_US - 1);
    cluster.apply(vec![]);
    cluster.application = restored(&cluster.application.snapshot().unwrap()).unwrap();
    cluster.stamp = Timestamp(cluster.stamp.0 + SECOND_US);
    assert_eq!(cluster.apply(vec![Command::KeepAlive { session }]).replies, [Completed::Gone { session }]);
}

#[test]
fn objects_of_one_module_store_it_once() {
    let module: &'static [u8] = Vec::leak(vec![b'm'; 100_000]);
    let mut cluster = Cluster::empty();
    cluster.apply(vec![load("a", module), load("b", b"counter"), load("c", module)]);
    let bytes = cluster.application.snapshot().unwrap();
    assert!(bytes.len() < module.len() + 1000, "{} bytes", bytes.len());
    assert_eq!(restored(&bytes).unwrap().state_hash(), cluster.application.state_hash());
}

#[test]
fn every_prefix_of_a_snapshot_is_an_error() {
    let (_, whole) = sample();
    for length in 0..whole.len() {
        let cut = restored(&whole[..length]).expect_err("a prefix");
        let RestoreError::Damaged { offset, bytes, .. } = cut else {
            panic!("{length} of {} bytes: {cut}", whole.len());
        };
        assert!(offset <= length && bytes == length, "{cut}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(matches!(restored(&longer), Err(RestoreError::Damaged { what: "more than a snapshot", .. })));
}

#[test]
fn a_damaged_snapshot_is_an_error_or_the_same_state() {
    let (mut application, bytes) = sample();
    let (hash, mut random, mut seen) = (application.state_hash(), Random(1), BTreeMap::new());
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(damaged.len() as u64)).unwrap();
            match random.below(5) {
                0 | 1 => damaged[at] ^= 1 << random.below(8),
                2 => damaged[at] = random.one_of(&[0, 1, 0x7f, 0x80, 0xff]),
                3 => drop(damaged.remove(at)),
                _ => damaged.insert(at, random.below(256) as u8),
            }
        }
        let kind = match restored(&damaged) {
            Ok(mut application) => {
                assert_eq!(application.state_hash(), hash);
                "none"
            }
            Err(RestoreError::Version { .. }) => "version",
            Err(RestoreError::ClusterVersion { .. }) => "cluster version",
            Err(RestoreError::OtherCluster { .. }) => "cluster",
            Err(RestoreError::Damaged { .. }) => "damaged",
            Err(RestoreError::TooMany { .. }) => "too many",
            Err(RestoreError::Object { .. }) => "object",
            Err(RestoreError::Hash { .. }) => "hash",
            Err(other) => panic!("{other}"),
        };
        *seen.entry(kind).or_insert(0) += 1;
    }
    for kind in ["version", "cluster version", "cluster", "damaged", "too many", "object", "hash"] {
        assert!(seen.contains_key(kind), "never happened: {kind} ({seen:?})");
    }
}

#[test]
fn a_snapshot_of_another_cluster_is_refused_unless_it_begins_a_new_one() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    let bytes = cluster.application.snapshot().unwrap();
    let new = ClusterId(8);
    let refused = Application::restore(new, Native::default(), &bytes);
    let expected = RestoreError::OtherCluster { found: ClusterId(7), expected: new };
    assert!(matches!(refused, Err(error) if error == expected));

    let (old, applied) = (cluster.application.position(), cluster.application.applied());
    cluster.application = Application::restore_as_new_cluster(new, Native::default(), &bytes).unwrap();
    assert_eq!(cluster.application.applied(), applied);
    assert_eq!((old.epoch(), cluster.application.position().epoch()), (0, 1));
    assert_eq!(cluster.call(1, 0, "add"), returned(1), "sessions go on");
    assert_eq!(cluster.call(2, 0, "add"), returned(2));
    assert!(cluster.counter().inputs.is_sorted_by_key(|(position, ..)| *position));
    let bytes = cluster.application.snapshot().unwrap();
    assert!(Application::restore(ClusterId(7), Native::default(), &bytes).is_err());
    assert!(Application::restore(new, Native::default(), &bytes).is_ok());

    cluster.application.position = Position(u64::MAX);
    let bytes = cluster.application.snapshot().unwrap();
    let used_up = Application::restore_as_new_cluster(ClusterId(9), Native::default(), &bytes);
    assert!(matches!(used_up, Err(RestoreError::Epochs(u16::MAX))));
}

#[test]
fn a_host_that_can_not_run_an_object_is_told_from_a_damaged_snapshot() {
    let mut cluster = Cluster::empty();
    // As if this host had loaded the module once and can't again.
    cluster.apply(vec![load("counter", b"counter")]);
    let bytes = cluster.application.snapshot().unwrap();
    let at = bytes.windows(8).position(|window| window == b"\x07counter").unwrap();
    let broken = [&bytes[..at], b"\x04host", &bytes[at + 8..]].concat();
    let expected = HostFault::Object { object: "counter".into(), applied: Slot(1), why: "no memory".into() };
    assert!(matches!(restored(&broken), Err(RestoreError::Host(fault)) if fault == expected));
}
