//! One running module: calls into it, keeping or undoing what they did, and its state from outside.

use concoord_consensus::objects::Fault;
use concoord_module::{Checked, INPUT_EXPORT, KEEP_EXPORT, PAGE_BYTES, UNDO_EXPORT, global_export};
use concoord_wire::abi::{self, Outcome, export};
use concoord_wire::codec;
use concoord_wire::limits::{INTERFACE_BYTES_MAX, OUTCOME_BYTES_MAX};
use wasmtime::{Error, Global, Instance as Exports, Memory, Store, Trap, TypedFunc, Val, ValType};
use xxhash_rust::xxh3::Xxh3;

use crate::code::Code;
use crate::growth::Growth;
use crate::limits::{CALL_SECONDS_MAX, PANIC_BYTES_MAX};
use crate::state::{self, State, StateError, bits};
use crate::trap::{Cause, cause};

/// A module with a memory of its own. Each has a store of its own too: a store frees nothing before it is dropped.
pub(crate) struct Instance {
    store: Store<Growth>,
    exports: Exports,
    memory: Memory,
    globals: Vec<Global>,
    describe: TypedFunc<(), i64>,
    /// Gives the place for an input, marked in the undo log.
    input: TypedFunc<u32, u32>,
    call: TypedFunc<u32, i64>,
    keep: TypedFunc<(), ()>,
    undo: TypedFunc<(), ()>,
    panic_address: Option<u32>,
    before: Before,
}

/// What the undo log does not hold of the state when it was last empty.
#[derive(Default)]
struct Before {
    memory_bytes: usize,
    globals: Vec<Val>,
}

const CHECKED: &str = "a checked module has this export";
const REWRITTEN: &str = "a rewritten module has this export";

/// A deadline for what always returns: so far away that adding it to the present reaches no end of the numbers.
const NO_DEADLINE: u64 = u64::MAX / 2;

impl Instance {
    /// A fresh instance: memory and globals as the module's data says, constructors not run.
    ///
    /// # Errors
    /// [`Fault::Refused`] when its data lies outside its memory, [`Fault::Host`] when there is no room for it.
    pub(crate) fn new(code: &Code) -> Result<Instance, Fault> {
        let mut store = Store::new(code.module.engine(), Growth);
        store.limiter(|growth| growth);
        store.set_epoch_deadline(CALL_SECONDS_MAX);
        let exports = Exports::new(&mut store, &code.module, &[]).map_err(|error| match trapped(&error) {
            Some(Cause::Guest(what)) => Fault::Refused(format!("its data and tables do not fit: {what}")),
            _ => Fault::Host(format!("the module can't be instantiated: {error:#}")),
        })?;
        let globals = code.checked.mutable_globals.iter();
        let globals = globals.map(|index| exports.get_global(&mut store, &global_export(*index)).expect(REWRITTEN));
        let globals = globals.collect();
        let memory = exports.get_memory(&mut store, export::MEMORY).expect(CHECKED);
        let describe = exports.get_typed_func(&mut store, export::DESCRIBE).expect(CHECKED);
        let call = exports.get_typed_func(&mut store, export::CALL).expect(CHECKED);
        let input = exports.get_typed_func(&mut store, INPUT_EXPORT).expect(REWRITTEN);
        let keep = exports.get_typed_func(&mut store, KEEP_EXPORT).expect(REWRITTEN);
        let undo = exports.get_typed_func(&mut store, UNDO_EXPORT).expect(REWRITTEN);
        let (panic_address, before) = (code.checked.panic_address, Before::default());
        let mut instance =
            Instance { store, exports, memory, globals, describe, input, call, keep, undo, panic_address, before };
        instance.save_rest();
        Ok(instance)
    }

    /// Runs the constructors, if there are any, and keeps what they did.
    pub(crate) fn initialize(&mut self) -> Result<(), Fault> {
        let Ok(initialize) = self.exports.get_typed_func::<(), ()>(&mut self.store, export::INITIALIZE) else {
            return Ok(());
        };
        self.start_watch();
        initialize.call(&mut self.store, ()).map_err(|error| self.fault(&error))?;
        self.keep()
    }

