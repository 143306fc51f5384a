//! Several calls as one, objects that are started anew, and sessions that others go on with.

use super::*;
use concoord_wire::client::{Abort, Part};
use concoord_wire::interface::REINITIALIZE;
use concoord_wire::limits::PARTS_MAX;

const OTHER: ObjectId = ObjectId(2);

fn two() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.apply(vec![load("other", b"loud")]);
    cluster
}

fn part(object: ObjectId, method: &str) -> Part {
    Part { object, method: method.into(), arguments: Bytes::new() }
}

fn atomically(call: CallId, parts: &[Part]) -> Command {
    Command::Atomically {
        call,
        floor: call.sequence - 1,
        received: None,
        parts: codec::to_bytes(&parts.to_vec()).into(),
    }
}

impl Cluster {
    fn atomically(&mut self, sequence: u64, parts: &[Part]) -> CallResult {
        let id = self.id(sequence);
        match self.apply(vec![atomically(id, parts)]).replies.as_slice() {
            [Completed::Call { call, result, .. }] if *call == id => result.clone(),
            other => panic!("not one reply: {other:?}"),
        }
    }

    fn values(&self) -> (i64, i64) {
        let value = |object| self.application.objects().counters[&object].value;
        (value(COUNTER), value(OTHER))
    }

    fn resume(&mut self, session: SessionId, secret: u128, nonce: u128) -> Result<u64, CallError> {
        match self.apply(vec![Command::ResumeSession { session, secret, nonce }]).replies.as_slice() {
            [.., Completed::Resumed { nonce: of, result }] if *of == nonce => result.clone(),
            other => panic!("not one reply: {other:?}"),
        }
    }
}

#[test]
fn several_calls_as_one_are_all_executed_once() {
    let mut cluster = two();
    let parts = [part(COUNTER, "add"), part(OTHER, "add"), part(COUNTER, "add"), part(COUNTER, "read")];
    let all = cluster.atomically(1, &parts);
    let values = [1_i64, 1, 2, 3].map(|value| codec::to_bytes(&value));
    assert_eq!(all, Ok(Answer::Returned(codec::to_bytes(&values.to_vec()))));
    assert_eq!(cluster.atomically(1, &parts), all, "a retry");
    assert_eq!(cluster.counter().inputs.len(), 3 + 1, "and the first");
    // Whichever of the two the session's end has to be told of.
    cluster.apply(vec![Command::CloseSession { session: cluster.session }]);
    let told = |object| cluster.application.objects().counters[&object].inputs.last().unwrap().4;
    assert_eq!([told(COUNTER), told(OTHER)], [Some(cluster.session); 2]);
}

#[test]
fn one_that_does_not_return_puts_an_end_to_all() {
    let mut cluster = two();
    let cases = [
        ("fail", Abort::Failed(b"why".to_vec())),
        ("trap", Abort::Error("trapped: overflow".into())),
        ("reject", Abort::Error("wrong arguments: too few".into())),
        ("wait", Abort::Error("it would have to wait, and calls made as one can't".into())),
        ("garble", Abort::Error("not an outcome".into())),
        ("mute", Abort::Error("the method gave no reply".into())),
        ("gone", Abort::Error(cluster.application.registry.resolve(OTHER, "gone").unwrap_err().to_string())),
    ];
    let before = cluster.application.objects().counters.clone();
    for (sequence, (method, why)) in (1..).zip(cases) {
        let parts = [part(COUNTER, "add"), part(COUNTER, "alarm"), part(OTHER, method), part(COUNTER, "add")];
        let expected = CallError::Aborted { part: 2, object: "other".into(), method: method.into(), why };
        let refused = cluster.atomically(sequence, &parts);
        assert_eq!(refused, Err(expected));
        assert_eq!(cluster.atomically(sequence, &[part(COUNTER, "add")]), refused, "a retry, whatever it says");
        assert_eq!(cluster.values(), (0, 0));
    }
    let inputs = |counters: &BTreeMap<ObjectId, Counter>| counters.values().map(|one| one.inputs.len()).sum::<usize>();
    assert_eq!(inputs(&cluster.application.objects().counters), inputs(&before));
    assert_eq!(cluster.application.timers.first(), None);
    let too_many = vec![part(COUNTER, "add"); PARTS_MAX + 1];
    assert!(matches!(cluster.atomically(9, &too_many), Err(CallError::TooLarge { size: 65, limit: 64, .. })));
    let unknown = cluster.atomically(10, &[part(ObjectId(9), "add")]);
    assert!(
        matches!(&unknown, Err(CallError::Aborted { part: 0, why: Abort::Error(why), .. }) if why.contains("no object"))
    );
}

