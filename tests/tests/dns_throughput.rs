//! How many questions a name server answers on one core, beside BIND with the same records.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use concoord_tests::bind::Bind;
use concoord_tests::cluster::{Cluster, Scratch, free_address};
use concoord_tests::dns::dig;
use concoord_tests::load::is_long;
use concoord_tests::usage::{median, processor_time};

const DOMAIN: &str = "counterdomain.com";
const TCP_SERVICE: &str = "_concoord._tcp.counterdomain.com";
const UDP_SERVICE: &str = "_concoord._udp.counterdomain.com";
const NOBODY: &str = "nobody.counterdomain.com";
/// What is answered beside BIND, at least.
const RATIO_MIN: f64 = 0.5;
/// Each server is measured so often, by turns.
const ROUNDS: usize = 3;
const ROUND_SECONDS: u32 = 3;

/// Three replicas; the name server of the one started first, and the number of that process.
fn start(cluster: &mut Cluster) -> (SocketAddr, u32) {
    let servers = [(); 3].map(|()| {
        let server = free_address();
        let (port, all) = (server.port().to_string(), cluster.addresses());
        let mut flags = vec!["-o", "counter", "-n", DOMAIN, "--dns-port", &port, "--dns-rate-limit", "0"];
        if !all.is_empty() {
            flags.extend(["-b", &all]);
        }
        cluster.start(&flags);
        server
    });
    let first = cluster.all()[0];
    (servers[0], cluster.replica(first).process())
}

/// All records of the domain, as a zone file.
fn zone(server: SocketAddr, node: &str) -> String {
    let address = "127.0.0.1.ipaddr.counterdomain.com";
    let mut questions: Vec<_> = ["soa", "ns", "a", "txt"].map(|kind| (kind, DOMAIN.to_owned())).into();
    questions.extend([("srv", TCP_SERVICE.into()), ("srv", UDP_SERVICE.into()), ("a", address.into())]);
    questions.extend(nodes(server).into_iter().map(|name| ("a", name)));
    assert!(questions.iter().any(|(_, name)| name == node));
    let records = questions.iter().map(|(kind, name)| all(server, &["+answer", "-t", kind, name]));
    records.map(|records| records.join("\n") + "\n").collect()
}

fn nodes(server: SocketAddr) -> Vec<String> {
    dig(server, &["-t", "ns", DOMAIN]).expect("an answer")
}

/// Records of an answer, whole and sorted.
fn all(server: SocketAddr, question: &[&str]) -> Vec<String> {
    let mut records = dig(server, &[&["+noshort", "+noall"], question].concat()).expect("an answer");
    records.iter_mut().for_each(|record| *record = record.split_whitespace().collect::<Vec<_>>().join(" "));
    records.sort();
    records
}

/// The first and the last core that this process may run on.
fn cores() -> (u32, u32) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux tells");
    let mut cores = list.trim().split([',', '-']).map(|core| core.parse().expect("a number"));
    let first = cores.next().expect("it runs somewhere");
    (first, cores.next_back().unwrap_or(first))
}

/// Has all threads of a process run on one core.
fn pin(process: u32, core: u32) {
    let arguments = ["-a", "-c", "-p", &core.to_string(), &process.to_string()].map(str::to_owned);
    let pinned = Command::new("taskset").args(arguments).output().expect("taskset of util-linux");
    assert!(pinned.status.success(), "{}", String::from_utf8_lossy(&pinned.stderr));
}

/// What dnsperf measured.
#[derive(Clone, Copy, Debug)]
struct Throughput {
    /// Answers a second.
    per_second: f64,
    /// Answers for each second of a processor that the server used.
    per_processor_second: f64,
}

fn dnsperf(server: SocketAddr, process: u32, questions: &Path, core: u32) -> Throughput {
    let used = processor_time(process);
    let mut command = Command::new("taskset");
    command.args([
        "-c",
        &core.to_string(),
        "dnsperf",
        "-s",
        &server.ip().to_string(),
        "-p",
        &server.port().to_string(),
    ]);
    command.args(["-l", &ROUND_SECONDS.to_string(), "-d"]).arg(questions);
    let output = command.output().expect("dnsperf, which tests/run installs");
    let used = processor_time(process) - used;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let figure = |name: &str| -> f64 {
        let value = said.lines().find_map(|line| line.trim().strip_prefix(name)?.split_whitespace().next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no '{name}' in {said}"))
    };
    let (answers, lost) = (figure("Queries completed:"), figure("Queries lost:"));
    assert!(lost * 100.0 <= answers, "{lost} of {answers} questions had no answer");
    Throughput { per_second: figure("Queries per second:"), per_processor_second: answers / used.as_secs_f64() }
}

#[test]
fn one_core_answers_at_least_half_of_what_bind_does() {
    let scratch = Scratch::new("dns-throughput");
    let mut cluster = Cluster::new("dns-throughput-replicas");
    let (ours, process) = start(&mut cluster);
    let node = nodes(ours).swap_remove(0);
    let bind = Bind::start(&scratch, DOMAIN, &zone(ours, &node));
    let questions = [
        ("A", DOMAIN),
        ("TXT", DOMAIN),
        ("NS", DOMAIN),
        ("SRV", TCP_SERVICE),
        ("SRV", UDP_SERVICE),
        ("A", &node),
        ("A", NOBODY),
        ("AAAA", DOMAIN),
    ];
    for (kind, name) in questions {
        let sections = ["+answer", "+authority", "+additional", "-t", kind, name];
        assert_eq!(all(ours, &sections), all(bind.server(), &sections), "{kind} {name}");
    }
    let lines: String = questions.iter().map(|(kind, name)| format!("{name} {kind}\n")).collect();
    let file = scratch.write("questions", lines.as_bytes());
    let (server_core, client_core) = cores();
    pin(process, server_core);
    pin(bind.process(), server_core);

    let rounds = if is_long() { 5 * ROUNDS } else { ROUNDS };
    let measured: Vec<_> = (0..rounds)
        .map(|round| {
            let pair = [(ours, process), (bind.server(), bind.process())]
                .map(|(server, process)| dnsperf(server, process, &file, client_core));
            let [ours, bind] = pair.map(|one| one.per_second);
            println!("round {}: {ours:.0} answers a second, BIND {bind:.0}", round + 1);
            pair
        })
        .collect();
    let medians = |of: fn(&Throughput) -> f64| {
        [0, 1].map(|server| median(measured.iter().map(|pair| of(&pair[server])).collect()))
    };
    for (what, [ours, bind]) in [
        ("answers a second", medians(|one| one.per_second)),
        ("answers for each second of a processor", medians(|one| one.per_processor_second)),
    ] {
        println!("{what}: {ours:.0}, BIND {bind:.0}: {:.2} times", ours / bind);
        assert!(ours >= RATIO_MIN * bind, "{what}: {ours:.0}, and BIND {bind:.0}");
    }
}
