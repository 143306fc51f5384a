//! Where replicas are: the text that users give, and what names resolve to.

use std::net::{IpAddr, SocketAddr};

/// Why a list of addresses can't be used. Each names the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is none.
    #[error("no address given: write one or more as host:port, separated by commas")]
    Empty,
    /// Nothing stands between two commas, or at an end.
    #[error("address {position} of '{text}' is empty: write host:port, separated by commas")]
    EmptyPart {
        /// Which one, from 1.
        position: usize,
        /// The whole list.
        text: String,
    },
    /// A part has no port.
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
    if part.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{part}]:14000") } else { format!("{part}:14000") }
}

/// One part of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Address(SocketAddr),
    Name { host: String, port: u16 },
}

/// Reads "host:port, host:port"; blanks around the parts are allowed.
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
    let (host, port) = part.rsplit_once(':').ok_or_else(no_port)?;
    let number = port.parse::<u16>().ok().filter(|port| *port != 0);
    let port = number.ok_or_else(|| AddressError::BadPort { part: part.into(), port: port.into() })?;
    if let Ok(address) = format!("{host}:{port}").parse::<SocketAddr>() {
        return Ok(Target::Address(address));
    }
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || !host.chars().all(letter) {
        return Err(AddressError::BadHost { part: part.into(), host: host.into() });
    }
    Ok(Target::Name { host: host.into(), port })
}

/// The addresses of all targets, in order and each once.
///
/// # Errors
/// [`AddressError::Unresolved`] when there is none at all.
pub(crate) async fn resolve(targets: &[Target]) -> Result<Vec<SocketAddr>, AddressError> {
    let mut addresses = Vec::new();
    let mut unresolved = None;
    for target in targets {
        match target {
            Target::Address(address) => addresses.push(*address),
            Target::Name { host, port } => match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(found) => addresses.extend(found),
                Err(error) => {
                    let (name, reason) = (format!("{host}:{port}"), error.to_string());
                    unresolved = Some(AddressError::Unresolved { name, reason });
                }
            },
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    match unresolved {
        Some(error) if addresses.is_empty() => Err(error),
        _ => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_names_and_both_families_are_read() {
        let parsed = parse(" 127.0.0.1:14000, [::1]:14001 ,replica-2.example:9 ").unwrap();
        let address = |text: &str| Target::Address(text.parse().unwrap());
        let name = Target::Name { host: "replica-2.example".into(), port: 9 };
        assert_eq!(parsed, [address("127.0.0.1:14000"), address("[::1]:14001"), name]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            (" ", "no address given: write one or more as host:port, separated by commas"),
            ("a:1,", "address 2 of 'a:1,' is empty: write host:port, separated by commas"),
            ("a:1, localhost", "'localhost' has no port: write it as localhost:14000"),
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
        let resolved = resolve(&targets).await.unwrap();
        assert_eq!(resolved[0], "127.0.0.1:7".parse().unwrap());
        assert_eq!(resolved.iter().filter(|address| address.is_ipv4()).count(), 1);
        let error = resolve(&parse("no-such-host.invalid:1").unwrap()).await.unwrap_err();
        assert!(matches!(error, AddressError::Unresolved { name, .. } if name == "no-such-host.invalid:1"));
    }
}
