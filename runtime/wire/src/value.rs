//! What a slot of the log holds once decided.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::member::Member;
use crate::{CallId, NodeId, ObjectId, SessionId, Timestamp, ViewId};

/// The value of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing: a gap closed by a new leader, or its first slot.
    Noop,
    /// Commands for the objects: an encoded [`Batch`]. Kept encoded, because only applying looks inside.
    Batch(Bytes),
    /// A change of membership; it seals its slot.
    View(ViewCommand),
}

impl Value {
    /// Roughly what it takes in memory and on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Value::Noop => 1,
            Value::Batch(bytes) => bytes.len() + 8,
            Value::View(_) => 64,
        }
    }
}

/// A change of membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewCommand {
    /// The view it changes; decided under any other view, it does nothing.
    pub based_on: ViewId,
    /// What changes.
    pub change: ViewChange,
}

/// What a [`ViewCommand`] changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewChange {
    /// A member enters as learner.
    Add(Member),
    /// A learner votes from now on; the member that it replaces is gone with it.
    Promote(NodeId),
    /// A member leaves.
    Remove(NodeId),
}

/// Commands decided together, and the time at which they are executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Decided time of all its commands.
    pub stamp: Timestamp,
    /// Executed in this order.
    pub commands: Vec<Command>,
}

/// One command for the applied state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A client wants a session. A repeated nonce finds the session that it opened first.
    OpenSession {
        /// Drawn at random by the client.
        nonce: u128,
    },
    /// The client of a session is still there.
    KeepAlive {
        /// The session.
        session: SessionId,
    },
    /// The client is done with its session.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// A method call.
    Call {
        /// Its id, the same for every retry.
        call: CallId,
        /// The client has the replies of all sequences up to this one; they are forgotten.
        floor: u64,
        /// The object.
        object: ObjectId,
        /// Name of an update method.
        method: String,
        /// Postcard of each argument in turn.
        arguments: Bytes,
    },
    /// An object enters the cluster.
    Load {
        /// The name by which clients find it.
        name: String,
        /// The Wasm module.
        module: Bytes,
        /// Arguments of its constructor.
        arguments: Bytes,
    },
}
