//! What a slot of the log holds once decided.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::FrameError;
use crate::member::{Member, Services};
use crate::objects::{ObjectAction, ObjectActionRef};
use crate::version::ClusterVersion;
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
    /// What the outside is told of a member: it is unheard, or heard again, or offers something else. Quorums stay as they
    /// are, so nothing is sealed.
    Mark {
        /// The view that it is said of; decided under any other view, it does nothing.
        view: ViewId,
        /// Who.
        member: NodeId,
        /// Whether it is silent from now on.
        silent: bool,
        /// What it offers from now on.
        services: Services,
    },
}

impl Value {
    /// Roughly what it takes in memory and on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Value::Noop => 1,
            Value::Batch(bytes) => bytes.len() + 8,
            Value::View(_) | Value::Mark { .. } => 64,
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
    Remove {
        /// Who.
        member: NodeId,
        /// Why: it decides who may come back.
        why: Removal,
    },
}

/// Why a member leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// It stops, and asked for it. It may come back under its id.
    Left,
    /// It was silent for too long. It may come back under its id.
    Evicted,
    /// An operator took it out for good.
    Expelled,
}

/// Commands decided together, and the time at which they are executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Decided time of all its commands.
    pub stamp: Timestamp,
    /// Executed in this order.
    pub commands: Vec<Command>,
}

impl Batch {
    /// The stamp of an encoded batch, without decoding its commands.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes do not start with one.
    pub fn stamp_of(encoded: &[u8]) -> Result<Timestamp, FrameError> {
        postcard::take_from_bytes(encoded).map(|(stamp, _)| stamp).map_err(FrameError::Malformed)
    }
}

/// One command for the applied state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A client wants a session. A repeated nonce finds the session that it opened first.
    OpenSession {
        /// Drawn at random by the client.
        nonce: u128,
        /// After how long without a sign of its client it ends, in decided time.
        ttl_ms: u32,
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
        /// The client has the replies of all sequences up to this one, but for those that it knows to be parked; they are
        /// forgotten.
        floor: u64,
        /// A sequence that was parked and at or below the floor, and whose reply the client has by now.
        received: Option<u64>,
        /// How long it may be parked, in decided time; 0 for as long as its session lives.
        wait_us: u64,
        /// The object.
        object: ObjectId,
        /// Name of an update method.
        method: String,
        /// Postcard of each argument in turn.
        arguments: Bytes,
    },
    /// An operator wants something of an object. A repeated nonce finds what the first came to, as long as that is
    /// among the newest that are remembered.
    Operate {
        /// Drawn at random by whoever asks, the same for every retry.
        nonce: u128,
        /// What to do.
        action: ObjectAction,
    },
    /// From here on, applying means what it means in this version. It does nothing where that is so already, or in a later
    /// version.
    Version(ClusterVersion),
    /// A client does not want to wait for a call any more. It does nothing where the call is not parked.
    Cancel {
        /// The call.
        call: CallId,
    },
    /// A client goes on with the session of another one, or of an earlier life of its own. A repeated nonce finds what the
    /// first came to, as long as nobody else has come between.
    ResumeSession {
        /// The session.
        session: SessionId,
        /// The nonce that opened it.
        secret: u128,
        /// Drawn at random by the client.
        nonce: u128,
    },
    /// Several calls as one: all of them are executed, or none.
    Atomically {
        /// The id of the whole, the same for every retry.
        call: CallId,
        /// As for a call.
        floor: u64,
        /// As for a call.
        received: Option<u64>,
        /// The calls, as the postcard of a sequence of [`Part`](crate::client::Part)s: kept encoded, because only applying
        /// looks inside.
        parts: Bytes,
    },
}

/// A [`Batch`] whose names, arguments and modules stay in the bytes it was decoded from: what applying reads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BatchRef<'a> {
    /// As [`Batch::stamp`].
    pub stamp: Timestamp,
    /// As [`Batch::commands`].
    #[serde(borrow)]
    pub commands: Vec<CommandRef<'a>>,
}

