//! What can be chosen about a client.

use std::net::SocketAddr;
use std::time::Duration;

/// What can be chosen about a client; `Options::default()` is right for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest time that one call, query, description or view takes, retries included; 30 s by default.
    pub timeout: Duration,
    /// Longest time until a first replica answers; 10 s by default.
    pub connect_timeout: Duration,
    /// Requests that may wait for their answers at a time; more get [`crate::ClientError::Busy`]. 65,536 by default.
    pub outstanding_max: usize,
    /// Name server that is asked where names lead; by default those of the system.
    pub dns_server: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            outstanding_max: 65_536,
            dns_server: None,
        }
    }
}
