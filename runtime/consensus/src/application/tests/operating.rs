//! What operators do with objects, and what becomes of objects where nobody waits.

use concoord_wire::compatibility::{Change, Difference};

use super::*;
use crate::application::module_hash;
use crate::limits::{OBJECTS_MAX, OPERATIONS_KEPT_MAX, SESSION_ENDS_TOLD_MAX, VERSIONS_KEPT_MAX};

fn upgrade(object: ObjectId, based_on: u64, module: &'static [u8]) -> ObjectAction {
    let module = Bytes::from_static(module);
    ObjectAction::Upgrade { object, based_on, module, limits: None, allow_breaking: false }
}

fn breaking() -> Change {
    Change { method: "add".into(), what: Difference::Removed }
}

impl Cluster {
    fn state(&mut self, name: &str) -> ObjectState {
        let mut list = self.objects(Some(name)).unwrap();
        assert_eq!(list.objects.len(), 1);
        list.objects.remove(0)
    }

    fn try_upgrade(&mut self, object: ObjectId, module: &'static [u8]) -> OperationResult {
        let ask = Ask::Try { object, module: Bytes::from_static(module), limits: None };
        match self.ask(7, ask) {
            Some(Response::Operated { request: 7, result }) => result,
            other => panic!("{other:?}"),
        }
    }

    fn again(&mut self) {
        let bytes = self.application.snapshot().unwrap();
        self.application = Application::restore(ClusterId(7), Native::default(), &bytes).unwrap();
    }
}

#[test]
fn a_retried_action_finds_what_the_first_came_to_and_happens_once() {
    let mut cluster = Cluster::new();
    let loaded = cluster.operate(7, load_action("second", b"counter"));
    assert_eq!(loaded, Ok(operated(2, 1)));
    assert_eq!(cluster.operate(7, load_action("second", b"counter")), loaded, "not: the name is taken");
    let upgraded = cluster.operate(8, upgrade(COUNTER, 1, b"more"));
    assert_eq!(upgraded, Ok(operated(1, 2)));
    cluster.again();
    assert_eq!(cluster.operate(8, upgrade(COUNTER, 1, b"more")), upgraded);
    assert_eq!(cluster.state("counter").generation, 2);
    let refused = cluster.operate(9, upgrade(COUNTER, 2, b"refused"));
    assert!(matches!(refused, Err(ObjectError::Refused { .. })));
    assert_eq!(cluster.operate(9, ObjectAction::Remove { object: COUNTER }), refused, "whatever the retry asks for");
    let removed = cluster.operate(10, ObjectAction::Remove { object: ObjectId(2) });
    assert_eq!(cluster.operate(10, ObjectAction::Remove { object: ObjectId(2) }), removed);
}

#[test]
fn what_is_too_old_for_a_retry_is_told_by_what_it_did() {
    let mut cluster = Cluster::new();
    cluster.operate(1, load_action("a", b"counter")).unwrap();
    cluster.operate(2, upgrade(ObjectId(2), 1, b"more")).unwrap();
    let resume = ObjectAction::Resume { object: COUNTER };
    cluster.apply((10..).take(OPERATIONS_KEPT_MAX).map(|nonce| operate(nonce, resume.clone())).collect());
    let taken = ObjectError::NameTaken { name: "a".into(), object: ObjectId(2) };
    assert_eq!(cluster.operate(1, load_action("a", b"counter")), Err(taken));
    let gone_on = ObjectError::OtherGeneration { name: "a".into(), generation: 2, based_on: 1 };
    assert_eq!(cluster.operate(2, upgrade(ObjectId(2), 1, b"more")), Err(gone_on));
}