/// A [`Command`] that borrows; the variants and fields are the same, in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum CommandRef<'a> {
    /// As [`Command::OpenSession`].
    OpenSession {
        /// Drawn at random by the client.
        nonce: u128,
        /// After how long without a sign of its client it ends, in decided time.
        ttl_ms: u32,
    },
    /// As [`Command::KeepAlive`].
    KeepAlive {
        /// The session.
        session: SessionId,
    },
    /// As [`Command::CloseSession`].
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// As [`Command::Call`].
    Call {
        /// Its id.
        call: CallId,
        /// The client has the replies of all sequences up to this one, but for those that it knows to be parked.
        floor: u64,
        /// A sequence that was parked, and whose reply the client has by now.
        received: Option<u64>,
        /// How long it may be parked.
        wait_us: u64,
        /// The object.
        object: ObjectId,
        /// Name of an update method.
        method: &'a str,
        /// Postcard of each argument in turn.
        arguments: &'a [u8],
    },
    /// As [`Command::Operate`].
    Operate {
        /// Drawn at random by whoever asks.
        nonce: u128,
        /// What to do.
        #[serde(borrow)]
        action: ObjectActionRef<'a>,
    },
    /// As [`Command::Version`].
    Version(ClusterVersion),
    /// As [`Command::Cancel`].
    Cancel {
        /// The call.
        call: CallId,
    },
    /// As [`Command::ResumeSession`].
    ResumeSession {
        /// The session.
        session: SessionId,
        /// The nonce that opened it.
        secret: u128,
        /// Drawn at random by the client.
        nonce: u128,
    },
    /// As [`Command::Atomically`].
    Atomically {
        /// The id of the whole.
        call: CallId,
        /// As for a call.
        floor: u64,
        /// As for a call.
        received: Option<u64>,
        /// The calls, encoded.
        parts: &'a [u8],
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ObjectLimits;
    use crate::{Slot, codec};

    fn owned(command: &CommandRef<'_>) -> Command {
        match *command {
            CommandRef::OpenSession { nonce, ttl_ms } => Command::OpenSession { nonce, ttl_ms },
            CommandRef::Cancel { call } => Command::Cancel { call },
            CommandRef::ResumeSession { session, secret, nonce } => Command::ResumeSession { session, secret, nonce },
            CommandRef::Atomically { call, floor, received, parts } => {
                Command::Atomically { call, floor, received, parts: Bytes::copy_from_slice(parts) }
            }
            CommandRef::KeepAlive { session } => Command::KeepAlive { session },
            CommandRef::CloseSession { session } => Command::CloseSession { session },
            CommandRef::Version(version) => Command::Version(version),
            CommandRef::Call { call, floor, received, wait_us, object, method, arguments } => Command::Call {
                call,
                floor,
                received,
                wait_us,
                object,
                method: method.into(),
                arguments: Bytes::copy_from_slice(arguments),
            },
            CommandRef::Operate { nonce, action } => Command::Operate { nonce, action: owned_action(action) },
        }
    }

    fn owned_action(action: ObjectActionRef<'_>) -> ObjectAction {
        match action {
            ObjectActionRef::Load { name, module, arguments, limits } => ObjectAction::Load {
                name: name.into(),
                module: Bytes::copy_from_slice(module),
                arguments: Bytes::copy_from_slice(arguments),
                limits,
            },
            ObjectActionRef::Remove { object } => ObjectAction::Remove { object },
            ObjectActionRef::Upgrade { object, based_on, module, limits, allow_breaking } => ObjectAction::Upgrade {
                object,
                based_on,
                module: Bytes::copy_from_slice(module),
                limits,
                allow_breaking,
            },
            ObjectActionRef::Rollback { object, based_on } => ObjectAction::Rollback { object, based_on },
            ObjectActionRef::Resume { object } => ObjectAction::Resume { object },
        }
    }

    #[test]
    fn a_borrowed_batch_reads_what_a_batch_writes() {
        let session = SessionId { slot: Slot(300), index: 7 };
        let limits = ObjectLimits { gas_per_call: 1 << 40, memory_pages: 300 };
        let module = Bytes::from(vec![9; 300]);
        let object = ObjectId(70_000);
        let actions = [
            ObjectAction::Load { name: "counter".into(), module: module.clone(), arguments: Bytes::new(), limits },
            ObjectAction::Remove { object },
            ObjectAction::Upgrade { object, based_on: 1 << 20, module, limits: Some(limits), allow_breaking: true },
            ObjectAction::Rollback { object, based_on: 2 },
            ObjectAction::Resume { object },
        ];
        let operate = actions.into_iter().map(|action| Command::Operate { nonce: u128::MAX / 5, action });
        let batch = Batch {
            stamp: Timestamp(1 << 50),
            commands: vec![
                Command::OpenSession { nonce: u128::MAX - 1, ttl_ms: 60_000 },
                Command::KeepAlive { session },
                Command::CloseSession { session },
                Command::Call {
                    call: CallId { session, sequence: 1 << 40 },
                    floor: 12,
                    received: Some(7),
                    wait_us: 1 << 33,
                    object: ObjectId(3),
                    method: "größer".into(),
                    arguments: Bytes::from_static(&[0, 255, 128]),
                },
            ]
            .into_iter()
            .chain(operate)
            .chain([Command::Cancel { call: CallId { session, sequence: 9 } }])
            .collect(),
        };
        let bytes = codec::to_bytes(&batch);
        let borrowed: BatchRef<'_> = codec::from_bytes(&bytes).unwrap();
        assert_eq!(borrowed.stamp, batch.stamp);
        assert_eq!(borrowed.commands.iter().map(owned).collect::<Vec<_>>(), batch.commands);
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            assert_eq!(codec::from_bytes::<BatchRef<'_>>(cut).is_err(), codec::from_bytes::<Batch>(cut).is_err());
        }
    }
}
