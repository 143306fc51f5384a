//! Inputs for objects, as the application makes them.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod generated;
pub(crate) mod guest;

use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::Executor;
use concoord_wire::abi::{Answer, Invocation, Outcome, Reply, Trigger};
use concoord_wire::{ObjectId, Position, Timestamp};

/// An object whose id is `number`.
pub(crate) fn object(number: u32) -> ObjectId {
    concoord_wire::codec::from_bytes(&concoord_wire::codec::to_bytes(&number)).expect("an id is a number")
}

pub(crate) fn input(trigger: Trigger<'_>) -> Invocation<'_> {
    Invocation { position: Position(7), now: Timestamp(1_000_000), seed: 42, call: None, caller: None, trigger }
}

pub(crate) fn call(method: &str) -> Invocation<'_> {
    input(Trigger::Call { method })
}

pub(crate) fn update(
    executor: &mut Executor,
    object: ObjectId,
    method: &str,
    arguments: &[u8],
) -> Result<Outcome, Fault> {
    executor.invoke(object, &call(method), arguments, &|_| Ok(()))
}

/// What a call returned.
pub(crate) fn returned(outcome: Result<Outcome, Fault>) -> Vec<u8> {
    match outcome {
        Ok(Outcome { reply: Reply::Now(Answer::Returned(bytes)), .. }) => bytes,
        other => panic!("not a returned result: {other:?}"),
    }
}