    /// The encoded interface, as the guest gives it. What it changes is to be undone.
    pub(crate) fn describe(&mut self) -> Result<Vec<u8>, Fault> {
        self.start_watch();
        let packed = self.describe.call(&mut self.store, ()).map_err(|error| self.fault(&error))?;
        self.read("description", packed, INTERFACE_BYTES_MAX).map(<[u8]>::to_vec)
    }

    /// Runs one input, which is `head` and then `tail`, so that neither has to be copied twice.
    pub(crate) fn run(&mut self, head: &[u8], tail: &[u8]) -> Result<Outcome, Fault> {
        self.start_watch();
        let size = head.len() + tail.len();
        let length = u32::try_from(size).map_err(|_| Fault::Misbehaved(format!("input of {size} bytes")))?;
        let address = self.input.call(&mut self.store, length).map_err(|error| self.fault(&error))?;
        let start = address as usize;
        let memory = self.memory.data_mut(&mut self.store);
        let pages = memory.len() / PAGE_BYTES;
        let Some(buffer) = memory.get_mut(start..start + size) else {
            return Err(Fault::Misbehaved(outside("input buffer", address, length, pages)));
        };
        let (for_head, for_tail) = buffer.split_at_mut(head.len());
        for_head.copy_from_slice(head);
        for_tail.copy_from_slice(tail);
        let packed = self.call.call(&mut self.store, length).map_err(|error| self.fault(&error))?;
        let outcome = self.read("outcome", packed, OUTCOME_BYTES_MAX)?;
        codec::from_bytes(outcome).map_err(|error| Fault::Misbehaved(format!("its outcome is none: {error}")))
    }

    fn start_watch(&mut self) {
        self.store.set_epoch_deadline(CALL_SECONDS_MAX);
    }

    /// Keeps all that was changed so far: the undo log is empty.
    ///
    /// # Errors
    /// [`Fault::Host`] when this host can't run Wasm any more.
    pub(crate) fn keep(&mut self) -> Result<(), Fault> {
        self.store.set_epoch_deadline(NO_DEADLINE);
        let kept = self.keep.call(&mut self.store, ());
        kept.map_err(|error| Fault::Host(format!("keeping an input failed: {error:#}")))?;
        self.save_rest();
        Ok(())
    }

    /// Saves what the undo log does not hold.
    fn save_rest(&mut self) {
        self.before.memory_bytes = self.memory().len();
        self.before.globals.clear();
        self.before.globals.extend(self.globals.iter().map(|global| global.get(&mut self.store)));
    }

    /// Puts the state back that was there when the undo log was last empty. A memory that grew can't shrink, so its
    /// object then gets a new instance of `code`.
    ///
    /// # Errors
    /// [`Fault::Host`] when this host can't run Wasm any more, or has no room for a new instance.
    pub(crate) fn undo(&mut self, code: &Code) -> Result<(), Fault> {
        self.store.set_epoch_deadline(NO_DEADLINE);
        let undone = self.undo.call(&mut self.store, ());
        undone.map_err(|error| Fault::Host(format!("undoing an input failed: {error:#}")))?;
        for (global, value) in self.globals.iter().zip(&self.before.globals) {
            global.set(&mut self.store, *value).expect("the value came from this global");
        }
        if self.memory().len() > self.before.memory_bytes {
            let globals: Vec<u64> = self.before.globals.iter().copied().map(bits).collect();
            let state = state::encode(&self.memory()[..self.before.memory_bytes], &globals);
            let mut shrunk = Instance::new(code)?;
            shrunk.restore(&code.checked, &State::decode(&state).expect("it was encoded just now"))?;
            *self = shrunk;
        }
        Ok(())
    }

