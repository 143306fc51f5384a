//! Replicas as name servers: what the guide asks is answered, and follows the view.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, Launch, concoord, free_address, wait_for, wait_for_within};
use concoord_tests::disk_watch::DiskWatch;
use concoord_tests::dns::dig;
use concoord_tests::load::counted;

const DOMAIN: &str = "counterdomain.com";
const SERVICE: &str = "_concoord._tcp.counterdomain.com";
/// How long a member is unheard before it is silent, as replicas have it.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// How much later the answers follow what happened.
const LATER: Duration = Duration::from_secs(1);
/// How long a new leader takes beside that.
const ELECTION: Duration = Duration::from_millis(800);

/// A replica that serves the domain at a port of its own: its address and its name server's.
fn start(cluster: &mut Cluster) -> (SocketAddr, SocketAddr) {
    let server = free_address();
    let port = server.port().to_string();
    let mut flags = vec!["-o", "concoord.object.counter.Counter", "-n", DOMAIN, "--dns-port", &port];
    let all = cluster.addresses();
    if !all.is_empty() {
        flags.extend(["-b", &all]);
    }
    (cluster.start(&flags), server)
}

/// The ports of the domain's services, first priority first.
fn services(server: SocketAddr) -> Result<Vec<u16>, String> {
    let mut records = dig(server, &["-t", "srv", SERVICE])?;
    records.sort_by_key(|record| record.split(' ').next().and_then(|priority| priority.parse::<u32>().ok()));
    let port = |record: &String| record.split(' ').nth(2).and_then(|port| port.parse().ok());
    records.iter().map(|record| port(record).ok_or_else(|| format!("'{record}' is no SRV record"))).collect()
}

/// How long it takes until the services are as wanted, which may be `limit` beside what the disk stands still.
fn until(
    disk: &DiskWatch,
    limit: Duration,
    what: &str,
    server: SocketAddr,
    wanted: impl Fn(&[u16]) -> bool,
) -> Duration {
    let began = Instant::now();
    wait_for(what, || match services(server)? {
        found if wanted(&found) => Ok(()),
        found => Err(format!("{found:?}")),
    });
    let took = disk.without_stalls(began, Instant::now());
    println!("{what}: {} ms", took.as_millis());
    assert!(took <= limit, "{what} took {took:?}, and {limit:?} are allowed");
    took
}

#[test]
fn answers_follow_the_view() {
    let disk = DiskWatch::start();
    let mut cluster = Cluster::new("dns");
    let started = [(); 3].map(|()| start(&mut cluster));
    let (observer, server) = started[2];
    let mut ports = started.map(|(address, _)| address.port());
    ports.sort_unstable();
    until(&disk, LATER, "three replicas, from the last one's start", server, |found| {
        let mut found = found.to_vec();
        found.sort_unstable();
        found == ports
    });

    assert_eq!(dig(server, &["-t", "a", DOMAIN]), Ok(vec!["127.0.0.1".into()]));
    let text = dig(server, &["-t", "txt", DOMAIN]).expect("an answer").concat();
    assert!(ports.iter().all(|port| text.contains(&format!("replica 127.0.0.1:{port}"))), "{text}");
    let servers = dig(server, &["-t", "ns", DOMAIN]).expect("an answer");
    assert_eq!(servers.len(), 3, "{servers:?}");
    for name in &servers {
        assert_eq!(dig(server, &["-t", "a", name]), Ok(vec!["127.0.0.1".into()]), "glue");
    }
    let serial =
        |server| dig(server, &["-t", "soa", DOMAIN]).expect("an answer")[0].split(' ').nth(2).map(str::to_owned);
    assert_eq!(serial(server), serial(started[0].1), "every server has the same zone");
    assert_eq!(dig(server, &["+tcp", "-t", "a", "CounterDomain.COM"]), Ok(vec!["127.0.0.1".into()]));
    assert_eq!(dig(server, &["-t", "a", "example.org"]), Ok(vec![]));

    let leader = cluster.leader(observer);
    // The server that is asked goes on.
    assert_ne!(leader, observer, "who joined last does not lead");
    cluster.replica(leader).kill();
    let killed = leader.port();
    until(&disk, ELECTION + LATER, "a new leader first, from SIGKILL of the old one", server, |found| {
        found[0] != killed
    });
    let new = cluster.leader(observer).port();
    assert_eq!(services(server).expect("an answer")[0], new, "the one that leads");
    until(&disk, SILENT_AFTER + LATER, "without the killed one, after that", server, |found| !found.contains(&killed));
    let text = dig(server, &["-t", "txt", DOMAIN]).expect("an answer").concat();
    assert!(!text.contains(&killed.to_string()), "{text}");

    let (joined, _) = start(&mut cluster);
    until(&disk, LATER, "with a new one, from its start", server, |found| found.contains(&joined.port()));
}

