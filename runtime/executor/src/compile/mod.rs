//! From a rewritten module to native code, by whoever the executor is given for that.
//!
//! A compiler takes modules from strangers, and what it takes for one of them grows faster than the module: a few KiB can
//! keep it busy for hours and fill any memory. So a replica lets a process of its own do that ([`ChildCompiler`]), and
//! ends it beyond [`Bounds`]. Native code decides nothing that is replicated; each host makes its own and keeps it in a
//! [`CodeCache`].
//!
//! | file        | what                                                                        |
//! |-------------|-----------------------------------------------------------------------------|
//! | `native.rs` | native code, and the one place where it becomes a module that can run       |
//! | `child.rs`  | the process that compiles: starting it, watching it, and what it does       |
//! | `cache.rs`  | code that was compiled before: by which key, and how much of it is kept     |
//! | `sealed.rs` | its files: whose they are, and that nobody changed them                     |

mod cache;
mod child;
mod native;
mod sealed;

use std::fmt;
use std::time::Duration;

pub use cache::CodeCache;
pub use child::{ChildCompiler, serve_compiling};
pub use native::NativeCode;
use wasmtime::OptLevel;

use crate::limits::{COMPILE_CODE_BYTES_MAX, COMPILE_DECIDED, COMPILE_MEMORY_BYTES_MAX, COMPILE_TIME_MAX};

/// What compiling one module may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Time of a processor, which hardly depends on what else the host does. It may wait for one so many times as long as
    /// [`COMPILE_WAIT`](crate::limits::COMPILE_WAIT) says.
    pub time: Duration,
    /// Bytes of memory that it has at a time.
    pub memory_bytes: u64,
    /// Bytes of native code, with what wasmtime writes down about it.
    pub code_bytes: u64,
}

impl Bounds {
    /// For a module that somebody proposes, or only looks at.
    pub const PROPOSED: Bounds =
        Bounds { time: COMPILE_TIME_MAX, memory_bytes: COMPILE_MEMORY_BYTES_MAX, code_bytes: COMPILE_CODE_BYTES_MAX };

    /// For a module that the cluster decided to run: wider, so that a host which is slower or busier than the one
    /// that proposed it still gets there. Beyond these a replica has to end.
    pub const DECIDED: Bounds = Bounds {
        time: COMPILE_TIME_MAX.saturating_mul(COMPILE_DECIDED),
        memory_bytes: COMPILE_MEMORY_BYTES_MAX * COMPILE_DECIDED as u64,
        code_bytes: COMPILE_CODE_BYTES_MAX * COMPILE_DECIDED as u64,
    };
}

/// Makes native code of modules.
pub trait Compiler: fmt::Debug + Send + Sync {
    /// Compiles what [`concoord_module::rewrite`] gave.
    ///
    /// # Errors
    /// [`CompileError`].
    fn compile(&self, rewritten: &[u8], bounds: Bounds) -> Result<NativeCode, CompileError>;
}

/// Why there is no native code of a module. None of it is the same on every host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It took too long.
    #[error(
        "compiling it took more than {} s of a processor's time: make its functions fewer or smaller",
        .limit.as_secs_f64()
    )]
    Slow {
        /// [`Bounds::time`].
        limit: Duration,
    },
    /// It took too much memory.
    #[error("compiling it took more than {} MiB of memory: make its functions fewer or smaller", .limit_bytes >> 20)]
    Memory {
        /// [`Bounds::memory_bytes`].
        limit_bytes: u64,
    },
    /// There is too much of the code.
    #[error("it compiles to more than {} MiB of native code: make its functions fewer or smaller", .limit_bytes >> 20)]
    Code {
        /// [`Bounds::code_bytes`].
        limit_bytes: u64,
    },
    /// The compiler does not take it.
    #[error("the compiler does not take it: {0}")]
    Refused(String),
    /// The compiler did not get to an answer, for a reason that may lie in this host.
    #[error("it could not be compiled: {0}")]
    Failed(String),
}

/// Compiles in the calling process and within no bounds: for modules that are trusted, in tests and simulations.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl Compiler for InProcess {
    fn compile(&self, rewritten: &[u8], _: Bounds) -> Result<NativeCode, CompileError> {
        NativeCode::compile(rewritten, OptLevel::Speed)
    }
}

/// As [`InProcess`], without optimising: objects run slower and do the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unoptimised;

impl Compiler for Unoptimised {
    fn compile(&self, rewritten: &[u8], _: Bounds) -> Result<NativeCode, CompileError> {
        NativeCode::compile(rewritten, OptLevel::None)
    }
}
