//! `concoord replica`: one replica of an object, until it is told to stop.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;
use std::{panic, thread};

use anyhow::{Context, bail};
use clap::{ArgAction, CommandFactory};
use concoord_discovery::server::{DNS_PORT, RATE_LIMIT};
use concoord_discovery::{DnsOptions, DnsServer, Name, Options as RecordOptions};
use concoord_node::{ObjectSource, Options, Ready, Storage, ViewPlugin};
use concoord_wire::member::Services;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::compiler::compiler;
use crate::object::{LoadFlags, Source};
use crate::{connect, duration, logging, print, route53};

/// Where a replica listens that is given no address.
const ADDRESS_DEFAULT: &str = "127.0.0.1";
/// Where replicas are looked for, and where the first one listens.
pub(crate) const PORT_DEFAULT: u16 = 14000;
/// Log that is replayed in about a second, and little enough to keep in memory twice.
const SNAPSHOT_LOG_BYTES_DEFAULT: u64 = 64 << 20;
/// How many ports from [`PORT_DEFAULT`] upward are tried when none is given.
const PORTS_TRIED: u16 = 1000;

/// Run a replica of an object
///
/// Without -b it is the first replica of a new cluster; with -b it joins the cluster of the replica named there. It
/// runs until SIGTERM or SIGINT, hands leadership over and exits; a second signal ends it at once.
///
/// What it promised and what it knows is kept in its data directory. Started again with the same flags it goes on as
/// itself, whatever -b says, also after a crash.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Object to replicate: a .wasm file, or the name of a built-in object (counter, or
    /// concoord.object.counter.Counter)
    ///
    /// Only the first replica of a new cluster needs one: whoever joins runs the objects which the cluster has, and
    /// whoever finds its data goes on with those that it had. There, the name of a built-in object means whatever version
    /// the cluster has, and a file has to be one that its object has or had: concoord object upgrade gives it another.
    #[arg(short, long = "objectname", visible_alias = "object", value_name = "OBJECT")]
    object: Option<String>,

    #[command(flatten)]
    load: LoadFlags,

    /// Address on which peers and clients reach this replica [default: 127.0.0.1]
    #[arg(short, long)]
    addr: Option<String>,

    /// Port on that address [default: the first that is free from 14000 upward]
    #[arg(short, long)]
    port: Option<u16>,

    /// Replicas of the cluster to join, as address:port separated by commas, or the cluster's domain [default: none, start a
    /// new cluster]
    #[arg(short, long, value_name = "ADDR:PORT")]
    boot: Vec<String>,

    #[command(flatten)]
    names: connect::Names,

    /// Domain whose DNS questions this replica answers from the newest view; may be given more than once
    /// [default: none]
    ///
    /// Each replica that is given a domain is one of its name servers: delegate the domain to them, or ask one directly
    /// (dig @ADDR). Port 53 takes root. Where the port is taken, the replica runs all the same and tries again. With -r, Route
    /// 53 answers instead.
    #[arg(short = 'n', long = "domainname", visible_alias = "domain", value_name = "DOMAIN", value_parser = domain)]
    domains: Vec<Name>,

    /// Logger that what the replica says is sent to as well, as JSON lines over TCP: concoord logger, nc -lk, or Vector
    /// [default: none]
    #[arg(short = 'l', long = "logger", value_name = "HOST:PORT", value_parser = logger)]
    logger: Option<String>,

    /// How what the replica says is written to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = logging::Format::Auto)]
    log_format: logging::Format,

    /// Tell more about what the replica does [default: off]
    #[arg(short, long)]
    debug: bool,

    /// Whether to keep log and snapshots on disk; -w alone means on
    ///
    /// With -w off a replica forgets everything when it stops, and joins anew each time. Such replicas stay a minority of
    /// the voters, unless the cluster's first replica was started so.
    #[arg(short = 'w', long = "writetodisk", value_name = "on|off", default_value = "on", num_args = 0..=1,
        default_missing_value = "on", value_parser = ["on", "off"])]
    write: String,

    /// Directory for the replica's data [default: concoord-data/<addr>-<port>]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Address, and port if it is another, under which others reach this replica [default: that of -a and -p]
    #[arg(long, value_name = "ADDR[:PORT]")]
    advertise: Option<String>,

    /// Vote and store, but run no objects and never lead: a third vote for two replicas [default: off]
    #[arg(long)]
    witness: bool,

    /// Leave the cluster's view whenever this replica is stopped [default: only where the others could not go on]
    #[arg(long)]
    leave_on_stop: bool,

    /// How long a member is unheard before it is marked as silent and left out of discovery
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    silent_after: Duration,

    /// How long a member is unheard before it is taken out of the view, or never
    #[arg(long, value_name = "TIME|never", default_value = "30s", value_parser = evict_after)]
    evict_after: EvictAfter,

    /// After about how many bytes of log a snapshot is made
    #[arg(long, value_name = "BYTES", default_value_t = SNAPSHOT_LOG_BYTES_DEFAULT)]
    snapshot_log_bytes: u64,

    #[command(flatten)]
    dns: Dns,

    #[command(flatten)]
    route53: route53::Flags,

    /// How long the replicas given with -b may take to answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    boot_wait: Duration,

    /// Serve on an address that is not loopback, although this release authenticates nobody: whoever reaches the port
    /// may call and replicate [default: off]
    #[arg(long)]
    insecure: bool,

    /// Print the address on standard output once the replica serves, and end at once when standard input is closed: for
    /// a parent process that waits for its replicas and must not leave any behind
    #[arg(long, hide = true)]
    for_parent: bool,
}

