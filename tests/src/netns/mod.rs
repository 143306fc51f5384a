//! Hosts made of network namespaces, and a network between them whose links can be cut one way at a time.
//!
//! ```text
//!  host 0 ── veth ──┐
//!  host 1 ── veth ──┤  router (a namespace of its own, forwards)
//!  ...              │
//!  the test's own ──┘
//! ```
//!
//! A link from one host to another is a pair of addresses. It is cut by a routing rule of the router that swallows what
//! is sent between these two, in this direction; neither end is told, as when a cable or a switch fails. Needs root and
//! `ip` of iproute2, but neither netem nor iptables.
//!
//! Names carry the id of the process. What a process left behind that was killed is removed by the next one.
//!
//! A test that needs a whole machine to itself, but only one, runs [`on_own_machine`].

mod ip;
mod own;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use ip::{batch, ip, names};
pub use own::on_own_machine;

/// Set to run nothing that needs network namespaces, on machines that have none.
const SKIP: &str = "CONCOORD_SKIP_NETNS";
/// Where `ip netns` keeps its names, and what ours begin with.
const PREFIX: &str = "concoord";
/// A network has 64 blocks of four addresses: one for each host and one for the test.
const HOSTS_MAX: usize = 63;
/// Networks of 256 addresses within 198.18.0.0/16, which is set aside for tests of networks (RFC 2544).
const NETWORKS: u32 = 256;

/// One direction between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Who sends.
    pub from: Ipv4Addr,
    /// Who hears nothing of it when the link is cut.
    pub to: Ipv4Addr,
}

impl Link {
    /// Both directions between two hosts.
    #[must_use]
    pub fn both(one: Ipv4Addr, other: Ipv4Addr) -> [Link; 2] {
        let link = Link { from: one, to: other };
        [link, link.back()]
    }

    /// The other direction.
    #[must_use]
    pub fn back(self) -> Link {
        Link { from: self.to, to: self.from }
    }

    /// All directions between any two of these hosts.
    #[must_use]
    pub fn among(hosts: &[Ipv4Addr]) -> Vec<Link> {
        let pairs = hosts.iter().flat_map(|from| hosts.iter().map(move |to| Link { from: *from, to: *to }));
        pairs.filter(|link| link.from != link.to).collect()
    }
}

/// Hosts, and a network between them and the test. Dropping it removes them.
#[derive(Debug)]
pub struct Network {
    /// What all names begin with.
    name: String,
    /// The third number of all addresses.
    number: u8,
    hosts: usize,
    /// The interface of the test's own namespace.
    own_link: String,
    cut: BTreeSet<Link>,
}

