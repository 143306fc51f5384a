//! What one connection may hold and how long it may be silent.

use std::time::Duration;

/// Bytes of the first frame each way. A hello has some 60.
pub(crate) const HELLO_BYTES_MAX: usize = 1024;
/// Time from a dialer's first packet to its complete hello. Nothing but the dialer itself waits for it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes that one endpoint has in flight; further dialers are refused at once and may try again.
pub const HANDSHAKES_MAX: usize = 256;
/// Time that a refusal has to reach the dialer.
pub(crate) const REFUSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time that all connections of an endpoint have to take leave of their other ends.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes that wait in the [`Outbox`](crate::Outbox) of a connection between replicas.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bytes that wait in the [`Outbox`](crate::Outbox) of a client's connection, at either end.
pub const CLIENT_QUEUE_BYTES_MAX: usize = 16 << 20;
/// What an outbox keeps of each of its two buffers when they are empty.
pub(crate) const QUEUE_BYTES_KEPT: usize = 256 << 10;
/// What waits in an outbox for others to go with it goes when it is this many bytes.
pub(crate) const PATIENT_BYTES_MAX: usize = 64 << 10;
/// Pieces that an inbox takes at once from its stream; a piece is what one packet carried.
pub(crate) const PIECES_MAX: usize = 64;

/// A silent replica is lost after this; its own heartbeats notice sooner.
pub(crate) const PEER_IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between replicas something is said at least this often.
pub(crate) const PEER_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A silent client is lost after this. Also the upper bound for every role, as QUIC takes the lower of both ends.
pub(crate) const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A client says something at least this often.
pub(crate) const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a round trip is thought to take before one was seen. QUIC resends a lost first packet after three times this
/// (RFC 9002, section 6.2.2), here 60 ms where its default costs a second; a slower network costs a packet or two.
pub(crate) const INITIAL_RTT: Duration = Duration::from_millis(20);
/// Bytes in flight before a round trip was seen: a burst of calls goes out at once, and fits the socket's buffer.
pub(crate) const INITIAL_WINDOW_BYTES: u64 = 128 << 10;
/// Bytes of a stream that arrive before the application reads them.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// The same for a connection before its role is known, and for what clients send.
pub(crate) const CLIENT_WINDOW_BYTES: u32 = 4 << 20;
/// The same for a connection between replicas, and for what replicas send to clients.
pub(crate) const PEER_WINDOW_BYTES: u32 = 16 << 20;
/// Packets that an end may leave unacknowledged while it has nothing to say itself, for up to 25 ms: replies acknowledge what
/// they reply to, and a packet that does nothing else wakes the other end.
pub(crate) const PACKETS_UNACKNOWLEDGED_MAX: u32 = 8;
/// Bytes sent and not yet acknowledged.
pub(crate) const SEND_WINDOW_BYTES: u64 = 16 << 20;
