//! What one call of the counter costs: the whole way through the executor, kept or undone, beside one copy of the object's
//! state. `cargo run --release -p concoord-executor --example call_cost`

use std::hint::black_box;
use std::time::{Duration, Instant};

use concoord_consensus::objects::Objects;
use concoord_executor::{Executor, check};
use concoord_module::PAGE_BYTES;
use concoord_wire::abi::{Invocation, Trigger};
use concoord_wire::{ObjectId, Position, Timestamp, codec};

const CALLS: usize = 200_000;
const COUNTER: &[u8] = include_bytes!("../../../objects-wasm/dist/counter.wasm");

fn main() {
    let object: ObjectId = codec::from_bytes(&[1]).expect("an id is a number");
    let pages = check(COUNTER).expect("the counter passes").memory_pages_min as usize;
    let mut executor = Executor::new().expect("a host that runs Wasm");
    let loading = Instant::now();
    executor.load(object, COUNTER).expect("the counter loads");
    println!("load (check, rewrite, compile, describe): {:.1} ms", loading.elapsed().as_secs_f64() * 1e3);
    let invocation = |trigger| {
        let (position, now) = (Position(1), Timestamp(1));
        Invocation { position, now, seed: 1, call: None, caller: None, trigger }
    };
    executor.invoke(object, &invocation(Trigger::Init), &[], |_| Ok(())).expect("the counter begins");
    let increment = invocation(Trigger::Call { method: "increment" });
    let getvalue = invocation(Trigger::Call { method: "getvalue" });
    measure("increment", || {
        black_box(executor.invoke(object, &increment, &[], |_| Ok(())).expect("it counts"));
    });
    measure("getvalue, put back after", || {
        black_box(executor.query(object, &getvalue, &[]).expect("it tells"));
    });
    measure("increment, then getvalue", || {
        black_box(executor.invoke(object, &increment, &[], |_| Ok(())).expect("it counts"));
        black_box(executor.query(object, &getvalue, &[]).expect("it tells"));
    });
    measure("increment, undone after", || {
        black_box(executor.invoke(object, &increment, &[], |_| Err("no".into())).expect_err("refused"));
    });
    measure("64 increments, and one undone", || {
        for _ in 0..64 {
            black_box(executor.invoke(object, &increment, &[], |_| Ok(())).expect("it counts"));
        }
        black_box(executor.invoke(object, &increment, &[], |_| Err("no".into())).expect_err("refused"));
    });
    let (memory, mut copy) = (vec![1_u8; pages * PAGE_BYTES], Vec::new());
    measure(&format!("for comparison: a copy of {} KiB", memory.len() >> 10), || {
        copy.clear();
        copy.extend_from_slice(black_box(&memory));
        black_box(&copy);
    });
    measure("hash of the state", || {
        black_box(executor.state_hash(object));
    });
}

fn measure(what: &str, mut call: impl FnMut()) {
    let mut times: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[(CALLS as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("{what:32} p50 {:7.2} us   p99 {:7.2} us   p99.9 {:7.2} us", at(0.5), at(0.99), at(0.999));
}
