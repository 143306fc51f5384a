//! Everything that enters a [`crate::Replica`] and everything that leaves it.

use std::fmt;

use bytes::Bytes;
use concoord_wire::abi::{Answer, ObjectLimits};
use concoord_wire::check::Check;
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::client::{CallError, Consistency, Request, Response};
use concoord_wire::join::JoinReply;
use concoord_wire::member::{Member, Roster};
use concoord_wire::objects::{ObjectAction, ObjectError, Operated};
use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::version::ClusterVersion;
use concoord_wire::{Ballot, CallId, NodeId, ObjectId, Position, SessionId, Slot, Timestamp};

/// What the driver's clocks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Microseconds since the driver started; never falls.
    pub monotonic_us: u64,
    /// Microseconds since the Unix epoch, as far as the machine knows; may jump either way.
    pub wall_us: u64,
}

/// The driver's name for a client connection. Never used twice by one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientToken(pub u64);

/// The driver's name for one join request. Never used twice by one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JoinToken(pub u64);

/// Number of a record in this replica's log, from 1 in the order of [`Effect::Persist`]; 0 is always durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(pub u64);

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One input of a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed. The driver sends it when [`crate::Replica::deadline`] is reached; more often does no harm.
    Tick,
    /// The driver has no more inputs at hand: what was gathered is proposed and sent now. The driver sends one after
    /// each burst of inputs, so that batches form while it is busy.
    Flush,
    /// A peer says something. The driver has checked that it comes from `from` and is meant for this replica.
    Peer {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// A client asks for something. Each is answered by exactly one [`Effect::Reply`] or handed on as an
    /// [`Effect::Query`] or [`Effect::Ask`], unless the client goes first or the request says that it has no answer.
    Client {
        /// Who.
        client: ClientToken,
        /// What.
        request: Request,
    },
    /// A client's connection ended: nothing is replied to it any more.
    ClientGone {
        /// Who.
        client: ClientToken,
    },
    /// A new replica asks to join, and the driver has dialed it back.
    Join {
        /// For the reply.
        join: JoinToken,
        /// The new replica.
        member: Member,
        /// Whether the dial-back found it at its address; else what happened.
        reached: Result<(), String>,
    },
    /// Something is wanted of an object, and nobody waits for an answer; the first replica loads its `-o` so. Leader
    /// only.
    Operate {
        /// The same for every retry.
        nonce: u128,
        /// What to do.
        action: ObjectAction,
    },
    /// The log is durable up to here.
    Durable {
        /// Every record up to this one.
        position: LogPosition,
    },
    /// The application has applied a slot. Slots come in order.
    Applied(Applied),
    /// The application has taken over the snapshot of [`Effect::Restore`].
    Restored {
        /// The slot whose state it has now.
        slot: Slot,
        /// The decided version after it.
        version: ClusterVersion,
    },
    /// A snapshot of this slot is durable, made here for [`Effect::TakeSnapshot`].
    SnapshotSaved {
        /// Its slot.
        slot: Slot,
    },
    /// The snapshot of [`Effect::TakeSnapshot`] could not be kept. The driver has said why; it is tried again later.
    SnapshotFailed {
        /// Its slot.
        slot: Slot,
    },
    /// So much of a peer's snapshot is kept: after [`Effect::BeginSnapshot`] what an earlier try left, after
    /// [`Effect::KeepChunk`] what came to it.
    SnapshotKept {
        /// Its slot.
        slot: Slot,
        /// Bytes from the start.
        bytes: u64,
    },
    /// A peer's snapshot is complete, checked and durable.
    SnapshotReceived {
        /// What it holds beside the application's state.
        checkpoint: Checkpoint,
    },
    /// A peer's snapshot was complete and damaged; nothing of it is kept.
    SnapshotRefused {
        /// Its slot.
        slot: Slot,
    },
    /// A module was tried for [`Effect::TryOut`].
    TriedOut {
        /// Which trial.
        trial: u64,
        /// Whether it can be run here; else why not.
        result: Result<(), String>,
    },
    /// Whether the disk is so full that only the reserve is left: then nothing new is accepted.
    DiskFull(bool),
    /// The operator wants this replica to stop: hand leadership over, then [`Effect::Stopped`].
    Stop {
        /// Leave the view first, also where the others would do without.
        leave: bool,
    },
}

/// What a log held, in the order in which it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// A record.
    Record(Record),
    /// Records are lost here; they may have accepted values for these slots, both included.
    Unknown {
        /// The first slot.
        first: Slot,
        /// The last slot.
        last: Slot,
    },
}

/// An earlier life of a replica, from its disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// The highest ballot promised.
    pub promised: Ballot,
    /// What the log holds above the snapshot, perhaps with some from before it.
    pub replayed: Vec<Replayed>,
    /// The position of the last record ever written.
    pub position: LogPosition,
}

