//! Frames between a client and a replica, both ways on one stream. Replies come in any order.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::abi::{Answer, LimitReached, ObjectLimits};
use crate::member::Roster;
use crate::objects::{ObjectAction, ObjectError, ObjectList, Operated};
use crate::{CallId, NodeId, ObjectId, Position, SessionId, Slot, Timestamp, ViewId};

/// Client to replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Open a session, or find the one that this nonce opened. Leader only.
    OpenSession {
        /// Drawn at random by the client.
        nonce: u128,
        /// After how long without a sign of its client it ends, in decided time: from
        /// [`crate::limits::SESSION_TTL_MS_MIN`] to [`crate::limits::SESSION_TTL_MS_MAX`]; others are taken for the nearest.
        ttl_ms: u32,
    },
    /// Go on with a session that another client opened, or an earlier life of this one. Leader only.
    ResumeSession {
        /// The session.
        session: SessionId,
        /// The nonce that opened it: who has it may go on.
        secret: u128,
        /// Drawn at random by the client, the same for every retry.
        nonce: u128,
    },
    /// The client is still there. Leader only.
    KeepAlive {
        /// The session.
        session: SessionId,
    },
    /// The client is done; no answer.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Execute an update, once, however often it is sent. Leader only.
    Call {
        /// Its id, the same for every retry.
        call: CallId,
        /// The client has the replies of all sequences up to this one, but for those that it was told are parked.
        floor: u64,
        /// A sequence that was parked and at or below the floor, and whose reply the client has by now.
        received: Option<u64>,
        /// How long it may be parked, in decided time; 0 for as long as its session lives. A retry changes nothing of that.
        wait_us: u64,
        /// The object.
        object: ObjectId,
        /// Its method.
        method: String,
        /// Postcard of each argument in turn.
        arguments: Bytes,
    },
    /// Execute several calls as one: all of them, in this order and with nothing in between, or none. Leader only.
    Atomically {
        /// The id of the whole, the same for every retry.
        call: CallId,
        /// As for a call.
        floor: u64,
        /// As for a call.
        received: Option<u64>,
        /// The calls, at most [`crate::limits::PARTS_MAX`].
        parts: Vec<Part>,
    },
    /// The client does not want to wait for this call any more. Leader only. The call is answered: with
    /// [`CallError::Cancelled`], or with what came first.
    Cancel {
        /// The call.
        call: CallId,
    },
    /// Execute a query. Any replica.
    Query {
        /// The client's own number, given back with the answer.
        request: u64,
        /// The object.
        object: ObjectId,
        /// Its method.
        method: String,
        /// Postcard of each argument in turn.
        arguments: Bytes,
        /// How fresh the state must be.
        consistency: Consistency,
    },
    /// What has an object emitted after a position? Answered when there is something. A request with the number of one that
    /// waits takes its place and is answered at once, if only with how far the replica is. Any replica.
    Watch {
        /// The client's own number, given back with the answer.
        request: u64,
        /// The object.
        object: ObjectId,
        /// Only events of this topic; `None` for all.
        topic: Option<String>,
        /// After this revision. `None` asks for the present position, which covers everything acknowledged before, and gives
        /// no events.
        after: Option<Position>,
    },
    /// Nothing more is wanted of a [`Request::Watch`] of this number; no answer.
    Unwatch {
        /// The number.
        request: u64,
    },
    /// Which sessions are open? Any replica.
    Sessions {
        /// The client's own number, given back with the answer.
        request: u64,
        /// Those behind this one; `None` for the first.
        after: Option<SessionId>,
        /// How fresh the answer must be.
        consistency: Consistency,
    },
    /// Which object has this name, and what can it do? Any replica.
    Describe {
        /// The client's own number, given back with the answer.
        request: u64,
        /// `None` for the cluster's only or first object.
        name: Option<String>,
        /// How fresh the answer must be.
        consistency: Consistency,
    },
    /// An operator changes the membership. Leader only, but for [`Action::Leave`].
    Administer {
        /// The client's own number, given back with the answer.
        request: u64,
        /// What to do.
        action: Action,
    },
    /// A piece of a module, which is kept until a request over the same connection needs a module, or the connection
    /// ends. Leader only.
    Stage {
        /// The client's own number, given back with the answer.
        request: u64,
        /// Bytes of the pieces before it; with 0, what was kept is dropped.
        offset: u64,
        /// The piece, at most [`crate::limits::MODULE_PIECE_BYTES_MAX`].
        data: Bytes,
    },
    /// An operator wants something of an object. Leader only.
    Operate {
        /// The client's own number, given back with the answer.
        request: u64,
        /// Drawn at random by the client, the same for every retry.
        nonce: u128,
        /// What to do. A module in it is the last piece of one: the pieces before it were staged.
        action: ObjectAction,
    },
    /// What would an upgrade come to? It is tried on a copy, and nothing changes. Leader only.
    Try {
        /// The client's own number, given back with the answer.
        request: u64,
        /// The object.
        object: ObjectId,
        /// The last piece of the new module: the pieces before it were staged.
        module: Bytes,
        /// What it would be allowed to take; `None` for what it may now.
        limits: Option<ObjectLimits>,
    },
    /// Which objects are there, and how are they? Any replica.
    Objects {
        /// The client's own number, given back with the answer.
        request: u64,
        /// `None` for all of them.
        name: Option<String>,
        /// How fresh the answer must be.
        consistency: Consistency,
    },
    /// A piece of a snapshot, for a backup. Any replica that has it.
    Backup {
        /// The client's own number, given back with the answer.
        request: u64,
        /// Which snapshot; `None` for one that holds everything acknowledged before this request.
        slot: Option<Slot>,
        /// From which byte on.
        offset: u64,
    },
    /// Who are the members? Any replica, as far as it knows.
    View {
        /// The client's own number, given back with the answer.
        request: u64,
    },
    /// Are you there?
    Ping {
        /// The client's own number, given back with the answer.
        request: u64,
    },
}

