//! Putting back: whatever is kept for it, an object is where plain copying before each input would have left it.

use concoord_wire::abi::{Answer, Reply};
use wasmtime::Val;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;
use crate::limits::NOTED_INPUTS_MAX;

const GUEST: &str = include_str!("../../../tests/support/guest.wat");
const PAGES_MAX: u32 = 24;
/// Commands of the guest, see there: most succeed, some of them after growing; the rest trap or break the ABI.
const COMMANDS: [u8; 14] = [0, 0, 0, 0, 0, 10, 11, 14, 1, 2, 3, 4, 6, 8];
const OBJECTS: u64 = 3;
/// Room for the copies of only some of the objects, once these have grown.
const SAVED_BYTES: usize = 20 * concoord_module::PAGE_BYTES;

fn guest() -> Vec<u8> {
    let (name, version, doc) = ("Guest".into(), "1".into(), String::new());
    let description = codec::to_bytes(&Interface { name, version, doc, types: vec![], init: vec![], methods: vec![] });
    let data: String = description.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = GUEST.replace("DESCRIPTION_LENGTH", &description.len().to_string()).replace("DESCRIPTION", &data);
    wat::parse_str(text).expect("a module")
}

/// An object around which everything is copied before each input.
struct Plain {
    code: Code,
    instance: Instance,
}

impl Plain {
    fn run(&mut self, input: &Invocation<'_>, arguments: &[u8], accept: Option<Accept>) -> Result<Outcome, Fault> {
        let memory = self.instance.memory().to_vec();
        let globals: Vec<Val> = self.instance.globals().collect();
        let outcome = self.instance.run(&codec::to_bytes(input), arguments);
        let outcome = match accept {
            None => outcome,
            Some(accept) => outcome.and_then(|outcome| accept(&outcome).map_err(Fault::Misbehaved).map(|()| outcome)),
        };
        if outcome.is_err() || accept.is_none() {
            self.instance = Instance::new(&self.code).unwrap();
            self.instance.set(&memory, &globals).unwrap();
        }
        outcome
    }
}