/// One effect of a replica. The driver carries them out in order, each as soon as it may.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append a record to the log, and say [`Input::Durable`] when it is synced.
    Persist {
        /// Its number.
        position: LogPosition,
        /// What to append.
        record: Record,
    },
    /// Send a message to a peer. May be lost, duplicated and reordered; that costs time and never safety.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
        /// Not before the log is durable up to here.
        after: LogPosition,
        /// For how many microseconds it may wait then for others that go the same way.
        patience_us: u64,
    },
    /// Hand a decided batch to the application. In slot order, each once. Slots without a batch are skipped.
    Apply {
        /// Its slot.
        slot: Slot,
        /// The encoded batch.
        batch: Bytes,
        /// Whether [`Input::Applied`] must carry the replies: only where somebody may wait for them.
        replies: bool,
    },
    /// Hand a query to the application, behind everything handed to it before; it answers the client by itself.
    Query(Query),
    /// Hand a question to the application, in the same way; not all have an answer, or one at once.
    Ask(Question),
    /// Have the application's state, as it is behind everything handed to it before, made a snapshot and kept safely:
    /// then [`Input::SnapshotSaved`], or [`Input::SnapshotFailed`].
    TakeSnapshot(Checkpoint),
    /// Have the application go on from a snapshot that was received, behind everything handed to it before; then
    /// [`Input::Restored`].
    Restore {
        /// The snapshot's slot.
        slot: Slot,
    },
    /// Records of slots up to here are not needed any more: a snapshot holds them.
    Truncate {
        /// The last slot.
        upto: Slot,
    },
    /// Snapshots of slots above `after` and below `before` hold a state that was found to be wrong: forget them.
    DropSnapshots {
        /// The last slot at which the state was known to be right.
        after: Slot,
        /// The slot of a snapshot that is right.
        before: Slot,
    },
    /// Tell a peer of the newest snapshot that is kept here, with [`Message::SnapshotAt`].
    OfferSnapshot {
        /// Whom.
        to: NodeId,
    },
    /// Send a peer a piece of a snapshot, with [`Message::SnapshotChunk`]; if it is not kept any more, tell of the newest.
    SendChunk {
        /// Whom.
        to: NodeId,
        /// Which snapshot.
        slot: Slot,
        /// From which byte on.
        offset: u64,
    },
    /// A peer's snapshot is about to be fetched: say what is there of it already, with [`Input::SnapshotKept`].
    BeginSnapshot {
        /// Its slot.
        slot: Slot,
        /// Bytes of the whole.
        total: u64,
    },
    /// Keep a piece of a peer's snapshot: [`Input::SnapshotKept`] follows, or, with the last piece,
    /// [`Input::SnapshotReceived`] or [`Input::SnapshotRefused`].
    KeepChunk {
        /// Its slot.
        slot: Slot,
        /// Bytes of the whole.
        total: u64,
        /// Where the piece belongs: at the end of what is kept.
        offset: u64,
        /// CRC-32C of the piece; a piece that differs is dropped, and [`Input::SnapshotKept`] says so.
        checksum: u32,
        /// The piece.
        data: Bytes,
    },
    /// Send a client a piece of a snapshot, with [`Response::Backup`].
    Backup {
        /// Whom.
        client: ClientToken,
        /// The client's number of the request.
        request: u64,
        /// Which snapshot.
        slot: Slot,
        /// From which byte on.
        offset: u64,
    },
    /// Find out whether a module can be run here, within the bounds of what is proposed: then [`Input::TriedOut`].
    TryOut {
        /// Number of the trial; never used twice in one life.
        trial: u64,
        /// The module, unchecked.
        module: Bytes,
    },
    /// Tell a client.
    Reply {
        /// Whom.
        client: ClientToken,
        /// What.
        response: Response,
    },
    /// Answer a join request.
    JoinReply {
        /// Which.
        join: JoinToken,
        /// What.
        reply: JoinReply,
    },
    /// View, leader or liveness changed: the newest roster, for view plugins and for the driver's address book.
    RosterChanged(Roster),
    /// This replica is no longer in the view: it stops serving, and the process ends with this reason.
    Removed {
        /// One line.
        reason: String,
    },
    /// The applied state here differs from that of a majority, and is fetched anew: until then this replica votes, and
    /// neither leads nor serves. With `None`, it is as it should be again. For the driver's log.
    Quarantine(Option<Divergence>),
    /// Applied states differ, and no majority of replicas has the same: nobody can tell which is right. This replica
    /// stops, and the process ends with this reason.
    Halt {
        /// One line.
        reason: String,
    },
    /// After [`Input::Stop`]: everything that must be said before the end is in the effects before this one.
    Stopped,
}

