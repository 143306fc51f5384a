//! The objects of this replica.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use concoord_consensus::constructor_refusal;
use concoord_consensus::objects::{Accept, Fault, Frozen, Input, Objects, Switches};
use concoord_module::Limits;
use concoord_wire::abi::{Invocation, ObjectLimits, Outcome, Trigger};
use concoord_wire::interface::Interface;
use concoord_wire::{ObjectId, Position, Timestamp, codec, signature};
use wasmtime::Engine;

use crate::code::{Code, DescribeError};
use crate::compile::{Bounds, Compiler, InProcess};
use crate::engine::{EngineError, Watchdog, engine};
use crate::instance::Instance;
use crate::limits::INPUT_BYTES_KEPT;
use crate::noted::Noted;
use crate::state::State;

/// Runs objects, one input at a time.
///
/// The thread that calls it needs a stack of [`WASM_STACK_BYTES_MAX`](crate::limits::WASM_STACK_BYTES_MAX) and a few
/// hundred KiB more.
pub struct Executor {
    engine: Engine,
    compiler: Arc<dyn Compiler>,
    limits: Limits,
    /// Gas that an input may use for now.
    hurry: u64,
    objects: BTreeMap<ObjectId, Object>,
    /// The encoded invocation.
    input: Vec<u8>,
    _watchdog: Watchdog,
}

struct Object {
    code: Arc<Code>,
    instance: Instance,
    /// What the instance ran since its undo log was last emptied.
    noted: Noted,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("objects", &self.objects.keys()).finish_non_exhaustive()
    }
}

impl Executor {
    /// An executor without objects, for modules within the default [`Limits`].
    ///
    /// # Errors
    /// [`EngineError`] when this host can't run Wasm: its processor or system lacks what wasmtime needs.
    pub fn new() -> Result<Executor, EngineError> {
        Executor::with_limits(Limits::default())
    }

    /// An executor without objects. The limits decide what is loaded and how far memories grow, so they must be the
    /// same on every replica.
    ///
    /// # Errors
    /// As [`Executor::new`].
    pub fn with_limits(limits: Limits) -> Result<Executor, EngineError> {
        let engine = engine()?;
        let watchdog = Watchdog::start(&engine)?;
        let compiler = Arc::new(InProcess);
        let (objects, input) = (BTreeMap::new(), Vec::new());
        Ok(Executor { engine, compiler, limits, hurry: u64::MAX, objects, input, _watchdog: watchdog })
    }

    /// The same executor, with modules compiled by `compiler` within [`Bounds::DECIDED`]. Without this it does that
    /// itself, within no bounds.
    #[must_use]
    pub fn with_compiler(self, compiler: Arc<dyn Compiler>) -> Executor {
        Executor { compiler, ..self }
    }

    /// Gas that the object's last input used, all that it may when there was too little. `None` for an unknown object.
    pub fn gas_used(&mut self, object: ObjectId) -> Option<u64> {
        self.objects.get_mut(&object).map(|object| object.instance.gas_used())
    }

    /// The code of a module: that of another object if it has the same module, since compiling is slow.
    fn code(&self, module: &[u8]) -> Result<Arc<Code>, Fault> {
        let same = self.objects.values().find(|object| object.code.bytes == module);
        match same {
            Some(object) => Ok(Arc::clone(&object.code)),
            None => {
                let code = Code::compile(&self.engine, &*self.compiler, module, &self.limits, Bounds::DECIDED)?;
                Ok(Arc::new(code))
            }
        }
    }

    fn for_each(
        &mut self,
        objects: &BTreeSet<ObjectId>,
        does: fn(&mut Instance) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        objects.iter().try_for_each(|id| does(&mut known(&mut self.objects, *id)?.instance))
    }

    /// The object, and its next input encoded into `self.input`.
    fn prepare(&mut self, id: ObjectId, invocation: &Invocation<'_>) -> Result<(&mut Object, &[u8]), Fault> {
        let object = self.objects.get_mut(&id).ok_or_else(|| unknown(id))?;
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        input.shrink_to(INPUT_BYTES_KEPT);
        invocation.append(&mut input);
        self.input = input;
        Ok((object, &self.input))
    }
}

impl Objects for Executor {
    fn load(&mut self, object: ObjectId, module: &[u8], limits: ObjectLimits) -> Result<Bytes, Fault> {
        let code = self.code(module)?;
        let mut instance = Instance::new(&code, limits)?;
        instance.initialize().map_err(|fault| refused("its constructors", fault))?;
        let (description, _) = describe_instance(&mut instance)?;
        instance.undo()?;
        self.objects.insert(object, Object { code, instance, noted: Noted::default() });
        Ok(description.into())
    }

