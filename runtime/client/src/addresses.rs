//! Where replicas are: the text that users give, and what names resolve to.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::limits::PORT_DEFAULT;
use crate::names::Names;

/// Why a list of addresses can't be used. Each names the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is none.
    #[error("no address given: write one or more as host:port or as a domain, separated by commas")]
    Empty,
    /// Nothing stands between two commas, or at an end.
    #[error("address {position} of '{text}' is empty: write host:port or a domain, separated by commas")]
    EmptyPart {
        /// Which one, from 1.
        position: usize,
        /// The whole list.
        text: String,
    },
    /// A part is an IP address without a port.
    #[error("'{part}' has no port: write it as {}", with_port(.part))]
    NoPort {
        /// The part.
        part: String,
    },
    /// A part's port is not one.
    #[error("'{port}' in '{part}' is not a port: it is a number from 1 to 65535")]
    BadPort {
        /// The part.
        part: String,
        /// Its port.
        port: String,
    },
    /// A part's host is neither an IP address nor a name.
    #[error("'{host}' in '{part}' is neither an IP address nor a host name")]
    BadHost {
        /// The part.
        part: String,
        /// Its host.
        host: String,
    },
    /// A name leads nowhere.
    #[error("'{name}' does not resolve: {reason}")]
    Unresolved {
        /// The name with its port.
        name: String,
        /// What the resolver said.
        reason: String,
    },
}

fn with_port(part: &str) -> String {
    if part.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{part}]:{PORT_DEFAULT}")
    } else {
        format!("{part}:{PORT_DEFAULT}")
    }
}

/// One part of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Address(SocketAddr),
    Name {
        host: String,
        port: u16,
    },
    /// A name without a port: whose SRV records tell.
    Domain {
        name: String,
    },
}

/// Where targets lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// In order, each once.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How many of them, the last ones, come from names, and may be others later.
    pub(crate) named: usize,
    /// When the names should be looked up again, as far as anybody said.
    pub(crate) until: Option<Instant>,
}

impl Resolved {
    /// Addresses that no name led to.
    pub(crate) fn given(addresses: Vec<SocketAddr>) -> Resolved {
        Resolved { addresses, named: 0, until: None }
    }
}

/// Reads "host:port, domain"; blanks around the parts are allowed.
pub(crate) fn parse(text: &str) -> Result<Vec<Target>, AddressError> {
    if text.trim().is_empty() {
        return Err(AddressError::Empty);
    }
    let parts = text.split(',').map(str::trim).enumerate();
    parts
        .map(|(index, part)| match part {
            "" => Err(AddressError::EmptyPart { position: index + 1, text: text.into() }),
            part => parse_part(part),
        })
        .collect()
}

fn parse_part(part: &str) -> Result<Target, AddressError> {
    let no_port = || AddressError::NoPort { part: part.into() };
    if part.parse::<IpAddr>().is_ok() {
        return Err(no_port());
    }
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_host = |host: &str| !host.is_empty() && host.chars().all(letter);
    let bad_host = |host: &str| AddressError::BadHost { part: part.into(), host: host.into() };
    let Some((host, port)) = part.rsplit_once(':') else {
        return if is_host(part) { Ok(Target::Domain { name: part.into() }) } else { Err(bad_host(part)) };
    };
    let number = port.parse::<u16>().ok().filter(|port| *port != 0);
    let port = number.ok_or_else(|| AddressError::BadPort { part: part.into(), port: port.into() })?;
    if let Ok(address) = format!("{host}:{port}").parse::<SocketAddr>() {
        return Ok(Target::Address(address));
    }
    if !is_host(host) {
        return Err(bad_host(host));
    }
    Ok(Target::Name { host: host.into(), port })
}

/// The addresses of all targets: those given as such, then those of names.
///
/// # Errors
/// [`AddressError::Unresolved`] when there is none at all.
pub(crate) async fn resolve(targets: &[Target], names: &Names) -> Result<Resolved, AddressError> {
    let mut resolved = Resolved::default();
    let mut named = Vec::new();
    let mut unresolved = None;
    for target in targets {
        let (name, found) = match target {
            Target::Address(address) => {
                resolved.addresses.push(*address);
                continue;
            }
            Target::Name { host, port } => (format!("{host}:{port}"), names.host(host, *port).await),
            Target::Domain { name } => (name.clone(), names.domain(name).await),
        };
        match found {
            Ok(found) => {
                named.extend(found.addresses);
                resolved.until = [resolved.until, found.until].into_iter().flatten().min();
            }
            Err(reason) => unresolved = Some(AddressError::Unresolved { name, reason }),
        }
    }
    let mut seen = BTreeSet::new();
    resolved.addresses.retain(|address| seen.insert(*address));
    named.retain(|address| seen.insert(*address));
    resolved.named = named.len();
    resolved.addresses.extend(named);
    match unresolved {
        Some(error) if resolved.addresses.is_empty() => Err(error),
        _ => Ok(resolved),
    }
}

/// Where the replicas are that `text` names, as [`crate::Client::connect`] reads it; names are asked of `dns_server`, or else of
/// the system. To be called within a tokio runtime.
///
/// # Errors
/// [`AddressError`].
pub async fn find_replicas(text: &str, dns_server: Option<SocketAddr>) -> Result<Vec<SocketAddr>, AddressError> {
    Ok(resolve(&parse(text)?, &Names::new(dns_server)).await?.addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_names_and_both_families_are_read() {
        let parsed = parse(" 127.0.0.1:14000, [::1]:14001 ,replica-2.example:9, counterdomain.com ").unwrap();
        let address = |text: &str| Target::Address(text.parse().unwrap());
        let name = Target::Name { host: "replica-2.example".into(), port: 9 };
        let domain = Target::Domain { name: "counterdomain.com".into() };
        assert_eq!(parsed, [address("127.0.0.1:14000"), address("[::1]:14001"), name, domain]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            (" ", "no address given: write one or more as host:port or as a domain, separated by commas"),
            ("a:1,", "address 2 of 'a:1,' is empty: write host:port or a domain, separated by commas"),
            ("127.0.0.1", "'127.0.0.1' has no port: write it as 127.0.0.1:14000"),
            ("a:1, b/c", "'b/c' in 'b/c' is neither an IP address nor a host name"),
            ("::1", "'::1' has no port: write it as [::1]:14000"),
            ("a:port", "'port' in 'a:port' is not a port: it is a number from 1 to 65535"),
            ("a:0", "'0' in 'a:0' is not a port: it is a number from 1 to 65535"),
            ("a:65536", "'65536' in 'a:65536' is not a port: it is a number from 1 to 65535"),
            (":14000", "'' in ':14000' is neither an IP address nor a host name"),
            ("http://a:1", "'http://a' in 'http://a:1' is neither an IP address nor a host name"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }

    #[tokio::test]
    async fn names_resolve_and_doubles_go() {
        let targets = parse("127.0.0.1:7, localhost:7").unwrap();
        let names = Names::new(None);
        let resolved = resolve(&targets, &names).await.unwrap().addresses;
        assert_eq!(resolved[0], "127.0.0.1:7".parse().unwrap());
        assert_eq!(resolved.iter().filter(|address| address.is_ipv4()).count(), 1);
        let error = resolve(&parse("no-such-host.invalid:1").unwrap(), &names).await.unwrap_err();
        assert!(matches!(error, AddressError::Unresolved { name, .. } if name == "no-such-host.invalid:1"));
    }
}
