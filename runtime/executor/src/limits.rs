//! What running an object may take of the host. These stand far behind what decides a replicated result.

use std::time::Duration;

/// Bytes of native stack that Wasm may use, twice what the deepest calls that are allowed were seen to take. The calling
/// thread needs this much and a few hundred KiB more.
pub const WASM_STACK_BYTES_MAX: usize = 4 << 20;
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
/// Gas that they may have used together, which takes about a millisecond: so much longer may a failing update take than one
/// that succeeds.
pub const NOTED_GAS_MAX: u64 = 4_000_000;
/// Bytes of what a guest says to a state that it is to import.
pub const IMPORT_ANSWER_BYTES_MAX: usize = 64 << 10;

// What compiling takes, in seconds of one processor of a small machine and the most memory at a time (the test `compiling`
// with `--measure`; the bombs of `tests/src/bombs.rs` go to the check's limits in one direction each). The counter: 0.4 s,
// 66 MiB, 0.4 MiB of code. One function of 256 KiB: stores 3.5 s, 502 MiB; many values at a time 1.9 s, 328 MiB; branches
// 1.3 s, 200 MiB; nested blocks 0.3 s. A whole module: 8 MiB of such stores 104 s, 77 MiB of code; 32,760 functions in 6.5 MiB
// 66 s, 644 MiB, 61 MiB of code. One function of 82,000 loops in one another and 4096 locals has 4 GiB after 4 s and is far
// from done. So about 4 MiB of the densest code fit in a minute.

/// Seconds of a processor that compiling a module may take that is proposed or looked at.
pub const COMPILE_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of memory that it may take.
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Bytes of native code that may come of it.
pub const COMPILE_CODE_BYTES_MAX: u64 = 128 << 20;
/// How many times as long it may wait for a processor, on a busy host.
pub const COMPILE_WAIT: u32 = 5;
/// How many times of these a module may take that is decided: this host may be that much slower than the proposer's.
pub const COMPILE_DECIDED: u32 = 2;
/// Bytes that are read of why a module could not be compiled.
pub const COMPILE_REASON_BYTES_MAX: u64 = 4096;
/// Modules whose native code is kept on disk: as many as a cluster may have objects.
pub const CODE_CACHE_FILES_MAX: usize = 1024;
/// Bytes of it. One that was decided has to fit.
pub const CODE_CACHE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of it that are kept in memory where there is no disk. What is larger is compiled each time.
pub const CODE_CACHE_MEMORY_BYTES_MAX: usize = 64 << 20;