/// host:port, of which the host is looked up when it is connected to.
fn logger(given: &str) -> Result<String, String> {
    let port =
        given.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 => Ok(given.to_owned()),
        _ => Err(format!("write it as host:port, such as 127.0.0.1:{}", crate::logger::PORT_DEFAULT)),
    }
}

/// How the domains given with -n are served.
#[derive(clap::Args, Debug)]
struct Dns {
    /// Port on the address of -a for DNS questions, over UDP and TCP
    #[arg(long, value_name = "PORT", default_value_t = DNS_PORT)]
    dns_port: u16,

    /// Whether SRV records send clients to the leader first, or to all replicas alike; with -r as well
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set)]
    dns_leader_first: bool,

    /// How long resolvers may keep an answer, in whole seconds; with -r as well
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    dns_ttl: Duration,

    /// How long a replica that knows of no leader answers from its last view, before it answers SERVFAIL
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    dns_stale_after: Duration,

    /// DNS answers a second over UDP for each network (/24, or /56 of IPv6), and 20 times that for all together; 0 for no
    /// limit. Others are sent to TCP
    #[arg(long, value_name = "NUMBER", default_value_t = RATE_LIMIT)]
    dns_rate_limit: u32,
}

impl Dns {
    fn records(&self) -> RecordOptions {
        let ttl_seconds = u32::try_from(self.dns_ttl.as_secs()).unwrap_or(u32::MAX);
        RecordOptions { ttl_seconds, leader_first: self.dns_leader_first }
    }

    /// The name server of these domains.
    fn server(self, domains: Vec<Name>, ip: IpAddr) -> DnsServer {
        let records = self.records();
        let (stale_after, rate_limit) = (self.dns_stale_after, self.dns_rate_limit);
        let listen = SocketAddr::new(ip, self.dns_port);
        DnsServer::new(DnsOptions { domains, listen, records, stale_after, rate_limit })
    }
}

/// Who tells the outside of the members, and what a member offers by it.
fn plugins(
    domains: Vec<Name>,
    dns: Dns,
    route53: route53::Flags,
    reached_at: SocketAddr,
    listen: SocketAddr,
) -> anyhow::Result<(Vec<Box<dyn ViewPlugin>>, Services)> {
    if domains.is_empty() {
        return Ok((Vec::new(), Services::default()));
    }
    if !route53.wanted() {
        return Ok((vec![Box::new(dns.server(domains, listen.ip()))], Services::DNS));
    }
    let ip = reached_at.ip();
    if ip.is_loopback() {
        warn!(
            "Route 53 will tell everybody {ip}, which only this machine can reach: give -a or --advertise another address"
        );
    }
    Ok((vec![Box::new(route53.publisher(domains, dns.records())?)], Services::ROUTE53))
}

