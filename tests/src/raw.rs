//! A client's connection without a client: requests as they are written here, and whatever comes back.

use std::net::SocketAddr;
use std::time::Duration;

use concoord_transport::{Endpoint, Inbox, Outbox, Role};
use concoord_wire::client::{Request, Response};
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN};
use concoord_wire::{CallId, SessionId};

/// How long a replica may take to answer a dial.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to one replica.
#[derive(Debug)]
pub struct Raw {
    outbox: Outbox,
    inbox: Inbox,
}

impl Raw {
    /// Connects; `None` if nobody is there.
    pub async fn dial(endpoint: &Endpoint, address: SocketAddr) -> Option<Raw> {
        let hello = Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster: None, node: None, life: 0 };
        let connection = endpoint.dial(address, Role::Client, &hello, DIAL_TIMEOUT).await.ok()?;
        let (outbox, inbox) = connection.split();
        Some(Raw { outbox, inbox })
    }

    /// Sends a request. Gives whether there was room for it.
    pub fn send(&self, request: &Request) -> bool {
        self.outbox.push(request).is_ok()
    }

    /// The next response; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Response> {
        self.inbox.next().await.ok().flatten()
    }

    /// Opens a session; `None` when that is not the replica that does.
    pub async fn open_session(&mut self, nonce: u128, ttl_ms: u32) -> Option<SessionId> {
        self.send(&Request::OpenSession { nonce, ttl_ms });
        loop {
            if let Response::SessionOpened { nonce: of, result } = self.next().await?
                && of == nonce
            {
                return result.ok();
            }
        }
    }
}

/// An increment of the first object, which is a counter.
#[must_use]
pub fn increment(call: CallId, floor: u64) -> Request {
    let (object, method, arguments) = (concoord_wire::ObjectId(1), "increment".into(), bytes::Bytes::new());
    Request::Call { call, floor, received: None, wait_us: 0, object, method, arguments }
}
