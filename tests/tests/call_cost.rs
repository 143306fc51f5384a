//! What a call costs: it does not grow with the object's state, stays near that of the same method called natively, and
//! an input that runs out of gas at any point leaves nothing behind.

use std::hint::black_box;
use std::time::{Duration, Instant};

use concoord::Object;
use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::Executor;
use concoord_object_counter::Counter;
use concoord_tests::large;
use concoord_wire::abi::{Answer, Invocation, LimitKind, LimitReached, ObjectLimits, Outcome, Reply, Trigger, unpack};
use concoord_wire::{CallId, ObjectId, Position, SessionId, Slot, Timestamp, codec};
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

const COUNTER: &[u8] = include_bytes!("../../objects-wasm/dist/counter.wasm");
const ROUNDS: usize = 40;
const CALLS: usize = 2000;
/// How often a comparison is made before it counts: on a busy machine, one side of it may have been disturbed.
const ATTEMPTS: usize = 5;

fn call(method: &str) -> Invocation<'_> {
    let session = SessionId { slot: Slot(70_000), index: 3 };
    Invocation {
        position: Position(1 << 20),
        now: Timestamp(1_790_000_000_000_000),
        seed: 0x9e37_79b9_7f4a_7c15,
        call: Some(CallId { session, sequence: 1000 }),
        caller: Some(session),
        trigger: Trigger::Call { method },
    }
}

fn counter(executor: &mut Executor, id: ObjectId) {
    executor.load(id, COUNTER, ObjectLimits::default()).expect("the counter loads");
    let init = Invocation { trigger: Trigger::Init, ..call("") };
    executor.invoke(id, &init, &[], &|_| Ok(())).expect("the counter begins");
}

#[test]
fn an_input_that_runs_out_of_gas_anywhere_leaves_nothing_behind() {
    let id = ObjectId(1);
    let mut executor = Executor::new().expect("this host runs Wasm");
    counter(&mut executor, id);
    let increment = call("increment");
    let before = executor.snapshot(id).expect("a state");
    executor.invoke(id, &increment, &[], &|_| Ok(())).expect("it counts");
    let cost = executor.gas_used(id).expect("loaded");
    let after = executor.snapshot(id).expect("a state");
    assert_ne!(before, after, "it changes something");
    for gas in 1..=cost {
        let limits = ObjectLimits { gas_per_call: gas, ..ObjectLimits::default() };
        executor.restore(id, COUNTER, limits, &before).expect("its own state");
        let outcome = executor.invoke(id, &increment, &[], &|_| Ok(()));
        let state = executor.snapshot(id).expect("a state");
        if gas < cost {
            let reached = LimitReached { what: LimitKind::Gas, limit: gas };
            assert_eq!(outcome, Err(Fault::Limit(reached)), "with {gas} of {cost}");
            assert!(state == before, "it left something behind with {gas} of {cost}");
        } else {
            assert!(outcome.is_ok() && state == after, "{outcome:?}");
        }
    }
    println!("increment costs {cost} gas; ended at each amount below, it left memory and globals as they were");
}

/// Times of single calls, sorted.
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, share: f64) -> Duration {
        self.0[(self.0.len() as f64 * share) as usize]
    }
}

/// Runs two things by turns, many times each.
fn by_turns(mut first: impl FnMut(), mut second: impl FnMut()) -> [Times; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let sides: [&mut dyn FnMut(); 2] = [&mut first, &mut second];
        for (times, side) in times.iter_mut().zip(sides) {
            times.extend((0..CALLS).map(|_| {
                let start = Instant::now();
                side();
                start.elapsed()
            }));
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        Times(times)
    })
}