#[test]
fn a_client_that_knows_only_the_domain_finds_whoever_is_there() {
    let mut cluster = Cluster::new("dns-client");
    let (_, server) = start(&mut cluster);
    for _ in 0..2 {
        start(&mut cluster);
    }
    let server = server.to_string();
    let increment = |cluster: &Cluster| {
        let called = concoord(&["call", "-c", DOMAIN, "--dns-server", &server, "--timeout", "10s", "increment"]);
        assert!(called.code == Some(0), "{}", called.stderr);
        cluster.all().len()
    };
    increment(&cluster);
    // The first one's name server is the one that is asked, so it goes last.
    let old: Vec<SocketAddr> = cluster.all();
    for leaver in old.iter().skip(1) {
        start(&mut cluster);
        let left = concoord(&["leave", "-c", &leaver.to_string()]);
        assert!(left.code == Some(0), "{}", left.stderr);
        cluster.release(*leaver).wait();
        increment(&cluster);
    }
    let addresses = cluster.addresses();
    assert_eq!(counted(&addresses), 3);
}

#[test]
fn a_member_that_is_started_again_with_the_domain_becomes_a_name_server() {
    let mut cluster = Cluster::new("dns-later");
    let (first, server) = start(&mut cluster);
    let flags = ["-o", "counter", "-b", &first.to_string()];
    cluster.start(&flags);
    let later = cluster.start(&flags);
    let id = cluster.replica(later).id().expect("it has told its id");
    let servers = |count: usize| {
        wait_for_within(LATER, "the name servers", || match dig(server, &["-t", "ns", DOMAIN])? {
            found if found.len() == count => Ok(found),
            found => Err(format!("{found:?}")),
        })
    };
    servers(1);
    cluster.release(later).kill();
    let port = free_address().port().to_string();
    let more = ["-n", DOMAIN, "--dns-port", &port];
    cluster.start_at(later, Launch::with_flags(&[&flags[..], &more].concat()));
    assert!(servers(2).contains(&format!("{id}.{DOMAIN}.")), "under its id");
    cluster.release(later).kill();
    cluster.start_at(later, Launch::with_flags(&flags));
    servers(1);
}

#[test]
fn a_taken_port_is_told_and_taken_over_when_it_is_free() {
    let mut cluster = Cluster::new("dns-port");
    let (first, server) = start(&mut cluster);
    let port = server.port().to_string();
    let flags = ["-o", "counter", "-n", DOMAIN, "--dns-port", &port, "-b", &first.to_string()];
    let second = cluster.start(&flags);
    let third = cluster.start(&["-o", "counter", "-b", &first.to_string()]);
    let log = cluster.replica(second).log();
    assert!(log.contains(&format!("DNS on {server}: is in use by another program")), "{log}");
    cluster.replica(first).kill();
    wait_for_within(Duration::from_secs(10), "the second replica to answer", || dig(server, &["-t", "a", DOMAIN]));
    assert!(cluster.replica(second).log().contains("answers DNS questions for counterdomain.com. on"), "it says so");
    let served = dig(server, &["-t", "ns", DOMAIN]).expect("an answer");
    let other = cluster.replica(third).id().expect("it has told its id");
    assert!(!served.is_empty() && !served.iter().any(|name| name.starts_with(&other)), "{served:?} has {other}");
}
