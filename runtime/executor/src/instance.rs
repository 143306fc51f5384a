//! One running module: calls into it, keeping or undoing what they did, and its state from outside.

use concoord_consensus::objects::Fault;
use concoord_module::{
    BEGIN_EXPORT, BYTES_EXPORT, Checked, DEPTH_MAX, GAS_EXPORT, INPUT_BYTES_MAX, KEEP_EXPORT, NOTES_EXPORT, Notes,
    PAGE_BYTES, PAGES_MAX_EXPORT, REFUSED_EXPORT, RUN_EXPORT, STOPPED_EXPORT, Stopped, UNDO_EXPORT, global_export,
    notes,
};
use concoord_wire::abi::{self, LimitKind, LimitReached, ObjectLimits, Outcome, export};
use concoord_wire::codec;
use concoord_wire::limits::{
    ANSWERED_MAX, EVENTS_MAX, INTERFACE_BYTES_MAX, LOG_LINES_MAX, OUTCOME_BYTES_MAX, TIMERS_MAX,
};
use wasmtime::{
    Error, Global, Instance as Exports, Memory, Store, Trap, TypedFunc, Val, ValType, WasmParams, WasmResults,
};

use crate::code::Code;
use crate::image::Image;
use crate::limits::{CALL_SECONDS_MAX, IMPORT_ANSWER_BYTES_MAX, NOTED_GAS_MAX, PANIC_BYTES_MAX};
use crate::state::{FrozenState, State, StateError, bits};
use crate::trap::{Cause, cause};

/// A module with a memory of its own. Each has a store of its own too: a store frees nothing before it is dropped.
pub(crate) struct Instance {
    store: Store<()>,
    exports: Exports,
    memory: Memory,
    /// The memory of the undo log, in which the next input is left too.
    notes: Memory,
    places: Notes,
    globals: Vec<Global>,
    meter: Meter,
    begin: TypedFunc<i64, ()>,
    run: TypedFunc<(i64, u32), (i64, i64, i64)>,
    keep: TypedFunc<(), ()>,
    undo: TypedFunc<(), ()>,
    limits: ObjectLimits,
    /// Gas that the last call was given.
    given: u64,
    /// What it left, where that is known.
    left: Option<i64>,
    panic_address: Option<u32>,
    before: Before,
    /// Made when it is first asked for.
    image: Option<Image>,
}

/// The globals that the rewrite added.
struct Meter {
    gas: Global,
    bytes: Global,
    stopped: Global,
    refused: Global,
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
    /// A fresh instance that is to stay within `limits`: memory and globals as the module's data says, constructors not
    /// run.
    ///
    /// # Errors
    /// [`Fault::Refused`] when its table does not fit or its memory begins beyond its limit, [`Fault::Host`] when there
    /// is no room for it.
    pub(crate) fn new(code: &Code, limits: ObjectLimits) -> Result<Instance, Fault> {
        let (begins, most) = (code.checked.memory_pages_min, limits.memory_pages.min(code.checked.memory_pages_max));
        if begins > most {
            return Err(Fault::Refused(format!("it begins with {begins} pages of memory, but may have {most}")));
        }
        let mut store = Store::new(code.module.engine(), ());
        store.set_epoch_deadline(CALL_SECONDS_MAX);
        let exports = Exports::new(&mut store, &code.module, &[]).map_err(|error| match trapped(&error) {
            Some(Cause::Guest(what)) => Fault::Refused(format!("its tables do not fit: {what}")),
            _ => Fault::Host(format!("the module can't be instantiated: {error:#}")),
        })?;
        let mut global = |name: &str| exports.get_global(&mut store, name).expect(REWRITTEN);
        let globals = code.checked.mutable_globals.iter().map(|index| global(&global_export(*index))).collect();
        let pages_max = global(PAGES_MAX_EXPORT);
        let meter = Meter {
            gas: global(GAS_EXPORT),
            bytes: global(BYTES_EXPORT),
            stopped: global(STOPPED_EXPORT),
            refused: global(REFUSED_EXPORT),
        };
        pages_max.set(&mut store, Val::I32(most.cast_signed())).expect("a number that can change");
        let mut instance = Instance {
            memory: exports.get_memory(&mut store, export::MEMORY).expect(CHECKED),
            notes: exports.get_memory(&mut store, NOTES_EXPORT).expect(REWRITTEN),
            begin: exports.get_typed_func(&mut store, BEGIN_EXPORT).expect(REWRITTEN),
            run: exports.get_typed_func(&mut store, RUN_EXPORT).expect(REWRITTEN),
            keep: exports.get_typed_func(&mut store, KEEP_EXPORT).expect(REWRITTEN),
            undo: exports.get_typed_func(&mut store, UNDO_EXPORT).expect(REWRITTEN),
            places: notes(&code.checked),
            panic_address: code.checked.panic_address,
            before: Before::default(),
            image: None,
            store,
            exports,
            globals,
            meter,
            limits,
            given: 0,
            left: None,
        };
        instance.save_rest();
        Ok(instance)
    }