#[test]
fn a_call_costs_the_same_however_large_the_state_is() {
    let ids = [(ObjectId(1), 1), (ObjectId(2), 1024)];
    let update = call("call");
    let mut told = Vec::new();
    for _ in 0..ATTEMPTS {
        // Made anew, since where the system puts their memories is worth tens of nanoseconds to one of them.
        let mut executors = ids.map(|(id, pages)| {
            let mut executor = Executor::new().expect("this host runs Wasm");
            executor.load(id, &large::module(pages), ObjectLimits::default()).expect("it loads");
            executor
        });
        let [small, large] = executors.each_mut();
        let [small, large] = by_turns(
            || drop(black_box(small.invoke(ids[0].0, &update, &[1], &|_| Ok(())).expect("it counts"))),
            || drop(black_box(large.invoke(ids[1].0, &update, &[1], &|_| Ok(())).expect("it counts"))),
        );
        let ratio = |share| large.at(share).as_secs_f64() / small.at(share).as_secs_f64();
        let (p50, p99) = (ratio(0.5), ratio(0.99));
        told.push(format!(
            "64 KiB p50 {:?} p99 {:?}, 64 MiB p50 {:?} p99 {:?}: {p50:.2} and {p99:.2} times",
            small.at(0.5),
            small.at(0.99),
            large.at(0.5),
            large.at(0.99)
        ));
        println!("{}", told[told.len() - 1]);
        if p50 <= 1.2 && p99 <= 1.5 {
            return;
        }
    }
    panic!("{}", told.join("\n"));
}

/// A module as it was built, without what the rewrite adds.
struct Raw {
    store: Store<()>,
    memory: Memory,
    buffer: TypedFunc<u32, u32>,
    call: TypedFunc<u32, i64>,
}

impl Raw {
    fn new(module: &[u8]) -> Raw {
        let mut config = Config::new();
        config.memory_init_cow(false);
        let engine = Engine::new(&config).expect("this host runs Wasm");
        let module = Module::new(&engine, module).expect("a module");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("it has no imports");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        let buffer = instance.get_typed_func(&mut store, "concoord_buffer").expect("exported");
        let call = instance.get_typed_func(&mut store, "concoord_call").expect("exported");
        Raw { store, memory, buffer, call }
    }

