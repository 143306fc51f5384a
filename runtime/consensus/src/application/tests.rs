//! What applying promises, shown with small native objects in place of Wasm.

use std::collections::BTreeMap;

use concoord_wire::abi::{Answer, Event, ObjectLimits, Outcome, Rejection, Reply, Timer};
use concoord_wire::client::{Consistency, Description};
use concoord_wire::interface::{Interface, Method, MethodKind, Type, TypeIndex};
use concoord_wire::limits::{NAME_BYTES_MAX, SESSION_TTL_MS, TOPIC_BYTES_MAX};
use concoord_wire::objects::{ObjectAction, ObjectError, ObjectList, ObjectState, Operated};
use concoord_wire::value::{Batch, Command};

use bytes::Bytes;

use self::native::{Counter, GAS_MAX, Native, interface};
use super::operations::OperationResult;
use super::*;
use crate::io::{ClientToken, Verb};
use crate::limits::{DUE_PER_SLOT_MAX, LOAD_FAILURES_KEPT_MAX, REPLIES_KEPT_MAX};
use crate::objects::{Accept, Frozen, Switches};
use concoord_wire::CallId;

mod agreement;
mod calls;
mod events;
mod native;
mod operating;
mod snapshots;
mod waiting;

const TTL_US: u64 = SESSION_TTL_MS as u64 * 1000;
const COUNTER: ObjectId = ObjectId(1);

/// An application with one counter in slot 1 and one session in slot 2.
struct Cluster {
    application: Application<Native>,
    session: SessionId,
    stamp: Timestamp,
}

impl Cluster {
    fn empty() -> Cluster {
        let application = Application::new(ClusterId(7), Native::default());
        Cluster { application, session: SessionId { slot: Slot::ZERO, index: 0 }, stamp: Timestamp(SECOND_US) }
    }

    fn new() -> Cluster {
        let mut cluster = Cluster::empty();
        cluster.apply(vec![load("counter", b"counter")]);
        cluster.session = cluster.open(1);
        cluster
    }

    fn slot(&self) -> Slot {
        self.application.applied().next()
    }

    fn apply(&mut self, commands: Vec<Command>) -> Applied {
        let batch = codec::to_bytes(&Batch { stamp: self.stamp, commands });
        self.application.apply(self.slot(), &batch, true).unwrap()
    }

    fn open(&mut self, nonce: u128) -> SessionId {
        match self.apply(vec![Command::OpenSession { nonce, ttl_ms: SESSION_TTL_MS }]).replies.as_slice() {
            [Completed::Session { result: Ok(session), .. }] => *session,
            other => panic!("no session: {other:?}"),
        }
    }

    fn call(&mut self, sequence: u64, floor: u64, method: &str) -> CallResult {
        self.call_object(COUNTER, sequence, floor, method)
    }

    fn call_object(&mut self, object: ObjectId, sequence: u64, floor: u64, method: &str) -> CallResult {
        let id = CallId { session: self.session, sequence };
        match self.apply(vec![call(id, floor, object, method)]).replies.as_slice() {
            [Completed::Call { call, result, .. }] if *call == id => result.clone(),
            other => panic!("not one reply: {other:?}"),
        }
    }

    fn query(&mut self, object: ObjectId, method: &str) -> CallResult {
        match self.application.query(&query(object, method)) {
            Ok(Response::Queried { request: 3, result }) => result,
            other => panic!("not the query's reply: {other:?}"),
        }
    }

    fn ask(&mut self, request: u64, ask: Ask) -> Option<Response> {
        self.application.ask(&Question { client: ClientToken(2), request, ask }).unwrap()
    }

    fn describe(&mut self, name: Option<&str>) -> Result<Description, CallError> {
        match self.ask(5, Ask::Describe { name: name.map(Into::into) }) {
            Some(Response::Described { request: 5, result }) => result,
            other => panic!("{other:?}"),
        }
    }

    fn objects(&mut self, name: Option<&str>) -> Result<ObjectList, CallError> {
        match self.ask(6, Ask::Objects { name: name.map(Into::into) }) {
            Some(Response::Objects { request: 6, result }) => result,
            other => panic!("{other:?}"),
        }
    }

