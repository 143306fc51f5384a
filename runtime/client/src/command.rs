//! What the handle asks of the task.

use bytes::Bytes;
use concoord_wire::abi::Answer;
use concoord_wire::client::{Consistency, Description, Events, Part, Request};
use concoord_wire::member::Roster;
use concoord_wire::{ObjectId, Position};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use crate::error::ClientError;
use crate::places::Place;
use crate::session::SessionToken;

/// Somebody who waits for a `T`. Dropping it unanswered reads as [`ClientError::Closed`] at the other end.
#[derive(Debug)]
pub(crate) struct Caller<T> {
    pub(crate) reply: oneshot::Sender<Result<T, ClientError>>,
    /// When waiting is given up.
    pub(crate) deadline: Instant,
    /// The same as a time, for the text of the error.
    pub(crate) after: Duration,
    /// One of the places for outstanding requests.
    pub(crate) place: Place,
}

impl<T> Caller<T> {
    pub(crate) fn answer(self, result: Result<T, ClientError>) {
        drop(self.place);
        // Who has dropped its future does not want the answer any more.
        let _ = self.reply.send(result);
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }
}

/// How an object is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Update,
    /// An update that may be parked for so long, `None` for as long as the session lives.
    Waiting(Option<Duration>),
    Query(Consistency),
}

/// A method to be run.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) kind: Kind,
    /// `None` for the cluster's first object.
    pub(crate) object: Option<String>,
    pub(crate) method: String,
    pub(crate) arguments: Bytes,
    pub(crate) caller: Caller<Answer>,
}

impl Invocation {
    /// The same method with the same arguments of whoever has the name now: nothing came of `request`, because the object
    /// that had it is gone. `None` for requests that run no method.
    pub(crate) fn again(
        kind: Kind,
        request: Request,
        object: Option<String>,
        caller: Caller<Answer>,
    ) -> Option<Invocation> {
        let (Request::Call { method, arguments, .. } | Request::Query { method, arguments, .. }) = request else {
            return None;
        };
        Some(Invocation { kind, object, method, arguments, caller })
    }
}

/// What the handle asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    Invoke(Invocation),
    Describe {
        name: Option<String>,
        consistency: Consistency,
        caller: Caller<Description>,
    },
    View {
        caller: Caller<Roster>,
    },
    /// Several calls as one.
    Atomically {
        parts: Vec<Part>,
        caller: Caller<Answer>,
    },
    Watch {
        object: ObjectId,
        topic: Option<String>,
        after: Option<Position>,
        caller: Caller<Events>,
    },
    /// The token of the session, which is opened if it is not.
    Session {
        caller: Caller<SessionToken>,
    },
    /// Somebody does not wait any more for a call that may be parked, or for events.
    Dropped,
    /// Say goodbye and end.
    Close {
        closes_session: bool,
        done: oneshot::Sender<()>,
    },
}
