//! In which role a connection is opened, and what follows from it.

use std::fmt;

use concoord_wire::hello::alpn;
use concoord_wire::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX, REPLY_FRAME_BYTES_MAX};

use crate::limits::{CLIENT_QUEUE_BYTES_MAX, PEER_QUEUE_BYTES_MAX};

/// In which role a connection is opened; the dialer names it as the TLS application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Replica to replica, frames of [`concoord_wire::peer`].
    Peer,
    /// Client to replica, frames of [`concoord_wire::client`].
    Client,
    /// New replica to a member, frames of [`concoord_wire::join`].
    Join,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Dialer,
    Acceptor,
}

/// The caps of one end of a connection, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    /// Of one frame that this end sends.
    pub(crate) send: usize,
    /// Of one frame that this end receives.
    pub(crate) receive: usize,
    /// Of what waits to be sent.
    pub(crate) queue: usize,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Peer, Role::Client, Role::Join];

    /// Its TLS application protocol name.
    #[must_use]
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Role::Peer => alpn::PEER,
            Role::Client => alpn::CLIENT,
            Role::Join => alpn::JOIN,
        }
    }

    /// The role of an application protocol name; `None` for a name that is not ours.
    #[must_use]
    pub fn from_alpn(name: &[u8]) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.alpn() == name)
    }

    pub(crate) fn caps(self, end: End) -> Caps {
        match (self, end) {
            (Role::Peer, _) => {
                Caps { send: PEER_FRAME_BYTES_MAX, receive: PEER_FRAME_BYTES_MAX, queue: PEER_QUEUE_BYTES_MAX }
            }
            (Role::Client | Role::Join, End::Dialer) => {
                Caps { send: CLIENT_FRAME_BYTES_MAX, receive: REPLY_FRAME_BYTES_MAX, queue: CLIENT_QUEUE_BYTES_MAX }
            }
            (Role::Client | Role::Join, End::Acceptor) => {
                Caps { send: REPLY_FRAME_BYTES_MAX, receive: CLIENT_FRAME_BYTES_MAX, queue: CLIENT_QUEUE_BYTES_MAX }
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Peer => "peer",
            Role::Client => "client",
            Role::Join => "join",
        })
    }
}