    fn operate(&mut self, nonce: u128, action: ObjectAction) -> OperationResult {
        match self.apply(vec![operate(nonce, action)]).replies.as_slice() {
            [Completed::Operated { nonce: of, result }] if *of == nonce => result.clone(),
            other => panic!("not one reply: {other:?}"),
        }
    }

    fn id(&self, sequence: u64) -> CallId {
        CallId { session: self.session, sequence }
    }

    fn counter(&self) -> &Counter {
        &self.application.objects().counters[&COUNTER]
    }
}

/// A load with a nonce of its own, as long as name and module are.
fn load(name: &str, module: &'static [u8]) -> Command {
    load_with(name, module, b"")
}

fn load_with(name: &str, module: &'static [u8], arguments: &'static [u8]) -> Command {
    let nonce = u128::from(Digest::new().with(&(name, module, arguments)).finish());
    let (module, arguments) = (Bytes::from_static(module), Bytes::from_static(arguments));
    operate(nonce, ObjectAction::Load { name: name.into(), module, arguments, limits: ObjectLimits::default() })
}

fn load_action(name: &str, module: &'static [u8]) -> ObjectAction {
    let Command::Operate { action, .. } = load(name, module) else { panic!("a load") };
    action
}

fn operated(object: u32, generation: u64) -> Operated {
    Operated { object: ObjectId(object), generation, changes: vec![], more_changes: 0 }
}

fn operate(nonce: u128, action: ObjectAction) -> Command {
    Command::Operate { nonce, action }
}

fn call(call: CallId, floor: u64, object: ObjectId, method: &str) -> Command {
    Command::Call { call, floor, received: None, wait_us: 0, object, method: method.into(), arguments: Bytes::new() }
}

fn query(object: ObjectId, method: &str) -> Query {
    Query {
        client: ClientToken(1),
        request: 3,
        object,
        method: method.into(),
        arguments: Bytes::new(),
        consistency: Consistency::Linearizable,
    }
}

fn returned(value: i64) -> CallResult {
    Ok(Answer::Returned(codec::to_bytes(&value)))
}

#[test]
fn a_retried_call_gets_its_first_reply_and_is_executed_once() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    assert_eq!(cluster.call(2, 0, "add"), returned(2));
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    assert_eq!(cluster.counter().value, 2);
    let id = CallId { session: cluster.session, sequence: 3 };
    let twice = cluster.apply(vec![call(id, 0, COUNTER, "add"), call(id, 0, COUNTER, "add")]);
    let reply = Completed::Call { call: id, result: returned(3), waited: false };
    assert_eq!(twice.replies, [reply.clone(), reply]);
}

#[test]
fn sequences_may_come_in_any_order() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.call(9, 0, "add"), returned(1));
    assert_eq!(cluster.call(4, 0, "add"), returned(2));
    assert_eq!(cluster.call(9, 4, "add"), returned(1));
    assert_eq!(cluster.call(5, 4, "add"), returned(3));
}

#[test]
fn final_errors_are_replies_that_a_retry_gets_too() {
    let mut cluster = Cluster::new();
    let names = |method: &str| ("counter".to_owned(), method.to_owned());
    let (object, method) = names("trap");
    let trapped = Err(CallError::Trapped { object, method, message: "overflow".into() });
    let (object, method) = names("garble");
    let garbled = Err(CallError::Misbehaved { object, method, why: "not an outcome".into() });
    let (object, method) = names("read");
    let wrong_kind = Err(CallError::WrongKind { object, method, is_query: true });
    let failed = Ok(Answer::Failed(b"why".to_vec()));
    let rejected = Ok(Answer::Rejected(Rejection::Arguments("too few".into())));
    let cases = [("trap", trapped), ("garble", garbled), ("read", wrong_kind), ("fail", failed), ("reject", rejected)];
    for (sequence, (method, expected)) in (1..).zip(cases) {
        assert_eq!(cluster.call(sequence, 0, method), expected);
        assert_eq!(cluster.call(sequence, 0, "add"), expected, "whatever the retry of '{method}' asks for");
    }
    assert_eq!(cluster.counter().value, 2, "'fail' and 'reject' are kept, faults are not");
}

