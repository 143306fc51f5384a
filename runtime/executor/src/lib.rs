//! Runs Concoord objects: wasmtime behind [`concoord_consensus::objects::Objects`].
//!
//! The way of a module: [`concoord_module::check`], [`concoord_module::rewrite`], compile, instantiate without imports,
//! `_initialize`, describe. The way of an input: write it into the guest's buffer, call, read the outcome; then keep what
//! changed, or put the state back. What the input touched of the memory was saved by the guest's own code, which the
//! rewrite made so (`concoord_module`, `undo.rs`); the few globals are saved by the host.
//!
//! | file          | what                                                              |
//! |---------------|-------------------------------------------------------------------|
//! | `executor.rs` | the objects by id, and what happens around each input             |
//! | `code.rs`     | from a module's bytes to code that can be instantiated            |
//! | `compile/`    | native code: made in a process that can be ended, kept on disk    |
//! | `instance.rs` | one running module: calls, and keeping or undoing what they did   |
//! | `noted.rs`    | the updates since the undo log was last emptied                   |
//! | `state.rs`    | an object's state as bytes, for snapshots                         |
//! | `trap.rs`     | which traps are the guest's and which are this host's             |
//! | `image.rs`    | a copy of an object's memory and its hash                          |
//! | `blocks.rs`   | the blocks of such a copy, which snapshots share                  |
//! | `engine.rs`   | the engine's settings; the watchdog over calls that do not return |
//!
//! **Invariant:** what an object does depends on its module and inputs alone. Everything that differs between hosts, such
//! as native stack, memory of the host and wall-clock time, ends in [`Fault::Host`](concoord_consensus::objects::Fault) and
//! never in something that an object or a client could take for a result.
//!
//! **Invariant:** an input that fails, and every query, leaves an object's state bit for bit as it was.
//!
//! **Invariant:** how long an input may run, how deep its calls may go and how much memory it may have is decided by what
//! `concoord_module` adds to the object's own code. The watchdog, wasmtime's stack limit and the host's memory stand far
//! behind; they end the replica, not the input.

mod blocks;
mod code;
mod compile;
mod engine;
mod executor;
mod image;
mod instance;
pub mod limits;
mod noted;
mod state;
mod trap;

pub use code::DescribeError;
pub use compile::{
    Bounds, ChildCompiler, CodeCache, CompileError, Compiler, InProcess, NativeCode, Unoptimised, serve_compiling,
};
pub use concoord_module::{Checked, Limits, Refusal, check};
pub use engine::EngineError;
pub use executor::{Executor, describe, try_out};
