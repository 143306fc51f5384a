//! The counter, run natively behind the trait that the executor implements with Wasm.

use std::collections::BTreeMap;

use bytes::Bytes;
use concoord::Object as _;
use concoord::wire::abi::{Invocation, Outcome, Trigger};
use concoord::wire::{ObjectId, codec};
use concoord_consensus::objects::{Accept, Fault, Objects};
use concoord_object_counter::Counter;

/// Counters; whatever module is loaded, it is a counter.
#[derive(Debug, Default)]
pub struct Counters {
    counters: BTreeMap<ObjectId, Counter>,
}

impl Objects for Counters {
    fn load(&mut self, object: ObjectId, _module: &[u8]) -> Result<Bytes, Fault> {
        self.counters.insert(object, Counter::default());
        Ok(codec::to_bytes(&Counter::interface()).into())
    }

    fn invoke(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept,
    ) -> Result<Outcome, Fault> {
        let counter = self.counters.get_mut(&object).ok_or_else(|| Fault::Host("no such counter".into()))?;
        if invocation.trigger == Trigger::Init {
            return Ok(Outcome::default());
        }
        let before = counter.export();
        let outcome = counter.dispatch(invocation, arguments);
        if let Err(why) = accept(&outcome) {
            *counter = Counter::import(&before).map_err(Fault::Host)?;
            return Err(Fault::Misbehaved(why));
        }
        Ok(outcome)
    }

    fn query(&mut self, object: ObjectId, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault> {
        let counter = self.counters.get_mut(&object).ok_or_else(|| Fault::Host("no such counter".into()))?;
        Ok(counter.dispatch(invocation, arguments))
    }

    fn remove(&mut self, object: ObjectId) {
        self.counters.remove(&object);
    }

    fn snapshot(&mut self, object: ObjectId) -> Result<Vec<u8>, Fault> {
        let counter = self.counters.get(&object).ok_or_else(|| Fault::Host("no such counter".into()))?;
        Ok(counter.export())
    }

    fn restore(&mut self, object: ObjectId, module: &[u8], state: &[u8]) -> Result<Bytes, Fault> {
        let counter = Counter::import(state).map_err(Fault::Refused)?;
        let interface = self.load(object, module)?;
        self.counters.insert(object, counter);
        Ok(interface)
    }

    fn state_hash(&mut self, object: ObjectId) -> Option<u64> {
        self.counters.get(&object).map(|counter| counter.getvalue().cast_unsigned())
    }
}

impl Counters {
    /// The value of the only counter.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.counters.values().next().map_or(0, Counter::getvalue)
    }
}