#[test]
fn unknown_names_say_what_exists_and_stay_unknown_for_their_call() {
    let mut cluster = Cluster::new();
    let existing = vec!["counter".to_owned()];
    let unknown = Err(CallError::UnknownObject { name: "#2".into(), existing });
    assert_eq!(cluster.call_object(ObjectId(2), 1, 0, "add"), unknown);
    cluster.apply(vec![load("second", b"counter")]);
    assert_eq!(cluster.call_object(ObjectId(2), 1, 0, "add"), unknown);
    assert_eq!(cluster.call_object(ObjectId(2), 2, 0, "add"), returned(1));
    let Err(CallError::UnknownMethod { object, method, existing }) = cluster.call(3, 0, "sub") else {
        panic!("'sub' should be unknown");
    };
    assert_eq!((object.as_str(), method.as_str(), existing.len()), ("counter", "sub", interface().methods.len()));
}

#[test]
fn an_outcome_that_is_not_carried_out_changes_nothing() {
    let mut cluster = Cluster::new();
    for (sequence, (method, says)) in (1..).zip([("park", "parked"), ("mute", "no reply"), ("emit", "events")]) {
        match cluster.call(sequence, 0, method) {
            Err(CallError::Misbehaved { object, method: of, why }) => {
                assert_eq!((object.as_str(), of.as_str()), ("counter", method));
                assert!(why.contains(says), "{why}");
            }
            other => panic!("'{method}' gave {other:?}"),
        }
    }
    assert_eq!(cluster.counter().value, 0);
    assert_eq!(cluster.call(9, 0, "add"), returned(1));
}

#[test]
fn what_is_acknowledged_is_never_executed_again() {
    let mut cluster = Cluster::new();
    cluster.call(1, 0, "add").unwrap();
    let acknowledged =
        |session, sequence, floor| Err(CallError::Acknowledged { call: CallId { session, sequence }, floor });
    assert_eq!(cluster.call(2, 1, "add"), returned(2));
    assert_eq!(cluster.call(1, 0, "add"), acknowledged(cluster.session, 1, 1));
    assert_eq!(cluster.call(0, 0, "add"), acknowledged(cluster.session, 0, 1));
    assert_eq!(cluster.counter().value, 2);
}

#[test]
fn busy_leaves_no_mark() {
    let mut cluster = Cluster::new();
    let session = cluster.session;
    let kept = REPLIES_KEPT_MAX as u64;
    let many = (1..=kept).map(|sequence| call(CallId { session, sequence }, 0, COUNTER, "add")).collect();
    assert_eq!(cluster.apply(many).replies.len(), REPLIES_KEPT_MAX);
    let before = (cluster.application.position(), cluster.counter().value);
    assert!(matches!(cluster.call(kept + 1, 0, "add"), Err(CallError::Busy { .. })));
    assert_eq!((cluster.application.position(), cluster.counter().value), before);
    assert_eq!(cluster.call(kept + 1, 1, "add"), returned(before.1 + 1));
}

#[test]
fn a_repeated_nonce_finds_its_session_until_that_is_closed() {
    let mut cluster = Cluster::new();
    let session = cluster.session;
    assert_eq!(session, SessionId { slot: Slot(2), index: 0 });
    assert_eq!(cluster.open(1), session);
    cluster.apply(vec![Command::CloseSession { session }]);
    assert_eq!(cluster.call(1, 0, "add"), Err(CallError::SessionGone { session }));
    assert_eq!(cluster.apply(vec![Command::KeepAlive { session }]).replies, [Completed::Gone { session }]);
    let batch =
        cluster.apply(vec![Command::KeepAlive { session }, Command::OpenSession { nonce: 1, ttl_ms: SESSION_TTL_MS }]);
    let opened = SessionId { slot: batch.slot, index: 1 };
    assert_eq!(batch.replies[1], Completed::Session { nonce: 1, result: Ok(opened) });
    assert_eq!(cluster.counter().value, 0);
}

