//! What can't be shown from outside: time that passes, and the cost of a call without the copy around it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use concoord_wire::abi::{ObjectLimits, Trigger};
use concoord_wire::interface::Interface;
use concoord_wire::{Position, Timestamp, codec};

use super::*;

mod undo;

const COUNTER: &[u8] = include_bytes!("../../../../objects-wasm/dist/counter.wasm");

const SPINNING: &str = r#"(module (memory (export "memory") 1) (global (mut i32) (i32.const 0))
    (global (export "concoord_abi") i32 (i32.const 1)) (data (i32.const 0) "DATA")
    (func (export "concoord_describe") (result i64) (i64.const LENGTH))
    (func (export "concoord_buffer") (param i32) (result i32) (i32.const 1024))
    (func (export "concoord_call") (param i32) (result i64)
        (loop (global.set 0 (i32.add (global.get 0) (i32.const 1))) (br 0)) unreachable)
    (func (export "concoord_export") (result i64) unreachable)
    (func (export "concoord_import") (param i32) (result i64) unreachable))"#;

fn object() -> ObjectId {
    codec::from_bytes(&[1]).expect("an id is a number")
}

fn invocation(trigger: Trigger<'_>) -> Invocation<'_> {
    Invocation { position: Position(1), now: Timestamp(1), seed: 0, call: None, caller: None, trigger }
}

fn spinning() -> Vec<u8> {
    let (name, version, doc) = ("Spin".into(), "1".into(), String::new());
    let description =
        codec::to_bytes(&Interface { name, version, doc, types: vec![], init: vec![], methods: vec![], event: None });
    let data: String = description.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = SPINNING.replace("DATA", &data).replace("LENGTH", &description.len().to_string());
    wat::parse_str(text).expect("a module")
}

/// Time is made to pass by advancing the epoch, as the watchdog's thread does once a second.
#[test]
fn a_call_that_does_not_return_is_ended_as_a_host_fault() {
    let mut executor = Executor::new().unwrap();
    let endless = ObjectLimits { gas_per_call: i64::MAX.cast_unsigned(), ..ObjectLimits::default() };
    executor.load(object(), &spinning(), endless).unwrap();
    let before = executor.state_hash(object());
    let (ended, engine) = (AtomicBool::new(false), executor.engine.clone());
    let fault = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Relaxed) {
                engine.increment_epoch();
                thread::yield_now();
            }
        });
        let fault = executor.invoke(object(), &invocation(Trigger::Call { method: "spin" }), &[], &|_| Ok(()));
        ended.store(true, Relaxed);
        fault
    });
    assert!(matches!(&fault, Err(Fault::Host(why)) if why.contains("watchdog")), "{fault:?}");
    assert_eq!(executor.state_hash(object()), before);
}

/// The bound is wide, since machines differ and are busy; the figure is printed for whoever looks for it.
#[test]
fn a_call_costs_about_a_microsecond_besides_the_copy() {
    const CALLS: usize = 20_000;
    const P50_MAX: Duration = Duration::from_micros(50);
    let mut executor = Executor::new().unwrap();
    executor.load(object(), COUNTER, ObjectLimits::default()).unwrap();
    executor.invoke(object(), &invocation(Trigger::Init), &[], &|_| Ok(())).unwrap();
    let increment = invocation(Trigger::Call { method: "increment" });
    let instance = &mut executor.objects.get_mut(&object()).unwrap().instance;
    let mut times: Vec<Duration> = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        let head = codec::to_bytes(&increment);
        instance.run(&head, &[], u64::MAX).unwrap();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let p50 = times[CALLS / 2];
    println!("increment without the copy: p50 {p50:?}, p99 {:?}", times[CALLS * 99 / 100]);
    assert!(p50 < P50_MAX, "{p50:?}");
}

#[test]
fn an_executor_can_be_given_to_the_thread_that_applies() {
    fn sendable<T: Send + 'static>(_: &T) {}
    sendable(&Executor::new().unwrap());
}
