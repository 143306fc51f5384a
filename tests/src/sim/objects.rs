//! The objects of the simulation, run natively behind the trait that the executor implements with Wasm.
//!
//! The bytes of a module are the name of the object that it stands for: see [`MODULES`].

mod fragile;
mod lock;
mod register;

use std::collections::BTreeMap;

use bytes::Bytes;
use concoord::Object;
use concoord::wire::abi::{Invocation, ObjectLimits, Outcome, Trigger};
use concoord::wire::interface::{Interface, Method};
use concoord::wire::{ObjectId, codec};
use concoord_consensus::objects::{Accept, Fault, Frozen, Input, Objects, Switches};
use concoord_object_boundedsemaphore::BoundedSemaphore;
use concoord_object_counter::Counter;
use concoord_object_kv::Kv;
use concoord_object_lock::Lock as Mutex;
use concoord_object_queue::Queue;

use super::waits;

pub use fragile::Fragile;
pub use lock::{Grant, Lock};
pub use register::Register;

/// The objects that a cluster begins with: each module's bytes are also its object's name. They are loaded in this order,
/// so their ids are 1, 2, 3 and so on.
pub const MODULES: [&str; 8] = ["counter", "register", "lock", "fragile", "mutex", "semaphore", "queue", "kv"];
/// A later version of the counter: the same state, and one more method.
pub const COUNTER_2: &str = "counter-2";
/// The id of the counter.
pub const COUNTER: ObjectId = ObjectId(1);
/// The id of the register map.
pub const REGISTER: ObjectId = ObjectId(2);
/// The id of the lock.
pub const LOCK: ObjectId = ObjectId(3);
/// The id of what fails now and then.
pub const FRAGILE: ObjectId = ObjectId(4);
/// The id of the standard lock, which lets callers wait.
pub const MUTEX: ObjectId = ObjectId(5);
/// The id of the standard bounded semaphore.
pub const SEMAPHORE: ObjectId = ObjectId(6);
/// The id of the standard queue.
pub const QUEUE: ObjectId = ObjectId(7);
/// The id of the standard store.
pub const KV: ObjectId = ObjectId(8);

/// One object.
#[derive(Debug)]
pub enum Native {
    /// The standard counter.
    Counter(Counter),
    /// A map of registers.
    Register(Register),
    /// A try-lock.
    Lock(Lock),
    /// What fails now and then where nobody waits.
    Fragile(Fragile),
    /// The standard lock.
    Mutex(Mutex),
    /// The standard bounded semaphore.
    Semaphore(BoundedSemaphore),
    /// The standard queue.
    Queue(Queue),
    /// The standard store.
    Kv(Kv),
}

/// Runs one expression on whichever object it is.
macro_rules! with {
    ($native:expr, $object:ident => $run:expr) => {
        match $native {
            Native::Counter($object) => $run,
            Native::Register($object) => $run,
            Native::Lock($object) => $run,
            Native::Fragile($object) => $run,
            Native::Mutex($object) => $run,
            Native::Semaphore($object) => $run,
            Native::Queue($object) => $run,
            Native::Kv($object) => $run,
        }
    };
}

impl Native {
    /// The object that a module stands for, as it starts, and its encoded interface.
    ///
    /// # Errors
    /// [`Fault::Refused`] for any other module.
    pub fn load(module: &[u8]) -> Result<(Native, Bytes), Fault> {
        Ok(match module {
            b"counter" => (Native::Counter(Counter::default()), encoded(&Counter::interface())),
            b"counter-2" => (Native::Counter(Counter::default()), encoded(&counter_2())),
            b"register" => (Native::Register(Register::default()), encoded(&Register::interface())),
            b"lock" => (Native::Lock(Lock::default()), encoded(&Lock::interface())),
            b"fragile" => (Native::Fragile(Fragile::default()), encoded(&Fragile::interface())),
            b"mutex" => (Native::Mutex(Mutex::default()), encoded(&Mutex::interface())),
            b"semaphore" => (Native::Semaphore(semaphore()), encoded(&BoundedSemaphore::interface())),
            b"queue" => (Native::Queue(queue()), encoded(&Queue::interface())),
            b"kv" => (Native::Kv(Kv::default()), encoded(&Kv::interface())),
            other => return Err(Fault::Refused(format!("no object is called {:?}", String::from_utf8_lossy(other)))),
        })
    }