#[test]
fn a_silent_session_ends_when_a_second_begins_after_its_time_to_live() {
    let mut cluster = Cluster::new();
    let (session, opened) = (cluster.session, cluster.stamp);
    let other = cluster.open(2);
    cluster.stamp = Timestamp(opened.0 + TTL_US - 1);
    let kept = || Completed::Kept { session };
    let keep = |cluster: &mut Cluster| cluster.apply(vec![Command::KeepAlive { session }]).replies;
    assert_eq!(keep(&mut cluster), [kept()], "just in time");
    cluster.stamp = Timestamp(opened.0 + TTL_US);
    let gone = cluster.apply(vec![Command::KeepAlive { session }, Command::KeepAlive { session: other }]);
    assert_eq!(gone.replies, [kept(), Completed::Gone { session: other }]);
    cluster.stamp = Timestamp(opened.0 + 2 * TTL_US - 1);
    assert_eq!(cluster.call(1, 0, "add"), returned(1), "heard at the last moment of its time to live");
    cluster.stamp = Timestamp(opened.0 + 3 * TTL_US - 2);
    assert_eq!(keep(&mut cluster), [kept()], "a call is a sign of life too");
}

#[test]
fn silence_is_judged_once_per_second() {
    let mut cluster = Cluster::new();
    let second = 10 * SECOND_US;
    let at = |cluster: &mut Cluster, micros, session| {
        cluster.stamp = Timestamp(second + micros);
        cluster.apply(vec![Command::KeepAlive { session }]).replies == [Completed::Kept { session }]
    };
    let (early, late) = (cluster.session, cluster.open(2));
    assert!(at(&mut cluster, 200_000, early) && at(&mut cluster, 300_000, late));
    let nobody = SessionId { slot: Slot::ZERO, index: 0 };
    at(&mut cluster, TTL_US + 100_000, nobody);
    assert!(at(&mut cluster, TTL_US + 400_000, early), "overdue, but no new second has begun");
    at(&mut cluster, TTL_US + SECOND_US, nobody);
    assert!(at(&mut cluster, TTL_US + SECOND_US, early), "heard since");
    assert!(!at(&mut cluster, TTL_US + SECOND_US, late));
}

#[test]
fn time_and_positions_never_fall() {
    let mut cluster = Cluster::new();
    cluster.stamp = Timestamp(9 * SECOND_US);
    cluster.call(1, 0, "add").unwrap();
    cluster.stamp = Timestamp(3 * SECOND_US);
    let applied = cluster.apply(vec![call(CallId { session: cluster.session, sequence: 2 }, 0, COUNTER, "add")]);
    assert_eq!(applied.stamp, Timestamp(9 * SECOND_US));
    cluster.call(3, 0, "trap").unwrap_err();
    cluster.call(4, 0, "add").unwrap();
    let inputs = &cluster.counter().inputs;
    let positions = inputs.iter().map(|input| input.0.0).collect::<Vec<_>>();
    assert_eq!(positions, [1, 2, 3, 5], "one each for Init, two calls, the trap that changed nothing, and a call");
    assert!(inputs.iter().map(|input| input.1).is_sorted());
    let seeds = inputs.iter().map(|input| input.2).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(seeds.len(), inputs.len(), "each input has a seed of its own");
    let id = CallId { session: cluster.session, sequence: 4 };
    assert_eq!((inputs[3].3, inputs[3].4), (Some(id), Some(cluster.session)));
}

