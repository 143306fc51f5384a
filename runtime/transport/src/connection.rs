//! A connection after its hello.

use std::net::SocketAddr;

use concoord_wire::{ClusterId, NodeId};
use quinn::{RecvStream, SendStream};

use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::quic::code;
use crate::role::{End, Role};

/// What the other end said about itself in its hello or welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where its packets come from. For an accepted connection that need not be where it listens.
    pub address: SocketAddr,
    /// Its cluster; `None` for a replica that is in none yet, and for a client that has spoken with none.
    pub cluster: Option<ClusterId>,
    /// Its identity; `None` for clients.
    pub node: Option<NodeId>,
}

/// A connection on which both ends have agreed. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    pub(crate) quic: quinn::Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) role: Role,
    pub(crate) end: End,
    pub(crate) remote: Remote,
    pub(crate) version: u16,
}

impl Connection {
    /// In which role it was opened.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who is at the other end.
    #[must_use]
    pub fn remote(&self) -> Remote {
        self.remote
    }

    /// The protocol version that both ends speak.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Closes it, giving the other end a reason.
    pub fn close(self, reason: &str) {
        self.quic.close(code::GOING, reason.as_bytes());
    }

    /// The two directions. Spawns the task that writes, so it must be called within a tokio runtime.
    #[must_use]
    pub fn split(self) -> (Outbox, Inbox) {
        let caps = self.role.caps(self.end);
        let inbox = Inbox::new(self.quic.clone(), self.recv, caps.receive);
        (Outbox::spawn(self.quic, self.send, caps), inbox)
    }
}
