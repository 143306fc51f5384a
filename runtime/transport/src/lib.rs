//! QUIC and TLS 1.3 for both ends of a Concoord connection: streams of frames.
//!
//! An [`Endpoint`] is one UDP socket. Who dials names a [`Role`] (the TLS application protocol), opens the one stream
//! of the connection and sends a [`Hello`](concoord_wire::hello::Hello); who accepts answers with a welcome or a
//! refusal. From then on both ends hold a [`Connection`] that splits into an [`Outbox`] and an [`Inbox`]:
//!
//! ```text
//! dialer                                             acceptor
//! Endpoint::dial ── TLS, ALPN by role ─────────────> Endpoint::accept -> Handshake
//!                ── Hello ─────────────────────────> Handshake::finish -> Incoming
//!                <───────────── Welcome or Refused ─ Incoming::welcome, Incoming::refuse
//! Connection::split                                  Connection::split
//! Outbox::push   ── frames ────────────────────────> Inbox::next, Inbox::try_next
//! ```
//!
//! * **Bursts.** An [`Outbox`] gathers frames in one buffer and wakes one writer task per burst, not per frame; an
//!   [`Inbox`] takes whatever has arrived at once, and [`Inbox::try_next`] drains it without waiting.
//! * **Hostile input.** Lengths are checked against the role's caps before memory is taken, a hello has a size and a
//!   time, handshakes in flight are bounded; whoever breaks a rule loses the connection and nobody else does.
//! * **Trust.** See the module that checks certificates: for now a connection is private but not authenticated, which
//!   is why a replica serves other than loopback addresses only with `--insecure`.
//!
//! Everything runs on the caller's tokio runtime, with one thread or more.

mod accept;
mod connection;
mod dial;
mod endpoint;
mod greeting;
mod inbox;
mod limits;
mod outbox;
mod quic;
mod role;
#[cfg(test)]
mod tests;
mod trust;

pub use accept::{AcceptError, Handshake, Incoming};
pub use connection::{Connection, Remote};
pub use dial::DialError;
pub use endpoint::{BindError, Endpoint};
pub use inbox::{Inbox, ReceiveError};
pub use limits::{CLIENT_QUEUE_BYTES_MAX, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, PEER_QUEUE_BYTES_MAX};
pub use outbox::{Outbox, SendError};
pub use role::Role;