#[test]
fn a_query_changes_nothing_and_draws_numbers_of_its_own() {
    let mut cluster = Cluster::new();
    cluster.call(1, 0, "add").unwrap();
    let before = cluster.application.state_hash();
    assert_eq!(cluster.query(COUNTER, "read"), returned(2), "it sees its own change, nobody else does");
    assert_eq!(cluster.query(COUNTER, "read"), returned(2));
    let drawn: u64 = match cluster.query(COUNTER, "seed") {
        Ok(Answer::Returned(bytes)) => codec::from_bytes(&bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_ne!(drawn, cluster.counter().inputs.last().unwrap().2);
    assert!(matches!(cluster.query(COUNTER, "read_trap"), Err(CallError::Trapped { .. })));
    assert!(matches!(cluster.query(COUNTER, "read_emit"), Err(CallError::Misbehaved { .. })));
    assert!(matches!(cluster.query(COUNTER, "add"), Err(CallError::WrongKind { is_query: false, .. })));
    assert!(matches!(cluster.query(COUNTER, "none"), Err(CallError::UnknownMethod { .. })));
    assert!(matches!(cluster.query(ObjectId(8), "read"), Err(CallError::UnknownObject { .. })));
    assert_eq!(cluster.application.state_hash(), before);
}

#[test]
fn a_failed_load_leaves_its_reason_and_no_object() {
    let mut cluster = Cluster::empty();
    let describe = |cluster: &mut Cluster, name: Option<&str>| cluster.describe(name);
    assert!(matches!(describe(&mut cluster, None), Err(CallError::NotServing { .. })));
    let bad_start = load_with("d", b"counter", b"bad");
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let commands =
        vec![load("a", b"refused"), load("b", b"garbled"), load("", b"counter"), load(&long, b"c"), bad_start];
    let notices = cluster.apply(commands).notices;
    let whys = ["has imports", "malformed interface", "needs a name", "129 bytes", "no such start"];
    assert_eq!(notices.len(), whys.len());
    for (notice, expected) in notices.iter().zip(whys) {
        let Notice::Operated { verb: Verb::Load, result: Err(ObjectError::Refused { why }), .. } = notice else {
            panic!("{notice:?}")
        };
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(cluster.objects(None).unwrap().failures.len(), whys.len());
    assert!(
        matches!(describe(&mut cluster, None), Err(CallError::NotServing { why }) if why.contains("no such start"))
    );

    assert_eq!(cluster.operate(1, load_action("a", b"counter")), Ok(operated(1, 1)));
    let taken = ObjectError::NameTaken { name: "a".into(), object: ObjectId(1) };
    assert_eq!(cluster.operate(2, load_action("a", b"refused")), Err(taken));
    assert_eq!(cluster.operate(3, load_action("b", b"counter")), Ok(operated(2, 1)));
    let found = describe(&mut cluster, Some("b")).unwrap();
    assert_eq!((found.object, found.name.as_str(), found.loaded), (ObjectId(2), "b", Slot(4)));
    assert_eq!(Interface::decode(&found.interface).unwrap(), interface());
    assert_eq!(describe(&mut cluster, None).unwrap().object, ObjectId(1));
    assert!(
        matches!(describe(&mut cluster, Some("z")), Err(CallError::UnknownObject { existing, .. }) if existing.len() == 2)
    );

    let more = (100..).take(LOAD_FAILURES_KEPT_MAX + 3).map(|nonce| operate(nonce, load_action("f", b"refused")));
    cluster.apply(more.collect());
    assert_eq!(cluster.objects(None).unwrap().failures.len(), LOAD_FAILURES_KEPT_MAX);
}

#[test]
fn host_faults_stop_and_are_no_reply() {
    let mut cluster = Cluster::new();
    let id = CallId { session: cluster.session, sequence: 1 };
    let batch = |command| codec::to_bytes(&Batch { stamp: Timestamp(0), commands: vec![command] });
    let damaged = batch(call(id, 0, COUNTER, "add"));
    let slot = cluster.slot();
    let cut = cluster.application.apply(slot, &damaged[..damaged.len() - 1], true);
    assert!(matches!(cut, Err(HostFault::Batch { slot: at, .. }) if at == slot), "{cut:?}");
    let expected = HostFault::Object { object: "counter".into(), applied: Slot(2), why: "no memory".into() };
    assert_eq!(cluster.application.apply(slot, &batch(call(id, 0, COUNTER, "host")), true), Err(expected));
    let loading = Cluster::new().application.apply(slot, &batch(load("new", b"host")), true);
    assert!(matches!(loading, Err(HostFault::Object { object, .. }) if object == "new"));
}

#[test]
#[should_panic(expected = "slot 2 after slot 2")]
fn a_slot_is_not_applied_twice() {
    let batch = codec::to_bytes(&Batch::default());
    let _ = Cluster::new().application.apply(Slot(2), &batch, false);
}

/// Batches with a bit of everything; `last` is the method of the last call.
fn history(last: &str) -> Vec<Vec<u8>> {
    let session = |slot| SessionId { slot: Slot(slot), index: 0 };
    let mut batches = vec![
        vec![
            Command::OpenSession { nonce: 1, ttl_ms: SESSION_TTL_MS },
            load("counter", b"counter"),
            load("bad", b"refused"),
        ],
        vec![Command::OpenSession { nonce: 2, ttl_ms: SESSION_TTL_MS }, load("second", b"counter")],
    ];
    for sequence in 1..40 {
        let methods = ["add", "trap", "park", "fail", "none", "read"];
        let method = methods[usize::try_from(sequence).unwrap() % methods.len()];
        let object = ObjectId(1 + u32::try_from(sequence % 3).unwrap());
        let id = CallId { session: session(1 + sequence % 2), sequence: sequence / 2 };
        batches.push(vec![call(id, sequence / 4, object, method), call(id, 0, object, method)]);
    }
    batches.push(vec![Command::CloseSession { session: session(1) }]);
    batches.push(vec![call(CallId { session: session(2), sequence: 99 }, 0, COUNTER, last)]);
    let stamps = (1..).map(|second| Timestamp(second * SECOND_US));
    stamps.zip(batches).map(|(stamp, commands)| codec::to_bytes(&Batch { stamp, commands })).collect()
}

fn run(history: &[Vec<u8>], replies: bool) -> (u64, Vec<Applied>) {
    let mut application = Application::new(ClusterId(7), Native::default());
    let slots = (1..).map(Slot);
    let applied = slots.zip(history).map(|(slot, batch)| application.apply(slot, batch, replies).unwrap()).collect();
    (application.state_hash(), applied)
}

#[test]
fn the_same_batches_give_the_same_state_and_replies() {
    let (hash, applied) = run(&history("add"), true);
    assert_eq!(run(&history("add"), true), (hash, applied));
    let (unasked, silent) = run(&history("add"), false);
    assert_eq!(unasked, hash, "whether replies are asked for is no part of the state");
    assert!(silent.iter().all(|applied| applied.replies.is_empty()));
}

#[test]
fn different_batches_show_in_the_hash() {
    let methods = ["add", "trap", "park", "none"];
    let hashes = methods.map(|method| run(&history(method), false).0);
    let distinct = hashes.iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(distinct.len(), methods.len(), "'trap' and 'park' differ in nothing but the session's reply");
    let hash = hashes[0];
    let whole = history("add");
    assert_ne!(run(&whole[..whole.len() - 1], false).0, hash);
    let hash_of = |cluster: u128, commands: &[Command]| {
        let mut application = Application::new(ClusterId(cluster), Native::default());
        let batch = codec::to_bytes(&Batch { stamp: Timestamp(0), commands: commands.to_vec() });
        application.apply(Slot(1), &batch, false).unwrap();
        application.state_hash()
    };
    assert_ne!(hash_of(7, &[]), hash_of(8, &[]), "clusters");
    assert_ne!(hash_of(7, &[load("a", b"refused")]), hash_of(7, &[load("b", b"refused")]), "failed loads");
    assert_ne!(hash_of(7, &[load("a", b"counter")]), hash_of(7, &[load("b", b"counter")]), "names");
    assert_ne!(hash_of(7, &[load("a", b"counter")]), hash_of(7, &[load("a", b"other")]), "modules");
    let open = |nonce| [Command::OpenSession { nonce, ttl_ms: SESSION_TTL_MS }];
    assert_ne!(hash_of(7, &open(1)), hash_of(7, &open(2)), "sessions");
}
