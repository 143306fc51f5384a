//! "Too deep" is decided by what frames weigh and never by the native stack: functions made to have large frames recurse
//! until they are stopped, on half of the stack that there is, optimised or not.

mod support;

use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::Executor;
use concoord_executor::limits::WASM_STACK_BYTES_MAX;
use concoord_module::{
    BEGIN_EXPORT, DEPTH_MAX, Limits, REWRITTEN_FEATURES, STOPPED_EXPORT, Stopped, check_within, rewrite,
};
use concoord_wire::abi::{LimitKind, LimitReached};
use std::fmt::Write;
use std::thread;
use support::guest::{command, loaded};
use wasmtime::{Config, Engine, Instance, Module, OptLevel, Store, TypedFunc};

/// Functions `$f` that call themselves for ever, each with something else in its frame. `$seed` is a number that no
/// compiler knows.
fn functions() -> Vec<(&'static str, String)> {
    let repeated = |count: u32, each: &dyn Fn(u32) -> String| (1..=count).map(each).collect::<String>();
    let mut cases = Vec::new();
    cases.push(("nothing", "(func $f (call $f))".to_owned()));
    cases.push(("a result", "(func $f (result i64) (i64.add (call $f) (i64.const 1)))".to_owned()));
    for count in [10, 200, 4000] {
        let locals = "i64 ".repeat(count as usize);
        let set = repeated(count, &|n| format!("(local.set {n} (i64.mul (local.get 0) (i64.const {})))", 2 * n + 1));
        let sum = repeated(count, &|n| format!("local.get {n} i64.xor "));
        cases.push(("locals", format!("(func $f (param i64) (local {locals}) {set} (call $f (local.get 1)) i64.const 0 {sum} global.set $seed)")));
    }
    for count in [10, 200, 4000] {
        let push = repeated(count, &|n| format!("local.get 0 f64.const {n}.5 f64.mul "));
        let add = "f64.add ".repeat(count as usize);
        cases.push(("operands", format!("(func $f (param f64) (result f64) {push} (call $f (local.get 0)) {add})")));
    }
    for count in [8, 400, 999] {
        let types = "f32 ".repeat(count as usize);
        let arguments = (0..count).map(|n| format!("local.get {n} ")).collect::<String>();
        let again = (0..count).fold(String::new(), |mut text, n| {
            let _ = write!(text, "local.get {n} f32.add ");
            text
        });
        cases.push(("parameters", format!("(func $f (param {types}) (result f32) {arguments} call $f {again})")));
    }
    for count in [8, 400, 999] {
        let types = "i64 ".repeat(count as usize);
        let numbers = repeated(count, &|n| format!("local.get {} i64.const {n} i64.add ", n - 1));
        let set = (0..count).rev().map(|n| format!("local.set {n} ")).collect::<String>();
        cases.push(("results", format!("(func $f (result {types}) (local {types}) call $f {set} {numbers})")));
    }
    for count in [20, 500, 8000] {
        // The same values before and after the call: a compiler may keep them.
        let values = repeated(count, &|n| format!("local.get 0 i64.const {} i64.mul i64.xor ", 2 * n + 1));
        cases.push((
            "values used again",
            format!("(func $f (param i64) (result i64) i64.const 0 {values} (global.set $seed) (call $f (local.get 0)) {values})"),
        ));
    }
    for count in [20, 500, 8000] {
        // The same values in each round of a loop: a compiler may compute them before it.
        let values = repeated(count, &|n| format!("local.get 0 i64.const {} i64.rotl i64.xor ", 2 * n + 1));
        cases.push((
            "values of a loop",
            format!(
                "(func $f (param i64) (loop $l (global.set $seed (global.get $seed) {values}) (call $f (local.get 0))
                    (br_if $l (i64.eqz (global.get $seed)))))"
            ),
        ));
        let values = repeated(count, &|n| format!("local.get 0 f64.const {n}.5 f64.div f64.add "));
        cases.push((
            "floats of a loop",
            format!(
                "(func $f (param f64) (loop $l (global.set $float (global.get $float) {values}) (call $f (local.get 0))
                    (br_if $l (f64.eq (global.get $float) (f64.const 1)))))"
            ),
        ));
    }
    let indirect = "(func $f (param i64) (result i64)
        (i64.add (call_indirect (param i64) (result i64) (local.get 0) (i32.const 0)) (local.get 0)))";
    cases.push(("an indirect call", indirect.to_owned()));
    cases
}

