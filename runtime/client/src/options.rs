//! What can be chosen about a client.

use std::net::SocketAddr;
use std::time::Duration;

use concoord_wire::client::Consistency;
use concoord_wire::limits::SESSION_TTL_MS;

use crate::session::SessionToken;

/// What can be chosen about a client; `Options::default()` is right for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest time that one call, query, description or view takes, retries included; 30 s by default.
    pub timeout: Duration,
    /// How long a call may be parked until another one answers it, in the cluster's time; by default as long as the
    /// session lives.
    pub wait: Option<Duration>,
    /// How fresh the answers to queries of proxies are; linearizable by default.
    pub consistency: Consistency,
    /// How long the cluster keeps the session when it hears nothing of the client: from 1 s to 24 h, 60 s by default. What
    /// its calls hold, such as locks, is given up then. It takes up to twice as long and a second.
    pub session_ttl: Duration,
    /// By how much earlier [`crate::Client::lost`] says that the session may be lost: the time that whoever hears it needs to
    /// stop. None by default.
    pub lost_before: Duration,
    /// The session to go on with, instead of opening one: that of a client which ended without closing it, or of this
    /// program before it was started again. Everything it holds it goes on holding, and whoever has it until then loses it. None
    /// by default.
    pub session: Option<SessionToken>,
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
            consistency: Consistency::Linearizable,
            session_ttl: Duration::from_millis(SESSION_TTL_MS.into()),
            lost_before: Duration::ZERO,
            session: None,
            connect_timeout: Duration::from_secs(10),
            outstanding_max: 65_536,
            dns_server: None,
        }
    }
}
