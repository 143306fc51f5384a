//! A simulation of whole clusters in one thread: the production replica and application, a simulated network, disk and
//! clock, and clients that retry. Everything is drawn from one seed, so a run is replayed by its number.
//!
//! | file         | role                                                              |
//! |--------------|-------------------------------------------------------------------|
//! | `world.rs`   | the event queue, and what happens at each event                   |
//! | `node.rs`    | one replica's surroundings: disk, held sends, application queue   |
//! | `network.rs` | who hears whom, when, how often                                   |
//! | `client.rs`  | clients that open sessions, call, query, retry and redirect       |
//! | `faults.rs`  | what goes wrong, and when                                         |
//! | `checks.rs`  | what must hold whatever goes wrong                                |
//! | `objects.rs` | the counter, run natively                                         |

pub mod checks;
pub mod client;
pub mod faults;
pub mod network;
pub mod node;
pub mod objects;
pub mod random;
pub mod world;

pub use world::{FAULTS_MIN, Report, Violation, run, tell};