/// The module of an object whose export `go` calls `$f`.
fn module(function: &str) -> Vec<u8> {
    let signature = function.trim_start_matches("(func $f").trim_start();
    let parameters = |kind: &str| {
        let list = signature
            .split_once(&format!("({kind} "))
            .filter(|(before, _)| before.trim().ends_with([')', ' ']) || before.trim().is_empty());
        list.map(|(_, rest)| {
            rest.split_once(')').expect("closed").0.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        })
        .unwrap_or_default()
    };
    let (takes, gives) = (parameters("param"), parameters("result"));
    let push: String = takes.iter().map(|ty| format!("({ty}.const 1) ")).collect();
    let drop = "drop ".repeat(gives.len());
    let text = format!(
        r#"(module (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $f)
        (global (export "concoord_abi") i32 (i32.const 1)) (global $seed (mut i64) (i64.const 1))
        (global $float (mut f64) (f64.const 0))
        (func (export "concoord_describe") (result i64) i64.const 0)
        (func (export "concoord_buffer") (param i32) (result i32) i32.const 0)
        (func (export "concoord_call") (param i32) (result i64) i64.const 0)
        (func (export "concoord_export") (result i64) i64.const 0)
        (func (export "concoord_import") (param i32) (result i64) i64.const 0)
        (func (export "go") {push} call $f {drop}) {function})"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn stopped_by(engine: &Engine, rewritten: &[u8]) -> Option<Stopped> {
    let module = Module::new(engine, rewritten).expect("a valid module");
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it has no imports");
    let begin: TypedFunc<i64, ()> = instance.get_typed_func(&mut store, BEGIN_EXPORT).expect("exported");
    begin.call(&mut store, 1 << 40).expect("beginning never traps");
    let go: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "go").expect("exported");
    go.call(&mut store, ()).expect_err("it never returns");
    let stopped = instance.get_global(&mut store, STOPPED_EXPORT).expect("exported");
    Stopped::from_number(stopped.get(&mut store).unwrap_i32())
}

#[test]
fn what_frames_weigh_ends_recursion_on_half_of_the_native_stack() {
    let cases = functions();
    thread::Builder::new()
        .stack_size(2 * WASM_STACK_BYTES_MAX)
        .spawn(move || {
            let mut failed = Vec::new();
            for optimise in [OptLevel::None, OptLevel::Speed] {
                let mut config = Config::new();
                config.wasm_features(REWRITTEN_FEATURES, true).cranelift_opt_level(optimise);
                config.cranelift_nan_canonicalization(true);
                config.async_stack_size(WASM_STACK_BYTES_MAX).max_wasm_stack(WASM_STACK_BYTES_MAX / 2);
                let engine = Engine::new(&config).expect("a host that runs Wasm");
                for (what, function) in &cases {
                    let bytes = module(function);
                    let limits = Limits { locals: 5000, ..Limits::default() };
                    let checked = check_within(&bytes, &limits).unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
                    if stopped_by(&engine, &rewrite(&bytes, &checked)) != Some(Stopped::Depth) {
                        let weight = checked.weights.last().expect("functions");
                        failed.push(format!("{what}, {optimise:?}, weight {weight}"));
                    }
                }
            }
            assert_eq!(failed, [""; 0], "they need more than half of the stack");
        })
        .expect("a thread")
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn an_object_that_recurses_is_told_so() {
    const RECURSION: u8 = 13;
    let reached = LimitReached { what: LimitKind::Depth, limit: DEPTH_MAX.into() };
    let (mut executor, id): (Executor, _) = loaded();
    let before = executor.state_hash(id);
    let run = thread::Builder::new().stack_size(2 * WASM_STACK_BYTES_MAX).spawn(move || {
        assert_eq!(command(&mut executor, RECURSION), Err(Fault::Limit(reached)));
        assert_eq!(executor.state_hash(id), before);
    });
    run.expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
