//! What the tests of the whole share: the simulation, and clusters of real processes.

pub mod cluster;
pub mod sim;
