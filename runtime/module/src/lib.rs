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
//! globals reachable, meters what an input uses of gas, stack and memory, and adds the undo log, by which what an input
//! wrote can be taken back. So "out of gas", "too deep", "out of memory" and "outside its memory" are the same on every
//! host, and a module that may be compiled can neither run for ever nor use up what it was not given.
//!
//! | file          | what                                                               |
//! |---------------|--------------------------------------------------------------------|
//! | `check.rs`    | the check, section by section                                      |
//! | `code.rs`     | the check of one function's body                                   |
//! | `exports.rs`  | the check of what an object has to export                          |
//! | `refusal.rs`  | why a module is refused, in words for its author                   |
//! | `limits.rs`   | how large a module may be                                          |
//! | `rewrite.rs`  | from a checked module to the one that is compiled                  |
//! | `body.rs`     | what is added to function bodies                                   |
//! | `plan.rs`     | where in them it is added                                          |
//! | `flow.rs`     | their control flow                                                 |
//! | `costs.rs`    | what each instruction costs                                        |
//! | `weight.rs`   | what each frame weighs on the stack                                |
//! | `appended.rs` | the functions that are appended                                    |
//! | `meter.rs`    | those that have to do with gas, memory's size, and inputs          |
//! | `undo.rs`     | those of the undo log, and its memories                            |
//!
//! **Invariant:** pure. No wasmtime, no files, no clock; the same bytes and [`Limits`] give the same answer everywhere.

mod appended;
mod body;
mod check;
mod code;
mod costs;
mod exports;
mod flow;
pub mod limits;
mod meter;
mod plan;
mod refusal;
mod rewrite;
mod undo;
mod weight;

pub use appended::{BEGIN_EXPORT, KEEP_EXPORT, PLACE_EXPORT, RUN_EXPORT, UNDO_EXPORT};
pub use check::{Checked, FEATURES, check, check_within};
pub use costs::COST_TABLE_VERSION;
pub use limits::Limits;
pub use meter::{BYTES_EXPORT, GAS_EXPORT, PAGES_MAX_EXPORT, REFUSED_EXPORT, STOPPED_EXPORT, Stopped};
pub use refusal::{Reason, Refusal};
pub use rewrite::{REWRITTEN_FEATURES, global_export, notes, rewrite};
pub use undo::{INPUT_BYTES_MAX, NOTES_EXPORT, Notes, UNDO_PAGE_BYTES};
pub use weight::DEPTH_MAX;

/// Bytes of a page of Wasm memory.
pub const PAGE_BYTES: usize = 65_536;

/// Beginning of the export names that only [`rewrite`] may use.
pub const RESERVED_PREFIX: &str = "$concoord";
