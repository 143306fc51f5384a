//! What an object can and can't do to its state and to its host, shown with a guest made to misbehave.

mod support;

use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::{DescribeError, Executor, InProcess};
use concoord_module::DEPTH_MAX;
use concoord_wire::abi::{LimitKind, LimitReached, ObjectLimits};
use concoord_wire::codec;
use concoord_wire::limits::{GAS_PER_CALL, OUTCOME_BYTES_MAX};
use support::guest::{
    GROW, PAGES_MAX, PANIC, STATE, assemble, command, escaped, interface, loaded, module, number, state_after, text,
};
use support::{call, object, update};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const GROW_PANIC: u8 = 2;
const LOAD: u8 = 3;
const DIVIDE: u8 = 4;
const INDIRECT: u8 = 5;
const OUTSIDE: u8 = 6;
const OVERSIZE: u8 = 7;
const GARBAGE: u8 = 8;
const TRAILING: u8 = 9;
const GROW_ALL: u8 = 11;
const SPIN: u8 = 12;
const RECURSION: u8 = 13;
const NAN: u8 = 14;
const SILENT: u8 = 15;

#[test]
fn updates_are_kept() {
    let (mut executor, _) = loaded();
    for kept in 1..=3 {
        assert_eq!(number(command(&mut executor, STATE)), state_after(kept));
    }
}

#[test]
fn loading_runs_constructors_and_describing_leaves_no_trace() {
    let (mut executor, id) = loaded();
    let mut state = 1_u64.to_le_bytes().to_vec();
    let mut memory = vec![0; 65_536];
    let description = codec::to_bytes(&interface());
    memory[3000..3015].copy_from_slice(b"\x01\0\x08........\0\0\0\0");
    memory[3100..3108].copy_from_slice(b"\x07garbage");
    memory[3205] = 0x2a;
    memory[2500..2530].copy_from_slice(b"no more apples, at guest.wat:1");
    memory[4000..4000 + description.len()].copy_from_slice(&description);
    memory[5000] = 11;
    let pages = (0..).zip(memory.chunks(512)).filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let sum = pages.fold(0_u64, |sum, (number, page)| sum.wrapping_add(xxh3_64_with_seed(page, number)));
    for global in [sum, 0, u64::from(0.5_f32.to_bits()), 0.25_f64.to_bits()] {
        state.extend(global.to_le_bytes());
    }
    assert_eq!(executor.state_hash(id), Some(xxh3_64(&state)), "pages, memory and globals, and nothing else");
    assert_eq!(executor.state_hash(object(2)), None);
}

#[test]
fn a_trapped_update_changes_nothing() {
    let (mut executor, id) = loaded();
    command(&mut executor, STATE).expect("kept");
    let before = executor.state_hash(id);
    let trapped = |text: &str| Fault::Trapped(text.into());
    let cases = [
        (PANIC, trapped("panicked: no more apples, at guest.wat:1")),
        (GROW_PANIC, trapped("panicked: no more apples, at guest.wat:1")),
        (SILENT, trapped("stopped itself (unreachable)")),
        (LOAD, trapped("access outside its memory")),
        (DIVIDE, trapped("integer division by zero")),
        (INDIRECT, trapped("call of a null function pointer")),
    ];
    for (what, fault) in cases {
        assert_eq!(command(&mut executor, what), Err(fault));
        assert_eq!(executor.state_hash(id), before, "after command {what}");
    }
    assert_eq!(number(command(&mut executor, STATE)), state_after(2), "and it goes on");
}

#[test]
fn a_query_leaves_no_trace_though_it_writes() {
    let (mut executor, id) = loaded();
    command(&mut executor, STATE).expect("kept");
    let before = executor.state_hash(id);
    for what in [STATE, STATE, GROW, STATE, PANIC, GROW_PANIC, OUTSIDE, STATE] {
        let outcome = executor.query(id, &call("command"), &[what]);
        match what {
            STATE => assert_eq!(number(outcome), state_after(2), "a query sees its own writes only"),
            GROW => assert_eq!(number(outcome), 1, "the page count before it grew"),
            _ => assert!(outcome.is_err()),
        }
        assert_eq!(executor.state_hash(id), before, "after query {what}");
    }
    assert_eq!(number(command(&mut executor, STATE)), state_after(2));
}

#[test]
fn a_refused_outcome_changes_nothing() {
    let (mut executor, id) = loaded();
    let before = executor.state_hash(id);
    let refused = executor.invoke(id, &call("command"), &[GROW], &|_| Err("not like this".into()));
    assert_eq!(refused, Err(Fault::Misbehaved("not like this".into())));
    assert_eq!(executor.state_hash(id), before);
}

#[test]
fn hostile_outcomes_are_refused_and_change_nothing() {
    let (mut executor, id) = loaded();
    let before = executor.state_hash(id);
    let cases = [
        (OUTSIDE, "outcome of 256 bytes at 0xffffff00, outside its memory of 1 pages"),
        (GARBAGE, "its outcome is none"),
        (TRAILING, "1 bytes left over"),
    ];
    for (what, words) in cases {
        let fault = command(&mut executor, what);
        assert!(matches!(&fault, Err(Fault::Misbehaved(why)) if why.contains(words)), "{fault:?} for {words}");
        assert_eq!(executor.state_hash(id), before, "after command {what}");
    }
    let fault = update(&mut executor, id, "command", &vec![STATE; 60_000]);
    assert!(matches!(&fault, Err(Fault::Misbehaved(why)) if why.contains("input buffer")), "{fault:?}");
    assert_eq!(executor.state_hash(id), before);
    assert_eq!(number(command(&mut executor, STATE)), state_after(1), "and it goes on");
}

