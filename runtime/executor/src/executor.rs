//! The objects of this replica.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use concoord_consensus::objects::{Accept, Fault, Objects};
use concoord_module::Limits;
use concoord_wire::ObjectId;
use concoord_wire::abi::{Invocation, Outcome};
use concoord_wire::interface::Interface;
use wasmtime::Engine;

use crate::code::Code;
use crate::engine::{EngineError, Watchdog, engine};
use crate::instance::Instance;
use crate::limits::INPUT_BYTES_KEPT;
use crate::saved::Saved;

/// Runs objects, one input at a time.
///
/// The thread that calls it needs a stack of [`WASM_STACK_BYTES_MAX`](crate::limits::WASM_STACK_BYTES_MAX) and a few
/// hundred KiB more.
pub struct Executor {
    engine: Engine,
    limits: Limits,
    objects: BTreeMap<ObjectId, Object>,
    saved: Saved,
    /// The encoded invocation.
    input: Vec<u8>,
    _watchdog: Watchdog,
}

struct Object {
    code: Code,
    instance: Instance,
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
        let (objects, saved, input) = (BTreeMap::new(), Saved::default(), Vec::new());
        Ok(Executor { engine, limits, objects, saved, input, _watchdog: watchdog })
    }

    fn undo(&mut self, id: ObjectId) -> Result<(), Fault> {
        let object = known(&mut self.objects, id)?;
        self.saved.restore(&object.code, &mut object.instance)
    }

    /// Runs one input, and leaves what it changed and the state before it.
    fn run(&mut self, id: ObjectId, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault> {
        let object = known(&mut self.objects, id)?;
        self.saved.save(id, &mut object.instance);
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        input.shrink_to(INPUT_BYTES_KEPT);
        self.input = postcard::to_extend(invocation, input).expect("an invocation has a postcard");
        object.instance.run(&self.input, arguments)
    }
}

impl Objects for Executor {
    fn load(&mut self, object: ObjectId, module: &[u8]) -> Result<Bytes, Fault> {
        let code = Code::compile(&self.engine, module, &self.limits)?;
        let mut instance = Instance::new(&code)?;
        instance.initialize().map_err(|fault| refused("its constructors", fault))?;
        self.saved.forget(object);
        self.saved.save(object, &mut instance);
        let description = describe_instance(&mut instance);
        self.saved.restore(&code, &mut instance)?;
        match description {
            Ok((description, _)) => {
                self.objects.insert(object, Object { code, instance });
                Ok(description.into())
            }
            Err(fault) => {
                self.saved.forget(object);
                Err(fault)
            }
        }
    }

    fn invoke(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept,
    ) -> Result<Outcome, Fault> {
        let outcome = self.run(object, invocation, arguments).and_then(|outcome| match accept(&outcome) {
            Ok(()) => Ok(outcome),
            Err(why) => Err(Fault::Misbehaved(why)),
        });
        match outcome {
            Ok(outcome) => {
                self.saved.forget(object);
                Ok(outcome)
            }
            Err(fault) => {
                self.undo(object)?;
                Err(fault)
            }
        }
    }

    fn query(&mut self, object: ObjectId, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault> {
        let outcome = self.run(object, invocation, arguments);
        self.undo(object)?;
        outcome
    }

    fn remove(&mut self, object: ObjectId) {
        self.objects.remove(&object);
        self.saved.forget(object);
    }

    fn state_hash(&mut self, object: ObjectId) -> Option<u64> {
        self.objects.get_mut(&object).map(|object| object.instance.hash())
    }
}

/// Loads a module only to ask what it can do. What this accepts, every replica with the default [`Limits`] can load.
///
/// # Errors
/// [`Fault::Refused`] for a module that is no object, [`Fault::Host`] when this host can't run it.
pub fn describe(module: &[u8]) -> Result<Interface, Fault> {
    let host = |error: EngineError| Fault::Host(error.to_string());
    let engine = engine().map_err(host)?;
    let _watchdog = Watchdog::start(&engine).map_err(host)?;
    let code = Code::compile(&engine, module, &Limits::default())?;
    let mut instance = Instance::new(&code)?;
    instance.initialize().map_err(|fault| refused("its constructors", fault))?;
    describe_instance(&mut instance).map(|(_, interface)| interface)
}

fn describe_instance(instance: &mut Instance) -> Result<(Vec<u8>, Interface), Fault> {
    let description = instance.describe().map_err(|fault| refused("its description", fault))?;
    let interface = Interface::decode(&description).map_err(|error| Fault::Refused(error.to_string()))?;
    Ok((description, interface))
}

/// A fault while loading: the guest's own make the module one that can't be loaded.
fn refused(what: &str, fault: Fault) -> Fault {
    match fault {
        Fault::Host(_) | Fault::Refused(_) => fault,
        Fault::Trapped(why) => Fault::Refused(format!("{what} trapped: {why}")),
        Fault::Misbehaved(why) => Fault::Refused(format!("{what} broke the object ABI: {why}")),
    }
}

fn known(objects: &mut BTreeMap<ObjectId, Object>, id: ObjectId) -> Result<&mut Object, Fault> {
    objects.get_mut(&id).ok_or_else(|| Fault::Host(format!("object {id} was never loaded here")))
}

#[cfg(test)]
mod tests;
