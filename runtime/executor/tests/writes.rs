//! The undo log against the code as it was written: each instruction that writes does the same in a rewritten module as in
//! the module itself, trap included, and what it did can be taken back to the byte.

use concoord_module::{
    BEGIN_EXPORT, BYTES_EXPORT, KEEP_EXPORT, PAGE_BYTES, PLACE_EXPORT, REWRITTEN_FEATURES, STOPPED_EXPORT, Stopped,
    UNDO_EXPORT, UNDO_PAGE_BYTES, check, rewrite,
};
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, Trap, TypedFunc, Val};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const UNDO_PAGE: u64 = UNDO_PAGE_BYTES as u64;
/// Pages of memory that the modules begin with.
const PAGES: u64 = 2;
const END: u64 = PAGES * PAGE_BYTES as u64;

/// One module, as it is or rewritten, and running.
struct Running {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

/// Gas that no test here uses up.
const GAS: i64 = 1 << 40;

impl Running {
    fn new(engine: &Engine, bytes: &[u8]) -> Running {
        let module = Module::new(engine, bytes).expect("a valid module");
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("it has no imports");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        let mut running = Running { store, instance, memory };
        for (at, byte) in running.memory_mut().iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
        running
    }

    /// What of the memory the object has.
    fn bytes(&mut self) -> usize {
        match self.instance.get_global(&mut self.store, BYTES_EXPORT) {
            Some(bytes) => usize::try_from(bytes.get(&mut self.store).unwrap_i64()).expect("a size"),
            None => self.memory.data_size(&self.store),
        }
    }

    fn call(&mut self, name: &str) -> Result<(), Trap> {
        if let Ok(begin) = self.instance.get_typed_func::<i64, ()>(&mut self.store, BEGIN_EXPORT) {
            begin.call(&mut self.store, GAS).expect("beginning never traps");
        }
        let function: TypedFunc<(), ()> = self.instance.get_typed_func(&mut self.store, name).expect("exported");
        let trap = |error: wasmtime::Error| *error.downcast_ref::<Trap>().expect("a trap");
        function.call(&mut self.store, ()).map_err(trap).map_err(|trap| match self.stopped() {
            Some(Stopped::Outside) => Trap::MemoryOutOfBounds,
            Some(other) => panic!("{name} was stopped: {other:?}"),
            None => trap,
        })
    }

    fn stopped(&mut self) -> Option<Stopped> {
        let stopped = self.instance.get_global(&mut self.store, STOPPED_EXPORT)?;
        Stopped::from_number(stopped.get(&mut self.store).unwrap_i32())
    }

    fn memory(&mut self) -> &[u8] {
        let bytes = self.bytes();
        &self.memory.data(&self.store)[..bytes]
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        let bytes = self.bytes();
        &mut self.memory.data_mut(&mut self.store)[..bytes]
    }
}

/// A module as it is and rewritten.
struct Pair {
    engine: Engine,
    bytes: Vec<u8>,
    plain: Running,
    rewritten: Running,
}

impl Pair {
    /// Of an object that has these functions besides, each without parameters and results.
    fn new(functions: &str) -> Pair {
        let text = format!(
            r#"(module (memory (export "memory") {PAGES}) (global $g (mut i32) (i32.const 7))
            (global (export "concoord_abi") i32 (i32.const 1)) (data $passive "passive data")
            (func (export "concoord_describe") (result i64) i64.const 0)
            (func (export "concoord_buffer") (param i32) (result i32) (i32.sub (i32.const {END}) (i32.const 100)))
            (func (export "concoord_call") (param i32) (result i64) i64.const 0)
            (func (export "concoord_export") (result i64) i64.const 0)
            (func (export "concoord_import") (param i32) (result i64) i64.const 0) {functions})"#
        );
        let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let rewritten = rewrite(&bytes, &check(&bytes).unwrap_or_else(|refusal| panic!("{refusal}\n{text}")));
        let mut config = Config::new();
        config.wasm_features(REWRITTEN_FEATURES, true).cranelift_nan_canonicalization(true);
        let engine = Engine::new(&config).expect("a host that runs Wasm");
        let (plain, rewritten) = (Running::new(&engine, &bytes), Running::new(&engine, &rewritten));
        Pair { engine, bytes, plain, rewritten }
    }