#[test]
fn wishes_of_several_calls_as_one_are_carried_out() {
    let mut cluster = two();
    let waits = cluster.id(1);
    cluster.apply(vec![call(waits, 0, COUNTER, "wait")]);
    let id = cluster.id(2);
    let done =
        cluster.apply(vec![atomically(id, &[part(COUNTER, "wake"), part(OTHER, "emit"), part(COUNTER, "alarm")])]);
    let answered = |replies: &[Completed], id| {
        replies.iter().any(|reply| matches!(reply, Completed::Call { call, result: Ok(_), .. } if *call == id))
    };
    assert!(answered(&done.replies, waits) && answered(&done.replies, id), "{:?}", done.replies);
    assert_eq!(cluster.application.events.objects().collect::<Vec<_>>(), [OTHER]);
    assert!(cluster.application.timers.first().is_some());
}

#[test]
fn an_object_started_anew_is_as_loaded_and_positions_go_on() {
    let mut cluster = two();
    (1..=3).for_each(|sequence| drop(cluster.call(sequence, sequence - 1, "add")));
    cluster.call(4, 3, "alarm").unwrap();
    let waits = cluster.id(5);
    cluster.apply(vec![call(waits, 4, COUNTER, "wait")]);
    let (position, anew) = (cluster.application.position(), cluster.id(6));
    let done = cluster.apply(vec![call(anew, 4, COUNTER, REINITIALIZE)]);
    let ended = CallError::Cancelled { object: "counter".into() };
    assert_eq!(
        done.replies,
        [
            Completed::Call { call: waits, result: Err(ended), waited: true },
            Completed::Call { call: anew, result: Ok(Answer::Returned(vec![])), waited: false }
        ]
    );
    assert_eq!((cluster.counter().value, cluster.counter().inputs.len()), (0, 1));
    assert_eq!((cluster.application.position(), cluster.application.timers.first()), (position.next(), None));
    assert_eq!(cluster.call(6, 4, REINITIALIZE), Ok(Answer::Returned(vec![])), "a retry");
    assert_eq!(cluster.call(7, 6, "add"), returned(1));
    assert_eq!(cluster.call(6, 6, REINITIALIZE), Err(CallError::Acknowledged { call: anew, floor: 6 }));
    assert_eq!(cluster.counter().value, 1);
}

#[test]
fn a_constructor_that_refuses_or_traps_leaves_the_object_as_it_is() {
    let mut cluster = two();
    cluster.call(1, 0, "add").unwrap();
    for (sequence, arguments, expected) in
        [(2, b"refuse".as_slice(), Some(Answer::Failed(b"no".to_vec()))), (3, b"bad", None)]
    {
        let mut command = call(cluster.id(sequence), 1, COUNTER, REINITIALIZE);
        if let Command::Call { arguments: field, .. } = &mut command {
            *field = Bytes::from_static(arguments);
        }
        let replies = cluster.apply(vec![command]).replies;
        let [Completed::Call { result, .. }] = &replies[..] else { panic!("{replies:?}") };
        match expected {
            Some(answer) => assert_eq!(*result, Ok(answer)),
            None => assert!(matches!(result, Err(CallError::Trapped { .. })), "{result:?}"),
        }
        assert_eq!(cluster.counter().value, 1);
    }
    assert!(matches!(cluster.call_object(ObjectId(9), 4, 3, REINITIALIZE), Err(CallError::UnknownObject { .. })));
}