    fn run(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Outcome {
        let input = [&codec::to_bytes(invocation), arguments].concat();
        let at = self.buffer.call(&mut self.store, input.len() as u32).expect("a place") as usize;
        self.memory.data_mut(&mut self.store)[at..at + input.len()].copy_from_slice(&input);
        let (at, length) = unpack(self.call.call(&mut self.store, input.len() as u32).expect("an outcome"));
        codec::from_bytes(&self.memory.data(&self.store)[at as usize..(at + length) as usize]).expect("an outcome")
    }
}

/// The same method through the same codec, without Wasm.
fn natively(counter: &mut Counter, invocation: &Invocation<'_>) -> Outcome {
    let input = codec::to_bytes(black_box(invocation));
    let (invocation, arguments): (Invocation<'_>, &[u8]) = postcard::take_from_bytes(&input).expect("an invocation");
    let outcome = codec::to_bytes(&counter.dispatch(&invocation, arguments));
    codec::from_bytes(black_box(&outcome)).expect("an outcome")
}

#[test]
fn an_increment_costs_a_microsecond_or_eight_times_the_native_one() {
    let id = ObjectId(1);
    let mut executor = Executor::new().expect("this host runs Wasm");
    counter(&mut executor, id);
    let (mut native, mut raw) = (Counter::default(), Raw::new(COUNTER));
    let increment = call("increment");
    raw.run(&Invocation { trigger: Trigger::Init, ..call("") }, &[]);
    let mut told = Vec::new();
    for _ in 0..ATTEMPTS {
        let [metered, natively] = by_turns(
            || drop(black_box(executor.invoke(id, &increment, &[], &|_| Ok(())).expect("it counts"))),
            || drop(black_box(natively(&mut native, &increment))),
        );
        let [metered_again, raw] = by_turns(
            || drop(black_box(executor.invoke(id, &increment, &[], &|_| Ok(())).expect("it counts"))),
            || drop(black_box(raw.run(&increment, &[]))),
        );
        let cost = metered.at(0.5).min(metered_again.at(0.5));
        let bound = Duration::from_micros(1).max(8 * natively.at(0.5));
        told.push(format!(
            "counter.increment: p50 {cost:?}, natively {:?} ({:.1} times), in Wasm without metering and undo {:?} ({:.1} \
             times); bound {bound:?}",
            natively.at(0.5),
            cost.as_secs_f64() / natively.at(0.5).as_secs_f64(),
            raw.at(0.5),
            cost.as_secs_f64() / raw.at(0.5).as_secs_f64(),
        ));
        println!("{}", told[told.len() - 1]);
        if cost <= bound {
            return;
        }
    }
    panic!("{}", told.join("\n"));
}

/// A standard object, and an update of it that can be repeated, after another one.
type Sample = (&'static str, &'static [u8], Option<(&'static str, Vec<u8>)>, &'static str, Vec<u8>);

macro_rules! module {
    ($name:literal) => {
        include_bytes!(concat!("../../objects-wasm/dist/", $name, ".wasm"))
    };
}

fn samples() -> [Sample; 12] {
    fn words<const COUNT: usize>(words: [&str; COUNT]) -> Vec<u8> {
        words.iter().flat_map(codec::to_bytes).collect()
    }
    let node = words(["paxi.example.org", "replica", "10.0.0.1:14000"]);
    [
        ("bank", module!("bank"), Some(("open", words(["ann"]))), "deposit", codec::to_bytes(&("ann", 1_u64))),
        ("binarytree", module!("binarytree"), None, "insert", codec::to_bytes(&4_i64)),
        ("counter", module!("counter"), None, "increment", vec![]),
        ("idgenerator", module!("idgenerator"), None, "next", vec![]),
        (
            "jobmanager",
            module!("jobmanager"),
            Some(("schedule", words(["tidy"]))),
            "update",
            words(["tidy", "at", "3:00"]),
        ),
        ("kv", module!("kv"), None, "put", codec::to_bytes(&("color", "blue", None::<u64>, None::<bool>))),
        ("lock", module!("lock"), Some(("acquire", vec![])), "release", codec::to_bytes(&Some(7_u64))),
        ("log", module!("log"), None, "write", words(["started"])),
        ("membership", module!("membership"), None, "add", words(["ann"])),
        ("nameservercoord", module!("nameservercoord"), None, "addnodetosubdomain", node),
        ("pinger", module!("pinger"), None, "add", words(["10.0.0.2:14000"])),
        ("stack", module!("stack"), None, "append", words(["hello"])),
    ]
}

#[test]
fn what_metering_and_undoing_cost_each_standard_object() {
    let id = ObjectId(1);
    println!("object.update                       metered     without   times");
    for (name, module, first, method, arguments) in samples() {
        let mut executor = Executor::new().expect("this host runs Wasm");
        executor.load(id, module, ObjectLimits::default()).expect("it loads");
        let mut raw = Raw::new(module);
        let init = Invocation { trigger: Trigger::Init, ..call("") };
        executor.invoke(id, &init, &[], &|_| Ok(())).expect("it begins");
        raw.run(&init, &[]);
        if let Some((method, arguments)) = first {
            executor.invoke(id, &call(method), &arguments, &|_| Ok(())).expect("it is done");
            raw.run(&call(method), &arguments);
        }
        let update = call(method);
        let rejected = |outcome: &Outcome| matches!(&outcome.reply, Reply::Now(Answer::Rejected(_)));
        assert!(!rejected(&raw.run(&update, &arguments)), "{name}.{method}");
        let [metered, raw] = by_turns(
            || drop(black_box(executor.invoke(id, &update, &arguments, &|_| Ok(())).expect("it is done"))),
            || drop(black_box(raw.run(&update, &arguments))),
        );
        let [metered, raw] = [metered, raw].map(|times| times.at(0.5));
        let times = metered.as_secs_f64() / raw.as_secs_f64();
        println!("{:32} {metered:>10.2?}  {raw:>10.2?}  {times:>6.2}", format!("{name}.{method}"));
        assert!(times < 8.0, "{name}.{method}: {times:.1} times");
    }
}
