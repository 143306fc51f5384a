//! Why a request has no answer.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use concoord_wire::client::CallError;
use concoord_wire::codec::FrameError;
use concoord_wire::hello::Refusal;
use concoord_wire::interface::InterfaceError;
use concoord_wire::{CallId, ClusterId};

use crate::addresses::AddressError;

/// A known replica and what it last said, or what became of trying it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where it is.
    pub address: SocketAddr,
    /// One line, as in "does not lead, no leader known".
    pub said: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.said)
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The addresses are not addresses.
    #[error(transparent)]
    Addresses(#[from] AddressError),
    /// This machine gives no UDP socket, thread or random numbers.
    #[error("can't start the client: {reason}")]
    Setup {
        /// One line.
        reason: String,
    },
    /// No answer came in time. Where `call` is given, the update was sent at least once and may have been executed, or
    /// may still be; else nothing was or will be executed.
    #[error("no answer within {}{}{}", rounded(*.after), may_have_run(.call.as_ref()), what_was_tried(.tried))]
    Timeout {
        /// How long was waited.
        after: Duration,
        /// The update, if it was sent.
        call: Option<CallId>,
        /// The known replicas and what they said.
        tried: Vec<Tried>,
    },
    /// The cluster answered that it does not do this.
    #[error(transparent)]
    Call(CallError),
    /// The update was sent, and then its session ended: it was executed once or not at all, and nobody can tell. It is
    /// not retried.
    #[error("whether call {call} was executed is unknown: its session ended before it was answered")]
    Unknown {
        /// The update.
        call: CallId,
    },
    /// A replica belongs to another cluster than the one that this client spoke with first, and no other answers.
    #[error("{address}: {}", Refusal::OtherCluster { expected: *.expected, actual: *.actual })]
    OtherCluster {
        /// The replica.
        address: SocketAddr,
        /// The cluster of this client.
        expected: ClusterId,
        /// The cluster of the replica.
        actual: ClusterId,
    },
    /// As many requests wait for answers as may; this one was not sent.
    #[error("{limit} requests wait for their answers already, which is the most: wait for some of them")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// Too large to be sent.
    #[error("{what} of {size} bytes, but at most {limit} are accepted")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its bytes.
        size: usize,
        /// The most accepted.
        limit: usize,
    },
    /// The cluster describes the object in a way that this build can't read.
    #[error("the object's interface can't be read: {0}")]
    Interface(InterfaceError),
    /// The cluster gave an answer that is none.
    #[error("{what} can't be read: {reason}")]
    Malformed {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it.
        reason: FrameError,
    },
    /// The calls that were to be executed as one were sent before this one was made.
    #[error("the calls that are executed as one were sent before this one was made: join them")]
    NotTogether,
    /// The client was closed.
    #[error("this client is closed")]
    Closed,
}

/// To a tenth of a second where it is that long: what is left of a limit after connecting has odd digits.
pub(crate) fn rounded(after: Duration) -> String {
    if after < Duration::from_secs(1) {
        format!("{}ms", after.as_millis())
    } else {
        format!("{:.1}s", after.as_secs_f64())
    }
}

fn may_have_run(call: Option<&CallId>) -> String {
    call.map(|call| format!(" (call {call} was sent and may have been executed)")).unwrap_or_default()
}

pub(crate) fn what_was_tried(tried: &[Tried]) -> String {
    tried.iter().map(|tried| format!("; {tried}")).collect()
}
