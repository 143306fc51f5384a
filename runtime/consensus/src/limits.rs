//! How much a replica holds. Beyond each the caller gets `Busy` or `TooLarge`, never a growing process.

/// Sessions open at a time.
pub const SESSIONS_MAX: usize = 100_000;
/// Calls of one session that are executed and not yet acknowledged by its floor: their replies are kept.
pub const REPLIES_KEPT_MAX: usize = 4096;
/// Bytes of replies kept for one session.
pub const REPLY_BYTES_KEPT_MAX: usize = 8 << 20;
/// Bytes of replies kept for all sessions together.
pub const REPLY_BYTES_KEPT_TOTAL_MAX: usize = 512 << 20;
/// How long a sign of a client's life waits for company at the leader, in microseconds: it is not worth a slot of its own. Well
/// below a third of the shortest time to live, after which a client gives one.
pub const SIGN_WAIT_US_MAX: u64 = 100_000;
/// Sessions looked at for silence per second of decided time. It lets [`SESSIONS_MAX`] pass in half a minute, so a session
/// ends at most that much later, and a slot never stalls on closing all of them.
pub const SESSIONS_SWEPT_MAX: usize = 4096;
/// Calls parked at a time.
pub const PARKED_MAX: usize = 100_000;
/// Calls of one session that are parked, or were and whose replies its client did not say to have.
pub const WAITED_OF_SESSION_MAX: usize = 4096;
/// Events of one object that are kept for watchers who come later or again: the newest.
pub const EVENTS_OF_OBJECT_MAX: usize = 4096;
/// Bytes of topics and payloads of these.
pub const EVENT_BYTES_OF_OBJECT_MAX: usize = 4 << 20;
/// Events of all objects that are kept: beyond, whichever object has the most bytes loses its oldest.
pub const EVENTS_KEPT_MAX: usize = 65_536;
/// Bytes of topics and payloads of these.
pub const EVENT_BYTES_KEPT_MAX: usize = 64 << 20;
/// Watchers that wait at one replica.
pub const WATCHERS_MAX: usize = 65_536;
/// Timers of one object.
pub const TIMERS_OF_OBJECT_MAX: usize = 4096;
/// Microseconds of decided time after which a timer fires at the earliest.
pub const TIMER_AFTER_US_MIN: u64 = 1000;
/// Parked calls whose time is over and timers that are due which a slot deals with, so that none stalls; the rest comes
/// with the next, which the leader makes at once.
pub const DUE_PER_SLOT_MAX: usize = 1024;
/// Objects of one cluster.
pub const OBJECTS_MAX: usize = 1024;
/// Loads that failed and are kept for operators to see.
pub const LOAD_FAILURES_KEPT_MAX: usize = 16;
/// Bytes of the reason kept for a load that failed.
pub const LOAD_FAILURE_BYTES_MAX: usize = 1024;
/// Modules of one object that are remembered by their hashes: the newest.
pub const VERSIONS_KEPT_MAX: usize = 256;
/// Bytes of the reason for which an object is suspended.
pub const SUSPENSION_BYTES_MAX: usize = 1024;
/// What operators did with objects, and how it came out, is remembered for this many of the newest, for retries.
pub const OPERATIONS_KEPT_MAX: usize = 256;
/// How many ends of sessions objects are told of per slot beside one for each command. A pair of object and session that
/// is to be told of took a call, so there are never more than there were calls before, and each slot tells of more than
/// it can add.
pub const SESSION_ENDS_TOLD_MAX: usize = 1024;
/// Bytes of modules that clients have sent in pieces and that wait for the rest.
pub const STAGED_BYTES_MAX: usize = 32 << 20;
/// Names that an error lists to say what exists.
pub const NAMES_LISTED_MAX: usize = 64;
/// Members of one view.
pub const MEMBERS_MAX: usize = 32;
/// Slots by which the application of a learner may lag when it is promoted: what a busy cluster decides between two
/// heartbeats, and little enough to apply in a moment should it have to lead.
pub const PROMOTION_LAG_SLOTS_MAX: u64 = 512;
/// How long what is proposed to a voter whose acceptance is not needed may wait for more to go with it, in microseconds.
pub const LATE_VOTER_PATIENCE_US: u64 = 5_000;
/// In each of so many slots one is sent to all voters at once, to see who is late.
pub const RACE_SLOTS: u64 = 64;
/// Slots that a leader proposes beyond the decided ones.
pub const WINDOW_SLOTS_MAX: u64 = 64;
/// Bytes that a leader proposes beyond the decided ones, unless a single value is larger.
pub const WINDOW_BYTES_MAX: usize = 4 << 20;
/// Bytes of unanswered proposals that a leader sends again per heartbeat: more would drown a slow link.
pub const RESEND_BYTES_MAX: usize = 256 << 10;
/// Bytes of commands in one slot, unless a single command is larger.
pub const BATCH_BYTES_MAX: usize = 256 << 10;
/// Commands in one slot.
pub const BATCH_COMMANDS_MAX: usize = 4096;
/// Bytes of commands that wait at the leader for room in the window.
pub const PENDING_BYTES_MAX: usize = 32 << 20;
/// Commands that wait at the leader for room in the window.
pub const PENDING_COMMANDS_MAX: usize = 65_536;
/// Reads that wait at a replica for their round.
pub const READS_MAX: usize = 65_536;
/// What a slot counts toward the next snapshot beside its value: about what a log on disk spends on it.
pub const SLOT_BYTES: u64 = 512;
/// Members that an operator took out and that are remembered.
pub const EXPELLED_MAX: usize = 1024;
/// Modules of clients that are tried at a time.
pub const TRIALS_MAX: usize = 4;
/// Backups that wait for their snapshot at a time.
pub const BACKUPS_MAX: usize = 4;
/// Replicas compare what they have applied at the first batch at or behind each multiple of so many slots. It is what a busy
/// cluster decides in a few tenths of a second, so a replica that differs is found soon; and a check costs what the
/// batches in between have changed, which is little beside executing them.
pub const CHECK_SLOTS: u64 = 64;
/// Checks that a replica keeps of its own state, and of each peer's.
pub const CHECKS_KEPT_MAX: usize = 256;
/// Newest checks that a heartbeat carries: a busy cluster has fewer between two heartbeats.
pub const CHECKS_SENT_MAX: usize = 4;
/// Bytes of decided values in one answer to a lagging peer, unless a single value is larger.
pub const FETCH_BYTES_MAX: usize = 1 << 20;