#[test]
fn an_upgrade_keeps_the_state_and_a_rollback_goes_back() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    let limits = ObjectLimits { gas_per_call: 5, memory_pages: 6 };
    let module = Bytes::from_static(b"more");
    let action =
        ObjectAction::Upgrade { object: COUNTER, based_on: 1, module, limits: Some(limits), allow_breaking: false };
    assert_eq!(cluster.operate(1, action), Ok(operated(1, 2)));
    assert_eq!(cluster.call(2, 0, "extra"), returned(2), "a new method on the old state");
    let state = cluster.state("counter");
    let hashes = [module_hash(b"counter"), module_hash(b"more")];
    assert_eq!((state.generation, state.module, state.previous), (2, hashes[1], Some(hashes[0])));
    assert_eq!((state.limits, state.loaded, state.versions), (limits, Slot(1), hashes.to_vec()));
    assert_eq!(state.changed, Slot(4));
    assert_eq!(cluster.describe(Some("counter")).unwrap().generation, 2);

    cluster.again();
    let back = cluster.operate(2, ObjectAction::Rollback { object: COUNTER, based_on: 2 });
    let removed = Change { method: "extra".into(), what: Difference::Removed };
    assert_eq!(back, Ok(Operated { changes: vec![removed], ..operated(1, 3) }), "let through, and told");
    assert_eq!(cluster.call(3, 0, "add"), returned(3));
    assert!(matches!(cluster.call(4, 0, "extra"), Err(CallError::UnknownMethod { .. })));
    let state = cluster.state("counter");
    assert_eq!((state.module, state.previous, state.limits), (hashes[0], Some(hashes[1]), ObjectLimits::default()));
    assert_eq!(state.versions, hashes, "each module once");
    let none = cluster.operate(3, load_action("new", b"counter"));
    assert_eq!(none, Ok(operated(2, 1)));
    let no_previous = ObjectError::NoPrevious { name: "new".into() };
    let rollback = ObjectAction::Rollback { object: ObjectId(2), based_on: 1 };
    assert_eq!(cluster.operate(4, rollback), Err(no_previous));
}

#[test]
fn an_upgrade_that_does_not_work_changes_nothing() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    let before = (cluster.state("counter"), cluster.counter().inputs.clone());
    let refused = |why: &str| Err(ObjectError::Refused { why: why.into() });
    assert_eq!(cluster.operate(1, upgrade(COUNTER, 1, b"refused")), refused("has imports"));
    assert_eq!(cluster.operate(2, upgrade(COUNTER, 1, b"forgetful")), refused("it does not import the state"));
    assert!(matches!(cluster.operate(3, upgrade(COUNTER, 1, b"garbled")), Err(ObjectError::Refused { .. })));
    let breaks = Err(ObjectError::Breaking { changes: vec![breaking()], more: 0 });
    assert_eq!(cluster.operate(4, upgrade(COUNTER, 1, b"less")), breaks);
    let other = ObjectError::OtherGeneration { name: "counter".into(), generation: 1, based_on: 2 };
    assert_eq!(cluster.operate(5, upgrade(COUNTER, 2, b"more")), Err(other));
    let unknown = cluster.operate(6, upgrade(ObjectId(9), 1, b"more"));
    assert!(matches!(unknown, Err(ObjectError::Call(CallError::UnknownObject { name, .. })) if name == "#9"));
    assert_eq!((cluster.state("counter"), cluster.counter().inputs.clone()), before);
    assert_eq!(cluster.call(2, 0, "add"), returned(2));

    let module = Bytes::from_static(b"less");
    let anyway = ObjectAction::Upgrade { object: COUNTER, based_on: 1, module, limits: None, allow_breaking: true };
    assert_eq!(cluster.operate(7, anyway), Ok(Operated { changes: vec![breaking()], ..operated(1, 2) }));
    assert!(matches!(cluster.call(3, 0, "add"), Err(CallError::UnknownMethod { .. })));
}