/// What an operator wants of the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Take a member out for good: it is not taken back under its id.
    Remove(NodeId),
    /// Take a member out that may come back with its disk.
    Evict(NodeId),
    /// The replica that is asked leaves the view and stops.
    Leave,
}

/// How fresh the state must be that a query sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// Every call that was acknowledged before the query was sent is seen.
    #[default]
    Linearizable,
    /// Whatever the asked replica has; no network between replicas.
    Stale,
    /// Every call is seen that was acknowledged so long before the query arrived, by the clock of the replica that is asked. It
    /// answers from what it has if it knows that to be so fresh, and else as to a linearizable query.
    Bounded {
        /// How long, in microseconds.
        staleness_us: u64,
    },
}

impl Consistency {
    /// [`Consistency::Bounded`] by this time.
    #[must_use]
    pub fn within(staleness: Duration) -> Consistency {
        Consistency::Bounded { staleness_us: u64::try_from(staleness.as_micros()).unwrap_or(u64::MAX) }
    }
}

/// Replica to client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::OpenSession`].
    SessionOpened {
        /// As asked.
        nonce: u128,
        /// The session.
        result: Result<SessionId, CallError>,
    },
    /// To [`Request::ResumeSession`].
    SessionResumed {
        /// As asked.
        nonce: u128,
        /// The number that its next call is to have. What was called before and is not answered is forgotten.
        result: Result<u64, CallError>,
    },
    /// To [`Request::KeepAlive`], when the session is there.
    SessionKept {
        /// The session.
        session: SessionId,
    },
    /// To [`Request::KeepAlive`], when the session is gone.
    SessionGone {
        /// The session.
        session: SessionId,
    },
    /// To [`Request::Call`], and to [`Request::Atomically`]: then what was returned is the postcard of what each call returned,
    /// a sequence of sequences of bytes.
    Called {
        /// As asked.
        call: CallId,
        /// What it came to.
        result: Result<Answer, CallError>,
        /// Whether it was parked before: then the client says with a later call that it has this.
        waited: bool,
    },
    /// To [`Request::Call`], when it is parked: [`Response::Called`] follows. A retry is told again.
    Parked {
        /// As asked.
        call: CallId,
    },
    /// To [`Request::Query`].
    Queried {
        /// As asked.
        request: u64,
        /// What it came to.
        result: Result<Answer, CallError>,
    },
    /// To [`Request::Watch`].
    Watched {
        /// As asked.
        request: u64,
        /// What was emitted, or why that can't be told.
        result: Result<Events, CallError>,
    },
    /// To [`Request::Sessions`].
    Sessions {
        /// As asked.
        request: u64,
        /// The sessions.
        result: Result<SessionList, CallError>,
    },
    /// To [`Request::Describe`].
    Described {
        /// As asked.
        request: u64,
        /// The object.
        result: Result<Description, CallError>,
    },
    /// To [`Request::Administer`], once it is decided.
    Administered {
        /// As asked.
        request: u64,
        /// The view that it made, or why not.
        result: Result<ViewId, AdministerError>,
    },
    /// To [`Request::Stage`].
    Staged {
        /// As asked.
        request: u64,
        /// Bytes of the module that are kept now.
        result: Result<u64, ObjectError>,
    },
    /// To [`Request::Operate`], once it is executed, and to [`Request::Try`].
    Operated {
        /// As asked.
        request: u64,
        /// What it did, or would do.
        result: Result<Operated, ObjectError>,
    },
    /// To [`Request::Objects`].
    Objects {
        /// As asked.
        request: u64,
        /// The objects.
        result: Result<ObjectList, CallError>,
    },
    /// To [`Request::Backup`].
    Backup {
        /// As asked.
        request: u64,
        /// The piece, or why there is none.
        result: Result<BackupPiece, CallError>,
    },
    /// To [`Request::View`].
    View {
        /// As asked.
        request: u64,
        /// The members.
        roster: Roster,
    },
    /// To [`Request::Ping`].
    Pong {
        /// As asked.
        request: u64,
    },
}

