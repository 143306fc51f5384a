//! How a cluster is found by name: the DNS records of a roster, for whoever publishes them.
//!
//! [`records`] is pure: a roster in, record sets out. What serves them (a DNS server) or copies them elsewhere
//! (Route53) is a view plugin of the node and adds no decision of its own about what a name means.

pub mod records;

pub use hickory_server::proto::rr::{Name, RData, Record, RecordSet, RecordType};
pub use records::{Options, RecordsError, record_sets, serial};