#[test]
fn memory_grows_to_the_replicated_cap_whatever_the_module_declares() {
    let (mut executor, _) = loaded();
    for pages in 1..i64::from(PAGES_MAX) {
        assert_eq!(number(command(&mut executor, GROW)), pages);
        assert_eq!(number(command(&mut executor, GROW_ALL)), -1, "beyond all addresses");
    }
    assert_eq!(number(command(&mut executor, GROW)), -1, "beyond the cap");
}

#[test]
fn a_grown_object_is_put_back_with_its_pages() {
    let (mut executor, id) = loaded();
    command(&mut executor, GROW).expect("a second page");
    command(&mut executor, GROW).expect("a third page");
    let before = executor.state_hash(id);
    assert!(command(&mut executor, GROW_PANIC).is_err());
    assert_eq!(executor.state_hash(id), before);
    assert_eq!(number(command(&mut executor, GROW)), 3);
}

#[test]
fn objects_do_not_see_each_other() {
    let (mut executor, first) = loaded();
    let second = object(2);
    executor.load(second, &module(), ObjectLimits::default()).expect("the guest loads");
    let before = executor.state_hash(second);
    assert_eq!(executor.state_hash(first), before, "one module, one state");
    for what in [STATE, PANIC, GROW, GROW_PANIC] {
        let _ = command(&mut executor, what);
        let query = executor.query(second, &call("command"), &[STATE]);
        assert_eq!(number(query), state_after(1));
    }
    assert_eq!(executor.state_hash(second), before);
    executor.remove(first);
    assert_eq!(executor.state_hash(first), None);
    assert!(matches!(command(&mut executor, STATE), Err(Fault::Host(_))));
    assert_eq!(number(update(&mut executor, second, "command", &[STATE])), state_after(1));
}

#[test]
fn results_do_not_depend_on_the_processor() {
    let (mut executor, _) = loaded();
    assert_eq!(number(command(&mut executor, NAN)), 0x7ff8_0000_0000_0000, "one NaN everywhere");
}

#[test]
fn each_limit_that_is_reached_is_named_and_changes_nothing() {
    let (mut executor, id) = loaded();
    let before = executor.state_hash(id);
    let cases = [
        (SPIN, LimitKind::Gas, GAS_PER_CALL),
        (RECURSION, LimitKind::Depth, u64::from(DEPTH_MAX)),
        (OVERSIZE, LimitKind::OutcomeBytes, OUTCOME_BYTES_MAX as u64),
    ];
    for (what, kind, limit) in cases {
        let reached = LimitReached { what: kind, limit };
        assert_eq!(command(&mut executor, what), Err(Fault::Limit(reached)));
        assert_eq!(executor.query(id, &call("command"), &[what]), Err(Fault::Limit(reached)));
        assert_eq!(executor.state_hash(id), before, "after command {what}");
    }
    assert_eq!(number(command(&mut executor, STATE)), state_after(1), "and it goes on");
}

#[test]
fn what_is_no_object_is_refused() {
    let text = text();
    let description = escaped(&codec::to_bytes(&interface()));
    let init = "(i64.store (i32.const 5000) (i64.const 11))";
    let cases = [
        (text.replace("(i32.const 4000) \"", "(i32.const 65530) \""), "has data up to address"),
        (text.replace(init, "unreachable"), "its constructors trapped: stopped itself"),
        (text.replace(init, "(i64.store (i32.const -1) (i64.const 0))"), "trapped: access outside its memory"),
        (text.replace("(i64.const 4000) (i64.const 32)", "(i64.const 999999) (i64.const 32)"), "its description broke"),
        (text.replace(&description, &"\\ff".repeat(20)), "malformed interface"),
        (
            text.replace(
                "(i32.const 1))\n  (global (export \"concoord_panic",
                "(i32.const 2))\n  (global (export \"concoord_panic",
            ),
            "made for object ABI 2",
        ),
    ];
    let mut executor = Executor::new().expect("a host that runs Wasm");
    for (text, words) in cases {
        let fault = executor.load(object(1), &assemble(&text), ObjectLimits::default());
        assert!(matches!(&fault, Err(Fault::Refused(why)) if why.contains(words)), "{fault:?} instead of {words}");
        assert_eq!(executor.state_hash(object(1)), None, "nothing is left of it");
    }
    assert!(matches!(executor.load(object(1), b"text", ObjectLimits::default()), Err(Fault::Refused(_))));
    assert!(matches!(concoord_executor::describe(b"text", &InProcess), Err(DescribeError::Refused(_))));
    assert_eq!(concoord_executor::describe(&module(), &InProcess), Ok(interface()));
}

#[test]
fn who_is_hurried_does_nothing_that_takes_longer_and_the_same_later() {
    let (mut executor, id) = loaded();
    command(&mut executor, STATE).expect("kept");
    let before = executor.state_hash(id);
    executor.hurry(Some(100_000));
    assert_eq!(command(&mut executor, SPIN), Err(Fault::Later));
    assert_eq!(executor.query(id, &call("command"), &[SPIN]), Err(Fault::Later));
    assert_eq!(executor.state_hash(id), before);
    assert_eq!(number(command(&mut executor, STATE)), state_after(2), "what is short is done");
    executor.hurry(Some(100));
    assert_eq!(command(&mut executor, STATE), Err(Fault::Later));
    executor.hurry(None);
    let reached = LimitReached { what: LimitKind::Gas, limit: GAS_PER_CALL };
    assert_eq!(command(&mut executor, SPIN), Err(Fault::Limit(reached)));
    assert_eq!(number(command(&mut executor, STATE)), state_after(3));
}
