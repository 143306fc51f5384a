//! What a Wasm module must be to run as a Concoord object.
//!
//! [`check`] reads a module from a stranger and either says what stands against it or gives the facts that the
//! executor needs. It goes by what is there and never by what a `target_features` section claims. What it lets through
//! makes an object's state exactly three things: its memory, its mutable globals, and its page count. Nothing else of a
//! running module can change: there are no imports to ask, no second memory, no reference values; tables and segments
//! stay as they are written, because every instruction that would change one is refused. `memory.init` stays, since
//! what it copies can't change.
//!
//! [`rewrite`] turns a checked module into what is compiled. It only appends, so no index moves. It makes the mutable
//! globals reachable, sets the memory's maximum, and adds the undo log, by which what an input wrote can be taken back.
//!
//! | file         | what                                                                |
//! |--------------|---------------------------------------------------------------------|
//! | `check.rs`   | the check, section by section                                       |
//! | `code.rs`    | the check of one function's body                                    |
//! | `exports.rs` | the check of what an object has to export                           |
//! | `refusal.rs` | why a module is refused, in words for its author                    |
//! | `limits.rs`  | how large a module may be                                           |
//! | `rewrite.rs` | from a checked module to the one that is compiled                   |
//! | `undo.rs`    | the undo log: its memories and its functions                        |
//! | `writes.rs`  | function bodies in which each write marks first what it will touch  |
//!
//! # What is not here yet
//! Gas and call depth. And the memory's size is still the real one, not a global: `memory.grow` asks the host, and a
//! growth that is undone costs the host a new instance.
//!
//! **Invariant:** pure. No wasmtime, no files, no clock; the same bytes and [`Limits`] give the same answer everywhere.

mod check;
mod code;
mod exports;
pub mod limits;
mod refusal;
mod rewrite;
mod undo;
mod writes;

pub use check::{Checked, FEATURES, check, check_within};
pub use limits::Limits;
pub use refusal::{Reason, Refusal};
pub use rewrite::{REWRITTEN_FEATURES, global_export, rewrite};
pub use undo::{INPUT_EXPORT, KEEP_EXPORT, UNDO_EXPORT, UNDO_PAGE_BYTES};

/// Bytes of a page of Wasm memory.
pub const PAGE_BYTES: usize = 65_536;

/// Beginning of the export names that only [`rewrite`] may use.
pub const RESERVED_PREFIX: &str = "$concoord";
