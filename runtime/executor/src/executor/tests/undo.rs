//! Undoing: an object is where plain copying before each input would have left it.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;
use crate::image::Image;
use crate::limits::NOTED_INPUTS_MAX;
use crate::state::FrozenState;

const GUEST: &str = include_str!("../../../tests/support/guest.wat");
const PAGES_MAX: u32 = 24;
/// Commands of the guest, see there: most succeed, some of them after growing; the rest trap or break the ABI.
const COMMANDS: [u8; 14] = [0, 0, 0, 0, 0, 10, 11, 14, 1, 2, 3, 4, 6, 8];
const OBJECTS: u64 = 3;

fn guest() -> Vec<u8> {
    let (name, version, doc) = ("Guest".into(), "1".into(), String::new());
    let description =
        codec::to_bytes(&Interface { name, version, doc, types: vec![], init: vec![], methods: vec![], event: None });
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
    /// The whole state, looked at anew.
    fn state(&mut self) -> Vec<u8> {
        let blocks = Image::of(self.instance.memory()).blocks();
        let mut bytes = Vec::new();
        FrozenState { globals: self.instance.global_bits(), blocks }.write(&mut bytes);
        bytes
    }

    fn run(&mut self, input: &Invocation<'_>, arguments: &[u8], accept: Option<Accept>) -> Result<Outcome, Fault> {
        let state = self.state();
        let outcome = self.instance.run(&codec::to_bytes(input), arguments, u64::MAX);
        let outcome = match accept {
            None => outcome,
            Some(accept) => outcome.and_then(|outcome| accept(&outcome).map_err(Fault::Misbehaved).map(|()| outcome)),
        };
        if outcome.is_err() || accept.is_none() {
            self.instance = Instance::new(&self.code, ObjectLimits::default()).unwrap();
            self.instance.restore(&self.code.checked, &State::decode(&state).unwrap()).unwrap();
        } else {
            self.instance.keep().unwrap();
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
    kept: usize,
    /// Updates that failed, and queries.
    undone: usize,
    /// Those of them that had grown the memory.
    shrunk: usize,
}

fn random_inputs_leave_the_state_of_plain_copying(seed: u64, happened: &mut Happened) {
    let mut random = Random { seed, drawn: 0 };
    let limits = Limits { memory_pages: PAGES_MAX, ..Limits::default() };
    let mut executor = Executor::with_limits(limits.clone()).unwrap();
    let module = guest();
    let mut plain: Vec<Plain> = (0..OBJECTS)
        .map(|number| {
            executor.load(object_numbered(number), &module, ObjectLimits::default()).unwrap();
            let code = Code::compile(&executor.engine, &InProcess, &module, &limits, Bounds::DECIDED).unwrap();
            let mut instance = Instance::new(&code, ObjectLimits::default()).unwrap();
            instance.initialize().unwrap();
            Plain { code, instance }
        })
        .collect();
    let accepts: [Accept; 2] = [&|_| Ok(()), &|_| Err("not like this".into())];
    for step in 0..1500 {
        // Runs on one object, and now and then another one.
        let number = if random.below(8) == 0 { random.below(OBJECTS) } else { step / 100 % OBJECTS };
        let (id, plain) = (object_numbered(number), &mut plain[number as usize]);
        let mut arguments = vec![9; if random.below(4) == 0 { random.below(40_000) as usize } else { 3 }];
        arguments.push(if random.below(6) == 0 { COMMANDS[random.below(COMMANDS.len() as u64) as usize] } else { 0 });
        let input = invocation(Trigger::Call { method: "command" });
        let accept = accepts[usize::from(random.below(24) == 0)];
        let kept = if random.below(24) == 0 {
            let outcome = executor.query(id, &input, &arguments);
            assert_eq!(outcome, plain.run(&input, &arguments, None), "seed {seed}, step {step}");
            false
        } else {
            let outcome = executor.invoke(id, &input, &arguments, accept);
            assert_eq!(outcome, plain.run(&input, &arguments, Some(accept)), "seed {seed}, step {step}");
            outcome.is_ok()
        };
        happened.kept += usize::from(kept);
        happened.undone += usize::from(!kept);
        let grew = arguments.last().is_some_and(|command| [2, 10, 11].contains(command));
        happened.shrunk += usize::from(!kept && grew);
        assert_eq!(executor.snapshot(id), Ok(plain.state()), "seed {seed}, step {step}");
        assert_eq!(executor.state_hash(id), Some(plain.instance.hash()), "seed {seed}, step {step}");
    }
}

#[test]
fn random_inputs_leave_the_state_that_plain_copying_leaves() {
    let mut happened = Happened::default();
    for seed in 0..6 {
        random_inputs_leave_the_state_of_plain_copying(seed, &mut happened);
    }
    let Happened { kept, undone, shrunk } = happened;
    assert!(kept > 5000 && undone > 1000 && shrunk > 50, "{happened:?}");
}

/// A failure after many successes takes back itself alone, whatever the log holds.
#[test]
fn only_the_last_input_is_undone() {
    let mut executor = Executor::new().unwrap();
    executor.load(object(), &guest(), ObjectLimits::default()).unwrap();
    let input = invocation(Trigger::Call { method: "command" });
    for successes in [1, 5, NOTED_INPUTS_MAX - 6, NOTED_INPUTS_MAX, NOTED_INPUTS_MAX + 1, 2 * NOTED_INPUTS_MAX] {
        for _ in 0..successes {
            executor.invoke(object(), &input, &[0], &|_| Ok(())).unwrap();
        }
        let state = executor.snapshot(object());
        for _ in 0..20 {
            assert!(executor.invoke(object(), &input, &[1], &|_| Ok(())).is_err());
            assert_eq!(executor.snapshot(object()), state);
        }
    }
}

#[test]
fn a_module_is_compiled_once_however_many_objects_it_makes() {
    let mut executor = Executor::new().unwrap();
    let module = guest();
    let ids = [0, 1, 2].map(object_numbered);
    executor.load(ids[0], &module, ObjectLimits::default()).unwrap();
    executor.load(ids[1], &module, ObjectLimits::default()).unwrap();
    let state = executor.snapshot(ids[1]).unwrap();
    executor.restore(ids[2], &module, ObjectLimits::default(), &state).unwrap();
    for id in ids {
        assert!(Arc::ptr_eq(&executor.objects[&id].code, &executor.objects[&ids[0]].code));
    }
    executor.load(object_numbered(3), &spinning(), ObjectLimits::default()).unwrap();
    assert!(!Arc::ptr_eq(&executor.objects[&object_numbered(3)].code, &executor.objects[&ids[0]].code));
}
