//! What stands in for Amazon Route 53: moto's server, which others wrote, and a small one of our own that refuses what the
//! real one refuses, is slow, fails, and loses answers.

pub mod fake;
mod http;
pub mod moto;

use std::collections::BTreeMap;

/// Values by name and type, in any order; what a zone shows.
pub type Records = BTreeMap<(String, String), Vec<String>>;