    fn hurry(&mut self, gas: Option<u64>) {
        self.hurry = gas.unwrap_or(u64::MAX);
    }

    fn invoke(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault> {
        let hurry = self.hurry;
        let (Object { instance, noted, .. }, input) = self.prepare(object, invocation)?;
        let outcome = instance.run(input, arguments, hurry).and_then(|outcome| match accept(&outcome) {
            Ok(()) => Ok(outcome),
            Err(why) => Err(Fault::Misbehaved(why)),
        });
        match outcome {
            Ok(_) if noted.note(input, arguments, instance.gas_used()) => {}
            Ok(_) => instance.keep()?,
            Err(_) => {
                instance.undo()?;
                noted.run_again(instance)?;
                // So that no update runs again twice, however many fail after it.
                noted.keep(instance)?;
            }
        }
        outcome
    }

    fn invoke_all(
        &mut self,
        inputs: &[Input<'_>],
        accept: &dyn Fn(usize, &Outcome) -> Result<(), String>,
    ) -> Result<Vec<Outcome>, (usize, Fault)> {
        let hurry = self.hurry;
        let (mut touched, mut outcomes) = (BTreeSet::new(), Vec::with_capacity(inputs.len()));
        for (index, Input { object: id, invocation, arguments }) in inputs.iter().enumerate() {
            let mut run = || {
                let (Object { instance, noted, .. }, input) = self.prepare(*id, invocation)?;
                if touched.insert(*id) {
                    noted.keep(instance)?;
                }
                let outcome = instance.run(input, arguments, hurry)?;
                accept(index, &outcome).map_err(Fault::Misbehaved)?;
                Ok(outcome)
            };
            match run() {
                Ok(outcome) => outcomes.push(outcome),
                Err(fault) => {
                    self.for_each(&touched, Instance::undo).map_err(|fault| (index, fault))?;
                    return Err((index, fault));
                }
            }
        }
        self.for_each(&touched, Instance::keep).map_err(|fault| (0, fault))?;
        Ok(outcomes)
    }

    fn reinitialize(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault> {
        let Object { code, instance, .. } = known(&mut self.objects, object)?;
        let (code, limits) = (Arc::clone(code), instance.limits());
        let mut instance = Instance::new(&code, limits)?;
        instance.initialize().map_err(|fault| refused("its constructors", fault))?;
        instance.keep()?;
        let input = codec::to_bytes(invocation);
        let outcome = instance.run(&input, arguments, u64::MAX)?;
        accept(&outcome).map_err(Fault::Misbehaved)?;
        instance.keep()?;
        self.objects.insert(object, Object { code, instance, noted: Noted::default() });
        Ok(outcome)
    }

    fn query(&mut self, object: ObjectId, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault> {
        let hurry = self.hurry;
        let (Object { instance, noted, .. }, input) = self.prepare(object, invocation)?;
        // Each is to be undone alone.
        noted.keep(instance)?;
        let outcome = instance.run(input, arguments, hurry);
        instance.undo()?;
        outcome
    }

    fn upgrade(
        &mut self,
        object: ObjectId,
        module: &[u8],
        limits: ObjectLimits,
        switches: Switches<'_>,
    ) -> Result<Bytes, Fault> {
        let code = self.code(module)?;
        let old = known(&mut self.objects, object)?;
        old.noted.keep(&mut old.instance)?;
        let exported = old.instance.export_with(limits.gas_per_call);
        old.instance.undo()?;
        let exported = exported.map_err(|fault| refused("its export", fault))?;
        let mut instance = Instance::new(&code, limits)?;
        instance.initialize().map_err(|fault| refused("the new module's constructors", fault))?;
        let (description, _) = describe_instance(&mut instance)?;
        instance.undo()?;
        instance.import(&exported).map_err(|fault| refused("the new module's import", fault))?;
        instance.keep()?;
        if switches(&description) {
            *old = Object { code, instance, noted: Noted::default() };
        }
        Ok(description.into())
    }

    fn remove(&mut self, object: ObjectId) {
        self.objects.remove(&object);
    }

    fn freeze(&mut self, object: ObjectId) -> Result<Box<dyn Frozen>, Fault> {
        let Object { instance, noted, .. } = known(&mut self.objects, object)?;
        noted.keep(instance)?;
        Ok(Box::new(instance.freeze()))
    }

    fn restore(&mut self, object: ObjectId, module: &[u8], limits: ObjectLimits, state: &[u8]) -> Result<Bytes, Fault> {
        let code = self.code(module)?;
        let state = State::decode(state).map_err(|error| Fault::Refused(error.to_string()))?;
        // It described itself when it was loaded; how much gas it may use for calls makes no difference to that.
        let description =
            describe_new(&code, ObjectLimits { memory_pages: limits.memory_pages, ..Default::default() })?.0;
        let mut instance = Instance::new(&code, limits)?;
        instance.restore(&code.checked, &state)?;
        self.objects.insert(object, Object { code, instance, noted: Noted::default() });
        Ok(description.into())
    }

    fn state_hash(&mut self, object: ObjectId) -> Option<u64> {
        let Object { instance, noted, .. } = self.objects.get_mut(&object)?;
        noted.keep(instance).expect("this host ran the object before");
        Some(instance.hash())
    }
}

/// Loads a module only to ask what it can do, and compiles it by `compiler` within [`Bounds::PROPOSED`]. What this
/// accepts, every replica with the default [`Limits`] can load.
///
/// # Errors
/// [`DescribeError`].
pub fn describe(module: &[u8], compiler: &dyn Compiler) -> Result<Interface, DescribeError> {
    try_with(module, compiler, |code| describe_new(code, ObjectLimits::default()).map(|(_, interface)| interface))
}

/// Finds out whether an object of this module can be made, within these limits, by its constructor with these arguments, in postcard.
/// What is compiled is so as by [`describe`].
///
/// # Errors
/// [`DescribeError`]; [`Fault::Refused`] also where the constructor refuses the arguments, and says which it takes.
pub fn try_out(
    module: &[u8],
    compiler: &dyn Compiler,
    limits: ObjectLimits,
    arguments: &[u8],
) -> Result<(), DescribeError> {
    let (position, now, seed, trigger) = (Position(1), Timestamp(1), 1, Trigger::Init);
    let init = codec::to_bytes(&Invocation { position, now, seed, call: None, caller: None, trigger });
    try_with(module, compiler, |code| {
        let mut instance = Instance::new(code, limits)?;
        instance.initialize().map_err(|fault| refused("its constructors", fault))?;
        let (_, interface) = describe_instance(&mut instance)?;
        let reply = instance.run(&init, arguments, u64::MAX)?.reply;
        let takes = || signature::constructor(&interface);
        constructor_refusal(&reply).map_or(Ok(()), |why| Err(Fault::Refused(format!("{why}; it is {}", takes()))))
    })
}

/// Compiles a module within [`Bounds::PROPOSED`], only to see what its code does.
fn try_with<T>(
    module: &[u8],
    compiler: &dyn Compiler,
    see: impl FnOnce(&Code) -> Result<T, Fault>,
) -> Result<T, DescribeError> {
    let host = |error: EngineError| Fault::Host(error.to_string());
    let engine = engine().map_err(host)?;
    let _watchdog = Watchdog::start(&engine).map_err(host)?;
    let code = Code::compile(&engine, compiler, module, &Limits::default(), Bounds::PROPOSED)?;
    Ok(see(&code)?)
}

/// The description that an object of this module gives when it is loaded, from an instance of its own.
fn describe_new(code: &Code, limits: ObjectLimits) -> Result<(Vec<u8>, Interface), Fault> {
    let mut instance = Instance::new(code, limits)?;
    instance.initialize().map_err(|fault| refused("its constructors", fault))?;
    describe_instance(&mut instance)
}

fn describe_instance(instance: &mut Instance) -> Result<(Vec<u8>, Interface), Fault> {
    let description = instance.describe().map_err(|fault| refused("its description", fault))?;
    let interface = Interface::decode(&description).map_err(|error| Fault::Refused(error.to_string()))?;
    Ok((description, interface))
}

/// A fault while loading: the guest's own make the module one that can't be loaded.
fn refused(what: &str, fault: Fault) -> Fault {
    match fault {
        Fault::Host(_) | Fault::Later | Fault::Refused(_) => fault,
        Fault::Trapped(why) => Fault::Refused(format!("{what} trapped: {why}")),
        Fault::Limit(reached) => Fault::Refused(format!("{what}: {reached}")),
        Fault::Misbehaved(why) => Fault::Refused(format!("{what} broke the object ABI: {why}")),
    }
}

fn known(objects: &mut BTreeMap<ObjectId, Object>, id: ObjectId) -> Result<&mut Object, Fault> {
    objects.get_mut(&id).ok_or_else(|| unknown(id))
}

fn unknown(id: ObjectId) -> Fault {
    Fault::Host(format!("object {id} was never loaded here"))
}

#[cfg(test)]
mod tests;
