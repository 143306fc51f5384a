//! The standard counter as Wasm, and that replicas which run the same calls hold the same state.

mod support;

use concoord_consensus::objects::Objects;
use concoord_executor::{Executor, InProcess};
use concoord_wire::abi::{Answer, ObjectLimits, Outcome, Rejection, Reply, Trigger};
use concoord_wire::codec;
use concoord_wire::interface::{Interface, MethodKind};
use support::{call, input, object, returned, update};

const COUNTER: &[u8] = include_bytes!("../../../objects-wasm/dist/counter.wasm");

fn counting() -> Executor {
    let mut executor = Executor::new().expect("a host that runs Wasm");
    let description = executor.load(object(1), COUNTER, ObjectLimits::default()).expect("the counter loads");
    assert_eq!(
        Interface::decode(&description).as_ref(),
        Ok(&concoord_executor::describe(COUNTER, &InProcess).expect("described"))
    );
    let init = executor.invoke(object(1), &input(Trigger::Init), &[], &|_| Ok(()));
    assert!(matches!(init, Ok(Outcome { reply: Reply::None | Reply::Now(Answer::Returned(_)), .. })), "{init:?}");
    executor
}

fn value(outcome: Result<Outcome, concoord_consensus::objects::Fault>) -> i64 {
    codec::from_bytes(&returned(outcome)).expect("an i64")
}

#[test]
fn the_counter_counts() {
    let (mut executor, id) = (counting(), object(1));
    for expected in [1, 2, 3] {
        assert_eq!(value(update(&mut executor, id, "increment", &[])), expected);
    }
    assert_eq!(value(update(&mut executor, id, "decrement", &[])), 2);
    assert_eq!(value(executor.query(id, &call("getvalue"), &[])), 2);
}

#[test]
fn the_counter_describes_itself() {
    let interface = concoord_executor::describe(COUNTER, &InProcess).expect("described");
    assert_eq!(interface.name, "Counter");
    let kind = |name: &str| interface.method(name).map(|method| method.kind);
    assert_eq!(kind("increment"), Some(MethodKind::Update));
    assert_eq!(kind("decrement"), Some(MethodKind::Update));
    assert_eq!(kind("getvalue"), Some(MethodKind::Query));
}

#[test]
fn wrong_calls_are_rejected_by_the_object_itself() {
    let (mut executor, id) = (counting(), object(1));
    let rejection = |outcome| match outcome {
        Ok(Outcome { reply: Reply::Now(Answer::Rejected(rejection)), .. }) => rejection,
        other => panic!("not rejected: {other:?}"),
    };
    assert_eq!(rejection(update(&mut executor, id, "multiply", &[])), Rejection::UnknownMethod);
    assert!(matches!(rejection(update(&mut executor, id, "increment", &[1, 2])), Rejection::Arguments(_)));
    assert_eq!(value(update(&mut executor, id, "increment", &[])), 1, "and nothing was counted");
}

#[test]
fn queries_on_one_replica_make_no_difference_between_replicas() {
    let (mut one, mut other, id) = (counting(), counting(), object(1));
    for round in 0..20 {
        for _ in 0..round {
            assert_eq!(value(one.query(id, &call("getvalue"), &[])), round);
        }
        assert_eq!(value(update(&mut one, id, "increment", &[])), round + 1);
        assert_eq!(value(update(&mut other, id, "increment", &[])), round + 1);
        assert_eq!(one.state_hash(id), other.state_hash(id));
    }
}
