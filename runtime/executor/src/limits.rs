//! What running an object may take of the host. These stand far behind what decides a replicated result.

use std::time::Duration;

/// Bytes of native stack that Wasm may use, twice what the deepest calls that are allowed were seen to take. The calling
/// thread needs this much and a few hundred KiB more.
pub const WASM_STACK_BYTES_MAX: usize = 1 << 20;
/// Seconds that one call into a guest may take before the watchdog ends it, give or take one.
pub const CALL_SECONDS_MAX: u64 = 30;
/// Bytes that are read of a guest's text about its panic.
pub const PANIC_BYTES_MAX: usize = 4096;
/// Address space for one memory: all that 32 bits reach, so that no access needs a check before it. An object takes three
/// times this, with the two memories of its undo log, so a process has room for some ten thousand objects.
pub const MEMORY_RESERVED_BYTES: u64 = 4 << 30;
/// Address space behind it that faults on access, for constant offsets beyond an address.
pub const MEMORY_GUARD_BYTES: u64 = 32 << 20;
/// What the buffer for inputs keeps when a larger one is not needed any more.
pub const INPUT_BYTES_KEPT: usize = 64 << 10;
/// Updates that may have to run again when the next one fails.
pub const NOTED_INPUTS_MAX: usize = 256;
/// Bytes of their inputs.
pub const NOTED_BYTES_MAX: usize = 64 << 10;
/// How long they may have run together, and so about how much longer a failing update takes than one that succeeds.
pub const NOTED_TIME_MAX: Duration = Duration::from_millis(1);
/// Bytes of what a guest says to a state that it is to import.
pub const IMPORT_ANSWER_BYTES_MAX: usize = 64 << 10;