    /// The same object as it starts.
    fn fresh(&self) -> Native {
        match self {
            Native::Counter(_) => Native::Counter(Counter::default()),
            Native::Register(_) => Native::Register(Register::default()),
            Native::Lock(_) => Native::Lock(Lock::default()),
            Native::Fragile(_) => Native::Fragile(Fragile::default()),
            Native::Mutex(_) => Native::Mutex(Mutex::default()),
            Native::Semaphore(_) => Native::Semaphore(semaphore()),
            Native::Queue(_) => Native::Queue(queue()),
            Native::Kv(_) => Native::Kv(Kv::default()),
        }
    }

    /// The whole state, encoded.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        with!(self, object => object.export())
    }

    /// Takes over an exported state.
    ///
    /// # Errors
    /// [`Fault::Host`] when the state is not one of this object.
    pub fn import(&mut self, state: &[u8]) -> Result<(), Fault> {
        match self {
            Native::Counter(object) => Counter::import(state).map(|imported| *object = imported),
            Native::Register(object) => Register::import(state).map(|imported| *object = imported),
            Native::Lock(object) => Lock::import(state).map(|imported| *object = imported),
            Native::Fragile(object) => Fragile::import(state).map(|imported| *object = imported),
            Native::Mutex(object) => Mutex::import(state).map(|imported| *object = imported),
            Native::Semaphore(object) => BoundedSemaphore::import(state).map(|imported| *object = imported),
            Native::Queue(object) => Queue::import(state).map(|imported| *object = imported),
            Native::Kv(object) => Kv::import(state).map(|imported| *object = imported),
        }
        .map_err(Fault::Host)
    }

    fn dispatch(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Outcome {
        with!(self, object => object.dispatch(invocation, arguments))
    }
}

/// What [`COUNTER_2`] can do. Nobody calls the method that it has more.
fn counter_2() -> Interface {
    let mut interface = Counter::interface();
    let more = interface.methods[0].clone();
    interface.methods.push(Method { name: "increment_more".into(), ..more });
    interface
}

fn semaphore() -> BoundedSemaphore {
    BoundedSemaphore::new(Some(waits::BOUND))
}

fn queue() -> Queue {
    Queue::new(Some(waits::BOUND.into()))
}

fn encoded(interface: &Interface) -> Bytes {
    codec::to_bytes(interface).into()
}

/// All objects of one replica.
#[derive(Debug, Default)]
pub struct Natives {
    objects: BTreeMap<ObjectId, Native>,
    /// See [`Objects::hurry`].
    hurry: Option<u64>,
}

/// Gas that an input needs is drawn by its seed, below this.
const GAS_MAX: u64 = 100;
/// Gas with which each batch and query is tried first.
pub(super) const GAS_AT_FIRST: u64 = 95;

impl Natives {
    fn has_time(&self, invocation: &Invocation<'_>) -> Result<(), Fault> {
        match self.hurry {
            Some(gas) if gas < invocation.seed % GAS_MAX => Err(Fault::Later),
            _ => Ok(()),
        }
    }
}

impl Objects for Natives {
    fn hurry(&mut self, gas: Option<u64>) {
        self.hurry = gas;
    }

    fn load(&mut self, object: ObjectId, module: &[u8], _: ObjectLimits) -> Result<Bytes, Fault> {
        let (native, interface) = Native::load(module)?;
        self.objects.insert(object, native);
        Ok(interface)
    }