#[test]
fn a_trial_says_what_an_upgrade_would_come_to_and_changes_nothing() {
    let mut cluster = Cluster::new();
    cluster.call(1, 0, "add").unwrap();
    let before = cluster.application.state_hash();
    assert_eq!(cluster.try_upgrade(COUNTER, b"more"), Ok(operated(1, 2)));
    assert_eq!(cluster.try_upgrade(COUNTER, b"less"), Ok(Operated { changes: vec![breaking()], ..operated(1, 2) }));
    assert!(matches!(cluster.try_upgrade(COUNTER, b"forgetful"), Err(ObjectError::Refused { .. })));
    assert!(matches!(cluster.try_upgrade(ObjectId(3), b"more"), Err(ObjectError::Call(_))));
    assert_eq!(cluster.application.state_hash(), before);
    assert_eq!(cluster.call(2, 0, "add"), returned(2));
    let ask = Ask::Try { object: COUNTER, module: Bytes::from_static(b"host"), limits: None };
    let host = Question { client: ClientToken(2), request: 7, ask };
    assert!(matches!(cluster.application.ask(&host), Err(HostFault::Object { .. })));
}

#[test]
fn a_removed_object_frees_its_name_and_never_its_id() {
    let mut cluster = Cluster::new();
    cluster.operate(1, load_action("second", b"counter")).unwrap();
    assert_eq!(cluster.call_object(ObjectId(2), 1, 0, "add"), returned(1));
    assert_eq!(cluster.operate(2, ObjectAction::Remove { object: COUNTER }), Ok(operated(1, 1)));
    assert!(matches!(cluster.call(2, 0, "add"), Err(CallError::UnknownObject { name, .. }) if name == "#1"));
    assert!(matches!(cluster.query(COUNTER, "read"), Err(CallError::UnknownObject { .. })));
    assert_eq!(cluster.call_object(ObjectId(2), 3, 0, "add"), returned(2), "its session goes on");
    assert_eq!(cluster.describe(None).unwrap().name, "second", "the first that is left");
    assert_eq!(cluster.operate(3, load_action("counter", b"counter")), Ok(operated(3, 1)));
    cluster.again();
    cluster.operate(4, ObjectAction::Remove { object: ObjectId(3) }).unwrap();
    assert_eq!(cluster.operate(5, load_action("counter", b"counter")), Ok(operated(4, 1)));
    let gone = cluster.operate(6, ObjectAction::Remove { object: ObjectId(3) });
    assert!(matches!(gone, Err(ObjectError::Call(CallError::UnknownObject { .. }))));
}

#[test]
fn objects_that_a_session_called_are_told_of_its_end_once() {
    let mut cluster = Cluster::new();
    cluster.operate(1, load_action("called", b"counter")).unwrap();
    cluster.operate(2, load_action("not called", b"counter")).unwrap();
    cluster.call_object(ObjectId(2), 1, 0, "add").unwrap();
    cluster.call_object(ObjectId(3), 2, 0, "none").unwrap_err();
    let session = cluster.session;
    let inputs = |cluster: &Cluster| {
        [1, 2, 3].map(|object| cluster.application.objects().counters[&ObjectId(object)].inputs.len())
    };
    assert_eq!(inputs(&cluster), [1, 2, 1]);
    cluster.again();
    cluster.apply(vec![Command::CloseSession { session }]);
    assert_eq!(inputs(&cluster), [1, 3, 1]);
    let told = *cluster.application.objects().counters[&ObjectId(2)].inputs.last().unwrap();
    assert_eq!((told.3, told.4), (None, Some(session)));
    cluster.apply(vec![Command::CloseSession { session }]);
    assert_eq!(inputs(&cluster), [1, 3, 1]);

    cluster.session = cluster.open(5);
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    cluster.stamp = Timestamp(cluster.stamp.0 + TTL_US + SECOND_US);
    cluster.apply(vec![]);
    assert_eq!(inputs(&cluster), [3, 3, 1], "silence ends a session too");
}

