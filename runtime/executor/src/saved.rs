//! A copy of one object's state, to go back to.
//!
//! One copy serves all objects, as only one runs at a time. It is taken before an input unless it already holds that
//! state, which it does after whatever was undone: a run of queries copies once for each, not twice. Its cost grows with
//! the object: a call of the counter, 128 KiB, takes 9.8 us with it and 0.74 without (`examples/call_cost.rs`, and the
//! test beside the executor), and it keeps the size of the largest object that ran. The undo log takes its place: then
//! only the pages that an input touches are saved, by the guest's own code.

use concoord_consensus::objects::Fault;
use concoord_wire::ObjectId;
use wasmtime::Val;

use crate::code::Code;
use crate::instance::Instance;

/// The saved state, and whose it is.
#[derive(Default)]
pub(crate) struct Saved {
    /// The object that is in exactly this state now.
    of: Option<ObjectId>,
    memory: Vec<u8>,
    globals: Vec<Val>,
}

impl Saved {
    /// Makes this the state of `object`.
    pub(crate) fn save(&mut self, object: ObjectId, instance: &mut Instance) {
        if self.of == Some(object) {
            return;
        }
        self.memory.clear();
        self.memory.extend_from_slice(instance.memory());
        self.globals.clear();
        self.globals.extend(instance.globals());
        self.of = Some(object);
    }

    /// The object keeps what it changed, or is gone.
    pub(crate) fn forget(&mut self, object: ObjectId) {
        if self.of == Some(object) {
            self.of = None;
        }
    }

    /// Puts the object back into this state. A memory that grew since can't shrink, so it then gets a new instance.
    ///
    /// # Errors
    /// [`Fault::Host`] when this host can't make one.
    pub(crate) fn restore(&self, code: &Code, instance: &mut Instance) -> Result<(), Fault> {
        if instance.memory().len() > self.memory.len() {
            *instance = Instance::new(code)?;
        }
        instance.set(&self.memory, &self.globals)
    }
}
