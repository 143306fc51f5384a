//! A simulation of whole clusters in one thread: the production replica and application, a simulated network, disk and
//! clock, and clients that retry. Everything is drawn from one seed, so a run is replayed by its number.
//!
//! | file               | role                                                              |
//! |--------------------|-------------------------------------------------------------------|
//! | `world.rs`         | what there is, and what happens at each event                     |
//! | `queue.rs`         | events in order                                                   |
//! | `phases.rs`        | how a run goes: safety under faults, then liveness of a majority  |
//! | `driver.rs`        | what a node's driver does with inputs and effects                 |
//! | `node.rs`          | one replica's machine: production log and snapshots on its disk   |
//! | `upgrades.rs`      | builds of different versions                                      |
//! | `storage.rs`       | what its driver does with log and snapshots                       |
//! | `clock.rs`         | its clocks                                                        |
//! | `lives.rs`         | how nodes join, start, crash and leave                            |
//! | `network.rs`       | who hears whom, when, how often                                   |
//! | `shapes.rs`        | partitions and partial connectivity                               |
//! | `faults.rs`        | what goes wrong, and when                                         |
//! | `spoiled.rs`       | states with a flipped bit, until they are right again              |
//! | `coverage.rs`      | how often each kind of fault came up                              |
//! | `client.rs`        | clients: sessions, calls in flight, retries                       |
//! | `wishes.rs`        | what a client does next                                           |
//! | `waiter.rs`        | clients whose calls wait, cancel them, fall silent and resume     |
//! | `waits.rs`         | what they ask, and whether what they heard could be               |
//! | `watcher.rs`       | who watches what an object emits                                  |
//! | `questions.rs`     | queries, descriptions and views, asked of any replica             |
//! | `operator.rs`      | what an operator does with objects, and that it happens once      |
//! | `line.rs`          | a client's way to a replica                                       |
//! | `callers.rs`       | clients on the network                                            |
//! | `objects.rs`       | counter, register, lock, one that fails, and those that let callers wait, run natively |
//! | `operation.rs`     | what clients ask of them                                          |
//! | `checks.rs`        | what must hold whatever goes wrong                                |
//! | `history.rs`       | what clients did and heard                                        |
//! | `linearizability/` | whether a history is one of an object that does one thing at a time |

pub mod callers;
pub mod checks;
pub mod client;
pub mod clock;
pub mod coverage;
mod driver;
pub mod faults;
pub mod history;
mod line;
pub mod linearizability;
mod lives;
pub mod network;
pub mod node;
pub mod objects;
pub mod operation;
pub mod operator;
mod phases;
mod questions;
mod queue;
pub mod random;
mod shapes;
mod spoiled;
mod storage;
mod upgrades;
pub mod waiter;
pub mod waits;
mod watcher;
mod wishes;
pub mod world;

pub use phases::FAULTS_MIN;
pub use world::{Report, SLOTS_WANTED, Violation, run, tell};
