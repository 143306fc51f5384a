//! How a cluster is found by name: the DNS records of a roster, and whoever publishes them.
//!
//! | file         | role                                                          |
//! |--------------|---------------------------------------------------------------|
//! | `records.rs` | a roster in, record sets out: what a name means is decided here |
//! | `zone.rs`    | the records of a domain with SOA and NS, by name and type     |
//! | `answer.rs`  | a question in, an answer out, as bytes                        |
//! | `limit.rs`   | how much is answered to whom                                  |
//! | `server.rs`  | sockets, and the view plugin that serves the newest zone      |
//! | `route53/`   | the view plugin that publishes to Amazon Route 53             |

pub mod answer;
pub mod limit;
pub mod records;
pub mod route53;
pub mod server;
pub mod zone;

pub use hickory_server::proto::rr::{Name, RData, Record, RecordSet, RecordType};
pub use records::{Options, RecordsError, record_sets, serial};
pub use route53::{AccessKey, Route53, Route53Options};
pub use server::{DnsOptions, DnsServer};