impl Network {
    /// So many hosts, all connected with each other and with the test.
    ///
    /// `None` only when the environment says that there shall be no such tests here, which is printed.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn new(hosts: usize) -> Option<Network> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if is_skipped() {
            return None;
        }
        assert!(hosts <= HOSTS_MAX, "{hosts} hosts, but a network has room for {HOSTS_MAX}");
        remove_stale();
        let (process, made) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let name = format!("{PREFIX}-{process}-{made}");
        let number = free_number(process.wrapping_add(made));
        let own_link = format!("cc{process}-{made}");
        // From here on, what is made half is removed as well.
        let network = Network { name, number, hosts, own_link, cut: BTreeSet::new() };
        network.build();
        Some(network)
    }

    fn build(&self) {
        let router = self.router();
        ip(&["netns", "add", &router]).unwrap_or_else(|error| {
            panic!("can't make network namespaces: {error}; run this as root, or set {SKIP}=1 to do without")
        });
        forward(&router);
        for index in 0..self.hosts {
            let (host, link) = (self.namespace(index), format!("host{index}"));
            let [at_router, at_host] = self.block(index);
            ip(&["netns", "add", &host]).expect("it worked for the router");
            batch(None, &[format!("link add {link} netns {router} type veth peer name eth0 netns {host}")]);
            batch(
                Some(&host),
                &[
                    "link set lo up".into(),
                    "link set eth0 up".into(),
                    format!("address add {at_host}/30 dev eth0"),
                    format!("route add default via {at_router}"),
                ],
            );
            batch(Some(&router), &[format!("link set {link} up"), format!("address add {at_router}/30 dev {link}")]);
        }
        let [at_router, own] = self.block(self.hosts);
        let link = &self.own_link;
        batch(None, &[format!("link add {link} type veth peer name test netns {router}")]);
        batch(Some(&router), &["link set test up".into(), format!("address add {at_router}/30 dev test")]);
        batch(
            None,
            &[
                format!("link set {link} up"),
                format!("address add {own}/30 dev {link}"),
                format!("route add 198.18.{}.0/24 via {at_router}", self.number),
            ],
        );
    }

    /// Name of the namespace of a host.
    #[must_use]
    pub fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.name)
    }

    /// Address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> Ipv4Addr {
        assert!(host < self.hosts, "host {host} of {}", self.hosts);
        self.block(host)[1]
    }

    /// Address of the test itself.
    #[must_use]
    pub fn own_address(&self) -> Ipv4Addr {
        self.block(self.hosts)[1]
    }

    /// Cuts exactly these links within about a millisecond; others that were cut are whole again.
    pub fn cut(&mut self, links: impl IntoIterator<Item = Link>) {
        let wanted = links.into_iter().collect::<BTreeSet<_>>();
        let rule = |verb: &str, link: &Link| format!("rule {verb} from {} to {} blackhole", link.from, link.to);
        let added = wanted.difference(&self.cut).map(|link| rule("add", link));
        let removed = self.cut.difference(&wanted).map(|link| rule("del", link));
        batch(Some(&self.router()), &added.chain(removed).collect::<Vec<_>>());
        self.cut = wanted;
    }

    /// Makes all links whole.
    pub fn heal(&mut self) {
        self.cut([]);
    }

    fn router(&self) -> String {
        format!("{}-router", self.name)
    }

    /// The two addresses on the cable between the router and a host: the router's and the host's.
    fn block(&self, index: usize) -> [Ipv4Addr; 2] {
        let first = u8::try_from(4 * index).expect("the number of hosts was checked");
        [first + 1, first + 2].map(|last| Ipv4Addr::new(198, 18, self.number, last))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made can't be removed, which is as well.
        let _ = ip(&["link", "del", &self.own_link]);
        for host in 0..self.hosts {
            let _ = ip(&["netns", "del", &self.namespace(host)]);
        }
        let _ = ip(&["netns", "del", &self.router()]);
    }
}

/// Whether there shall be no network namespaces here, which is printed.
fn is_skipped() -> bool {
    let skipped = std::env::var_os(SKIP).is_some();
    if skipped {
        println!("SKIPPED: {SKIP} is set, so nothing is tested in network namespaces");
    }
    skipped
}

/// Makes a namespace forward what is not for itself.
fn forward(namespace: &str) {
    let command = ["netns", "exec", namespace, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"];
    ip(&command).unwrap_or_else(|error| panic!("{namespace} does not forward: {error}"));
}

/// The third number of addresses that nobody on this machine uses, the same for the same `wish` if it is free.
fn free_number(wish: u32) -> u8 {
    let mut numbers = (0..NETWORKS).map(|more| u8::try_from(wish.wrapping_add(more) % NETWORKS).expect("below 256"));
    let free = numbers.find(|number| {
        let known = ip(&["-4", "route", "show", "root", &format!("198.18.{number}.0/24")]);
        known.is_ok_and(|routes| routes.trim().is_empty())
    });
    free.expect("one of 198.18.0.0 to 198.18.255.0 is free")
}

/// Removes what killed processes left behind. A namespace takes its interfaces with it, and those their other ends.
fn remove_stale() {
    for name in names() {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')?.split('-').next());
        let Some(process) = process.and_then(|process| process.parse::<u32>().ok()) else { continue };
        if !std::path::Path::new(&format!("/proc/{process}")).exists() {
            println!("removing the network namespace {name} of a process that is gone");
            // Another process may be doing the same.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

#[cfg(test)]
mod tests;
