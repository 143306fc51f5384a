//! Dialers that break the rules, made from the parts that a decent one is made of.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::sync::Arc;
use std::time::Duration;

use concoord_wire::NodeId;
use concoord_wire::codec::FrameError;
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN};
use concoord_wire::limits::CLIENT_FRAME_BYTES_MAX;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;

use crate::limits::HELLO_BYTES_MAX;
use crate::trust::{self, SERVER_NAME};
use crate::{AcceptError, Endpoint, HANDSHAKE_TIMEOUT, Incoming, ReceiveError, Role};

const SOON: Duration = Duration::from_secs(5);

fn hello() -> Hello {
    Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster: None, node: None, life: 1 }
}

fn server() -> Endpoint {
    Endpoint::server("127.0.0.1:0".parse().unwrap()).unwrap()
}

async fn finish_next(server: &Endpoint) -> Result<Incoming, AcceptError> {
    timeout(2 * HANDSHAKE_TIMEOUT, server.accept().await.unwrap().finish()).await.unwrap()
}

/// A dialer that sends `bytes` as its hello, and what the server makes of it.
async fn say(server: &Endpoint, bytes: &[u8]) -> (Result<Incoming, AcceptError>, quinn::Connection) {
    let client = Endpoint::client().unwrap();
    let dialing = async {
        let config = client.dialing.role(Role::Client);
        let quic = client.quic.connect_with(config, server.local_address(), SERVER_NAME).unwrap().await.unwrap();
        let (mut send, recv) = quic.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        (quic, send, recv)
    };
    let (dialed, finished) = tokio::join!(dialing, finish_next(server));
    (finished, dialed.0)
}

/// The endpoint still serves others.
async fn assert_alive(server: &Endpoint) {
    let client = Endpoint::client().unwrap();
    let greeting = hello();
    let accepting = async { finish_next(server).await.unwrap().welcome(None, NodeId(1)).await.unwrap() };
    let dialing = client.dial(server.local_address(), Role::Client, &greeting, SOON);
    let (dialed, _accepted) = tokio::join!(dialing, accepting);
    dialed.unwrap();
}

#[tokio::test]
async fn a_garbage_hello_is_malformed_and_harms_nobody() {
    let server = server();
    let too_long = u32::MAX.to_le_bytes();
    let limit = HELLO_BYTES_MAX;
    for (bytes, expected) in [
        (&too_long[..], FrameError::TooLong { length: u32::MAX as usize, limit }),
        (&[0, 0, 0, 0], FrameError::Empty),
        (&[2, 0, 0, 0, 99, 0], FrameError::Version { found: 99 }),
        (&[8, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0], FrameError::Trailing(1)),
    ] {
        let (finished, quic) = say(&server, bytes).await;
        assert_eq!(finished.unwrap_err(), AcceptError::Malformed(expected));
        let told = timeout(SOON, quic.closed()).await.unwrap();
        assert!(matches!(told, quinn::ConnectionError::ApplicationClosed(_)), "{told}");
    }
    assert_alive(&server).await;
}

#[tokio::test]
async fn a_slow_hello_runs_out_of_time_and_holds_up_nobody() {
    let server = server();
    let client = Endpoint::client().unwrap();
    let config = client.dialing.role(Role::Client);
    let dialing = client.quic.connect_with(config, server.local_address(), SERVER_NAME).unwrap();
    let slow = server.accept().await.unwrap();
    let (slow, quic, ()) = tokio::join!(slow.finish(), dialing, assert_alive(&server));
    assert_eq!(slow.unwrap_err(), AcceptError::Slow { after: HANDSHAKE_TIMEOUT });
    timeout(SOON, quic.unwrap().closed()).await.unwrap();
}

#[tokio::test]
async fn an_unknown_protocol_name_is_turned_away() {
    let server = server();
    let client = Endpoint::client().unwrap();
    let tls = QuicClientConfig::try_from(trust::client_config(b"concoord-client/99").unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let dialing = client.quic.connect_with(config, server.local_address(), SERVER_NAME).unwrap();
    let (dialed, finished) = tokio::join!(dialing, finish_next(&server));
    assert!(dialed.is_err());
    assert!(matches!(finished, Err(AcceptError::Lost { .. })), "{finished:?}");
    assert_alive(&server).await;
}

#[tokio::test]
async fn packets_that_are_not_quic_are_ignored() {
    let server = server();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 20, 1200] {
        socket.send_to(&vec![0xff; length], server.local_address()).unwrap();
    }
    assert_alive(&server).await;
}

/// What the inbox of the accepting end makes of `bytes` after a proper hello.
async fn receive(bytes: &[u8]) -> ReceiveError {
    let (server, client) = (server(), Endpoint::client().unwrap());
    let greeting = hello();
    let accepting = async { finish_next(&server).await.unwrap().welcome(None, NodeId(1)).await.unwrap() };
    let dialing = client.dial(server.local_address(), Role::Client, &greeting, SOON);
    let (dialed, accepted) = tokio::join!(dialing, accepting);
    let (mut dialed, (_outbox, mut inbox)) = (dialed.unwrap(), accepted.split());
    dialed.send.write_all(bytes).await.unwrap();
    let error = timeout(SOON, inbox.next::<u8>()).await.unwrap().unwrap_err();
    let told = timeout(SOON, dialed.quic.closed()).await.unwrap();
    assert!(told.to_string().contains(&error.to_string()), "{told}");
    error
}

#[tokio::test]
async fn garbage_after_the_hello_is_malformed_and_the_sender_is_told() {
    let limit = CLIENT_FRAME_BYTES_MAX;
    let length = limit + 1;
    let oversize = u32::try_from(length).unwrap().to_le_bytes();
    assert_eq!(receive(&oversize).await, ReceiveError::Malformed(FrameError::TooLong { length, limit }));
    assert_eq!(receive(b"\x04\0\0\0\x01\0\x09\x09").await, ReceiveError::Malformed(FrameError::Trailing(1)));
    let group = receive(b"\x03\0\0\0\x01\x05\x09").await;
    assert_eq!(group.to_string(), "a frame is for log group 5, but this build has only group 0");
    assert!(group.is_garbage());
}
