//! A simulation of whole clusters in one thread: the production replica and application, a simulated network, disk and
//! clock, and clients that retry. Everything is drawn from one seed, so a run is replayed by its number.
//!
//! | file         | role                                                              |
//! |--------------|-------------------------------------------------------------------|
//! | `world.rs`   | the event queue, and how a run begins and ends                    |
//! | `driver.rs`  | what a node's driver does with inputs and effects                 |
//! | `node.rs`    | one replica's machine: disk, held sends, application queue        |
//! | `lives.rs`   | how nodes join, start, crash and leave                            |
//! | `network.rs` | who hears whom, when, how often                                   |
//! | `client.rs`  | clients that open sessions, call, query, retry and redirect       |
//! | `callers.rs` | clients on the network                                            |
//! | `faults.rs`  | what goes wrong, and when                                         |
//! | `checks.rs`  | what must hold whatever goes wrong                                |
//! | `objects.rs` | the counter, run natively                                         |

mod callers;
pub mod checks;
pub mod client;
mod driver;
pub mod faults;
mod lives;
pub mod network;
pub mod node;
pub mod objects;
pub mod random;
pub mod world;

pub use world::{FAULTS_MIN, Report, Violation, run, tell};