fn object_numbered(number: u64) -> ObjectId {
    codec::from_bytes(&codec::to_bytes(&number)).expect("an id is a number")
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

/// What has to happen in the course of a test for it to say anything.
#[derive(Debug, Default)]
struct Happened {
    /// Inputs put back by running others again.
    run_again: usize,
    /// The same, after the memory had grown since the copy.
    grown: usize,
    /// Updates that were kept and too much to note.
    too_much: usize,
    /// Copies given up for those of other objects.
    given_up: usize,
}

fn random_inputs_leave_the_state_of_plain_copying(seed: u64, happened: &mut Happened) {
    let mut random = Random { seed, drawn: 0 };
    let limits = Limits { memory_pages: PAGES_MAX, ..Limits::default() };
    let mut executor = Executor::with_limits(limits.clone()).unwrap();
    executor.saved_bytes_max = SAVED_BYTES;
    let module = guest();
    let mut plain: Vec<Plain> = (0..OBJECTS)
        .map(|number| {
            executor.load(object_numbered(number), &module).unwrap();
            let code = Code::compile(&executor.engine, &module, &limits).unwrap();
            let mut instance = Instance::new(&code).unwrap();
            instance.initialize().unwrap();
            Plain { code, instance }
        })
        .collect();
    let accepts: [Accept; 2] = [|_| Ok(()), |_| Err("not like this".into())];
    for step in 0..1500 {
        // Runs on one object, so that inputs are noted, and now and then another one.
        let number = if random.below(8) == 0 { random.below(OBJECTS) } else { step / 100 % OBJECTS };
        let (id, plain) = (object_numbered(number), &mut plain[number as usize]);
        let mut arguments = vec![9; if random.below(4) == 0 { random.below(40_000) as usize } else { 3 }];
        arguments.push(if random.below(6) == 0 { COMMANDS[random.below(COMMANDS.len() as u64) as usize] } else { 0 });
        let input = invocation(Trigger::Call { method: "command" });
        let noted = executor.objects[&id].saved.noted();
        let grown = executor.objects[&id].instance.memory().len() > executor.objects[&id].saved.bytes();
        let accept = accepts[usize::from(random.below(24) == 0)];
        if random.below(24) == 0 {
            let outcome = executor.query(id, &input, &arguments);
            assert_eq!(outcome, plain.run(&input, &arguments, None), "seed {seed}, step {step}");
        } else {
            let outcome = executor.invoke(id, &input, &arguments, accept);
            let kept = outcome.is_ok();
            assert_eq!(outcome, plain.run(&input, &arguments, Some(accept)), "seed {seed}, step {step}");
            let leads_here = executor.objects[&id].saved.leads_here();
            happened.run_again += usize::from(!kept && noted > 0);
            happened.grown += usize::from(!kept && noted > 0 && grown);
            happened.too_much += usize::from(kept && !leads_here);
            assert!(kept || executor.objects[&id].saved.noted() == 0, "what was put back is copied afresh");
        }
        assert_eq!(executor.snapshot(id), Ok(plain.instance.snapshot()), "seed {seed}, step {step}");
        let held: usize = executor.objects.values().map(|object| object.saved.bytes()).sum();
        let largest = executor.objects.values().map(|object| object.saved.bytes()).max().unwrap();
        assert!(held <= SAVED_BYTES.max(largest), "{held} bytes of copies, {largest} of one");
        happened.given_up += executor.objects.values().filter(|object| object.saved.bytes() == 0).count();
    }
}

#[test]
fn random_inputs_leave_the_state_that_plain_copying_leaves() {
    let mut happened = Happened::default();
    for seed in 0..6 {
        random_inputs_leave_the_state_of_plain_copying(seed, &mut happened);
    }
    let Happened { run_again, grown, too_much, given_up } = happened;
    assert!(run_again > 100 && grown > 10 && too_much > 20 && given_up > 50, "{happened:?}");
}

#[test]
fn a_storm_of_failures_runs_nothing_again_but_once() {
    let mut executor = Executor::new().unwrap();
    executor.load(object(), &guest()).unwrap();
    let input = invocation(Trigger::Call { method: "command" });
    for _ in 0..5 {
        executor.invoke(object(), &input, &[0], |_| Ok(())).unwrap();
    }
    let state = executor.snapshot(object());
    for _ in 0..100 {
        assert!(executor.invoke(object(), &input, &[1], |_| Ok(())).is_err());
        assert_eq!(executor.objects[&object()].saved.noted(), 0);
        assert_eq!(executor.snapshot(object()), state);
    }
}

#[test]
fn the_number_of_noted_inputs_is_bounded() {
    let mut executor = Executor::new().unwrap();
    executor.load(object(), &guest()).unwrap();
    let input = invocation(Trigger::Call { method: "command" });
    for round in 0..3 * NOTED_INPUTS_MAX {
        let outcome = executor.invoke(object(), &input, &[0], |_| Ok(())).unwrap();
        assert!(matches!(outcome.reply, Reply::Now(Answer::Returned(_))), "round {round}: {outcome:?}");
        assert!(executor.objects[&object()].saved.noted() <= NOTED_INPUTS_MAX);
    }
}

#[test]
fn a_module_is_compiled_once_however_many_objects_it_makes() {
    let mut executor = Executor::new().unwrap();
    let module = guest();
    let ids = [0, 1, 2].map(object_numbered);
    executor.load(ids[0], &module).unwrap();
    executor.load(ids[1], &module).unwrap();
    let state = executor.snapshot(ids[1]).unwrap();
    executor.restore(ids[2], &module, &state).unwrap();
    for id in ids {
        assert!(Arc::ptr_eq(&executor.objects[&id].code, &executor.objects[&ids[0]].code));
    }
    executor.load(object_numbered(3), &spinning()).unwrap();
    assert!(!Arc::ptr_eq(&executor.objects[&object_numbered(3)].code, &executor.objects[&ids[0]].code));
}
