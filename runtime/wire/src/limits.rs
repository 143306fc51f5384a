//! The sizes that one peer may ask another to hold. Beyond each there is a typed error, never a growing process.

/// Bytes of one frame from a client. Room for the largest call and its names.
pub const CLIENT_FRAME_BYTES_MAX: usize = 2 << 20;
/// Bytes of one frame to a client, and of one reply.
pub const REPLY_FRAME_BYTES_MAX: usize = 4 << 20;
/// Bytes of one frame between replicas. Room for a promise that lists a whole window (`WINDOW_BYTES_MAX` twice) and
/// one module.
pub const PEER_FRAME_BYTES_MAX: usize = 32 << 20;
/// Bytes of the arguments of one call.
pub const ARGUMENTS_BYTES_MAX: usize = 1 << 20;
/// Bytes of a method's or object's name.
pub const NAME_BYTES_MAX: usize = 128;
/// The shortest time without a sign of its client after which a session ends, in decided time: time is decided in steps of a
/// second.
pub const SESSION_TTL_MS_MIN: u32 = 1000;
/// What clients ask for unless they are told otherwise.
pub const SESSION_TTL_MS: u32 = 60_000;
/// The longest.
pub const SESSION_TTL_MS_MAX: u32 = 24 * 60 * 60 * 1000;
/// Bytes of one encoded outcome of an object.
pub const OUTCOME_BYTES_MAX: usize = 3 << 20;
/// Parked calls that one input may answer.
pub const ANSWERED_MAX: usize = 4096;
/// Events that one input may emit.
pub const EVENTS_MAX: usize = 1024;
/// Bytes of an event's topic.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Events in one answer to a watcher.
pub const EVENTS_TOLD_MAX: usize = 1024;
/// Bytes of events in one answer to a watcher, unless a single one is larger.
pub const EVENT_BYTES_TOLD_MAX: usize = 1 << 20;
/// Calls that may be executed as one.
pub const PARTS_MAX: usize = 64;
/// Sessions in one answer to an operator.
pub const SESSIONS_LISTED_MAX: usize = 10_000;
/// Timers that one input may set.
pub const TIMERS_MAX: usize = 1024;
/// Lines that one input may write to the replica's log.
pub const LOG_LINES_MAX: usize = 64;
/// Gas that one input may use unless its object was loaded with another limit: the time of a few tenths of a second.
pub const GAS_PER_CALL: u64 = 500_000_000;
/// Pages of 64 KiB that an object's memory may have unless it was loaded with another limit: 256 MiB.
pub const MEMORY_PAGES: u32 = 4096;
/// Bytes of a Wasm module. It travels in one log entry, and then in snapshots.
pub const MODULE_BYTES_MAX: usize = 8 << 20;
/// Bytes of one piece of a module on its way from a client: the rest comes with the request that needs the module.
pub const MODULE_PIECE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a name or type in the description of a change that breaks callers.
pub const CHANGE_TEXT_BYTES_MAX: usize = 160;
/// Changes that are told one by one; of more, only their number is told.
pub const CHANGES_LISTED_MAX: usize = 32;
/// Bytes of an encoded interface description.
pub const INTERFACE_BYTES_MAX: usize = 256 << 10;
/// Types of one interface.
pub const INTERFACE_TYPES_MAX: usize = 4096;
/// Methods of one interface.
pub const INTERFACE_METHODS_MAX: usize = 512;
/// How deep the types of an interface may nest.
pub const TYPE_DEPTH_MAX: usize = 32;
/// Values that one conversion between JSON and postcard may make, counting every element and field.
pub const CONVERSION_VALUES_MAX: usize = 1 << 20;
