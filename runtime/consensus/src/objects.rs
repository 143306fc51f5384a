//! What the application asks of whoever runs objects. The executor implements it with Wasm, tests with native structs.

use std::fmt;

use bytes::Bytes;
use concoord_wire::ObjectId;
use concoord_wire::abi::{Invocation, LimitReached, ObjectLimits, Outcome};

/// Whether the outcome of an input can be carried out; else why not, in words for the object's author. Asked before
/// the input's changes are kept, so that a refused input changes nothing.
pub type Accept<'a> = &'a dyn Fn(&Outcome) -> Result<(), String>;

/// One of several inputs.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Whose it is.
    pub object: ObjectId,
    /// The input.
    pub invocation: Invocation<'a>,
    /// What it is run with.
    pub arguments: &'a [u8],
}

/// Whether a module with this encoded interface takes another one's place.
pub type Switches<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

/// Runs objects. Everything it returns is a pure function of the modules and inputs it was given, the same on every
/// replica; what can't be so is a [`Fault::Host`].
pub trait Objects {
    /// Makes `object` from a module, to run within these limits: constructors run, `Init` not yet. Gives the encoded
    /// interface.
    ///
    /// # Errors
    /// [`Fault`]; then there is no such object.
    fn load(&mut self, object: ObjectId, module: &[u8], limits: ObjectLimits) -> Result<Bytes, Fault>;

    /// Lets inputs of calls and queries use no more than this much gas until it is asked again; `None` lets them use what
    /// they may. One that needs more ends with [`Fault::Later`].
    fn hurry(&mut self, gas: Option<u64>);

    /// Runs one input and keeps what it changed, unless `accept` refuses the outcome.
    ///
    /// # Errors
    /// [`Fault`]; the object is then as before. [`Fault::Misbehaved`] with the reason when `accept` refuses.
    fn invoke(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault>;

    /// Runs several inputs, perhaps of several objects, and keeps what they changed if `accept` refuses the outcome of
    /// none; it is told which input the outcome is of.
    ///
    /// # Errors
    /// [`Fault`] and of which input: then all objects are as before. As [`Objects::invoke`].
    fn invoke_all(
        &mut self,
        inputs: &[Input<'_>],
        accept: &dyn Fn(usize, &Outcome) -> Result<(), String>,
    ) -> Result<Vec<Outcome>, (usize, Fault)>;

    /// Makes an object anew from the module that it has, within the limits that it has: constructors run, then this
    /// first input, and unless that fails or `accept` refuses its outcome it takes the object's place.
    ///
    /// # Errors
    /// As [`Objects::load`] and [`Objects::invoke`]; the object is then as before.
    fn reinitialize(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault>;

    /// Runs one input and undoes whatever it changed, also when it succeeds.
    ///
    /// # Errors
    /// [`Fault`].
    fn query(&mut self, object: ObjectId, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault>;

    /// Lets an object go on with another module and other limits. What it exports is imported by a copy of the new
    /// module, on which constructors ran and `Init` did not. Then `switches` is asked, with the encoded interface of the
    /// new module, whether the copy takes the object's place; if not, it is dropped. Gives that interface.
    ///
    /// # Errors
    /// [`Fault`]; the object is then as before. [`Fault::Refused`] when the new module can't be loaded, the object does
    /// not export, or the copy does not import.
    fn upgrade(
        &mut self,
        object: ObjectId,
        module: &[u8],
        limits: ObjectLimits,
        switches: Switches<'_>,
    ) -> Result<Bytes, Fault>;

    /// Forgets an object.
    fn remove(&mut self, object: ObjectId);

    /// The object's whole state between two inputs: what [`Objects::restore`] needs beside the module. What it costs is to
    /// follow what was changed since the last time, and not how large the state is.
    ///
    /// # Errors
    /// [`Fault::Host`] for an unknown object, and when this host can't read the state.
    fn freeze(&mut self, object: ObjectId) -> Result<Box<dyn Frozen>, Fault>;

    /// The same, written out. The same bytes on all replicas that agree.
    ///
    /// # Errors
    /// As [`Objects::freeze`].
    fn snapshot(&mut self, object: ObjectId) -> Result<Vec<u8>, Fault> {
        let frozen = self.freeze(object)?;
        let mut bytes = Vec::with_capacity(frozen.bytes());
        frozen.write(&mut bytes);
        Ok(bytes)
    }

    /// Makes `object` from a module and a state that [`Objects::snapshot`] gave; no constructor runs on it. Gives the
    /// encoded interface, the same as [`Objects::load`] gave for the module.
    ///
    /// # Errors
    /// [`Fault`]; then there is no such object. [`Fault::Refused`] when the module can't be loaded or the bytes are no
    /// state of it, whatever they are.
    fn restore(&mut self, object: ObjectId, module: &[u8], limits: ObjectLimits, state: &[u8]) -> Result<Bytes, Fault>;

    /// A hash over the object's whole state, the same on all replicas that agree. `None` for an unknown object.
    fn state_hash(&mut self, object: ObjectId) -> Option<u64>;
}

/// An object's state at one time, which can be written out later and on any thread: what the object does meanwhile makes
/// no difference to it.
pub trait Frozen: fmt::Debug + Send {
    /// How many bytes it has.
    fn bytes(&self) -> usize;

    /// Writes them behind `to`.
    fn write(&self, to: &mut Vec<u8>);
}

impl Frozen for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self);
    }
}

/// Why an input had no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The module can't be loaded, or not with this state. The same on every replica.
    #[error("refused: {0}")]
    Refused(String),
    /// The guest trapped. The same on every replica.
    #[error("trapped: {0}")]
    Trapped(String),
    /// The guest went beyond a limit. The same on every replica.
    #[error("{0}")]
    Limit(LimitReached),
    /// The guest's outcome is not one. The same on every replica.
    #[error("broke the object ABI: {0}")]
    Misbehaved(String),
    /// It needs more gas than [`Objects::hurry`] lets it have. Nothing of it happened, and it may run again.
    #[error("it takes longer than it may for now")]
    Later,
    /// This host can't run it, others might: the replica must stop rather than differ.
    #[error("this host can't run the object: {0}")]
    Host(String),
}
