//! The Concoord client: connect, call, query; retries, redirects and reconnects by itself until a deadline.
//!
//! ```no_run
//! # async fn run() -> Result<(), concoord_client::ClientError> {
//! let client = concoord_client::Client::connect("127.0.0.1:14000, 127.0.0.1:14001").await?;
//! let answer = client.call(None, "increment", Vec::new()).await?;
//! # Ok(()) }
//! ```
//!
//! A [`Client`] is a handle to one task that owns one connection, one session and a table of what is outstanding:
//!
//! | file              | role                                                                              |
//! |-------------------|-----------------------------------------------------------------------------------|
//! | `handle.rs`       | the public methods; each sends a command to the task and waits for its answer      |
//! | `task.rs`         | the loop: commands, frames, finished dials and timers go in, frames go out          |
//! | `outstanding.rs`  | what callers wait for: names of objects, and the two tables below                  |
//! | `updates.rs`      | the session and its calls: numbers, floor, exactly-once retries                    |
//! | `row.rs`          | a map for what comes and goes in order                                             |
//! | `places.rs`       | how many requests may be outstanding                                               |
//! | `session.rs`      | the session's token, and whether the cluster still has it                          |
//! | `asks.rs`         | queries, descriptions and views, which any replica answers                         |
//! | `together.rs`     | calls of proxies that are executed as one                                          |
//! | `watch.rs`        | what objects emit                                                                  |
//! | `guard.rs`        | refuses fencing tokens that are outdated                                           |
//! | `link.rs`         | one connection: is it alive, does its replica lead                                 |
//! | `addresses.rs`, `names.rs` | what users write, and where names lead                                   |
//! | `search.rs`       | dials replicas side by side until one answers                                      |
//! | `book.rs`         | the known addresses and what each last said, for the text of a time-out            |
//! | `operator/`       | what operators ask: membership, objects and backups, beside all that               |
//!
//! **Exactly once.** Each update has a number in the client's session and keeps it over every retry, so the cluster
//! executes it once. The *floor* sent with each call says up to where all are answered or given up, and lets replicas
//! forget. An update whose session ended while its fate was open ends as [`ClientError::Unknown`] and is never retried
//! by itself.
//!
//! **A leader that dies** is noticed by silence: a ping after 50 ms without an answer, other replicas dialed after
//! 200 ms, the new leader found by asking for the view every 20 to 50 ms.
//!
//! **By name.** A part of the address list without a port is a domain: its SRV records at `_concoord._udp` say where the
//! replicas are, the leader first; without any, its addresses are tried with port 14000. Names are looked up again when a
//! connection is lost and when the answer may be kept no longer.
//!
//! Programs without tokio use [`blocking::Client`].

mod addresses;
mod asks;
pub mod blocking;
mod book;
mod command;
mod error;
mod guard;
mod handle;
mod limits;
mod link;
mod names;
mod operator;
mod options;
mod outstanding;
mod places;
mod row;
mod search;
mod session;
mod task;
mod together;
mod updates;
pub mod watch;

pub use addresses::{AddressError, find_replicas};
pub use concoord_wire::client::{
    Abort, AdministerError, BackupPiece, CallError, Consistency, Description, EmittedEvent, SessionList, SessionState,
};
pub use concoord_wire::codec;
pub use concoord_wire::objects::{ObjectAction, ObjectError, ObjectList, ObjectState, Operated};
pub use error::{ClientError, Tried};
pub use guard::{Guard, Outdated};
pub use handle::{Client, Part, Pending};
pub use operator::{Backup, Operator, OperatorError};
pub use options::Options;
pub use session::{SessionToken, SessionTokenError};
pub use together::Together;
pub use watch::Watch;
