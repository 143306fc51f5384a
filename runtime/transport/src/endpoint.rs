//! One UDP socket, from which connections are dialed and on which they are accepted.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::accept::Handshake;
use crate::limits::{CLOSE_TIMEOUT, HANDSHAKES_MAX};
use crate::quic::{self, code};
use crate::role::Role;

/// Why there is no endpoint. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error("UDP port {} of {} is in use: stop what holds it or choose another port", .address.port(), .address.ip())]
    PortInUse {
        /// The address wanted.
        address: SocketAddr,
    },
    /// The address belongs to another machine.
    #[error("{} is not an address of this machine: choose one that it has, or 0.0.0.0 for all", .address.ip())]
    NotLocal {
        /// The address wanted.
        address: SocketAddr,
    },
    /// The system keeps the port for privileged processes.
    #[error("this user may not open UDP port {} of {}: choose one above 1023 or give the right", .address.port(), .address.ip())]
    NotPermitted {
        /// The address wanted.
        address: SocketAddr,
    },
    /// Anything else that the system said.
    #[error("can't open UDP {address}: {source}")]
    Other {
        /// The address wanted.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// No key or certificate could be made.
    #[error("can't set up TLS: {reason}")]
    Tls {
        /// What the library said.
        reason: String,
    },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> BindError {
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::PortInUse { address },
            io::ErrorKind::AddrNotAvailable => BindError::NotLocal { address },
            io::ErrorKind::PermissionDenied => BindError::NotPermitted { address },
            _ => BindError::Other { address, source },
        }
    }
}

/// One UDP socket with everything that goes over it. Clones share it; it closes when the last clone and the last
/// connection are gone, or by [`Endpoint::close`].
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) quic: quinn::Endpoint,
    pub(crate) dialing: Arc<Dialing>,
    local: SocketAddr,
    handshakes: Arc<Semaphore>,
}

/// The dialer's settings for each role.
#[derive(Debug)]
pub(crate) struct Dialing {
    peer: quinn::ClientConfig,
    client: quinn::ClientConfig,
    join: quinn::ClientConfig,
}

impl Dialing {
    fn new() -> Result<Dialing, String> {
        Ok(Dialing {
            peer: quic::client_config(Role::Peer)?,
            client: quic::client_config(Role::Client)?,
            join: quic::client_config(Role::Join)?,
        })
    }

    pub(crate) fn role(&self, role: Role) -> quinn::ClientConfig {
        match role {
            Role::Peer => self.peer.clone(),
            Role::Client => self.client.clone(),
            Role::Join => self.join.clone(),
        }
    }
}

impl Endpoint {
    /// An endpoint that accepts at `listen` (port 0: the system picks one) and dials from there, with a certificate
    /// made for it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn server(listen: SocketAddr) -> Result<Endpoint, BindError> {
        let config = quic::server_config().map_err(|reason| BindError::Tls { reason })?;
        let quic = quinn::Endpoint::server(config, listen).map_err(|source| BindError::new(listen, source))?;
        Endpoint::new(quic, listen)
    }

    /// An endpoint that only dials, from a port that the system picks: IPv6 and IPv4 where the machine has both, else
    /// IPv4 alone. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn client() -> Result<Endpoint, BindError> {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let quic = quinn::Endpoint::client(both)
            .or_else(|_| quinn::Endpoint::client(v4))
            .map_err(|source| BindError::new(v4, source))?;
        Endpoint::new(quic, v4)
    }

    fn new(quic: quinn::Endpoint, wanted: SocketAddr) -> Result<Endpoint, BindError> {
        let local = quic.local_addr().map_err(|source| BindError::new(wanted, source))?;
        let dialing = Arc::new(Dialing::new().map_err(|reason| BindError::Tls { reason })?);
        Ok(Endpoint { quic, dialing, local, handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)) })
    }

    /// Where it is bound.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// The next dialer, before it has proved anything: [`Handshake::finish`] waits for it, best in a task of its own.
    /// Beyond [`HANDSHAKES_MAX`] unfinished ones, dialers are refused here. `None` once the endpoint is closed, and at
    /// once for one that only dials. Cancel-safe.
    pub async fn accept(&self) -> Option<Handshake> {
        loop {
            let incoming = self.quic.accept().await?;
            match Arc::clone(&self.handshakes).try_acquire_owned() {
                Ok(place) => return Some(Handshake::new(incoming, place)),
                Err(_) => {
                    tracing::debug!(from = %incoming.remote_address(), "too many handshakes in flight, refused one");
                    incoming.refuse();
                }
            }
        }
    }

    /// Closes every connection, telling the other ends, and waits until they heard it or a second has passed. What
    /// waits in an [`crate::Outbox`] is lost: [`crate::Outbox::finish`] it before.
    pub async fn close(&self) {
        self.quic.close(code::GOING, b"it is shutting down");
        // A lost farewell costs the other end its idle timeout, no more.
        let _ = timeout(CLOSE_TIMEOUT, self.quic.wait_idle()).await;
    }
}

/// The address without the IPv6 clothes that a socket for both families puts on IPv4.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
