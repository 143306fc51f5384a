//! What the tests of the whole share: the simulation, clusters of real processes, and what is done to those.

pub mod bind;
pub mod bombs;
pub mod cluster;
pub mod disk_faults;
pub mod disk_watch;
pub mod dns;
pub mod flood;
pub mod guests;
pub mod guide;
pub mod internet;
pub mod large;
pub mod load;
pub mod memory;
pub mod netns;
pub mod python;
pub mod raw;
pub mod route53;
pub mod sim;
pub mod tally;
pub mod usage;
pub mod windows;
