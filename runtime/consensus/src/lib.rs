//! The Concoord replica as pure state machines.
//!
//! Two machines, both fed by a driver and both free of clocks, disks, sockets and threads:
//!
//! * [`Replica`] decides which batch of commands stands in which slot: Multi-Paxos, views, reads.
//! * [`Application`] turns decided batches into replies: sessions, exactly once, the object registry.
//!
//! [`io`] lists everything that goes in and comes out.

pub mod application;
pub mod io;
pub mod limits;
pub mod mutant;
pub mod objects;
pub mod quorum;
mod replica;

pub use application::{Application, Snapshot, constructor_refusal};
pub use replica::{Config, Policy, Replica, Timing};