    /// Calls functions one behind the other in both, compares what they did, and undoes or keeps it.
    fn same(&mut self, names: &[String], undo: bool) -> Vec<Result<(), Trap>> {
        let before = self.rewritten.memory().to_vec();
        let mut results = Vec::new();
        for name in names {
            results.push(self.plain.call(name));
            assert_eq!(self.rewritten.call(name), results[results.len() - 1], "{names:?}");
            assert!(self.plain.memory() == self.rewritten.memory(), "other bytes after {name} of {names:?}");
        }
        if undo {
            let Running { store, instance, .. } = &mut self.rewritten;
            let undo: TypedFunc<(), ()> = instance.get_typed_func(&mut *store, UNDO_EXPORT).expect("exported");
            undo.call(&mut *store, ()).expect("undoing never traps");
            let bytes = instance.get_global(&mut *store, BYTES_EXPORT).expect("exported");
            bytes.set(&mut *store, Val::I64(before.len() as i64)).expect("a number");
            assert!(self.rewritten.memory() == before, "not undone: {names:?}");
            let beyond = &self.rewritten.memory.data(&self.rewritten.store)[before.len()..before.len() + PAGE_BYTES];
            assert!(beyond.iter().all(|byte| *byte == 0), "what it grew by is zero again: {names:?}");
            if self.plain.memory().len() != before.len() {
                self.plain = Running::new(&self.engine, &self.bytes);
            }
            self.plain.memory_mut().copy_from_slice(&before);
        } else {
            self.rewritten.call(KEEP_EXPORT).expect("keeping never traps");
        }
        results
    }
}

struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        xxh3_64_with_seed(&self.drawn.to_le_bytes(), self.seed) % bound
    }
}

const STORES: [(&str, &str, u64); 9] = [
    ("i32.store", "i32.const -2", 4),
    ("i32.store8", "i32.const 0x1fe", 1),
    ("i32.store16", "i32.const 0x1fffe", 2),
    ("i64.store", "i64.const -3", 8),
    ("i64.store8", "i64.const 0x1fd", 1),
    ("i64.store16", "i64.const 0x1fffd", 2),
    ("i64.store32", "i64.const 0x1fffffffd", 4),
    ("f32.store", "f32.const -1.5", 4),
    ("f64.store", "f64.const 1e300", 8),
];

#[test]
fn each_store_does_the_same_and_is_undone() {
    let mut functions = String::new();
    let (mut names, mut traps) = (Vec::new(), Vec::new());
    for (store, value, width) in STORES {
        let edges = (0..=width).flat_map(|back| [UNDO_PAGE, 2 * UNDO_PAGE, PAGE_BYTES as u64].map(|edge| edge - back));
        let ends = (0..=width + 1).map(|back| END + 1 - back);
        let far = [END + UNDO_PAGE, 0x7fff_ffff, 0xffff_fffc, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0403, 0x1_ffff_fffe];
        for at in [0, 1, 700].into_iter().chain(edges).chain(ends).chain(far) {
            // With the address in the one operand, in the other, and in both.
            let whole = [at, 0, at / 2, at.min(0xffff_fff0)];
            for address in whole.into_iter().filter(|address| at - address <= 0xffff_ffff && *address <= 0xffff_ffff) {
                let (name, offset) = (format!("{store} {address} {}", at - address), at - address);
                if names.contains(&name) {
                    continue;
                }
                functions.push_str(&format!(
                    "(func (export \"{name}\") ({store} offset={offset} (i32.const {}) ({value})))",
                    (address as u32).cast_signed()
                ));
                names.push(name);
                traps.push(at + width > END);
            }
        }
    }
    let mut pair = Pair::new(&functions);
    for (name, traps) in names.iter().zip(traps) {
        let expected = if traps { Err(Trap::MemoryOutOfBounds) } else { Ok(()) };
        assert_eq!(pair.same(std::slice::from_ref(name), true), [expected], "{name}");
        // Marked already the second time.
        assert_eq!(pair.same(&[name.clone(), name.clone()], true), [expected; 2], "{name}");
    }
    // Kept, what was written is what a later undo gives back.
    let mut random = Random { seed: 1, drawn: 0 };
    for _ in 0..300 {
        let several: Vec<String> = (0..6).map(|_| names[random.below(names.len() as u64) as usize].clone()).collect();
        pair.same(&several, random.below(3) > 0);
    }
}

