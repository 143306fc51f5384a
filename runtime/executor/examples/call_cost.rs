//! What one input costs, the whole way through the executor, kept or undone: of the counter, and of an object with 64 MiB
//! of state (`large.wat`). Beside them, what copying the state once would cost.
//! `cargo run --release -p concoord-executor --example call_cost`

use std::hint::black_box;
use std::time::{Duration, Instant};

use concoord_consensus::objects::Objects;
use concoord_executor::{Executor, check};
use concoord_module::PAGE_BYTES;
use concoord_wire::abi::{Invocation, ObjectLimits, Trigger};
use concoord_wire::interface::Interface;
use concoord_wire::{ObjectId, Position, Timestamp, codec};

const CALLS: usize = 200_000;
/// How often what takes milliseconds is measured.
const COPIES: usize = 20;
const COUNTER: &[u8] = include_bytes!("../../../objects-wasm/dist/counter.wasm");

fn main() {
    let object: ObjectId = codec::from_bytes(&[1]).expect("an id is a number");
    let mut executor = Executor::new().expect("a host that runs Wasm");
    let loading = Instant::now();
    executor.load(object, COUNTER, ObjectLimits::default()).expect("the counter loads");
    println!("load (check, rewrite, compile, describe): {:.1} ms", loading.elapsed().as_secs_f64() * 1e3);
    let increment = invocation(Trigger::Call { method: "increment" });
    let getvalue = invocation(Trigger::Call { method: "getvalue" });
    executor.invoke(object, &invocation(Trigger::Init), &[], &|_| Ok(())).expect("the counter begins");
    measure_inputs(&mut executor, object, [&increment, &getvalue], [&[], &[]]);
    println!("gas {:?}", executor.gas_used(object));
    measure_state(&mut executor, object, COUNTER, CALLS / 10);

    println!("\nan object with 64 MiB of state");
    let large = large();
    executor.load(object, &large, ObjectLimits::default()).expect("it loads");
    let call = invocation(Trigger::Call { method: "call" });
    measure_inputs(&mut executor, object, [&call, &call], [&[1], &[0]]);
    measure_state(&mut executor, object, &large, COPIES);
}

fn invocation(trigger: Trigger<'_>) -> Invocation<'_> {
    let (position, now) = (Position(1), Timestamp(1));
    Invocation { position, now, seed: 1, call: None, caller: None, trigger }
}

fn large() -> Vec<u8> {
    let (name, version, doc) = ("Large".into(), "1".into(), String::new());
    let description =
        codec::to_bytes(&Interface { name, version, doc, types: vec![], init: vec![], methods: vec![], event: None });
    let data: String = description.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = include_str!("large.wat")
        .replace("DESCRIPTION_LENGTH", &description.len().to_string())
        .replace("DESCRIPTION", &data);
    wat::parse_str(text).expect("a module")
}

fn measure_inputs(
    executor: &mut Executor,
    object: ObjectId,
    [update, query]: [&Invocation<'_>; 2],
    [update_arguments, query_arguments]: [&[u8]; 2],
) {
    measure("update", CALLS, || {
        black_box(executor.invoke(object, update, update_arguments, &|_| Ok(())).expect("it counts"));
    });
    measure("query", CALLS, || {
        black_box(executor.query(object, query, query_arguments).expect("it tells"));
    });
    measure("update, then query", CALLS, || {
        black_box(executor.invoke(object, update, update_arguments, &|_| Ok(())).expect("it counts"));
        black_box(executor.query(object, query, query_arguments).expect("it tells"));
    });
    measure("update, undone after", CALLS, || {
        black_box(executor.invoke(object, update, update_arguments, &|_| Err("no".into())).expect_err("refused"));
    });
}

fn measure_state(executor: &mut Executor, object: ObjectId, module: &[u8], times: usize) {
    let pages = check(module).expect("it passed when it was loaded").memory_pages_min as usize;
    let (memory, mut copy) = (vec![1_u8; pages * PAGE_BYTES], Vec::new());
    measure(&format!("for comparison: a copy of {} KiB", memory.len() >> 10), times, || {
        copy.clear();
        copy.extend_from_slice(black_box(&memory));
        black_box(&copy);
    });
    measure("hash of the state", times, || {
        black_box(executor.state_hash(object));
    });
}

fn measure(what: &str, calls: usize, mut call: impl FnMut()) {
    let mut times: Vec<Duration> = (0..calls)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[(calls as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("{what:36} p50 {:9.2} us   p99 {:9.2} us   p99.9 {:9.2} us", at(0.5), at(0.99), at(0.999));
}
