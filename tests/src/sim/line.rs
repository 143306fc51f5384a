//! A client's way to one replica, which it changes when it hears nothing or is sent elsewhere.

use std::net::SocketAddr;

use concoord::wire::client::Request;
use concoord_consensus::io::ClientToken;

use super::callers::Surroundings;
use super::world::PORT_FIRST;

/// How often a client follows replicas that point to each other before it waits a while.
const REDIRECTS_MAX: u32 = 3;

/// The current connection, if any.
#[derive(Debug)]
pub(super) struct Line {
    client: usize,
    address: usize,
    connection: Option<ClientToken>,
    heard_us: u64,
    /// How often it was sent elsewhere since it was served.
    redirects: u32,
    /// It leads nowhere: what is due next goes over another.
    useless: bool,
}

impl Line {
    pub(super) fn new(client: usize, address: usize) -> Line {
        Line { client, address, connection: None, heard_us: 0, redirects: 0, useless: false }
    }

    /// Where it leads.
    pub(super) fn address(&self) -> usize {
        self.address
    }

    /// Sends over the current connection, or a first one.
    pub(super) fn send(&mut self, request: Request, at: &mut Surroundings<'_>) {
        let connection = match self.connection {
            Some(connection) => connection,
            None => *self.connection.insert(at.connect(self.client, self.address)),
        };
        at.send(connection, request);
    }

    /// Something arrived.
    pub(super) fn heard(&mut self, over: ClientToken, now_us: u64) {
        if self.is(over) {
            self.heard_us = now_us;
        }
    }

    /// It arrived over this connection, and not over an earlier one.
    pub(super) fn is(&self, over: ClientToken) -> bool {
        self.connection == Some(over)
    }

    /// A request was served.
    pub(super) fn served(&mut self) {
        self.redirects = 0;
        self.useless = false;
    }

    /// Nobody serves there; `true` if that is news.
    pub(super) fn becomes_useless(&mut self) -> bool {
        !std::mem::replace(&mut self.useless, true)
    }

    /// Whether what was sent at `sent_us` should better go over another connection.
    pub(super) fn is_silent_since(&self, sent_us: u64) -> bool {
        self.useless || self.heard_us <= sent_us
    }

    /// Another connection: to `address`, or to the next one.
    pub(super) fn reconnect(&mut self, address: Option<usize>, at: &mut Surroundings<'_>) {
        if let Some(old) = self.connection.take() {
            at.disconnect(old);
        }
        self.address = address.unwrap_or((self.address + 1) % at.addresses);
        self.useless = false;
    }

    /// Goes where a replica says that the leader is, unless that leads round in circles.
    pub(super) fn follows(&mut self, leader: SocketAddr, at: &mut Surroundings<'_>) -> bool {
        let address = usize::from(leader.port() - PORT_FIRST);
        self.redirects += 1;
        let follows = address != self.address && self.redirects <= REDIRECTS_MAX;
        if follows {
            self.reconnect(Some(address), at);
        } else {
            self.redirects = 0;
        }
        follows
    }
}
