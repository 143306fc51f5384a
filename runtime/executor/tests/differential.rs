//! Generated objects do the same however they are compiled, and the same as the modules that they were made from.
//!
//! `CONCOORD_MODULES` says how many are generated, and `CONCOORD_MODULE` names the seed of one.

mod support;

use std::sync::Arc;

use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::{Compiler, Executor, InProcess, Unoptimised};
use concoord_module::PAGE_BYTES;
use concoord_wire::abi::{Answer, Invocation, ObjectLimits, Outcome, Reply};
use concoord_wire::codec;
use support::generated::{ARGUMENTS, PAGES_MAX, object as generated, random_bytes};
use support::{call, object};
use wasmtime::{Config, Engine, Error, Global, Instance, Memory, Module, Store, Trap, TypedFunc, Val};

const MODULES: u64 = 400;
const CALLS: u64 = 12;
const LIMITS: ObjectLimits = ObjectLimits { gas_per_call: 2_000_000, memory_pages: PAGES_MAX };

/// A module as it was generated, in an engine of its own.
struct Plain {
    module: Module,
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    globals: Vec<Global>,
}

impl Plain {
    fn new(module: Module) -> Plain {
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, &module, &[]).expect("it passed the check");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        let exports = instance.exports(&mut store).map(|export| export.name().to_owned()).collect::<Vec<_>>();
        let names = exports.into_iter().filter(|name| name.starts_with("global "));
        let globals = names.map(|name| instance.get_global(&mut store, &name).expect("exported")).collect();
        Plain { module, store, instance, memory, globals }
    }

    /// Runs an input as an executor would, and puts back what it did when it fails.
    fn run(&mut self, input: &[u8]) -> Result<Vec<u8>, Trap> {
        let (memory, globals) = (self.memory.data(&self.store).to_vec(), self.values());
        let outcome = self.try_run(input).map_err(|error| *error.downcast_ref::<Trap>().expect("a trap"));
        if outcome.is_err() {
            *self = Plain::new(self.module.clone());
            let missing = (memory.len() - self.memory.data_size(&self.store)) / PAGE_BYTES;
            self.memory.grow(&mut self.store, missing as u64).expect("it had as many before");
            self.memory.data_mut(&mut self.store).copy_from_slice(&memory);
            for (global, value) in self.globals.iter().zip(globals) {
                global.set(&mut self.store, value).expect("it came from this global");
            }
        }
        outcome
    }

    fn try_run(&mut self, input: &[u8]) -> Result<Vec<u8>, Error> {
        let buffer: TypedFunc<u32, u32> = self.instance.get_typed_func(&mut self.store, "concoord_buffer")?;
        let call: TypedFunc<u32, i64> = self.instance.get_typed_func(&mut self.store, "concoord_call")?;
        let at = buffer.call(&mut self.store, input.len() as u32)? as usize;
        self.memory.data_mut(&mut self.store)[at..at + input.len()].copy_from_slice(input);
        let (at, length) = concoord_wire::abi::unpack(call.call(&mut self.store, input.len() as u32)?);
        Ok(self.memory.data(&self.store)[at as usize..(at + length) as usize].to_vec())
    }

    fn values(&mut self) -> Vec<Val> {
        self.globals.iter().map(|global| global.get(&mut self.store)).collect()
    }

    /// The state as [`Objects::snapshot`] encodes it: version, pages, globals, and the blocks that hold something.
    fn snapshot(&mut self) -> Vec<u8> {
        let bits = |value| match value {
            Val::I32(value) => u64::from(value.cast_unsigned()),
            Val::I64(value) => value.cast_unsigned(),
            Val::F32(bits) => u64::from(bits),
            Val::F64(bits) => bits,
            other => panic!("no number: {other:?}"),
        };
        let globals: Vec<u64> = self.values().into_iter().map(bits).collect();
        let memory = self.memory.data(&self.store);
        let blocks = (0_u32..).zip(memory.chunks(4096)).filter(|(_, block)| block.iter().any(|byte| *byte != 0));
        let blocks: Vec<_> = blocks.collect();
        let number = |number: usize| (number as u32).to_le_bytes();
        let mut bytes = vec![1];
        bytes.extend(number(memory.len() / PAGE_BYTES));
        bytes.extend(number(globals.len()));
        bytes.extend(globals.iter().flat_map(|bits| bits.to_le_bytes()));
        bytes.extend(number(blocks.len()));
        blocks.iter().for_each(|(number, block)| {
            bytes.extend(number.to_le_bytes());
            bytes.extend_from_slice(block);
        });
        bytes
    }
}

/// What has to happen in the course of the test for it to say anything.
#[derive(Debug, Default)]
struct Happened {
    refused: usize,
    returned: usize,
    trapped: usize,
    limited: usize,
    grew: usize,
}

