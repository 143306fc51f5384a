//! What running an object may take of the host. These stand far behind what decides a replicated result.

/// Bytes of native stack that Wasm may use. The calling thread needs this much and a few hundred KiB more.
pub const WASM_STACK_BYTES_MAX: usize = 1 << 20;
/// Seconds that one call into a guest may take before the watchdog ends it, give or take one.
pub const CALL_SECONDS_MAX: u64 = 30;
/// Bytes that are read of a guest's text about its panic.
pub const PANIC_BYTES_MAX: usize = 4096;
/// Address space for one memory: all that 32 bits reach, so that no access needs a check before it.
pub const MEMORY_RESERVED_BYTES: u64 = 4 << 30;
/// Address space behind it that faults on access, for constant offsets beyond an address.
pub const MEMORY_GUARD_BYTES: u64 = 32 << 20;
/// What the buffer for inputs keeps when a larger one is not needed any more.
pub const INPUT_BYTES_KEPT: usize = 64 << 10;
/// Updates that are noted beside a copy before the next copy is taken (see `saved.rs`). By then a copy adds nothing to
/// what an update costs.
pub const NOTED_INPUTS_MAX: usize = 1024;
/// Bytes of noted updates that every object may have, however small it is.
pub const NOTED_BYTES_MIN: usize = 64 << 10;
/// Beyond that, noted updates take at most this part of what the copy takes.
pub const NOTED_SHARE_OF_COPY: usize = 8;
/// Noted updates may have run this many times as long as the copy took. So copying adds a sixteenth to the time that
/// updates take, and undoing one takes no longer than some twenty copies.
pub const NOTED_TIMES_COPYING: u32 = 16;
/// Bytes of the copies of all objects together, unless a single one is larger. The least recently used go first; the
/// next input of such an object copies it again.
pub const SAVED_BYTES_MAX: usize = 512 << 20;
