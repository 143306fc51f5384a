//! The guest that is made to misbehave (`guest.wat`), and what it is asked to do.

use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::{Executor, Limits};
use concoord_wire::abi::{ObjectLimits, Outcome};
use concoord_wire::interface::Interface;
use concoord_wire::{ObjectId, codec};

use super::{object, returned, update};

pub(crate) const STATE: u8 = 0;
pub(crate) const PANIC: u8 = 1;
pub(crate) const GROW: u8 = 10;

pub(crate) const PAGES_MAX: u32 = 5;

pub(crate) fn interface() -> Interface {
    let (name, version) = ("Guest".to_owned(), "1.0.0".to_owned());
    Interface { name, version, doc: String::new(), types: vec![], init: vec![], methods: vec![], event: None }
}

pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

pub(crate) fn text() -> String {
    let description = codec::to_bytes(&interface());
    include_str!("guest.wat")
        .replace("DESCRIPTION_LENGTH", &description.len().to_string())
        .replace("\"DESCRIPTION\"", &format!("\"{}\"", escaped(&description)))
}

pub(crate) fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn module() -> Vec<u8> {
    assemble(&text())
}

pub(crate) fn loaded() -> (Executor, ObjectId) {
    let limits = Limits { memory_pages: PAGES_MAX, ..Limits::default() };
    let mut executor = Executor::with_limits(limits).expect("a host that runs Wasm");
    executor.load(object(1), &module(), ObjectLimits::default()).expect("the guest loads");
    (executor, object(1))
}

pub(crate) fn command(executor: &mut Executor, command: u8) -> Result<Outcome, Fault> {
    update(executor, object(1), "command", &[command])
}

pub(crate) fn number(outcome: Result<Outcome, Fault>) -> i64 {
    i64::from_le_bytes(returned(outcome).try_into().expect("eight bytes"))
}

/// What [`STATE`] answers at the n-th call that is kept.
pub(crate) fn state_after(kept: i64) -> i64 {
    kept * 1000 + kept + 4 * (2 * kept) + 3
}