/// A domain as people write it, with or without the last dot.
fn domain(given: &str) -> Result<Name, String> {
    let labels = given.strip_suffix('.').unwrap_or(given);
    let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let fits = |label: &str| !label.is_empty() && label.chars().all(letter);
    if !labels.split('.').all(fits) {
        return Err("a domain is letters, digits and hyphens with dots between them, such as counterdomain.com".into());
    }
    Name::from_ascii(format!("{labels}.")).map_err(|error| error.to_string())
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let listen = listen_address(arguments.addr.as_deref().unwrap_or(ADDRESS_DEFAULT), arguments.port)?;
    let shipping = logging::start(arguments.debug, arguments.log_format, arguments.logger.clone(), listen);
    // What is left to be sent to the logger has its time when this function is left.
    let _shipping = shipping.context("can't start a thread")?;
    if arguments.port.is_none() && listen.port() != PORT_DEFAULT {
        info!("port {PORT_DEFAULT} is in use, taking {}", listen.port());
    }
    if arguments.for_parent {
        end_with_stdin();
    }
    let mut options = Options::new(listen);
    options.bootstrap = bootstrap_addresses(&arguments.boot, arguments.names.dns_server)?;
    options.boot_wait = arguments.boot_wait;
    options.insecure = arguments.insecure;
    options.compiler = compiler();
    if arguments.object.is_none() && arguments.load.are_given() {
        wrong_usage("--init, --gas-per-call and --memory-pages are for the object that -o names");
    }
    options.object = arguments.object.as_deref().map(|given| object_source(given, &arguments.load)).transpose()?;
    let object = options.object.as_ref().map(|object| object.name.clone());
    options.storage = storage(&arguments.write, arguments.data_dir, listen);
    if options.object.is_none() && options.bootstrap.is_empty() && !goes_on(&options.storage) {
        wrong_usage("the first replica of a new cluster needs an object: give it with -o, or -b to join a cluster");
    }
    options.advertise = arguments.advertise.as_deref().map(|given| advertised(given, listen)).transpose()?;
    options.policy.witness = arguments.witness;
    options.policy.leave_on_stop = arguments.leave_on_stop;
    options.policy.snapshot_bytes = arguments.snapshot_log_bytes;
    options.timing.silent_us = micros(arguments.silent_after);
    options.timing.evict_us = arguments.evict_after.0.map(micros);
    options.on_ready = Some(Box::new(move |ready| {
        announce(ready, object.as_deref());
        if arguments.for_parent {
            // A parent that is gone already ends this process by the other way.
            let _ = print::line(ready.address);
        }
    }));

    let reached_at = options.advertise.unwrap_or(listen);
    let plugins;
    (plugins, options.services) =
        self::plugins(arguments.domains, arguments.dns, arguments.route53, reached_at, listen)?;

    // Objects run on it, with more stack than the first thread has everywhere.
    let replica = thread::Builder::new().name("concoord".into()).stack_size(concoord_node::STACK_BYTES);
    let ended = replica.spawn(move || serve(options, plugins)).context("can't start a thread")?.join();
    ended.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

fn serve(options: Options, plugins: Vec<Box<dyn ViewPlugin>>) -> anyhow::Result<()> {
    connect::runtime()?.block_on(async {
        let stop = stop_on_signal().context("can't listen for signals")?;
        // Whether it could hand over is in the log; it has stopped as it was told to.
        concoord_node::run(options, stop, plugins).await?;
        Ok(())
    })
}

/// How long a member is silent before it is evicted; `None` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EvictAfter(Option<Duration>);

fn evict_after(given: &str) -> Result<EvictAfter, String> {
    if given == "never" {
        return Ok(EvictAfter(None));
    }
    duration::parse(given).map(|time| EvictAfter(Some(time))).map_err(|error| error.to_string())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The directory of a replica that is given none.
pub(crate) fn data_dir_default(listen: SocketAddr) -> PathBuf {
    PathBuf::from("concoord-data").join(format!("{}-{}", listen.ip(), listen.port()))
}

/// Where the replica keeps its data. A port that the system chooses gives no name that is found again.
fn storage(write: &str, data_dir: Option<PathBuf>, listen: SocketAddr) -> Storage {
    let named = || data_dir_default(listen);
    match (write, data_dir) {
        ("off", directory) => Storage::Memory(directory.or_else(|| (listen.port() != 0).then(named))),
        (_, Some(directory)) => Storage::Disk(directory),
        (_, None) if listen.port() == 0 => {
            Storage::Disk(PathBuf::from("concoord-data").join(format!("{}-any-{}", listen.ip(), std::process::id())))
        }
        (_, None) => Storage::Disk(named()),
    }
}

/// Whether the replica finds data of its own.
fn goes_on(storage: &Storage) -> bool {
    matches!(storage, Storage::Disk(directory) if concoord_node::is_lived_in(directory))
}

/// Ends as for a command line that does not parse: what is missing shows only once the disk was looked at.
fn wrong_usage(what: &str) -> ! {
    crate::args::Arguments::command().error(clap::error::ErrorKind::MissingRequiredArgument, what).exit()
}

fn advertised(given: &str, listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    if let Ok(ip) = given.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, listen.port()));
    }
    let with_port = if given.contains(':') { given.to_owned() } else { format!("{given}:{}", listen.port()) };
    let resolved = with_port.to_socket_addrs().with_context(|| format!("--advertise '{given}' is no address"))?;
    resolved.into_iter().next().with_context(|| format!("--advertise '{given}' has no address"))
}