/// One of several calls that are executed as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The object.
    pub object: ObjectId,
    /// Its method: an update, or a query.
    pub method: String,
    /// Postcard of each argument in turn.
    pub arguments: Bytes,
}

/// A [`Part`] that borrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct PartRef<'a> {
    /// The object.
    pub object: ObjectId,
    /// Its method.
    pub method: &'a str,
    /// Postcard of each argument in turn.
    pub arguments: &'a [u8],
}

/// What an object emitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// In the order in which it did.
    pub events: Vec<EmittedEvent>,
    /// Up to this position there is nothing but these: the next request goes on after it.
    pub upto: Position,
}

/// An event as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmittedEvent {
    /// Its position: larger than that of every event before it, whichever object emitted that.
    pub revision: Position,
    /// What it is about.
    pub topic: String,
    /// Postcard of what the object's interface names as the type of its events.
    pub payload: Bytes,
}

/// Open sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// The decided time of this.
    pub now: Timestamp,
    /// By id, at most [`crate::limits::SESSIONS_LISTED_MAX`].
    pub sessions: Vec<SessionState>,
    /// Whether there are more behind these.
    pub more: bool,
}

/// A session as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// Its id.
    pub session: SessionId,
    /// After how long without a sign of its client it ends.
    pub ttl_ms: u32,
    /// When there was the last one, in decided time.
    pub heard: Timestamp,
    /// Calls that wait to be answered.
    pub waiting: u64,
    /// Replies that the client did not say to have.
    pub kept: u64,
    /// How many objects it called.
    pub objects: u64,
}

/// A piece of a snapshot as a backup reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPiece {
    /// Which snapshot: to be named when asking for the next piece.
    pub slot: Slot,
    /// Bytes of the whole.
    pub total: u64,
    /// Where the piece belongs.
    pub offset: u64,
    /// The piece; empty when `offset` is the end.
    pub data: Bytes,
}

/// Why the membership was not changed as an operator wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AdministerError {
    /// Ask the leader.
    #[error("this replica does not lead{}", match .leader { Some(at) => format!(", {at} does"), None => String::new() })]
    NotLeader {
        /// Where it is, if known.
        leader: Option<SocketAddr>,
    },
    /// Not a member.
    #[error("{member} is no member of view {view}")]
    NoMember {
        /// Who was meant.
        member: NodeId,
        /// The view.
        view: ViewId,
    },
    /// Another change of view is under way; ask again.
    #[error("another change of view is under way: try again")]
    UnderWay,
    /// The view without it could decide nothing.
    #[error("without {member}, {live} of {voters} voters would be live, and a majority is needed")]
    NoMajority {
        /// Who was meant.
        member: NodeId,
        /// Voters that would be left.
        voters: u32,
        /// How many of those answer at the moment.
        live: u32,
    },
    /// Leadership changed before it was decided; look at the view and ask again.
    #[error("leadership changed before it was decided: look at the members and try again")]
    Unknown,
}

/// An object as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its id in this cluster.
    pub object: ObjectId,
    /// Its name in this cluster.
    pub name: String,
    /// The encoded interface: [`crate::interface::Interface::decode`].
    pub interface: Bytes,
    /// Slot at which it was loaded.
    pub loaded: Slot,
    /// One more with each upgrade: the interface is that of this generation.
    pub generation: u64,
}