    /// What the guest points at.
    fn read(&self, what: &str, packed: i64, bytes_max: usize) -> Result<&[u8], Fault> {
        let (address, length) = abi::unpack(packed);
        if length as usize > bytes_max {
            return Err(Fault::Misbehaved(format!("{what} of {length} bytes, but at most {bytes_max} are accepted")));
        }
        let memory = self.memory();
        let start = address as usize;
        memory
            .get(start..start + length as usize)
            .ok_or_else(|| Fault::Misbehaved(outside(what, address, length, memory.len() / PAGE_BYTES)))
    }

    /// What an error from a call means; reads the guest's last words, so before anything is put back.
    fn fault(&self, error: &Error) -> Fault {
        match trapped(error) {
            Some(Cause::Guest(what)) => Fault::Trapped(what.into()),
            Some(Cause::Stopped) => {
                let panic = self.panic_text().map(|text| format!("panicked: {text}"));
                Fault::Trapped(panic.unwrap_or_else(|| "stopped itself (unreachable)".into()))
            }
            Some(Cause::Host(what)) => Fault::Host(what.into()),
            None => Fault::Host(format!("{error:#}")),
        }
    }

    fn panic_text(&self) -> Option<String> {
        let (length, text) = self.memory().get(self.panic_address? as usize..)?.split_first_chunk()?;
        let length = (u32::from_le_bytes(*length) as usize).min(PANIC_BYTES_MAX);
        let text = text.get(..length).filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// The whole memory.
    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// The mutable globals, in the order of their indices.
    pub(crate) fn globals(&mut self) -> impl Iterator<Item = Val> {
        self.globals.iter().map(|global| global.get(&mut self.store))
    }

    /// The whole state, encoded as [`state`] says.
    pub(crate) fn snapshot(&mut self) -> Vec<u8> {
        let globals: Vec<u64> = self.globals().map(bits).collect();
        state::encode(self.memory(), &globals)
    }

    /// Sets the whole state of a new instance.
    ///
    /// # Errors
    /// [`Fault::Refused`] when it is no state of this module, [`Fault::Host`] when this host has no memory left.
    pub(crate) fn restore(&mut self, checked: &Checked, state: &State<'_>) -> Result<(), Fault> {
        let refused = |error: StateError| Fault::Refused(error.to_string());
        let (pages, min, max) = (state.pages(), checked.memory_pages_min, checked.memory_pages_max);
        if !(min..=max).contains(&pages) {
            return Err(refused(StateError::Pages { pages, min, max }));
        }
        let types: Vec<ValType> = self.globals.iter().map(|global| global.ty(&self.store).content().clone()).collect();
        let globals = state.globals(&types).map_err(refused)?;
        // Before it grows, since what comes then is zero already.
        self.memory.data_mut(&mut self.store).fill(0);
        self.grow_to(pages as usize * PAGE_BYTES)?;
        state.fill(self.memory.data_mut(&mut self.store));
        for (global, value) in self.globals.iter().zip(globals) {
            global.set(&mut self.store, value).expect("the value was made for the type of this global");
        }
        self.save_rest();
        Ok(())
    }

    fn grow_to(&mut self, bytes: usize) -> Result<(), Fault> {
        let missing = (bytes - self.memory().len()) / PAGE_BYTES;
        if missing > 0 {
            let grown = self.memory.grow(&mut self.store, missing as u64);
            grown.map_err(|error| Fault::Host(format!("{error:#}")))?;
        }
        Ok(())
    }

    /// XXH3-64 over page count, memory and globals, numbers as little-endian `u64`.
    pub(crate) fn hash(&mut self) -> u64 {
        let mut hash = Xxh3::new();
        let pages = (self.memory().len() / PAGE_BYTES) as u64;
        hash.update(&pages.to_le_bytes());
        hash.update(self.memory());
        for value in self.globals() {
            hash.update(&bits(value).to_le_bytes());
        }
        hash.digest()
    }
}

fn trapped(error: &Error) -> Option<Cause> {
    error.downcast_ref::<Trap>().and_then(|trap| cause(*trap))
}

fn outside(what: &str, address: u32, length: u32, pages: usize) -> String {
    format!("{what} of {length} bytes at {address:#x}, outside its memory of {pages} pages")
}
