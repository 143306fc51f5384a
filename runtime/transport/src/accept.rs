//! Letting a dialer in.

use std::net::SocketAddr;
use std::time::Duration;

use concoord_wire::codec::FrameError;
use concoord_wire::hello::{Hello, HelloReply, Refusal, agree};
use concoord_wire::{ClusterId, NodeId};
use quinn::crypto::rustls::HandshakeData;
use quinn::{RecvStream, SendStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::connection::{Connection, Remote};
use crate::endpoint::plain;
use crate::greeting::{self, GreetingError};
use crate::limits::{HANDSHAKE_TIMEOUT, REFUSE_TIMEOUT};
use crate::quic::{self, code};
use crate::role::{End, Role};

/// Why a dialer did not come in. The connection is closed, and nothing else is harmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// It went, or speaks another protocol.
    #[error("the dialer did not finish its handshake: {reason}")]
    Lost {
        /// One line.
        reason: String,
    },
    /// It was too slow.
    #[error("the dialer sent no complete hello within {after:?}")]
    Slow {
        /// How long it had.
        after: Duration,
    },
    /// Its hello is not one.
    #[error("the dialer's hello is malformed: {0}")]
    Malformed(FrameError),
    /// This side does not want it, and told it so.
    #[error("refused the dialer: {}", of_refusal(.0))]
    Refused(Refusal),
}

impl AcceptError {
    /// Whether the dialer sent what no Concoord process sends.
    #[must_use]
    pub fn is_garbage(&self) -> bool {
        matches!(self, AcceptError::Malformed(_))
    }
}

/// The refusal as the refusing side sees it; its own text speaks to the other side.
fn of_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::OtherCluster { expected, actual } => {
            format!("it wants cluster {expected}, but this one is {actual}")
        }
        Refusal::Version { min, max } => format!("it speaks no protocol version from {min} to {max}"),
        Refusal::Full { limit } => format!("there are {limit} connections already"),
    }
}

/// A dialer that has shown nothing but its first packet.
#[derive(Debug)]
pub struct Handshake {
    incoming: quinn::Incoming,
    place: OwnedSemaphorePermit,
}

impl Handshake {
    pub(crate) fn new(incoming: quinn::Incoming, place: OwnedSemaphorePermit) -> Handshake {
        Handshake { incoming, place }
    }

    /// Where its packets come from; not proved yet.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        plain(self.incoming.remote_address())
    }

    /// Waits for TLS, for the dialer's stream and for its hello, at most [`HANDSHAKE_TIMEOUT`] in all.
    ///
    /// # Errors
    /// [`AcceptError`]; the dialer is told and gone.
    pub async fn finish(self) -> Result<Incoming, AcceptError> {
        let Handshake { incoming, place } = self;
        let finished = timeout(HANDSHAKE_TIMEOUT, async {
            let quic = incoming.accept().map_err(of_connection)?.await.map_err(of_connection)?;
            hear(quic).await
        });
        let finished = finished.await;
        drop(place);
        finished.unwrap_or(Err(AcceptError::Slow { after: HANDSHAKE_TIMEOUT }))
    }
}

/// Takes the dialer's stream and its hello. Closes the connection when dropped before that.
async fn hear(quic: quinn::Connection) -> Result<Incoming, AcceptError> {
    let mut closing = CloseUnheard { quic, heard: false };
    let quic = &closing.quic;
    let role = role(quic)?;
    let (send, mut recv) = quic.accept_bi().await.map_err(of_connection)?;
    let hello = greeting::read::<Hello>(&mut recv).await.map_err(|error| match error {
        GreetingError::Malformed(error) => {
            quic.close(code::MALFORMED, error.to_string().as_bytes());
            AcceptError::Malformed(error)
        }
        GreetingError::Ended => AcceptError::Lost { reason: "it ended the stream before its hello".into() },
        GreetingError::Lost(error) => of_connection(error),
    })?;
    quic::accept_as(role, quic);
    closing.heard = true;
    let quic = closing.quic.clone();
    Ok(Incoming { quic, send, recv, role, hello })
}

/// Says why when a dialer runs out of its time; a connection that is closed already stays as it is.
struct CloseUnheard {
    quic: quinn::Connection,
    heard: bool,
}

impl Drop for CloseUnheard {
    fn drop(&mut self) {
        if !self.heard {
            self.quic.close(code::SLOW, b"no complete hello in time");
        }
    }
}

fn role(quic: &quinn::Connection) -> Result<Role, AcceptError> {
    quic.handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| Role::from_alpn(data.protocol.as_deref()?))
        .ok_or_else(|| AcceptError::Lost { reason: "it named no application protocol of ours".into() })
}

fn of_connection(error: quinn::ConnectionError) -> AcceptError {
    AcceptError::Lost { reason: quic::describe(&error) }
}

/// A dialer that has said its hello and waits for the reply.
#[derive(Debug)]
pub struct Incoming {
    quic: quinn::Connection,
    send: SendStream,
    recv: RecvStream,
    role: Role,
    hello: Hello,
}

impl Incoming {
    /// In which role it comes.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What it said.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Where its packets come from.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        plain(self.quic.remote_address())
    }

    /// Lets it in as `node` of `cluster` (`None`: in no cluster yet), if versions and clusters fit.
    ///
    /// # Errors
    /// [`AcceptError::Refused`] when they don't fit, [`AcceptError::Lost`] when it is gone.
    pub async fn welcome(mut self, cluster: Option<ClusterId>, node: NodeId) -> Result<Connection, AcceptError> {
        let version = match agree(&self.hello, cluster) {
            Ok(version) => version,
            Err(refusal) => {
                self.refuse(refusal.clone()).await;
                return Err(AcceptError::Refused(refusal));
            }
        };
        let reply = HelloReply::Welcome { version, cluster, node };
        greeting::write(&mut self.send, &reply).await.map_err(of_reply)?;
        let remote = Remote {
            address: self.remote_address(),
            cluster: self.hello.cluster,
            node: self.hello.node.map(|(node, _)| node),
        };
        let Incoming { quic, send, recv, role, .. } = self;
        Ok(Connection { quic, send, recv, role, end: End::Acceptor, remote, version })
    }

    /// Sends it away with a reason, and waits at most a second until it heard that.
    pub async fn refuse(mut self, refusal: Refusal) {
        let told = async {
            if greeting::write(&mut self.send, &HelloReply::Refused(refusal)).await.is_ok() {
                // The dialer closes when it has read the refusal.
                self.quic.closed().await;
            }
        };
        let _ = timeout(REFUSE_TIMEOUT, told).await;
        self.quic.close(code::REFUSED, b"refused");
    }
}

fn of_reply(error: GreetingError) -> AcceptError {
    match error {
        GreetingError::Lost(error) => of_connection(error),
        GreetingError::Ended | GreetingError::Malformed(_) => {
            AcceptError::Lost { reason: "it stopped reading before the welcome".into() }
        }
    }
}
