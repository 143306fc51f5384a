//! One connection to one replica, with one request under way at a time.

use std::net::SocketAddr;

use concoord_transport::{Endpoint, Inbox, Outbox, Role};
use concoord_wire::ClusterId;
use concoord_wire::client::{Request, Response};
use concoord_wire::hello::Hello;
use tokio::time::{Instant, timeout};

use crate::limits::{DIAL_TIMEOUT, OPERATOR_PING_AFTER};

/// An open connection.
pub(super) struct Line {
    cluster: Option<ClusterId>,
    outbox: Outbox,
    inbox: Inbox,
}

/// Why there is no answer. Each reads on from an address and a colon.
#[derive(Debug)]
pub(super) enum LineError {
    /// The request was not sent.
    NotReached(String),
    /// It was sent, and what became of it is not known.
    NoReply(String),
}

impl Line {
    pub(super) async fn dial(
        endpoint: &Endpoint,
        address: SocketAddr,
        hello: &Hello,
        deadline: Instant,
    ) -> Result<Line, LineError> {
        let limit = deadline.saturating_duration_since(Instant::now()).min(DIAL_TIMEOUT);
        let dialed = endpoint.dial(address, Role::Client, hello, limit).await;
        let connection = dialed.map_err(|error| LineError::NotReached(error.to_string()))?;
        let cluster = connection.remote().cluster;
        let (outbox, inbox) = connection.split();
        Ok(Line { cluster, outbox, inbox })
    }

    /// Of which cluster the replica is, once it is in one.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// Says something that has no answer.
    pub(super) fn tell(&mut self, request: &Request) -> Result<(), LineError> {
        self.outbox.push(request).map_err(|error| LineError::NotReached(error.to_string()))
    }

    /// Asks, and waits for the answer as long as the replica gives signs of life.
    pub(super) async fn ask(&mut self, request: &Request, deadline: Instant) -> Result<Response, LineError> {
        self.tell(request)?;
        self.hear(deadline).await
    }

    /// Waits for an answer as long as the replica gives signs of life.
    pub(super) async fn hear(&mut self, deadline: Instant) -> Result<Response, LineError> {
        let mut pinged = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left.min(OPERATOR_PING_AFTER), self.inbox.next()).await {
                Ok(Ok(Some(Response::Pong { .. }))) => pinged = false,
                Ok(Ok(Some(response))) => return Ok(response),
                Ok(Ok(None)) => return Err(LineError::NoReply("has ended without an answer".into())),
                Ok(Err(error)) => return Err(LineError::NoReply(error.to_string())),
                Err(_) if pinged => return Err(LineError::NoReply("does not answer any more".into())),
                Err(_) if left.is_zero() => return Err(LineError::NoReply("is not done with it yet".into())),
                Err(_) => {
                    // Numbers of requests begin at 1.
                    let asked = self.outbox.push(&Request::Ping { request: 0 });
                    asked.map_err(|error| LineError::NoReply(error.to_string()))?;
                    pinged = true;
                }
            }
        }
    }
}
