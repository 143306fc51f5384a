//! The way back to an object's state between two inputs.
//!
//! An object is put back after each input that failed and after each query. Copying its memory around every update would
//! cost more than most updates do: for the 128 KiB of the counter 5 us and more, while the call itself takes 0.7 (see
//! `examples/call_cost.rs`). So a copy is kept from some earlier input, and beside it the inputs that succeeded since. An
//! object does the same with the same inputs, so running them again on the copy gives the state back, bit for bit. An
//! update that succeeds is only noted down. Each update runs again at most once, because whatever was put back is copied
//! afresh. How much is noted before the next copy, and so how long an undo takes, stands in `limits.rs`; it makes no
//! difference to any state.
//!
//! The undo log takes this file's place: then the guest's own code saves what an input touches.

use std::time::{Duration, Instant};

use concoord_consensus::objects::Fault;
use wasmtime::Val;

use crate::blocks::copy_changed;
use crate::code::Code;
use crate::instance::Instance;
use crate::limits::{NOTED_BYTES_MIN, NOTED_INPUTS_MAX, NOTED_SHARE_OF_COPY, NOTED_TIMES_COPYING};

/// A copy of one object's state, and what the object ran since.
#[derive(Default)]
pub(crate) struct Saved {
    /// Whether copy and inputs lead to the object's present state. If not, a new copy has to be taken before the next
    /// input; the old one is kept, since little of it will have changed.
    leads_here: bool,
    memory: Vec<u8>,
    globals: Vec<Val>,
    /// How long taking the copy took: the measure for how much may be run again.
    copying: Duration,
    since: Inputs,
}

/// Inputs that succeeded, in order.
#[derive(Default)]
struct Inputs {
    /// Head and tail of each, one behind another.
    bytes: Vec<u8>,
    /// Where the head and where the tail of each ends.
    ends: Vec<(usize, usize)>,
    /// How long they ran, together.
    took: Duration,
}

impl Saved {
    /// Makes sure that the present state can be put back after an update. True when this took memory.
    pub(crate) fn before_update(&mut self, instance: &mut Instance) -> bool {
        !self.leads_here && self.copy(instance)
    }

    /// Makes sure that the present state can be put back after a query at no more than one copy, as queries come in
    /// runs. True when this took memory.
    pub(crate) fn before_query(&mut self, instance: &mut Instance) -> bool {
        !(self.leads_here && self.since.ends.is_empty()) && self.copy(instance)
    }

    /// Notes an input that is kept, and how long it ran.
    pub(crate) fn note(&mut self, head: &[u8], tail: &[u8], took: Duration) {
        let bytes_max = NOTED_BYTES_MIN.max(self.memory.len() / NOTED_SHARE_OF_COPY);
        self.since.took += took;
        self.leads_here = self.since.ends.len() < NOTED_INPUTS_MAX
            && self.since.bytes.len() + head.len() + tail.len() <= bytes_max
            && self.since.took <= NOTED_TIMES_COPYING * self.copying;
        if self.leads_here {
            self.since.push(head, tail);
        }
    }

    /// Puts the object back into the state before its last input, which was not noted. A memory that grew since the copy
    /// can't shrink, so it then gets a new instance. True when this took memory.
    ///
    /// # Errors
    /// [`Fault::Host`] when this host can't make an instance or run the inputs again.
    pub(crate) fn undo(&mut self, code: &Code, instance: &mut Instance) -> Result<bool, Fault> {
        assert!(self.leads_here, "a way back was made sure of before the input");
        if instance.memory().len() > self.memory.len() {
            *instance = Instance::new(code)?;
        }
        instance.set(&self.memory, &self.globals)?;
        if self.since.ends.is_empty() {
            return Ok(false);
        }
        for (head, tail) in self.since.iter() {
            let again = instance.run(head, tail);
            again.map_err(|fault| Fault::Host(format!("an input that succeeded does not when run again: {fault}")))?;
        }
        Ok(self.copy(instance))
    }

    /// Bytes that the copy takes.
    pub(crate) fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// Inputs that were noted since the copy.
    #[cfg(test)]
    pub(crate) fn noted(&self) -> usize {
        self.since.ends.len()
    }

    /// Whether the next input needs no new copy.
    #[cfg(test)]
    pub(crate) fn leads_here(&self) -> bool {
        self.leads_here
    }

    /// Gives back the memory of the copy; the next input takes a new one.
    pub(crate) fn forget(&mut self) {
        *self = Saved::default();
    }

    /// Copies the present state. True when this took memory.
    fn copy(&mut self, instance: &mut Instance) -> bool {
        let started = Instant::now();
        let takes_memory = self.memory.len() != instance.memory().len();
        if takes_memory {
            // Fresh zeroed memory takes no room until it is written, and what is zero in the object is not.
            self.memory = Vec::new();
            self.memory = vec![0; instance.memory().len()];
        }
        copy_changed(instance.memory(), &mut self.memory);
        self.globals.clear();
        self.globals.extend(instance.globals());
        self.since.clear();
        self.leads_here = true;
        self.copying = started.elapsed();
        takes_memory
    }
}

impl Inputs {
    fn push(&mut self, head: &[u8], tail: &[u8]) {
        self.bytes.extend_from_slice(head);
        let head_end = self.bytes.len();
        self.bytes.extend_from_slice(tail);
        self.ends.push((head_end, self.bytes.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(head_end, end)| {
            let input = (&self.bytes[start..head_end], &self.bytes[head_end..end]);
            start = end;
            input
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(NOTED_BYTES_MIN);
        self.ends.clear();
        self.took = Duration::ZERO;
    }
}