#[test]
fn each_bulk_write_does_the_same_and_is_undone() {
    let places = [0, 1, UNDO_PAGE - 1, UNDO_PAGE, 5000, END - UNDO_PAGE, END - 1, END, END + 1, 0xffff_ffff];
    let lengths = [0, 1, 2, 12, UNDO_PAGE - 1, UNDO_PAGE, UNDO_PAGE + 1, 3 * UNDO_PAGE, END, 0xffff_ffff];
    let mut functions = String::new();
    let mut cases = Vec::new();
    let number = |number: u64| (number as u32).cast_signed();
    for to in places {
        for length in lengths {
            let (at, size) = (number(to), number(length));
            let mut case = |name: String, code: String, trap: bool| {
                if !cases.iter().any(|(other, _)| *other == name) {
                    functions.push_str(&format!("(func (export \"{name}\") {code})"));
                    cases.push((name, trap));
                }
            };
            let outside = to + length > END;
            let fill = format!("(memory.fill (i32.const {at}) (i32.const 0xabc) (i32.const {size}))");
            case(format!("fill {to} {length}"), fill, outside);
            for from in [0, 3, to.saturating_sub(5), (to + 5).min(0xffff_ffff), 0x1_0000] {
                let source = number(from);
                let copy = format!("(memory.copy (i32.const {at}) (i32.const {source}) (i32.const {size}))");
                case(format!("copy {to} {from} {length}"), copy, outside || from + length > END);
            }
            for from in [0, 4, 13] {
                let init = format!("(memory.init $passive (i32.const {at}) (i32.const {from}) (i32.const {size}))");
                case(format!("init {to} {from} {length}"), init, outside || from + length > 12);
            }
        }
    }
    let mut pair = Pair::new(&functions);
    let mut trapped = 0;
    for (name, trap) in &cases {
        let before = pair.rewritten.memory().to_vec();
        let expected = if *trap { Err(Trap::MemoryOutOfBounds) } else { Ok(()) };
        assert_eq!(pair.same(std::slice::from_ref(name), true), [expected], "{name}");
        assert_eq!(pair.same(&[name.clone(), name.clone()], true), [expected; 2], "{name}");
        if *trap {
            pair.same(std::slice::from_ref(name), false);
            assert!(pair.rewritten.memory() == before, "what traps writes nothing: {name}");
            trapped += 1;
        }
    }
    assert!(trapped > 100 && trapped < cases.len() - 100, "{trapped} of {}", cases.len());
}

#[test]
fn writes_amid_control_flow_do_the_same() {
    let functions = r#"
        (func (export "results") (local i64)
            (block (result i32) (i64.store (i32.const 8) (i64.const 5)) (i32.const 1020))
            (block (result i64) (i64.const 9) (br_if 0 (i32.const 1)) (drop) (i64.const 8))
            (i64.store)
            (i32.const 4000) (if (result f64) (i32.load (i32.const 8)) (then (f64.const 1)) (else (f64.const 2)))
            (f64.store offset=90))
        (func (export "loop") (local $i i32)
            (loop $again
                (i32.store16 offset=3 (i32.mul (local.get $i) (i32.const 509)) (local.get $i))
                (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200)))))
        (func (export "unreachable after br")
            (block (i32.store (i32.const 2046) (i32.const 1)) (br 0) (i32.store) (i64.store8) (memory.fill) unreachable)
            (i32.store (i32.const 3070) (i32.const 1)))
        (func (export "nested") (local f32 i32)
            (i32.store (i32.const 10) (block (result i32)
                (i32.store (i32.const 5116) (block (result i32) (f32.store (i32.const 5119) (f32.const 3)) (i32.const 6)))
                (i32.const 4))))
        (func (export "trap on the way")
            (i64.store (i32.const 1021) (i64.const -1)) (memory.fill (i32.const 9000) (i32.const 1) (i32.const 3000))
            (i32.store (i32.const -1) (i32.const 1)))
        (func (export "grow") (drop (memory.grow (i32.const 1)))
            (i64.store (i32.sub (i32.mul (memory.size) (i32.const 0x10000)) (i32.const 8)) (i64.const -1))
            (i64.store (i32.const 0x1fffc) (i64.const -1)))"#;
    let mut pair = Pair::new(functions);
    for name in ["results", "loop", "unreachable after br", "nested", "trap on the way", "grow"] {
        let results = pair.same(&[name.to_owned()], true);
        assert_eq!(results[0].is_err(), name == "trap on the way", "{name}: {results:?}");
        pair.same(&[name.to_owned(), "loop".to_owned(), name.to_owned()], true);
    }
}

