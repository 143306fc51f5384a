//! How long the client waits, how often it asks, and how much it holds.

use std::time::Duration;

/// An answer that is due makes the client ask whether the replica is there, after this silence.
pub(crate) const PING_AFTER: Duration = Duration::from_millis(50);
/// The same for an answer that keeps coming not although the replica is there: a call that waits for a lock, say. The
/// time doubles from [`PING_AFTER`] up to this, so that thousands of waiting clients cost little.
pub(crate) const PING_AFTER_MAX: Duration = Duration::from_secs(1);
/// No sign of life for this long after a ping: others are dialed, 200 ms after the last sign in all.
pub(crate) const LOST_AFTER_PING: Duration = Duration::from_millis(150);
/// Who does not know a leader is asked again after a time between these.
pub(crate) const POLL_AFTER_MIN: Duration = Duration::from_millis(20);
/// See [`POLL_AFTER_MIN`].
pub(crate) const POLL_AFTER_MAX: Duration = Duration::from_millis(50);
/// Who did not know a leader for this long may be cut off: others are dialed.
pub(crate) const LEADERLESS_MAX: Duration = Duration::from_millis(200);
/// A request that met a full queue is sent again after a time between these.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// See [`BACKOFF_MIN`].
pub(crate) const BACKOFF_MAX: Duration = Duration::from_millis(100);
/// What the connection has no room for is tried again after this.
pub(crate) const ROOM_AFTER: Duration = Duration::from_millis(5);

/// From one dial to the next while none has answered.
pub(crate) const DIAL_STAGGER: Duration = Duration::from_millis(50);
/// Time that one replica has to answer a dial; longer than its first packets take to be resent three times.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after all addresses failed, while somebody waits for an answer.
pub(crate) const ROUND_PAUSE: Duration = Duration::from_millis(50);
/// Pause after all addresses failed, while only the session is to be kept.
pub(crate) const IDLE_ROUND_PAUSE: Duration = Duration::from_secs(1);
/// Addresses remembered from rosters and redirects beside the given ones.
pub(crate) const LEARNED_MAX: usize = 64;

/// A watcher that hears nothing asks again after this, which tells how far its replica is.
pub(crate) const WATCHED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Signs of life that a session gives in its time to live.
pub(crate) const KEEP_ALIVES: u32 = 3;
/// The longest time-out that is taken literally; a longer one is as good as this.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// How far the numbers of calls under way may be ahead of the floor. The cluster keeps 4096 unacknowledged replies of
/// one session; calls beyond this wait here, where waiting costs nothing.
pub(crate) const CALLS_AHEAD_MAX: u64 = 2048;
/// Time that the last words have to arrive when the client is closed.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause of an operator's request between one replica and the next.
pub(crate) const OPERATOR_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// An operator's request that is not answered for this long makes sure that the replica is still there, and gives it as
/// long again: what operators want may take time.
pub(crate) const OPERATOR_PING_AFTER: Duration = Duration::from_secs(1);
/// A refusal for want of a live majority counts after this: a leader that has just won has to hear its voters first.
pub(crate) const OPERATOR_MAJORITY_WAIT_MAX: Duration = Duration::from_secs(1);

/// Port of a replica whose domain has no SRV records: where the first replica on a machine listens.
pub(crate) const PORT_DEFAULT: u16 = 14000;
/// How soon names are looked up again, however short the answers may be kept.
pub(crate) const LOOK_UP_AFTER_MIN: Duration = Duration::from_secs(5);
/// Answers that are always given at once, if they are at hand; of more, half of those that are waited for.
pub(crate) const ANSWERS_AT_ONCE_MIN: usize = 32;
