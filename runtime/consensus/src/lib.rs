//! The Concoord replica as pure state machines.
//!
//! Two machines, both fed by a driver and both free of clocks, disks, sockets and threads:
//!
//! * [`Application`] turns decided batches into replies: sessions, exactly once, the object registry.
//! * `Replica` decides which batch stands in which slot: Multi-Paxos, views, reads.
//!
//! [`io`] lists everything that goes in and comes out.

pub mod application;
pub mod io;
pub mod limits;
pub mod objects;

pub use application::Application;
