//! What can be chosen about a client.

use std::net::SocketAddr;
use std::time::Duration;

use concoord_wire::limits::SESSION_TTL_MS;

/// What can be chosen about a client; `Options::default()` is right for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest time that one call, query, description or view takes, retries included; 30 s by default.
    pub timeout: Duration,
    /// How long a call may be parked until another one answers it, in the cluster's time; by default as long as the
    /// session lives.
    pub wait: Option<Duration>,
    /// How long the cluster keeps the session when it hears nothing of the client: from 1 s to 24 h, 60 s by default. What
    /// its calls hold, such as locks, is given up then. It takes up to twice as long and a second.
    pub session_ttl: Duration,
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
            wait: None,
            session_ttl: Duration::from_millis(SESSION_TTL_MS.into()),
            connect_timeout: Duration::from_secs(10),
            outstanding_max: 65_536,
            dns_server: None,
        }
    }
}
