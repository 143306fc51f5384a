//! An object's state as bytes: restored elsewhere it is the same object, and what is no state is refused.

mod support;

use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::{Executor, Limits};
use concoord_wire::abi::ObjectLimits;
use concoord_wire::codec;
use support::guest::{GROW, PAGES_MAX, PANIC, STATE, command, loaded, module, number, state_after};
use support::{call, object, returned, update};
use xxhash_rust::xxh3::xxh3_64;

const COUNTER: &[u8] = include_bytes!("../../../objects-wasm/dist/counter.wasm");

fn executor() -> Executor {
    let limits = Limits { memory_pages: PAGES_MAX, ..Limits::default() };
    Executor::with_limits(limits).expect("a host that runs Wasm")
}

#[test]
fn a_restored_counter_goes_on_counting() {
    let (mut one, mut other, id) = (Executor::new().unwrap(), Executor::new().unwrap(), object(1));
    let interface = one.load(id, COUNTER, ObjectLimits::default()).unwrap();
    one.invoke(id, &support::input(concoord_wire::abi::Trigger::Init), &[], &|_| Ok(())).unwrap();
    for _ in 0..300 {
        update(&mut one, id, "increment", &[]).unwrap();
    }
    let state = one.snapshot(id).unwrap();
    assert!(state.len() < 32 << 10, "{} bytes for a memory that is mostly zero", state.len());
    assert_eq!(other.restore(id, COUNTER, ObjectLimits::default(), &state), Ok(interface));
    for count in 301_i64..400 {
        assert_eq!(one.state_hash(id), other.state_hash(id));
        for executor in [&mut one, &mut other] {
            assert_eq!(codec::from_bytes(&returned(executor.query(id, &call("getvalue"), &[]))), Ok(count - 1));
            assert_eq!(codec::from_bytes(&returned(update(executor, id, "increment", &[]))), Ok(count));
        }
    }
    assert_eq!(one.snapshot(id), other.snapshot(id));
}

#[test]
fn memory_pages_and_globals_are_restored() {
    let (mut one, id) = loaded();
    for what in [STATE, GROW, STATE, GROW] {
        command(&mut one, what).expect("kept");
    }
    let (state, hash) = (one.snapshot(id).unwrap(), one.state_hash(id));
    assert_eq!(one.snapshot(id).as_ref(), Ok(&state), "reading the state leaves no trace");
    let mut other = executor();
    other.restore(id, &module(), ObjectLimits::default(), &state).unwrap();
    assert_eq!(other.state_hash(id), hash);
    assert!(command(&mut other, PANIC).is_err());
    assert_eq!(other.state_hash(id), hash);
    assert_eq!(number(command(&mut other, GROW)), 3, "the page count before it grew");
    assert_eq!(number(command(&mut one, GROW)), 3);
    assert_eq!(number(command(&mut other, STATE)), state_after(6));
    assert_eq!(number(command(&mut one, STATE)), state_after(6));
    assert_eq!(one.snapshot(id), other.snapshot(id));
}

/// Neither the module's data nor its constructors write into what is restored.
#[test]
fn an_object_is_restored_to_what_the_state_says_and_nothing_else() {
    let (mut executor, id) = loaded();
    let full = executor.snapshot(id).unwrap();
    let mut empty = full[..9 + 3 * 8].to_vec();
    empty.extend([0; 4]);
    assert_eq!(
        executor.restore(object(2), &module(), ObjectLimits::default(), &empty).as_ref(),
        Ok(&executor.load(id, &module(), ObjectLimits::default()).unwrap())
    );
    assert_eq!(executor.snapshot(object(2)), Ok(empty));
    assert_ne!(executor.state_hash(object(2)), executor.state_hash(id));
}

#[test]
fn what_is_no_state_of_the_module_is_refused() {
    let (mut executor, id) = loaded();
    command(&mut executor, GROW).expect("a second page");
    let state = executor.snapshot(id).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut state = state.clone();
        state[at..at + bytes.len()].copy_from_slice(bytes);
        state
    };
    let cases = [
        (with(1, &0_u32.to_le_bytes()), "outside the memory of 0 blocks"),
        (with(1, &(PAGES_MAX + 1).to_le_bytes()), "6 pages of memory, but the module allows 1 to 5"),
        (with(1, &u32::MAX.to_le_bytes()), "4294967295 pages of memory"),
        (with(17, &[1; 8]), "global 1 of its state is 0x101010101010101, which is no f32"),
        (state[..state.len() - 1].to_vec(), "its state ends within its memory"),
        (Vec::new(), "its state ends within its version"),
    ];
    for (bytes, words) in cases {
        let fault = executor.restore(object(2), &module(), ObjectLimits::default(), &bytes);
        assert!(matches!(&fault, Err(Fault::Refused(why)) if why.contains(words)), "{fault:?} instead of {words}");
        assert_eq!(executor.state_hash(object(2)), None, "nothing is left of it");
    }
    let other = executor.restore(object(2), COUNTER, ObjectLimits::default(), &state);
    assert!(matches!(&other, Err(Fault::Refused(why)) if why.contains("its state has")), "{other:?}");
    let text = executor.restore(object(2), b"text", ObjectLimits::default(), &state);
    assert!(matches!(text, Err(Fault::Refused(_))), "{text:?}");
    assert!(matches!(executor.snapshot(object(2)), Err(Fault::Host(_))));
}

#[test]
fn damaged_states_are_refused_or_restored_as_they_are() {
    let (mut executor, id) = loaded();
    command(&mut executor, STATE).expect("kept");
    let (state, module) = (executor.snapshot(id).unwrap(), module());
    for length in 0..state.len() {
        let cut = executor.restore(object(2), &module, ObjectLimits::default(), &state[..length]);
        assert!(matches!(cut, Err(Fault::Refused(_))), "cut at {length}: {cut:?}");
    }
    let (mut refused, mut restored) = (0, 0);
    for round in 0..3000_u64 {
        let drawn = xxh3_64(&round.to_le_bytes());
        let mut damaged = state.clone();
        // Half of them near the beginning, where the numbers stand.
        let range = if round % 2 == 0 { 48 } else { state.len() };
        damaged[(drawn >> 16) as usize % range] ^= 1 << (drawn % 8);
        match executor.restore(object(2), &module, ObjectLimits::default(), &damaged) {
            Ok(_) => {
                assert_eq!(executor.snapshot(object(2)), Ok(damaged));
                restored += 1;
            }
            Err(Fault::Refused(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 300 && restored > 300, "{refused} refused, {restored} restored");
}
