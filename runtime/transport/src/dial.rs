//! Opening a connection.

use std::net::SocketAddr;
use std::time::Duration;

use concoord_wire::codec::FrameError;
use concoord_wire::hello::{Hello, HelloReply, Refusal};
use quinn::ConnectError;
use tokio::time::timeout;

use crate::connection::{Connection, Remote};
use crate::endpoint::{Endpoint, plain};
use crate::greeting::{self, GreetingError};
use crate::quic::{self, code};
use crate::role::{End, Role};
use crate::trust::SERVER_NAME;

/// Why there is no connection. Each reads on from an address and a colon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Nothing, or too little, came back.
    #[error("no answer within {}ms", after.as_millis())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The other end does not want this side.
    #[error(transparent)]
    Refused(Refusal),
    /// The other end answered, and then the connection ended.
    #[error("{reason}")]
    Lost {
        /// One line.
        reason: String,
    },
    /// The other end is not a replica that this build can speak with.
    #[error("it does not answer as a replica does: {0}")]
    Malformed(FrameError),
    /// This socket can't send there.
    #[error("can't be dialed from {local}: {reason}")]
    Unreachable {
        /// The socket.
        local: SocketAddr,
        /// One line.
        reason: String,
    },
    /// This endpoint is closed.
    #[error("this side is shutting down")]
    Closed,
}

impl Endpoint {
    /// Opens a connection to `address` in `role` and says `hello`; waits at most `limit` for the welcome. Cancel-safe:
    /// dropping the future gives the connection up.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(
        &self,
        address: SocketAddr,
        role: Role,
        hello: &Hello,
        limit: Duration,
    ) -> Result<Connection, DialError> {
        match timeout(limit, self.dial_unbounded(address, role, hello)).await {
            Ok(result) => result,
            Err(_) => Err(DialError::TimedOut { after: limit }),
        }
    }

    async fn dial_unbounded(&self, address: SocketAddr, role: Role, hello: &Hello) -> Result<Connection, DialError> {
        let connecting = self
            .quic
            .connect_with(self.dialing.role(role), address, SERVER_NAME)
            .map_err(|error| self.of_connect(error))?;
        let quic = connecting.await.map_err(of_connection)?;
        let (mut send, mut recv) = quic.open_bi().await.map_err(of_connection)?;
        greeting::write(&mut send, hello).await.map_err(of_greeting)?;
        let reply = greeting::read::<HelloReply>(&mut recv).await.map_err(|error| {
            if let GreetingError::Malformed(_) = error {
                quic.close(code::MALFORMED, b"the reply to the hello is malformed");
            }
            of_greeting(error)
        })?;
        let (version, cluster, node) = welcomed(hello, reply).inspect_err(|_| quic.close(code::DONE, b""))?;
        let remote = Remote { address: plain(quic.remote_address()), cluster, node: Some(node) };
        Ok(Connection { quic, send, recv, role, end: End::Dialer, remote, version })
    }

    fn of_connect(&self, error: ConnectError) -> DialError {
        match error {
            ConnectError::EndpointStopping => DialError::Closed,
            ConnectError::InvalidRemoteAddress(_) => DialError::Unreachable {
                local: self.local_address(),
                reason: "the address family or port does not fit".into(),
            },
            other => DialError::Unreachable { local: self.local_address(), reason: other.to_string() },
        }
    }
}

type Welcomed = (u16, Option<concoord_wire::ClusterId>, concoord_wire::NodeId);

/// What the reply grants; the acceptor has checked versions and clusters, and so does this end.
fn welcomed(hello: &Hello, reply: HelloReply) -> Result<Welcomed, DialError> {
    let (version, cluster, node) = match reply {
        HelloReply::Welcome { version, cluster, node } => (version, cluster, node),
        HelloReply::Refused(refusal) => return Err(DialError::Refused(refusal)),
    };
    let (min, max) = hello.versions;
    if version < min || version > max {
        return Err(DialError::Refused(Refusal::Version { min: version, max: version }));
    }
    match (hello.cluster, cluster) {
        (Some(expected), Some(actual)) if expected != actual => {
            Err(DialError::Refused(Refusal::OtherCluster { expected, actual }))
        }
        _ => Ok((version, cluster, node)),
    }
}

fn of_connection(error: quinn::ConnectionError) -> DialError {
    DialError::Lost { reason: quic::describe(&error) }
}

fn of_greeting(error: GreetingError) -> DialError {
    match error {
        GreetingError::Malformed(error) => DialError::Malformed(error),
        GreetingError::Ended => DialError::Lost { reason: "it ended the stream before its welcome".into() },
        GreetingError::Lost(error) => of_connection(error),
    }
}