    fn invoke(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault> {
        self.has_time(invocation)?;
        let native = self.object(object)?;
        if invocation.trigger == Trigger::Init {
            return Ok(Outcome::default());
        }
        if let (Native::Fragile(fragile), Trigger::SessionClosed { .. }) = (&mut *native, invocation.trigger) {
            return fragile.end(invocation.position).map(|()| Outcome::default()).map_err(Fault::Trapped);
        }
        let before = native.export();
        let outcome = native.dispatch(invocation, arguments);
        if let Err(why) = accept(&outcome) {
            native.import(&before)?;
            return Err(Fault::Misbehaved(why));
        }
        Ok(outcome)
    }

    fn invoke_all(
        &mut self,
        inputs: &[Input<'_>],
        accept: &dyn Fn(usize, &Outcome) -> Result<(), String>,
    ) -> Result<Vec<Outcome>, (usize, Fault)> {
        let mut before: BTreeMap<ObjectId, Vec<u8>> = BTreeMap::new();
        let mut outcomes = Vec::new();
        for (index, Input { object, invocation, arguments }) in inputs.iter().enumerate() {
            let state = self.object(*object).map_err(|fault| (index, fault))?.export();
            before.entry(*object).or_insert(state);
            match self.invoke(*object, invocation, arguments, &|outcome| accept(index, outcome)) {
                Ok(outcome) => outcomes.push(outcome),
                Err(fault) => {
                    for (object, state) in before {
                        self.object(object).and_then(|native| native.import(&state)).map_err(|fault| (index, fault))?;
                    }
                    return Err((index, fault));
                }
            }
        }
        Ok(outcomes)
    }

    fn reinitialize(
        &mut self,
        object: ObjectId,
        _: &Invocation<'_>,
        _: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault> {
        let native = self.object(object)?.fresh();
        let outcome = Outcome::default();
        accept(&outcome).map_err(Fault::Misbehaved)?;
        self.objects.insert(object, native);
        Ok(outcome)
    }

    fn query(&mut self, object: ObjectId, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault> {
        self.has_time(invocation)?;
        Ok(self.object(object)?.dispatch(invocation, arguments))
    }

    fn upgrade(
        &mut self,
        object: ObjectId,
        module: &[u8],
        _: ObjectLimits,
        switches: Switches<'_>,
    ) -> Result<Bytes, Fault> {
        let exported = self.object(object)?.export();
        let (mut native, interface) = Native::load(module)?;
        native.import(&exported).map_err(|fault| Fault::Refused(fault.to_string()))?;
        if switches(&interface) {
            self.objects.insert(object, native);
        }
        Ok(interface)
    }

    fn remove(&mut self, object: ObjectId) {
        self.objects.remove(&object);
    }

    fn freeze(&mut self, object: ObjectId) -> Result<Box<dyn Frozen>, Fault> {
        Ok(Box::new(self.object(object)?.export()))
    }

    fn restore(&mut self, object: ObjectId, module: &[u8], _: ObjectLimits, state: &[u8]) -> Result<Bytes, Fault> {
        let (mut native, interface) = Native::load(module)?;
        native.import(state)?;
        self.objects.insert(object, native);
        Ok(interface)
    }

    /// FNV-1a over the exported state.
    fn state_hash(&mut self, object: ObjectId) -> Option<u64> {
        let state = self.objects.get(&object)?.export();
        Some(
            state.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            }),
        )
    }
}

impl Natives {
    /// Flips a bit of the counter's encoded value: one of bits 1 to 6 of its first byte, so it stays a counter, of another
    /// value. False while there is no counter.
    pub fn flip(&mut self, bit: u64) -> bool {
        let Some(counter) = self.objects.get_mut(&COUNTER) else { return false };
        let mut state = counter.export();
        state[0] ^= 1 << bit;
        counter.import(&state).is_ok()
    }

    fn object(&mut self, object: ObjectId) -> Result<&mut Native, Fault> {
        self.objects.get_mut(&object).ok_or_else(|| Fault::Host(format!("no object {object}")))
    }

    /// All objects, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, &Native)> {
        self.objects.iter().map(|(id, native)| (*id, native))
    }
}

impl Native {
    /// How many wait there, as far as it knows; `None` where nobody may, or nobody can tell.
    #[must_use]
    pub fn waiters(&self) -> Option<u64> {
        match self {
            Native::Mutex(object) => Some(object.waiters().len() as u64),
            Native::Semaphore(object) => Some(object.waiters().len() as u64),
            _ => None,
        }
    }
}