#[test]
fn starting_a_suspended_object_anew_lets_it_go_on() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![load("deaf", b"deaf")]);
    let first = cluster.session;
    cluster.call_object(OTHER, 1, 0, "add").unwrap();
    cluster.session = cluster.open(2);
    cluster.apply(vec![Command::CloseSession { session: first }]);
    assert!(matches!(cluster.call_object(OTHER, 1, 0, "add"), Err(CallError::Suspended { .. })));
    assert_eq!(cluster.call_object(OTHER, 2, 1, REINITIALIZE), Ok(Answer::Returned(vec![])));
    assert_eq!(cluster.call_object(OTHER, 3, 2, "add"), returned(1));
}

#[test]
fn whoever_has_the_secret_goes_on_with_a_session_and_nobody_else_does() {
    let mut cluster = two();
    let session = cluster.session;
    cluster.call(1, 0, "add").unwrap();
    let waits = cluster.id(2);
    cluster.apply(vec![call(waits, 0, COUNTER, "wait")]);
    assert_eq!(cluster.resume(session, 7, 50), Err(CallError::SessionGone { session }), "the secret is 1");
    assert_eq!(cluster.counter().waiters, [waits]);
    let first = cluster.resume(session, 1, 50).unwrap();
    assert_eq!(first, 1 << 32);
    assert_eq!(cluster.counter().waiters, [], "nobody is left to be answered");
    assert_eq!(cluster.resume(session, 1, 50), Ok(first), "a retry");
    assert_eq!(cluster.call(first, first - 1, "add"), returned(3));
    for old in [1, 2, 3] {
        let refused = CallError::Acknowledged { call: cluster.id(old), floor: first - 1 };
        assert_eq!(cluster.call(old, 0, "add"), Err(refused), "{old}");
    }
    assert_eq!(cluster.resume(session, 1, 51), Ok(2 << 32), "another one");
    assert_eq!(cluster.resume(session, 1, 52), Ok(3 << 32), "and one more, though nothing was called");
    assert_eq!(cluster.resume(session, 1, 51), Ok(4 << 32), "the first is nobody any more");
    assert!(matches!(cluster.call(first, 0, "add"), Err(CallError::Acknowledged { .. })));
    cluster.apply(vec![Command::CloseSession { session }]);
    assert_eq!(cluster.resume(session, 1, 51), Err(CallError::SessionGone { session }));
}

#[test]
fn sessions_are_listed_with_what_they_have() {
    let mut cluster = two();
    let first = cluster.session;
    cluster.call(1, 0, "add").unwrap();
    cluster.call_object(OTHER, 2, 0, "add").unwrap();
    cluster.apply(vec![call(cluster.id(3), 1, COUNTER, "wait")]);
    let second = cluster.open(2);
    let list = |cluster: &mut Cluster, after| match cluster.ask(4, Ask::Sessions { after }) {
        Some(Response::Sessions { request: 4, result: Ok(list) }) => list,
        other => panic!("{other:?}"),
    };
    let all = list(&mut cluster, None);
    assert_eq!((all.now, all.more), (cluster.stamp, false));
    let [one, other] = &all.sessions[..] else { panic!("{all:?}") };
    assert_eq!((one.session, one.ttl_ms, one.waiting, one.kept, one.objects), (first, SESSION_TTL_MS, 1, 1, 2));
    assert_eq!((other.session, other.waiting, other.kept, other.objects), (second, 0, 0, 0));
    assert_eq!(list(&mut cluster, Some(first)).sessions, all.sessions[1..]);
}
