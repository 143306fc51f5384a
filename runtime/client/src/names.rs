//! Names to addresses: SRV records where a domain has them (RFC 2782), else the addresses of the name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::{Resolver, TokioResolver};

use crate::limits::PORT_DEFAULT;

/// The service of a cluster, below its domain.
const SERVICE: &str = "_concoord._udp";
/// How long one name server may take, and how often it is asked.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(1_500);
const LOOKUP_ATTEMPTS: usize = 2;

/// Who is asked about names: the system, or one name server of the user's choice.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// For what the system's own functions don't look up; `None` where the system has no name server configured.
    resolver: Option<TokioResolver>,
    /// Everything is asked of one server.
    chosen: bool,
}

/// Where a name leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) addresses: Vec<SocketAddr>,
    /// Until when that may be kept, as far as anybody said.
    pub(crate) until: Option<Instant>,
}

impl Names {
    /// Asks `server`, or else the system. To be called within a tokio runtime.
    pub(crate) fn new(server: Option<SocketAddr>) -> Names {
        let builder = match server {
            Some(server) => {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                (udp.port, tcp.port) = (server.port(), server.port());
                let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
                let config = ResolverConfig::from_name_servers(vec![server]);
                Some(Resolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
            None => TokioResolver::builder_tokio().ok(),
        };
        let resolver = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            (options.timeout, options.attempts) = (LOOKUP_TIMEOUT, LOOKUP_ATTEMPTS);
            builder.build().ok()
        });
        Names { resolver, chosen: server.is_some() }
    }

    /// The replicas of a domain: those of its SRV records, first priority first, else its addresses with the default port.
    ///
    /// # Errors
    /// What the resolver said when there is neither.
    pub(crate) async fn domain(&self, name: &str) -> Result<Answer, String> {
        if let Some(resolver) = &self.resolver {
            match services(resolver, name).await {
                Ok(found) if !found.addresses.is_empty() => return Ok(found),
                Err(error) if self.chosen && !error.is_no_records_found() => return Err(said(&error)),
                // The system may know the name from elsewhere.
                _ => {}
            }
        }
        self.host(name, PORT_DEFAULT).await
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// What the resolver said when there is none.
    pub(crate) async fn host(&self, name: &str, port: u16) -> Result<Answer, String> {
        match &self.resolver {
            Some(resolver) if self.chosen => {
                let found = resolver.lookup_ip(name).await.map_err(|error| said(&error))?;
                let addresses = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
                Ok(Answer { addresses, until: Some(found.valid_until()) })
            }
            // The system's own way knows more than name servers: files of hosts, search lists.
            _ => {
                let found = tokio::net::lookup_host((name, port)).await.map_err(|error| error.to_string())?;
                Ok(Answer { addresses: found.collect(), until: None })
            }
        }
    }
}

/// The addresses behind the SRV records of a domain, in the order in which they are to be tried.
async fn services(resolver: &TokioResolver, domain: &str) -> Result<Answer, NetError> {
    let service = format!("{SERVICE}.{}.", domain.trim_end_matches('.'));
    let found = resolver.srv_lookup(service).await?;
    let mut services = found.answers().iter().filter_map(|record| service_of(&record.data)).collect::<Vec<_>>();
    services.sort_by_key(|service| service.priority);
    let mut answer = Answer { addresses: Vec::new(), until: Some(found.valid_until()) };
    for service in services {
        let Ok(hosts) = resolver.lookup_ip(service.target.clone()).await else { continue };
        answer.until = answer.until.min(Some(hosts.valid_until()));
        answer.addresses.extend(hosts.iter().map(|ip| SocketAddr::new(ip, service.port)));
    }
    Ok(answer)
}

fn said(error: &NetError) -> String {
    match error {
        NetError::Timeout => "its name server does not answer".into(),
        error if error.is_no_records_found() => "no such name, or none with an address".into(),
        error => error.to_string(),
    }
}

fn service_of(data: &RData) -> Option<&SRV> {
    match data {
        RData::SRV(service) => Some(service),
        _ => None,
    }
}
