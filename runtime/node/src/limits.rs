//! How much the world around a replica holds, and how long it waits. Beyond each somebody waits, is told, or is closed
//! with a reason; nothing grows without end.

use std::time::Duration;

/// Bursts of peer frames between the readers and the driver; a full queue makes readers of peers wait.
pub(crate) const PEER_QUEUE_BURSTS_MAX: usize = 256;
/// Bursts of client requests between the readers and the driver; a full queue makes readers of clients wait.
pub(crate) const CLIENT_QUEUE_BURSTS_MAX: usize = 1024;
/// Bytes of client requests between the readers and the driver, arguments and names counted.
pub(crate) const CLIENT_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Frames that a reader hands over at a time.
pub(crate) const READ_BURST_FRAMES_MAX: usize = 256;
/// Events that the driver takes before it sends what came of them.
pub(crate) const DRIVER_BURST_EVENTS_MAX: usize = 256;
/// Jobs at the application beyond which the driver takes no more client requests.
pub(crate) const APPLICATION_BACKLOG_JOBS_MAX: usize = 8192;
/// How long the application gathers outputs while it is busy before it hands them over.
pub(crate) const APPLICATION_OUTPUT_WAIT_MAX: Duration = Duration::from_micros(200);
/// Jobs under way, and bytes of one, up to which they may be done on the driver's own thread.
pub(crate) const HERE_JOBS_MAX: usize = 4;
/// See [`HERE_JOBS_MAX`].
pub(crate) const HERE_BYTES_MAX: usize = 1024;
/// Small bursts in a row after which the application comes over to the driver's thread.
pub(crate) const HERE_AFTER_BURSTS: usize = 32;
/// What [`HERE_AFTER_BURSTS`] and [`BEHIND_AFTER_BURSTS`] grow to, doubled each time that a burst took longer than
/// [`HERE_TIME_MAX`] or [`BEHIND_WAIT_MAX`], or an input needed more gas than there is.
pub(crate) const ELSEWHERE_AFTER_BURSTS_MAX: usize = 1 << 16;
/// Bursts that go well there, after which they are halved again.
pub(crate) const ELSEWHERE_WELL_BURSTS: usize = 1024;
/// Gas of an input on the driver's thread, about 0.1 ms: with as many as fit into a burst, that stays far below the time
/// between two heartbeats.
pub(crate) const HERE_GAS_MAX: u64 = 200_000;
/// How long a burst may take on the driver's thread: a small part of the time between two heartbeats.
pub(crate) const HERE_TIME_MAX: Duration = Duration::from_millis(2);
/// Bursts in a row for which nobody waits, after which the application goes to the thread that gives way to all others.
pub(crate) const BEHIND_AFTER_BURSTS: usize = 8;
/// Jobs under way up to which they may be done there: who catches up is not to give way.
pub(crate) const BEHIND_JOBS_MAX: usize = 64;
/// Bytes of a batch up to which it may be applied there, some hundreds of calls: what is begun ends there, however rarely the
/// thread gets to run.
pub(crate) const BEHIND_BYTES_MAX: usize = 16 << 10;
/// Gas of an input there, about 10 us, for the same reason.
pub(crate) const BEHIND_GAS_MAX: u64 = 20_000;
/// How long a burst may take there before the rest is done as all else; somewhat less than the time between two heartbeats,
/// with which a replica looks after that.
pub(crate) const BEHIND_WAIT_MAX: Duration = Duration::from_millis(20);
/// Stack of a thread that objects run on.
pub const STACK_BYTES: usize = 8 << 20;

/// Client connections open at a time.
pub(crate) const CLIENTS_MAX: usize = 4096;
/// Connections of peers open at a time, both members and joiners that are dialed back.
pub(crate) const PEER_CONNECTIONS_MAX: usize = 128;
/// Join requests under way at a time.
pub(crate) const JOINS_MAX: usize = 8;
/// How long a join request's connection may stay without a request, and a request without an answer.
pub(crate) const JOIN_CONNECTION_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long dialing a peer may take.
pub(crate) const PEER_DIAL_WAIT_MAX: Duration = Duration::from_millis(300);
/// Shortest pause after a failed dial of a peer.
pub(crate) const PEER_BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Longest pause after a failed dial of a peer.
pub(crate) const PEER_BACKOFF_MAX: Duration = Duration::from_millis(500);
/// A connection that lasted this long was a good one: the next pause is the shortest again.
pub(crate) const PEER_GOOD_AFTER: Duration = Duration::from_secs(1);
/// Messages kept for a peer while it is dialed; the oldest are dropped, and the protocol says them again.
pub(crate) const DIAL_QUEUE_MESSAGES_MAX: usize = 64;
/// Addresses learnt from hellos of nodes that are not in the roster.
pub(crate) const HEARD_ADDRESSES_MAX: usize = 64;

/// How long the leader may take to dial a joiner back.
pub(crate) const DIAL_BACK_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a joiner waits for one answer to its request: time for a dial-back and a decision.
pub(crate) const JOIN_REPLY_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long a joiner waits for one connection.
pub(crate) const JOIN_DIAL_WAIT_MAX: Duration = Duration::from_secs(1);
/// Pause of a joiner between two rounds over its bootstrap addresses.
pub(crate) const JOIN_RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Redirects that a joiner follows before it starts over with its bootstrap addresses.
pub(crate) const JOIN_REDIRECTS_MAX: usize = 4;

/// Bytes of a snapshot that are sent at a time.
pub(crate) const PIECE_BYTES_MAX: usize = 512 << 10;
/// Pieces of snapshots that are read at a time.
pub(crate) const PIECES_MAX: usize = 64;

/// How long handing leadership over may take when the replica is stopped.
pub(crate) const STOP_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long the last words may take to leave when the replica ends.
pub(crate) const CLOSE_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long one publication of a view plugin may take.
pub(crate) const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long everybody may take to see what a view plugin published. Route 53 says 60 s.
pub(crate) const CONFIRM_WAIT_MAX: Duration = Duration::from_secs(120);
/// Shortest pause after a failed publication.
pub(crate) const PUBLISH_BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause after a failed publication.
pub(crate) const PUBLISH_BACKOFF_MAX: Duration = Duration::from_secs(4);

/// A write and sync of the log that takes as long as this is told: longer than others wait for a silent leader.
pub(crate) const SYNC_SLOW: Duration = Duration::from_millis(250);
/// Pause between two tries to make a spare segment while the disk has no room.
pub(crate) const SPARE_RETRY_PAUSE: Duration = Duration::from_secs(1);
