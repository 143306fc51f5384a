//! Write an ordinary struct with methods; Concoord replicates it.
//!
//! ```
//! use concoord::prelude::*;
//!
//! /// Counts.
//! #[concoord::object]
//! #[derive(Default, Serialize, Deserialize)]
//! pub struct Counter {
//!     value: i64,
//! }
//!
//! #[concoord::methods]
//! impl Counter {
//!     /// Adds one and returns the new value.
//!     pub fn increment(&mut self) -> i64 {
//!         self.value += 1;
//!         self.value
//!     }
//!
//!     /// The value.
//!     pub fn getvalue(&self) -> i64 {
//!         self.value
//!     }
//! }
//!
//! let mut counter = Counter::default();
//! assert_eq!(counter.increment(), 1);
//! assert_eq!(Counter::interface().methods.len(), 2);
//! ```
//!
//! - Every `pub fn` of the `#[concoord::methods]` block is a method that clients call: `&mut self` makes it an update,
//!   which runs on every replica in the same order, `&self` a query, which runs on one. A `fn` without `pub` is yours.
//! - `pub fn new(..) -> Self` (or `-> Result<Self, E>`) is the constructor and may take arguments; without it the object
//!   starts as its `Default`.
//! - A method may return `Result<T, E>`; the caller gets the error typed. A panic undoes what the call changed.
//! - A `&mut self` method that takes `waiter: Waiter<T>` may let its caller wait for a `T` until another call answers it. A
//!   method that takes `cx: &mut Context` knows the cluster's time, who calls, and draws random numbers. The functions
//!   `session_closed`, `cancelled` and `timer`, without `pub`, run when that has happened.
//!   [`WaitQueue`], [`Grants`] and [`Permits`] keep who waits and who holds what; `concoord::testing` runs such an object in tests.
//! - `#[concoord::object(event = Change)]` lets the object emit a `Change` by [`Context::emit`], to whoever watches it.
//! - Doc comments become the description that `concoord object show` prints.
//! - `#[concoord::object]` stands above the struct's derives: it lets them find serde, so you need not depend on it.
//! - Types in arguments, results and state have one size and one order everywhere: fixed-width integers, `String`,
//!   `Vec`, `Option`, `BTreeMap`, and your own types marked `#[concoord::data]`. The macros refuse what has not, and warn
//!   of floating-point functions whose last digits differ between platforms.
//!
//! The crate needs this one as its only dependency: `concoord object build` compiles any library crate. Its exports have
//! fixed names, which Rust counts as unsafe: a crate may deny `unsafe_code` but not forbid it.
//!
//! Compiled for `wasm32` the object exports the ABI of [`wire::abi`]. On the host the same crate gives `CounterProxy`,
//! whose async methods call a replicated counter through any [`Caller`], and [`Object`], through which tests and the
//! simulation run the object natively.

// The attributes write `::concoord` paths, also in this crate's own tests.
extern crate self as concoord;

mod bounds;
mod context;
mod grants;
mod object;
mod permits;
mod wait_queue;
mod waiting;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

pub use concoord_sdk_macros::{data, methods, object};
pub use concoord_wire as wire;
pub use concoord_wire::caller::{Caller, ProxyError};
pub use context::{Context, Event};
pub use grants::{Grant, GrantError, Grants, Held};
pub use object::Object;
pub use permits::Permits;
pub use wait_queue::{SERVE_AGAIN, WaitQueue};
pub use waiting::{Ended, Waiter, Waits};

/// What an object's file imports.
pub mod prelude {
    pub use crate::wire::{CallId, SessionId, Timestamp};
    pub use crate::{Context, GrantError, Grants, Held, Object, Permits, WaitQueue, Waiter};
    pub use postcard_schema::Schema;
    pub use serde::{Deserialize, Serialize};
}

/// For the code that the attributes write; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::bounds::{Initial, Sent, State, refused};
    #[cfg(target_arch = "wasm32")]
    pub use crate::guest;
    pub use crate::object::{Arguments, Described, MethodDescription, describe};
    pub use crate::waiting::{Field, HoldsNone, HoldsWaiters};
    pub use concoord_wire as wire;
    pub use postcard_schema::{self, Schema};
    pub use serde;
}
