//! The world around a replica: sockets, clocks, threads, the log's store, and whoever wants to know the members.
//!
//! [`run()`] is all there is to start. The replica itself is [`concoord_consensus::Replica`], a pure state machine that
//! decides everything; here its inputs are gathered and its effects are carried out, in the order and under the
//! conditions that [`concoord_consensus::io`] names.
//!
//! ```text
//!                     the tokio runtime's one thread                     │ concoord-apply, concoord-behind
//!                                                                        │
//! client ── QUIC ──> client_reader ─┐                                    │
//! peer   ── QUIC ──> gate ──────────┼─ bursts ─> driver ── jobs ─────────┼──> applying ── executor
//! joiner ── QUIC ──> join ──────────┘            │  ^                    │       │
//!                                                │  └──── outputs ───────┼───────┘
//! client <── QUIC ── clients <─── Reply ─────────┤                       │
//! peer   <── QUIC ── links <───── Send ──────────┤
//!                    store <───── Persist ───────┤
//!                    plugins <─── RosterChanged ─┘
//! ```
//!
//! | file               | role                                                          |
//! |--------------------|---------------------------------------------------------------|
//! | `run.rs`           | the life of a replica: start or join, serve, last words        |
//! | `driver.rs`        | the loop: bursts in, steps, effects out                        |
//! | `gate.rs`          | accepts connections, reads peers                               |
//! | `client_reader.rs` | reads clients                                                  |
//! | `clients.rs`       | tells clients                                                  |
//! | `links.rs`         | dials peers and tells them                                     |
//! | `join.rs`          | both sides of a join                                           |
//! | `applying/`        | the application's threads                                      |
//! | `priority.rs`      | which thread gives way to all others                           |
//! | `home.rs`          | the data directory at the start: a new one, or an earlier life  |
//! | `restore.rs`       | a data directory made from a backup                             |
//! | `store.rs`         | where log and snapshots are kept, and what waits for that       |
//! | `disk/`            | the file layer, which the simulation replaces                   |
//! | `log/`             | the write-ahead log                                             |
//! | `snapshots/`       | snapshots on disk                                               |
//! | `pieces.rs`        | pieces of snapshots for peers and backups                       |
//! | `trials.rs`        | modules that are tried before they are proposed                |
//! | `progress.rs`      | what is logged and when the replica is ready                   |
//! | `plugin.rs`        | view plugins                                                   |
//!
//! **Invariants.** The replica is stepped by one task only. Nothing that waits (a slow object, peer, client, plugin)
//! is waited for by that task. Every queue has a bound in `limits.rs`, but
//! one: decided batches that a replica has not applied yet, which its log holds in memory anyway.

mod applying;
mod client_reader;
mod clients;
mod clock;
mod counters;
pub mod disk;
mod driver;
mod error;
mod events;
mod gate;
mod home;
mod join;
mod limits;
mod links;
pub mod log;
mod options;
mod pieces;
pub mod plugin;
mod priority;
mod progress;
mod restore;
mod run;
pub mod snapshots;
mod store;
mod trials;

pub use driver::Exit;
pub use error::{BootstrapFailure, BootstrapReason, NodeError, Stranger};
pub use home::is_lived_in;
pub use limits::STACK_BYTES;
pub use options::{BOOT_WAIT, ObjectSource, Options, Ready, Storage};
pub use plugin::{Confirming, Published, Publishing, ViewPlugin};
pub use restore::{RestoreError, Restored, restore};
pub use run::run;
