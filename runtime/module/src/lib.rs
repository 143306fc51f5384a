//! What a Wasm module must be to run as a Concoord object.
//!
//! [`check`] reads a module from a stranger and either says what stands against it or gives the facts that the
//! executor needs. It goes by what is there and never by what a `target_features` section claims. What it lets through
//! makes an object's state exactly three things: its memory, its mutable globals, and its page count. Nothing else of a
//! running module can change: there are no imports to ask, no second memory, no reference values; tables and segments
//! stay as they are written, because every instruction that would change one is refused. `memory.init` stays, since
//! what it copies can't change.
//!
//! [`rewrite`] turns a checked module into what is compiled. It only appends, so no index moves. Today it makes the
//! mutable globals reachable and sets the memory's maximum; gas, call depth and the undo log are added at the same
//! place.
//!
//! **Invariant:** pure. No wasmtime, no files, no clock; the same bytes and [`Limits`] give the same answer everywhere.

mod check;
mod code;
mod exports;
pub mod limits;
mod refusal;
mod rewrite;

pub use check::{Checked, FEATURES, check, check_within};
pub use limits::Limits;
pub use refusal::{Reason, Refusal};
pub use rewrite::{global_export, rewrite};

/// Bytes of a page of Wasm memory.
pub const PAGE_BYTES: usize = 65_536;

/// Beginning of the export names that only [`rewrite`] may use.
pub const RESERVED_PREFIX: &str = "$concoord";
