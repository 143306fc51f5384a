//! How QUIC is set up for each role, and what its errors mean here.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{AckFrequencyConfig, ConnectionError, IdleTimeout, TransportConfig, VarInt};

use crate::limits::{
    CLIENT_IDLE_TIMEOUT, CLIENT_KEEP_ALIVE, CLIENT_WINDOW_BYTES, HANDSHAKES_MAX, INITIAL_RTT, INITIAL_WINDOW_BYTES,
    PACKETS_UNACKNOWLEDGED_MAX, PEER_IDLE_TIMEOUT, PEER_KEEP_ALIVE, PEER_WINDOW_BYTES, SEND_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
};
use crate::role::Role;
use crate::trust;

/// Application codes of a QUIC CONNECTION_CLOSE, so that the other end can tell why.
pub(crate) mod code {
    use quinn::VarInt;

    /// All was said.
    pub(crate) const DONE: VarInt = VarInt::from_u32(0);
    /// The process ends, or this end gives the connection up; the reason says which.
    pub(crate) const GOING: VarInt = VarInt::from_u32(1);
    /// What arrived is not a frame that belongs here.
    pub(crate) const MALFORMED: VarInt = VarInt::from_u32(2);
    /// The hello was refused.
    pub(crate) const REFUSED: VarInt = VarInt::from_u32(3);
    /// The hello took too long.
    pub(crate) const SLOW: VarInt = VarInt::from_u32(4);
}

/// For the accepting side. One set of parameters serves all roles, since the role is known only after them.
pub(crate) fn server_config() -> Result<quinn::ServerConfig, String> {
    let tls = QuicServerConfig::try_from(trust::server_config()?).map_err(|error| error.to_string())?;
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES))
        .max_idle_timeout(Some(idle_timeout(CLIENT_IDLE_TIMEOUT)));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport)).max_incoming(HANDSHAKES_MAX);
    Ok(config)
}

/// For the dialing side in the given role.
pub(crate) fn client_config(role: Role) -> Result<quinn::ClientConfig, String> {
    let tls = QuicClientConfig::try_from(trust::client_config(role.alpn())?).map_err(|error| error.to_string())?;
    let (idle, keep_alive) = match role {
        Role::Peer => (PEER_IDLE_TIMEOUT, PEER_KEEP_ALIVE),
        Role::Client | Role::Join => (CLIENT_IDLE_TIMEOUT, CLIENT_KEEP_ALIVE),
    };
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(PEER_WINDOW_BYTES))
        .max_idle_timeout(Some(idle_timeout(idle)))
        .keep_alive_interval(Some(keep_alive));
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Adjusts an accepted connection to its role.
pub(crate) fn accept_as(role: Role, quic: &quinn::Connection) {
    if role == Role::Peer {
        quic.set_receive_window(VarInt::from_u32(PEER_WINDOW_BYTES));
    }
}

/// What both ends have in common.
fn transport() -> TransportConfig {
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW_BYTES);
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(PACKETS_UNACKNOWLEDGED_MAX));
    let mut transport = TransportConfig::default();
    transport
        .ack_frequency_config(Some(acks))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .initial_rtt(INITIAL_RTT)
        .congestion_controller_factory(Arc::new(cubic));
    transport
}

fn idle_timeout(after: Duration) -> IdleTimeout {
    IdleTimeout::try_from(after).expect("the named constants are far below 2^62 ms")
}

/// One line about why a connection ended, as seen from this end.
pub(crate) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => "the other side closed it".into(),
        ConnectionError::ApplicationClosed(close) => {
            format!("the other side closed it: {}", String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::ConnectionClosed(close) => format!("the other side closed it: {close}"),
        ConnectionError::TimedOut => "the other side fell silent".into(),
        ConnectionError::Reset => "the other side knows nothing of it, it was probably started anew".into(),
        ConnectionError::LocallyClosed => "closed by this side".into(),
        other => other.to_string(),
    }
}