fn words(trap: Trap) -> &'static str {
    match trap {
        Trap::MemoryOutOfBounds => "access outside its memory",
        Trap::TableOutOfBounds => "call through a function table index out of range",
        Trap::IndirectCallToNull => "call of a null function pointer",
        Trap::BadSignature => "call of a function pointer of another type",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "integer division by zero",
        Trap::BadConversionToInteger => "float out of the range of an integer",
        Trap::UnreachableCodeReached => "stopped itself (unreachable)",
        other => panic!("no trap of a checked module: {other:?}"),
    }
}

fn one_module(seed: u64, plain: &Engine, executors: &mut [Executor; 2], happened: &mut Happened) {
    let (bytes, functions) = generated(seed);
    let id = object(1);
    let loaded = executors.each_mut().map(|executor| executor.load(id, &bytes, LIMITS));
    assert_eq!(loaded[0], loaded[1], "seed {seed}");
    match &loaded[0] {
        Ok(_) => {}
        Err(Fault::Refused(_)) => {
            happened.refused += 1;
            return;
        }
        Err(fault) => panic!("seed {seed}: {fault}"),
    }
    let mut plain = Plain::new(Module::new(plain, &bytes).expect("it passed the check"));
    let input: Invocation<'_> = call("generated");
    let head = codec::to_bytes(&input);
    for number in 0..CALLS {
        let mut arguments = random_bytes(seed ^ (number << 40) ^ 1, 8 * ARGUMENTS);
        // Small ones too: addresses and counts that mean something.
        if number % 2 == 0 {
            arguments.chunks_mut(8).for_each(|argument| argument[2..].fill(0));
        }
        arguments.push((number % u64::from(functions)) as u8);
        let what = format!("seed {seed}, call {number}");
        let before = executors[0].snapshot(id).expect("a state");
        let did = executors.each_mut().map(|executor| {
            let outcome = if number % 5 == 4 {
                executor.query(id, &input, &arguments)
            } else {
                executor.invoke(id, &input, &arguments, &|_| Ok(()))
            };
            (outcome, executor.gas_used(id), executor.state_hash(id), executor.snapshot(id))
        });
        assert_eq!(did[0], did[1], "{what}: optimised or not");
        let [(outcome, gas, _, state), _] = did;
        assert!(gas.is_some_and(|gas| gas <= LIMITS.gas_per_call), "{what}: {gas:?}");
        let state = state.expect("a state");
        if outcome.is_err() || number % 5 == 4 {
            assert!(state == before, "{what}: it left something behind");
        }
        match &outcome {
            Err(Fault::Limit(_)) => {
                happened.limited += 1;
                continue;
            }
            Err(Fault::Host(why)) => panic!("{what}: {why}"),
            _ => {}
        }
        if number % 5 == 4 {
            continue;
        }
        happened.grew += usize::from(state[1..5] != before[1..5]);
        match (outcome, plain.run(&[&head[..], &arguments].concat())) {
            (Ok(Outcome { reply: Reply::Now(Answer::Returned(returned)), .. }), Ok(bytes)) => {
                assert_eq!(bytes[3..bytes.len() - 4], returned, "{what}");
                happened.returned += 1;
            }
            (Err(Fault::Trapped(why)), Err(trap)) => {
                assert_eq!(why, words(trap), "{what}");
                happened.trapped += 1;
            }
            (Err(Fault::Misbehaved(_)), Ok(bytes)) => {
                assert!(codec::from_bytes::<Outcome>(&bytes).is_err(), "{what}: {bytes:?}");
                // Only the executor puts it back.
                return;
            }
            (outcome, plain) => panic!("{what}: {outcome:?}, but as it was generated {plain:?}"),
        }
        assert!(state == plain.snapshot(), "{what}: another state than as it was generated");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn generated_objects_do_the_same_optimised_or_not_and_as_they_were_generated() {
    let mut config = Config::new();
    config.cranelift_nan_canonicalization(true).max_wasm_stack(1 << 20).memory_init_cow(false);
    let plain = Engine::new(&config).expect("a host that runs Wasm");
    let compilers: [Arc<dyn Compiler>; 2] = [Arc::new(InProcess), Arc::new(Unoptimised)];
    let mut executors =
        compilers.map(|compiler| Executor::new().expect("a host that runs Wasm").with_compiler(compiler));
    let mut happened = Happened::default();
    if let Some(seed) = number("CONCOORD_MODULE") {
        return one_module(seed, &plain, &mut executors, &mut happened);
    }
    let modules = number("CONCOORD_MODULES").unwrap_or(MODULES);
    for seed in 0..modules {
        one_module(seed, &plain, &mut executors, &mut happened);
    }
    println!("{modules} modules: {happened:?}");
    let Happened { refused, returned, trapped, limited, grew } = happened;
    let modules = usize::try_from(modules).expect("a number of modules");
    assert!(refused < modules / 4 && returned > modules && trapped > modules, "{happened:?}");
    assert!(limited > modules / 50 && grew > modules / 50, "{happened:?}");
}