    /// What it may take.
    pub(crate) fn limits(&self) -> ObjectLimits {
        self.limits
    }

    /// Runs the constructors, if there are any, and keeps what they did.
    pub(crate) fn initialize(&mut self) -> Result<(), Fault> {
        if self.exports.get_func(&mut self.store, export::INITIALIZE).is_some() {
            self.call::<(), ()>(export::INITIALIZE, ())?;
        }
        self.keep()
    }

    /// The encoded interface, as the guest gives it. What it changes is to be undone.
    pub(crate) fn describe(&mut self) -> Result<Vec<u8>, Fault> {
        let packed = self.call(export::DESCRIBE, ())?;
        let (address, length) = abi::unpack(packed);
        if length as usize > INTERFACE_BYTES_MAX {
            let why = format!("description of {length} bytes, but at most {INTERFACE_BYTES_MAX} are accepted");
            return Err(Fault::Misbehaved(why));
        }
        self.read("description", address, length).map(<[u8]>::to_vec)
    }

    /// The state as the guest encodes it, with this much gas if that is more than a call may use: who gives an object
    /// another limit for that need not do it before. What it changes is to be undone.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) fn export_with(&mut self, gas: u64) -> Result<Vec<u8>, Fault> {
        let limits = self.limits;
        self.limits.gas_per_call = gas.max(limits.gas_per_call);
        let packed = self.call(export::EXPORT, ());
        self.limits = limits;
        let packed = packed?;
        let (address, length) = abi::unpack(packed);
        // It is a part of the memory, whose size is limited.
        self.read("exported state", address, length).map(<[u8]>::to_vec)
    }

    /// Lets a new guest take over an exported state. What it changes is to be kept, or dropped with it: the undo log does
    /// not hold all of it.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::Refused`] with what the guest says when it does not take it over.
    pub(crate) fn import(&mut self, state: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(state.len()).expect("it was a part of a memory of 32 bits");
        let address: u32 = self.call(export::BUFFER, length)?;
        let (bytes, start) = (self.memory_bytes(), address as usize);
        let Some(buffer) = self.memory.data_mut(&mut self.store)[..bytes].get_mut(start..start + state.len()) else {
            let pages = bytes / PAGE_BYTES;
            let why = format!("buffer of {length} bytes at {address:#x}, outside its memory of {pages} pages");
            return Err(Fault::Misbehaved(why));
        };
        buffer.copy_from_slice(state);
        let packed = self.call(export::IMPORT, length)?;
        let (address, length) = abi::unpack(packed);
        if length as usize > IMPORT_ANSWER_BYTES_MAX {
            let why = format!("answer of {length} bytes, but at most {IMPORT_ANSWER_BYTES_MAX} are accepted");
            return Err(Fault::Misbehaved(why));
        }
        let said = self.read("answer", address, length)?;
        match codec::from_bytes::<Result<(), String>>(said) {
            Ok(imported) => imported.map_err(Fault::Refused),
            Err(error) => Err(Fault::Misbehaved(format!("its answer is none: {error}"))),
        }
    }

    /// Calls a function of the guest's, other than for an input, with all the gas of one.
    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> Result<R, Fault> {
        self.store.set_epoch_deadline(CALL_SECONDS_MAX);
        (self.given, self.left) = (self.limits.gas_per_call, None);
        self.begin.call(&mut self.store, counted(self.given)).map_err(|error| self.fault(&error))?;
        let function = self.exports.get_typed_func::<P, R>(&mut self.store, name).expect(CHECKED);
        function.call(&mut self.store, parameters).map_err(|error| self.fault(&error))
    }

    /// Runs one input, which is `head` and then `tail`, so that neither has to be copied twice. With less gas than it may
    /// use, it ends with [`Fault::Later`] where it would go on.
    pub(crate) fn run(&mut self, head: &[u8], tail: &[u8], gas: u64) -> Result<Outcome, Fault> {
        let size = head.len() + tail.len();
        let length = u32::try_from(size).ok().filter(|_| size <= INPUT_BYTES_MAX);
        let length = length.ok_or_else(|| Fault::Misbehaved(format!("input of {size} bytes")))?;
        let place = &mut self.notes.data_mut(&mut self.store)[self.places.input..][..size];
        let (for_head, for_tail) = place.split_at_mut(head.len());
        for_head.copy_from_slice(head);
        for_tail.copy_from_slice(tail);
        (self.given, self.left) = (self.limits.gas_per_call.min(gas), None);
        // What ends soon by itself is not watched: its thread may hardly get to run.
        let brief = self.given <= NOTED_GAS_MAX;
        self.store.set_epoch_deadline(if brief { NO_DEADLINE } else { CALL_SECONDS_MAX });
        let ran = self.run.call(&mut self.store, (counted(self.given), length));
        let (packed, left, bytes) = ran.map_err(|error| self.fault(&error))?;
        self.left = Some(left);
        let (address, length) = abi::unpack(packed);
        within(LimitKind::OutcomeBytes, length as usize, OUTCOME_BYTES_MAX)?;
        let outcome = self.read_within(memory_size(bytes), "outcome", address, length)?;
        let outcome =
            Outcome::from_bytes(outcome).map_err(|error| Fault::Misbehaved(format!("its outcome is none: {error}")))?;
        within(LimitKind::Answered, outcome.answered.len(), ANSWERED_MAX)?;
        within(LimitKind::Events, outcome.events.len(), EVENTS_MAX)?;
        within(LimitKind::Timers, outcome.timers.len(), TIMERS_MAX)?;
        within(LimitKind::LogLines, outcome.log.len(), LOG_LINES_MAX)?;
        Ok(outcome)
    }

    /// Gas that the last call used; all of it when there was too little. Of a call that failed, what it had used when it
    /// last entered or left a function.
    pub(crate) fn gas_used(&mut self) -> u64 {
        let left = match self.left {
            Some(left) => left,
            None => match self.stopped_by() {
                Some(Stopped::Gas) => 0,
                _ => self.meter.gas.get(&mut self.store).unwrap_i64(),
            },
        };
        (counted(self.given) - left).cast_unsigned()
    }

    /// Why appended code stopped the last call.
    fn stopped_by(&mut self) -> Option<Stopped> {
        Stopped::from_number(self.meter.stopped.get(&mut self.store).unwrap_i32())
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
        self.before.memory_bytes = self.memory_bytes();
        self.before.globals.clear();
        self.before.globals.extend(self.globals.iter().map(|global| global.get(&mut self.store)));
    }

    /// Puts the state back that was there when the undo log was last empty.
    ///
    /// # Errors
    /// [`Fault::Host`] when this host can't run Wasm any more.
    pub(crate) fn undo(&mut self) -> Result<(), Fault> {
        self.store.set_epoch_deadline(NO_DEADLINE);
        let undone = self.undo.call(&mut self.store, ());
        undone.map_err(|error| Fault::Host(format!("undoing an input failed: {error:#}")))?;
        for (global, value) in self.globals.iter().zip(&self.before.globals) {
            global.set(&mut self.store, *value).expect("the value came from this global");
        }
        self.set_memory_bytes(self.before.memory_bytes);
        Ok(())
    }

    /// What the guest points at.
    fn read(&mut self, what: &str, address: u32, length: u32) -> Result<&[u8], Fault> {
        let bytes = self.memory_bytes();
        self.read_within(bytes, what, address, length)
    }

    /// The same, where the size of the memory is known.
    fn read_within(&self, bytes: usize, what: &str, address: u32, length: u32) -> Result<&[u8], Fault> {
        let start = address as usize;
        self.memory.data(&self.store)[..bytes].get(start..start + length as usize).ok_or_else(|| {
            let pages = bytes / PAGE_BYTES;
            Fault::Misbehaved(format!("{what} of {length} bytes at {address:#x}, outside its memory of {pages} pages"))
        })
    }

    /// What an error from a call means; reads the guest's last words, so before anything is put back.
    fn fault(&mut self, error: &Error) -> Fault {
        match trapped(error) {
            Some(Cause::Guest(what)) => Fault::Trapped(what.into()),
            Some(Cause::Stopped) => self.stopped(),
            Some(Cause::Host(what)) => Fault::Host(what.into()),
            None => Fault::Host(format!("{error:#}")),
        }
    }

    /// Why an input came upon `unreachable`.
    fn stopped(&mut self) -> Fault {
        let limit = |what, limit| Fault::Limit(LimitReached { what, limit });
        match self.stopped_by() {
            Some(Stopped::Gas) if self.given < self.limits.gas_per_call => return Fault::Later,
            Some(Stopped::Gas) => return limit(LimitKind::Gas, self.limits.gas_per_call),
            Some(Stopped::Depth) => return limit(LimitKind::Depth, u64::from(DEPTH_MAX)),
            Some(Stopped::Outside) => return Fault::Trapped(OUTSIDE.into()),
            Some(Stopped::Buffer) => {
                let pages = self.memory_bytes() / PAGE_BYTES;
                return Fault::Misbehaved(format!("input buffer outside its memory of {pages} pages"));
            }
            None => {}
        }
        if let Some(text) = self.panic_text() {
            return Fault::Trapped(format!("panicked: {text}"));
        }
        // Languages stop so when they are given no more memory.
        if self.meter.refused.get(&mut self.store).unwrap_i32() != 0 {
            return limit(LimitKind::MemoryPages, u64::from(self.limits.memory_pages));
        }
        Fault::Trapped("stopped itself (unreachable)".into())
    }

    fn panic_text(&mut self) -> Option<String> {
        let address = self.panic_address? as usize;
        let (length, text) = self.memory().get(address..)?.split_first_chunk()?;
        let length = (u32::from_le_bytes(*length) as usize).min(PANIC_BYTES_MAX);
        let text = text.get(..length).filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn memory_bytes(&mut self) -> usize {
        memory_size(self.meter.bytes.get(&mut self.store).unwrap_i64())
    }

    fn set_memory_bytes(&mut self, bytes: usize) {
        let bytes = Val::I64(i64::try_from(bytes).expect("a memory has 32 bits"));
        self.meter.bytes.set(&mut self.store, bytes).expect("a number that can change");
    }

    /// The whole memory that the object has.
    pub(crate) fn memory(&mut self) -> &[u8] {
        let bytes = self.memory_bytes();
        &self.memory.data(&self.store)[..bytes]
    }

    /// The mutable globals as bits, in the order of their indices.
    pub(crate) fn global_bits(&mut self) -> Vec<u64> {
        self.globals.iter().map(|global| bits(global.get(&mut self.store))).collect()
    }

    /// The whole state. What it costs follows what was kept since it was last asked for, or for the hash. The undo log is
    /// empty.
    pub(crate) fn freeze(&mut self) -> FrozenState {
        let globals = self.global_bits();
        FrozenState { globals, blocks: self.look().blocks() }
    }

    /// Sets the whole state of a new instance.
    ///
    /// # Errors
    /// [`Fault::Refused`] when it is no state of this module.
    pub(crate) fn restore(&mut self, checked: &Checked, state: &State<'_>) -> Result<(), Fault> {
        let refused = |error: StateError| Fault::Refused(error.to_string());
        let (pages, min) = (state.pages(), checked.memory_pages_min);
        let max = self.limits.memory_pages.min(checked.memory_pages_max);
        if !(min..=max).contains(&pages) {
            return Err(refused(StateError::Pages { pages, min, max }));
        }
        let types: Vec<ValType> = self.globals.iter().map(|global| global.ty(&self.store).content().clone()).collect();
        let globals = state.globals(&types).map_err(refused)?;
        let bytes = self.memory_bytes();
        let memory = self.memory.data_mut(&mut self.store);
        memory[..bytes].fill(0);
        state.fill(memory);
        self.set_memory_bytes(pages as usize * PAGE_BYTES);
        for (global, value) in self.globals.iter().zip(globals) {
            global.set(&mut self.store, value).expect("the value was made for the type of this global");
        }
        self.image = None;
        self.save_rest();
        Ok(())
    }

    /// A hash over page count, memory and globals, that follows from them alone: see [`Image`]. What it costs follows
    /// what was kept since it was last asked for. The undo log is empty.
    pub(crate) fn hash(&mut self) -> u64 {
        let globals = self.global_bits();
        self.look().hash(&globals)
    }

    /// The image of the memory as it is.
    fn look(&mut self) -> &Image {
        let bytes = self.memory_bytes();
        let dirty = self.places.take_dirty(self.notes.data_mut(&mut self.store));
        let memory = &self.memory.data(&self.store)[..bytes];
        match &mut self.image {
            Some(image) => {
                image.update(memory, &dirty);
                image
            }
            none => none.insert(Image::of(memory)),
        }
    }
}

const OUTSIDE: &str = "access outside its memory";

/// What the appended code counts as the bytes of a memory.
fn memory_size(bytes: i64) -> usize {
    usize::try_from(bytes).expect("the number of bytes is never negative")
}

/// Gas as the appended code counts it.
fn counted(gas: u64) -> i64 {
    i64::try_from(gas).unwrap_or(i64::MAX)
}

fn within(what: LimitKind, found: usize, limit: usize) -> Result<(), Fault> {
    if found <= limit { Ok(()) } else { Err(Fault::Limit(LimitReached { what, limit: limit as u64 })) }
}

fn trapped(error: &Error) -> Option<Cause> {
    error.downcast_ref::<Trap>().and_then(|trap| cause(*trap))
}
