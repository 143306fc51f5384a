//! An upgrade takes the state over as a whole, or leaves the object as it was, bit for bit.

mod support;

use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::Executor;
use concoord_wire::abi::{ObjectLimits, Trigger};
use concoord_wire::codec;
use concoord_wire::interface::Interface;
use support::guest;
use support::{call, input, object, returned, update};

const COUNTER: &[u8] = include_bytes!("../../../objects-wasm/dist/counter.wasm");

/// A counter that was incremented three times.
fn counting() -> Executor {
    let mut executor = Executor::new().expect("a host that runs Wasm");
    executor.load(object(1), COUNTER, ObjectLimits::default()).expect("the counter loads");
    executor.invoke(object(1), &input(Trigger::Init), &[], &|_| Ok(())).expect("it starts");
    for _ in 0..3 {
        update(&mut executor, object(1), "increment", &[]).expect("it counts");
    }
    executor
}

fn value(executor: &mut Executor) -> i64 {
    codec::from_bytes(&returned(executor.query(object(1), &call("getvalue"), &[]))).expect("an i64")
}

/// The guest with another export or import.
fn guest_with(export: &str, import: &str) -> Vec<u8> {
    let text = guest::text()
        .replace(
            r#"(func (export "concoord_export") (result i64) (i64.const 0))"#,
            &format!(r#"(func (export "concoord_export") (result i64) {export})"#),
        )
        .replace(
            r#"(func (export "concoord_import") (param i32) (result i64) (i64.const 0))"#,
            &format!(r#"(func (export "concoord_import") (param i32) (result i64) {import})"#),
        );
    assert_ne!(text, guest::text());
    guest::assemble(&text)
}

#[test]
fn the_new_instance_goes_on_with_the_state() {
    let mut executor = counting();
    let mut asked = None;
    let interface = executor.upgrade(object(1), COUNTER, ObjectLimits::default(), &mut |interface| {
        asked = Some(Interface::decode(interface));
        true
    });
    let described = concoord_executor::describe(COUNTER, &concoord_executor::InProcess).expect("described");
    assert_eq!(Interface::decode(&interface.expect("it takes its own state over")).as_ref(), Ok(&described));
    assert_eq!(asked, Some(Ok(described)));
    assert_eq!(value(&mut executor), 3);
    assert_eq!(codec::from_bytes(&returned(update(&mut executor, object(1), "increment", &[]))), Ok(4_i64));
}

#[test]
fn an_upgrade_that_is_only_tried_changes_nothing() {
    let mut executor = counting();
    let before = (executor.state_hash(object(1)), executor.snapshot(object(1)));
    executor.upgrade(object(1), COUNTER, ObjectLimits::default(), &mut |_| false).expect("it could be done");
    assert_eq!((executor.state_hash(object(1)), executor.snapshot(object(1))), before);
    assert_eq!(value(&mut executor), 3);
}

#[test]
fn an_upgrade_that_fails_changes_nothing_and_says_why() {
    // Err("too old") at 7500.
    let says_no = "(i32.store (i32.const 7500) (i32.const 0x6f740701)) (i64.store (i32.const 7504) \
                   (i64.const 0x646c6f206f)) (i64.const 0x1d4c_0000_0009)";
    let cases = [
        (guest_with("(i64.const 0)", "unreachable"), "the new module's import trapped"),
        (guest_with("(i64.const 0)", says_no), "too old"),
        (guest::module(), "the new module's import broke the object ABI: its answer is none"),
        (b"not wasm".to_vec(), ""),
    ];
    for (module, expected) in cases {
        let mut executor = counting();
        let before = (executor.state_hash(object(1)), executor.snapshot(object(1)));
        let mut asked = false;
        let failed = executor.upgrade(object(1), &module, ObjectLimits::default(), &mut |_| {
            asked = true;
            true
        });
        let Err(Fault::Refused(why)) = failed else { panic!("{failed:?}") };
        assert!(why.contains(expected) && !asked, "{why}");
        assert_eq!((executor.state_hash(object(1)), executor.snapshot(object(1))), before, "{expected}");
        assert_eq!(value(&mut executor), 3);
    }
}

#[test]
fn an_export_that_traps_or_writes_leaves_the_object_as_it_was() {
    let writes = "(call $scribble) (drop (memory.grow (i32.const 1))) (i64.const 0x1388_0000_0008)";
    for (export, expected) in [("(call $scribble) unreachable", "its export trapped"), (writes, "")] {
        let mut executor = Executor::new().expect("a host that runs Wasm");
        let module = guest_with(export, "(i64.const 0x1d4c_0000_0001)");
        executor.load(object(1), &module, ObjectLimits::default()).expect("the guest loads");
        guest::number(guest::command(&mut executor, guest::STATE));
        let before = (executor.state_hash(object(1)), executor.snapshot(object(1)));
        let tried = executor.upgrade(object(1), &module, ObjectLimits::default(), &mut |_| false);
        match tried {
            Ok(_) => assert_eq!(expected, ""),
            Err(Fault::Refused(why)) => assert!(!expected.is_empty() && why.contains(expected), "{why}"),
            Err(other) => panic!("{other}"),
        }
        assert_eq!((executor.state_hash(object(1)), executor.snapshot(object(1))), before);
        assert_eq!(guest::number(guest::command(&mut executor, guest::STATE)), guest::state_after(2));
    }
}