/// The last page, marked when nothing was behind it, and then written beyond its end into what was grown.
#[test]
fn a_store_over_the_former_end_of_the_memory_is_undone() {
    let edge = END - 4;
    let mut pair = Pair::new(&format!(
        r#"(func (export "last") (i32.store8 (i32.const {edge}) (i32.const 77)))
        (func (export "grow") (drop (memory.grow (i32.const 1))))
        (func (export "over") (i64.store (i32.const {edge}) (i64.const -1)))"#
    ));
    let names = ["last", "grow", "over"].map(str::to_owned);
    assert_eq!(pair.same(&names, true), [Ok(()); 3]);
}

/// The host writes into the buffer behind the guest's back, so it is marked for it: here 100 bytes at the very end.
#[test]
fn what_the_host_writes_into_the_buffer_is_undone() {
    let mut pair = Pair::new("");
    let Running { store, instance, memory } = &mut pair.rewritten;
    let before = memory.data(&store)[..END as usize].to_vec();
    let place: TypedFunc<u32, u32> = instance.get_typed_func(&mut *store, PLACE_EXPORT).expect("exported");
    let undo: TypedFunc<(), ()> = instance.get_typed_func(&mut *store, UNDO_EXPORT).expect("exported");
    let begin: TypedFunc<i64, ()> = instance.get_typed_func(&mut *store, BEGIN_EXPORT).expect("exported");
    begin.call(&mut *store, GAS).expect("beginning never traps");
    for length in [0, 1, 99, 100] {
        let address = place.call(&mut *store, length).expect("a place") as usize;
        memory.data_mut(&mut *store)[address..address + length as usize].fill(0xee);
        undo.call(&mut *store, ()).expect("undoing never traps");
        assert!(memory.data(&store)[..END as usize] == before, "an input of {length} bytes");
    }
    for length in [101, u32::MAX] {
        assert!(place.call(&mut *store, length).is_err(), "a place outside");
    }
    assert_eq!(pair.rewritten.stopped(), Some(Stopped::Buffer));
}

/// Random writes, many of them near edges, in functions that are called in random order, kept or undone.
#[test]
fn random_programs_do_the_same_and_are_undone() {
    for seed in 0..40 {
        let mut random = Random { seed, drawn: 0 };
        let functions: String = (0..12).map(|index| function(&mut random, index)).collect();
        let mut pair = Pair::new(&functions);
        for _ in 0..40 {
            let names: Vec<String> = (0..=random.below(6)).map(|_| format!("f{}", random.below(12))).collect();
            pair.same(&names, random.below(3) > 0);
        }
    }
}

fn function(random: &mut Random, index: u64) -> String {
    let mut text = format!("(func (export \"f{index}\") (local $i i32)");
    for _ in 0..=random.below(10) {
        // Seldom outside: what comes behind a trap is not run.
        let bound = if random.below(40) == 0 { 0x2_0000_0000 } else { END - 8 };
        let near_an_edge = random.below(2) == 0;
        let at = random.below(bound);
        let at = if near_an_edge { (at / UNDO_PAGE * UNDO_PAGE + UNDO_PAGE - random.below(9)).min(bound) } else { at };
        let offset = at.saturating_sub(random.below(at.min(0xffff_ffff) + 1)).min(0xffff_ffff);
        let address = ((at - offset).min(0xffff_ffff) as u32).cast_signed();
        let code = match random.below(12) {
            0 => format!("(memory.fill (i32.const {address}) (i32.const 0x5a) (i32.const {}))", random.below(3000)),
            1 => format!(
                "(memory.copy (i32.const {address}) (i32.const {}) (i32.const {}))",
                random.below(END - 3000),
                random.below(3000)
            ),
            _ => {
                let (store, value, _) = STORES[random.below(STORES.len() as u64) as usize];
                format!("({store} offset={offset} (i32.const {address}) ({value}))")
            }
        };
        text.push_str(&match random.below(4) {
            0 => format!("(block (br_if 0 (i32.load8_u (i32.const {}))) {code})", random.below(END)),
            1 => format!(
                "(local.set $i (i32.const 3)) (loop {code}
                    (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
            ),
            _ => code,
        });
    }
    text + ")"
}