/// Says that the replica serves, and how to call it.
fn announce(ready: Ready, object: Option<&str>) {
    let Ready { node, cluster, address } = ready;
    match object {
        Some(object) => info!("replica {node} of cluster {cluster} serves {object} at {address}"),
        None => info!("replica {node} of cluster {cluster} serves at {address}"),
    }
}

fn object_source(given: &str, load: &LoadFlags) -> anyhow::Result<ObjectSource> {
    let source = Source::find(given)?;
    let arguments = source.start_arguments(load)?;
    let Source { name, module, is_builtin, .. } = source;
    Ok(ObjectSource { name, module, arguments, limits: load.limits(), by_name: is_builtin })
}

/// The address to listen on; without a port, the first that is free.
fn listen_address(host: &str, port: Option<u16>) -> anyhow::Result<SocketAddr> {
    let ip = ip_address(host)?;
    if let Some(port) = port {
        return Ok(SocketAddr::new(ip, port));
    }
    for port in PORT_DEFAULT..PORT_DEFAULT + PORTS_TRIED {
        let address = SocketAddr::new(ip, port);
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            // Any other failure is one of the address: the node tells it better.
            _ => return Ok(address),
        }
    }
    bail!("all ports of {ip} from {PORT_DEFAULT} to {} are in use: choose one with -p", PORT_DEFAULT + PORTS_TRIED - 1)
}

pub(crate) fn ip_address(host: &str) -> anyhow::Result<IpAddr> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let resolved = (host, 0).to_socket_addrs().with_context(|| format!("'{host}' is no address of this machine"))?;
    resolved.map(|address| address.ip()).next().with_context(|| format!("'{host}' has no address"))
}

/// All addresses in the lists given with -b, of which domains are looked up. A port left out is the default one.
fn bootstrap_addresses(lists: &[String], dns_server: Option<SocketAddr>) -> anyhow::Result<Vec<SocketAddr>> {
    let entries = lists.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|entry| !entry.is_empty());
    let entries = entries.map(|entry| match entry.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT_DEFAULT).to_string(),
        Err(_) => entry.to_owned(),
    });
    let entries = entries.collect::<Vec<_>>().join(", ");
    match (entries.is_empty(), lists.is_empty()) {
        (true, true) => Ok(Vec::new()),
        (true, false) => bail!("-b names no address: give it address:port of a replica that runs, or a domain"),
        (false, _) => {
            let found = connect::runtime()?.block_on(concoord_client::find_replicas(&entries, dns_server));
            found.context("-b names nobody to join")
        }
    }
}

/// Completes at the first SIGTERM or SIGINT; the second ends the process.
fn stop_on_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        info!("{name}: stopping; another signal ends at once");
        // The node may have ended by itself meanwhile.
        let _ = stop.send(());
        let name = either(&mut terminate, &mut interrupt).await;
        warn!("{name} again: ending at once");
        std::process::exit(1);
    });
    Ok(async move {
        // The task above never drops its end without sending.
        let _ = stopped.await;
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Ends the process when standard input does: whoever started it is gone, however it went.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let mut ignored = [0; 64];
        let mut input = std::io::stdin().lock();
        while input.read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
        std::process::exit(1);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(lists: &[&str]) -> anyhow::Result<Vec<String>> {
        let lists: Vec<_> = lists.iter().map(|list| (*list).to_owned()).collect();
        Ok(bootstrap_addresses(&lists, None)?.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn bootstrap_lists_are_separated_by_commas_and_blanks() {
        let both = ["127.0.0.1:14000", "127.0.0.1:14001", "[::1]:7"];
        assert_eq!(addresses(&["127.0.0.1:14000, 127.0.0.1:14001", "[::1]:7,"]).expect("addresses"), both);
        assert_eq!(addresses(&["127.0.0.1,::1"]).expect("addresses"), ["127.0.0.1:14000", "[::1]:14000"]);
        assert!(addresses(&[]).expect("none").is_empty());
    }

    #[test]
    fn bad_bootstrap_addresses_are_named() {
        let error = addresses(&["127.0.0.1:x"]).expect_err("no port");
        assert!(print::one_line(&error).contains("'127.0.0.1:x'"), "{error:#}");
        assert!(addresses(&[" , "]).is_err());
    }

    #[test]
    fn without_a_port_the_next_free_one_is_taken() {
        let first = listen_address("127.0.0.1", None).expect("a free port");
        let taken = UdpSocket::bind(first).expect("it was free");
        let second = listen_address("127.0.0.1", None).expect("another free port");
        assert!(second.port() > first.port(), "{second} after {first}");
        drop(taken);
        assert_eq!(listen_address("127.0.0.1", Some(7)).expect("as given").port(), 7);
    }
}
