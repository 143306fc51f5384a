//! A small internet on one machine: what stands between somebody who knows only a domain and the replicas that serve it,
//! made of programs that share no code with ours.
//!
//! ```text
//!  127.0.53.1  root, signed            BIND
//!  127.0.53.2  com, signed             BIND; delegates counterdomain.com, which is not signed
//!  127.0.53.3  resolver, validates     BIND
//!  127.0.53.4  resolver, validates     unbound
//!  127.0.0.x   counterdomain.com       replicas
//! ```
//!
//! It lives where [`crate::netns::on_own_machine`] is: all of 127.0.0.0/8 is its own there. The file `resolv.conf` names one
//! of the resolvers.

mod process;
mod servers;
mod zones;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use process::Process;

/// The domain that is delegated to replicas.
pub const DOMAIN: &str = "counterdomain.com";
/// A name whose TXT record is signed.
pub const SIGNED: &str = "signed.com";
/// A name whose TXT record is another than was signed.
pub const FORGED: &str = "forged.com";

const DNS_PORT: u16 = 53;
const ROOT: Ipv4Addr = Ipv4Addr::new(127, 0, 53, 1);
const COM: Ipv4Addr = Ipv4Addr::new(127, 0, 53, 2);
const ROOT_HINTS: &str = "root.hints";

/// Who is asked by all that ask the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// BIND's `named`.
    Bind,
    /// NLnet Labs' `unbound`.
    Unbound,
}

impl Resolver {
    /// Both.
    pub const ALL: [Resolver; 2] = [Resolver::Bind, Resolver::Unbound];

    /// Where it is asked.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        SocketAddr::from((self.ip(), DNS_PORT))
    }

    fn ip(self) -> Ipv4Addr {
        match self {
            Resolver::Bind => Ipv4Addr::new(127, 0, 53, 3),
            Resolver::Unbound => Ipv4Addr::new(127, 0, 53, 4),
        }
    }
}

impl fmt::Display for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Resolver::Bind => "BIND",
            Resolver::Unbound => "unbound",
        })
    }
}

/// The servers, which end with it.
#[derive(Debug)]
pub struct Internet {
    directory: PathBuf,
    _servers: [Process; 4],
}

impl Internet {
    /// Starts it in this directory, with the domain delegated to name servers at these addresses.
    ///
    /// # Panics
    /// When a server does not answer.
    #[must_use]
    pub fn start(directory: &Path, delegated: &[Ipv4Addr]) -> Internet {
        let com = zones::com(directory, delegated);
        let root = zones::root(directory, &com);
        let hints = format!(". 3600 NS a.root.\na.root. 3600 A {ROOT}\n");
        std::fs::write(directory.join(ROOT_HINTS), hints).expect("the directory is ours");
        let servers = [
            servers::authority(directory, "root", ROOT, ".", &root),
            servers::authority(directory, "com", COM, "com", &com),
            servers::bind_resolver(directory, "bind", Resolver::Bind.ip(), &root),
            servers::unbound_resolver(directory, "unbound", Resolver::Unbound.ip(), &root),
        ];
        Internet { directory: directory.to_owned(), _servers: servers }
    }

    /// From now on everybody who asks the system asks this resolver.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn ask(&self, resolver: Resolver) {
        let text = format!("nameserver {}\n", resolver.ip());
        std::fs::write(self.directory.join("resolv.conf"), text).expect("the directory is ours");
    }
}