#[test]
fn ends_of_sessions_are_told_in_bounded_batches() {
    let mut cluster = Cluster::new();
    let many = SESSION_ENDS_TOLD_MAX + 10;
    let sessions = (0..many).map(|nonce| cluster.open(100 + nonce as u128)).collect::<Vec<_>>();
    let calls = sessions.iter().map(|session| call(CallId { session: *session, sequence: 1 }, 0, COUNTER, "add"));
    cluster.apply(calls.collect());
    let before = cluster.counter().inputs.len();
    cluster.stamp = Timestamp(cluster.stamp.0 + TTL_US + SECOND_US);
    cluster.apply(vec![]);
    assert_eq!(cluster.counter().inputs.len() - before, SESSION_ENDS_TOLD_MAX);
    cluster.again();
    cluster.apply(vec![]);
    assert_eq!(cluster.counter().inputs.len() - before, many);
}

#[test]
fn a_trap_where_nobody_waits_suspends_the_object_until_it_is_resumed_or_upgraded() {
    let mut cluster = Cluster::empty();
    cluster.operate(1, load_action("counter", b"deaf")).unwrap();
    let (ended, other) = (cluster.open(1), cluster.open(2));
    cluster.session = ended;
    assert_eq!(cluster.call(1, 0, "add"), returned(1));
    cluster.session = other;
    assert_eq!(cluster.call(1, 0, "add"), returned(2));
    let notices = cluster.apply(vec![Command::CloseSession { session: ended }]).notices;
    let why = format!("told of the end of session {ended}, it trapped: what session?");
    assert_eq!(notices, [Notice::Suspended { object: "counter".into(), why: why.clone() }]);
    assert_eq!(cluster.state("counter").suspended.as_ref(), Some(&why));

    cluster.again();
    let suspended = Err(CallError::Suspended { object: "counter".into(), why: why.clone() });
    assert_eq!(cluster.call(2, 0, "add"), suspended);
    assert_eq!(cluster.call(2, 0, "add"), suspended, "which is this call's reply");
    assert_eq!(cluster.query(COUNTER, "read"), suspended);
    assert!(matches!(cluster.call(3, 0, "none"), Err(CallError::UnknownMethod { .. })));

    // Resumed, it is told again, and is suspended again.
    assert_eq!(cluster.operate(2, ObjectAction::Resume { object: COUNTER }), Ok(operated(1, 1)));
    assert_eq!(cluster.call(4, 0, "add"), suspended);
    // A session that ends meanwhile waits with the first.
    cluster.apply(vec![Command::CloseSession { session: other }]);
    assert_eq!(cluster.state("counter").suspended.as_ref(), Some(&why));
    cluster.again();
    let before = cluster.counter().inputs.len();
    assert_eq!(cluster.operate(3, upgrade(COUNTER, 1, b"counter")), Ok(operated(1, 2)));
    assert_eq!(cluster.state("counter").suspended, None);
    let told = cluster.counter().inputs[before..].iter().map(|input| input.4).collect::<Vec<_>>();
    assert_eq!(told, [Some(ended), Some(other)], "what hears is told at last");
    cluster.session = cluster.open(3);
    assert_eq!(cluster.call(1, 0, "add"), returned(3));
    assert_eq!(cluster.operate(4, ObjectAction::Resume { object: COUNTER }), Ok(operated(1, 2)), "no harm");
}

#[test]
fn objects_and_versions_are_bounded() {
    let mut cluster = Cluster::empty();
    let loads = (0..OBJECTS_MAX).map(|number| operate(number as u128, load_action(&number.to_string(), b"counter")));
    cluster.apply(loads.collect());
    let too_many = ObjectError::TooMany { limit: OBJECTS_MAX as u64 };
    assert_eq!(cluster.operate(u128::MAX, load_action("more", b"counter")), Err(too_many));
    for generation in 1..=VERSIONS_KEPT_MAX as u64 {
        let module = Bytes::from(format!("counter {generation}"));
        let action = ObjectAction::Upgrade {
            object: COUNTER,
            based_on: generation,
            module,
            limits: None,
            allow_breaking: false,
        };
        cluster.operate(u128::MAX - u128::from(generation), action).unwrap();
    }
    let versions = cluster.state("0").versions;
    assert_eq!(versions.len(), VERSIONS_KEPT_MAX);
    assert_eq!(versions[0], module_hash(b"counter 1"), "the newest are kept");
    cluster.again();
}