/// Why a replica did not answer a call with an [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CallError {
    /// Ask the leader, with the same call id: the call may stand in the log already.
    #[error("this replica does not lead{}", match .leader { Some(at) => format!(", {at} does"), None => String::new() })]
    NotLeader {
        /// Where it is, if known.
        leader: Option<SocketAddr>,
    },
    /// A queue is full; nothing was executed, try again later.
    #[error("busy: {what} holds its limit of {limit}")]
    Busy {
        /// Which queue.
        what: String,
        /// How much it holds.
        limit: u64,
    },
    /// Something is over a limit; nothing was executed.
    #[error("{what} of {size} bytes, but at most {limit} are accepted")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its bytes.
        size: u64,
        /// The most accepted.
        limit: u64,
    },
    /// No such object.
    #[error("no object '{name}'; this cluster has {}", list(.existing))]
    UnknownObject {
        /// What was asked for.
        name: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// No such method.
    #[error("{object} has no method '{method}'; it has {}", list(.existing))]
    UnknownMethod {
        /// The object's name.
        object: String,
        /// What was asked for.
        method: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// A call names a query or a query names an update.
    #[error("{object}.{method} is {}", if *.is_query { "a query: send it as one" } else { "an update: send it as a call" })]
    WrongKind {
        /// The object's name.
        object: String,
        /// The method.
        method: String,
        /// What it is.
        is_query: bool,
    },
    /// The session ended: it was closed, or silent for longer than its time to live.
    #[error("session {session} is gone")]
    SessionGone {
        /// The session.
        session: SessionId,
    },
    /// The client said that it has this call's reply already, so it is forgotten; never executed again.
    #[error("call {call} is at or below the floor {floor} that its session acknowledged")]
    Acknowledged {
        /// The call.
        call: CallId,
        /// The session's floor.
        floor: u64,
    },
    /// The method trapped; nothing changed.
    #[error("{object}.{method} trapped: {message}")]
    Trapped {
        /// The object's name.
        object: String,
        /// The method.
        method: String,
        /// The panic message, or the kind of trap.
        message: String,
    },
    /// The object broke the rules of the ABI; nothing changed.
    #[error("{object}.{method} broke the object ABI: {why}")]
    Misbehaved {
        /// The object's name.
        object: String,
        /// The method.
        method: String,
        /// What it did.
        why: String,
    },
    /// The method went beyond a limit; nothing changed.
    #[error("{object}.{method}: {reached}")]
    LimitReached {
        /// The object's name.
        object: String,
        /// The method.
        method: String,
        /// Which limit.
        reached: LimitReached,
    },
    /// The object is suspended: it trapped where nobody waited for it. Nothing was executed.
    #[error("{object} is suspended: {why}; resume or upgrade it")]
    Suspended {
        /// The object's name.
        object: String,
        /// What happened.
        why: String,
    },
    /// This replica can't serve at the moment.
    #[error("this replica does not serve: {why}")]
    NotServing {
        /// Why.
        why: String,
    },
    /// The call was parked, and not answered for as long as it might wait.
    #[error("{object} gave no answer {}", while_it_might_wait(*.wait_us))]
    WaitedInVain {
        /// The object's name.
        object: String,
        /// How long that was.
        wait_us: u64,
    },
    /// One of several calls that were to be executed as one failed, so none was.
    #[error("call {number} of them, {object}.{method}, {why}; none was executed", number = .part + 1)]
    Aborted {
        /// Which, from 0.
        part: u32,
        /// Its object's name.
        object: String,
        /// Its method.
        method: String,
        /// What it came to.
        why: Abort,
    },
    /// Events that were asked for are kept no longer.
    #[error("events up to there are kept no longer: the oldest that is kept has revision {oldest}")]
    Compacted {
        /// The revision of the oldest that is kept; of the next one, if none is.
        oldest: Position,
    },
    /// The call was parked, and ended because its client wanted that, or its object is gone.
    #[error("the call was ended before {object} answered")]
    Cancelled {
        /// The object's name.
        object: String,
    },
}

impl CallError {
    /// Whether the same request may succeed later or elsewhere, sent again as it is.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, CallError::NotLeader { .. } | CallError::Busy { .. } | CallError::NotServing { .. })
    }
}

/// Why one of several calls that were to be executed as one put an end to all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Abort {
    /// Its method returned an error of its own: postcard of that.
    #[error("returned an error")]
    Failed(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It did not come to an end: one line.
    #[error("failed: {0}")]
    Error(String),
}

/// What is less than two microseconds is no time to wait.
fn while_it_might_wait(wait_us: u64) -> String {
    match wait_us {
        0 | 1 => "at once".into(),
        _ => format!("within the {} s that the call might wait", wait_us as f64 / 1e6),
    }
}

/// "none", or the names separated by commas.
fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
