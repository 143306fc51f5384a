//! What passes between a replica and an object's Wasm module (ABI 1).
//!
//! The module has no imports: an object is a pure function of its memory and one [`Invocation`], and what it wants
//! done comes back as an [`Outcome`]. Both are postcard. The arguments of a call follow the invocation in the same
//! buffer, raw, as the postcard of each argument in turn.

mod by_hand;

pub use by_hand::RETURNED_BYTES;

use serde::{Deserialize, Serialize};

use crate::{CallId, Position, SessionId, Timestamp, limits};

/// Value of the exported global `concoord_abi`.
pub const ABI_VERSION: i32 = 1;

/// Names of the exports; see [`crate::abi`] for how they are used.
pub mod export {
    /// The one linear memory.
    pub const MEMORY: &str = "memory";
    /// Immutable `i32` global: [`super::ABI_VERSION`], or the address (1024 or more) of an `i32` of that value in the
    /// module's data, which is how Rust and C export a static.
    pub const ABI: &str = "concoord_abi";
    /// `() -> i64`: the encoded interface.
    pub const DESCRIBE: &str = "concoord_describe";
    /// `(len: i32) -> i32`: address of `len` bytes where the host may write the next input.
    pub const BUFFER: &str = "concoord_buffer";
    /// `(len: i32) -> i64`: runs the input of `len` bytes in the buffer, gives the encoded outcome.
    pub const CALL: &str = "concoord_call";
    /// `() -> i64`: the object's state, encoded by the object.
    pub const EXPORT: &str = "concoord_export";
    /// `(len: i32) -> i64`: takes over a state from the buffer; gives an encoded `Result<(), String>`.
    pub const IMPORT: &str = "concoord_import";
    /// Optional `() -> ()`: constructors, run once before the first `Init`, never after a restore.
    pub const INITIALIZE: &str = "_initialize";
    /// Optional immutable `i32` global: address of `u32` length and UTF-8 text of the last panic.
    pub const PANIC: &str = "concoord_panic";
}

/// One input of an object; the raw arguments follow it in the buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation<'a> {
    /// Where this input stands in the order of everything.
    pub position: Position,
    /// The decided time.
    pub now: Timestamp,
    /// Seed of this input's random numbers: the same on every replica, unforeseeable to clients.
    pub seed: u64,
    /// The call that is executed; `None` unless the trigger is a call by a session.
    pub call: Option<CallId>,
    /// The session on whose behalf the object runs, where there is one.
    pub caller: Option<SessionId>,
    /// Why the object runs.
    #[serde(borrow)]
    pub trigger: Trigger<'a>,
}

/// Why an object runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger<'a> {
    /// First input after loading; the arguments are those of the constructor.
    Init,
    /// A client calls a method.
    Call {
        /// Name as in the interface.
        method: &'a str,
    },
    /// A parked call ended without an answer.
    Cancelled {
        /// The call that was parked.
        call: CallId,
    },
    /// A session that called this object is gone.
    SessionClosed {
        /// The session.
        session: SessionId,
    },
    /// A timer that the object set is due.
    Timer {
        /// As given when it was set.
        token: u64,
    },
}

/// What a method call came to, as far as the object decides it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The method returned: postcard of its result.
    Returned(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The method returned `Err`: postcard of its error.
    Failed(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The method did not run.
    Rejected(Rejection),
}

/// Why the object did not run a method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The object has no such method.
    #[error("no such method")]
    UnknownMethod,
    /// The arguments are not what the method takes.
    #[error("wrong arguments: {0}")]
    Arguments(String),
}

/// What the object says to its input's caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Nobody waits for this input.
    #[default]
    None,
    /// Answered at once.
    Now(Answer),
    /// The caller waits until a later outcome answers it.
    Parked,
}

/// Everything that one input makes happen outside the object's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// For this input's caller.
    pub reply: Reply,
    /// For callers of earlier inputs that were parked.
    pub answered: Vec<(CallId, Answer)>,
    /// For watchers.
    pub events: Vec<Event>,
    /// To be woken later.
    pub timers: Vec<Timer>,
    /// Lines for the replica's log.
    pub log: Vec<String>,
}

/// Something that watchers of a topic are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about.
    pub topic: String,
    /// Encoded by the object.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// A wish to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Given back when it fires.
    pub token: u64,
    /// Decided time from which it may fire.
    pub due: Timestamp,
}

/// What an object may take of every replica. Decided when it is loaded, so the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLimits {
    /// Gas that one input may use.
    pub gas_per_call: u64,
    /// Pages of 64 KiB that its memory may have.
    pub memory_pages: u32,
}

impl Default for ObjectLimits {
    fn default() -> ObjectLimits {
        ObjectLimits { gas_per_call: limits::GAS_PER_CALL, memory_pages: limits::MEMORY_PAGES }
    }
}

/// An input went beyond a limit, so nothing of it happened: which limit, and how much it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.text())]
pub struct LimitReached {
    /// Which limit.
    pub what: LimitKind,
    /// How much it allows.
    pub limit: u64,
}

/// What is limited about one input of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitKind {
    /// Instructions executed, weighed by the cost table.
    Gas,
    /// Calls within calls, weighed by what each needs of the stack.
    Depth,
    /// Pages of memory: the input asked for more, and could not go on without.
    MemoryPages,
    /// Bytes of the encoded outcome.
    OutcomeBytes,
    /// Parked calls answered.
    Answered,
    /// Events emitted.
    Events,
    /// Timers set.
    Timers,
    /// Lines for the log.
    LogLines,
}

impl LimitReached {
    fn text(self) -> String {
        let limit = self.limit;
        match self.what {
            LimitKind::Gas => format!("out of gas: a call may use {limit}"),
            LimitKind::Depth => format!("too deep: calls within calls may weigh {limit} on the stack"),
            LimitKind::MemoryPages => format!("out of memory: the object may have {limit} pages of 64 KiB"),
            LimitKind::OutcomeBytes => format!("too large an outcome: it may have {limit} bytes"),
            LimitKind::Answered => format!("too many calls answered at once: at most {limit}"),
            LimitKind::Events => format!("too many events at once: at most {limit}"),
            LimitKind::Timers => format!("too many timers at once: at most {limit}"),
            LimitKind::LogLines => format!("too many lines for the log at once: at most {limit}"),
        }
    }
}

/// Packs an address and a length as the exports return them.
#[must_use]
pub fn pack(address: u32, length: u32) -> i64 {
    ((u64::from(address) << 32) | u64::from(length)).cast_signed()
}

/// Undoes [`pack`]: address and length.
#[must_use]
pub fn unpack(packed: i64) -> (u32, u32) {
    let packed = packed.cast_unsigned();
    ((packed >> 32) as u32, (packed & 0xffff_ffff) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_round_trips_at_the_edges() {
        for (address, length) in [(0, 0), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
            assert_eq!(unpack(pack(address, length)), (address, length));
        }
    }
}