/// How the applied state of a replica was found to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Its own check of a slot.
    pub own: Check,
    /// That of a majority, of the same slot.
    pub agreed: Check,
    /// The last slot at which it is known to have agreed; 0 when none is known.
    pub agreed_until: Slot,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { own, agreed, agreed_until } = self;
        let Check { slot, replies, state } = own;
        write!(f, "{} after slot {slot}: replies {replies:016x}, state {state:016x} here", own.difference(agreed))?;
        write!(f, ", replies {:016x}, state {:016x} on a majority", agreed.replies, agreed.state)?;
        match *agreed_until {
            Slot::ZERO => f.write_str("; no slot before is known to be the same"),
            until => write!(f, "; up to slot {until} all was the same"),
        }
    }
}

/// A query for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who asks.
    pub client: ClientToken,
    /// The client's number of the request.
    pub request: u64,
    /// The object.
    pub object: ObjectId,
    /// Its method.
    pub method: String,
    /// Postcard of each argument in turn.
    pub arguments: Bytes,
    /// As the client asked; the replica has already waited for what it needs.
    pub consistency: Consistency,
}

/// A question about objects for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub client: ClientToken,
    /// The client's number of the request.
    pub request: u64,
    /// What.
    pub ask: Ask,
}

/// What is asked about objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What an object can do.
    Describe {
        /// The object's name; `None` for the first object.
        name: Option<String>,
    },
    /// How objects are.
    Objects {
        /// The object's name; `None` for all of them.
        name: Option<String>,
    },
    /// What an object emits: see [`Request::Watch`].
    Watch {
        /// The object.
        object: ObjectId,
        /// Only of this topic.
        topic: Option<String>,
        /// After this revision; `None` asks how far the application is.
        after: Option<Position>,
    },
    /// Nobody waits any more for what was asked by [`Ask::Watch`] under this number, or all numbers of the client.
    Unwatch {
        /// The number.
        request: Option<u64>,
    },
    /// Which sessions are open.
    Sessions {
        /// Those behind this one.
        after: Option<SessionId>,
    },
    /// What an upgrade would come to.
    Try {
        /// The object.
        object: ObjectId,
        /// The new module.
        module: Bytes,
        /// What it may take then; `None` for what it may now.
        limits: Option<ObjectLimits>,
    },
}

/// What the application did with one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The slot.
    pub slot: Slot,
    /// Decided time of the batch.
    pub stamp: Timestamp,
    /// What its commands came to; empty unless [`Effect::Apply`] asked for replies.
    pub replies: Vec<Completed>,
    /// What became of objects, for the driver's log.
    pub notices: Vec<Notice>,
    /// What watchers here are told.
    pub watched: Vec<(ClientToken, Response)>,
    /// What replicas compare, of the slots that are checked.
    pub check: Option<Check>,
    /// The decided version after the slot.
    pub version: ClusterVersion,
    /// From which decided time on there is something to do that waits for nothing but time: an empty batch does it.
    pub due: Option<Timestamp>,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An operator wanted something of it. A retry is told with what the first came to.
    Operated {
        /// What.
        verb: Verb,
        /// The object's name; its id where there is none.
        object: String,
        /// What it came to.
        result: Result<Operated, ObjectError>,
    },
    /// It failed where nobody waited for it.
    Suspended {
        /// The object's name.
        object: String,
        /// What happened.
        why: String,
    },
}

/// What is done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// [`ObjectAction::Load`].
    Load,
    /// [`ObjectAction::Remove`].
    Remove,
    /// [`ObjectAction::Upgrade`].
    Upgrade,
    /// [`ObjectAction::Rollback`].
    Rollback,
    /// [`ObjectAction::Resume`].
    Resume,
}

/// What one command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completed {
    /// A session was opened or found.
    Session {
        /// As asked.
        nonce: u128,
        /// The session, or why there is none.
        result: Result<SessionId, CallError>,
    },
    /// A session was resumed.
    Resumed {
        /// As asked.
        nonce: u128,
        /// The number of its next call, or why it was not.
        result: Result<u64, CallError>,
    },
    /// A session that a client wanted to keep is there.
    Kept {
        /// The session.
        session: SessionId,
    },
    /// A session that a client wanted to keep is gone.
    Gone {
        /// The session.
        session: SessionId,
    },
    /// Something was done with an object, or not.
    Operated {
        /// As asked.
        nonce: u128,
        /// What it came to.
        result: Result<Operated, ObjectError>,
    },
    /// A call is answered.
    Call {
        /// The call.
        call: CallId,
        /// What it came to.
        result: Result<Answer, CallError>,
        /// Whether it was parked before.
        waited: bool,
    },
    /// A call is parked: [`Completed::Call`] follows, maybe in another slot.
    Parked {
        /// The call.
        call: CallId,
    },
}
