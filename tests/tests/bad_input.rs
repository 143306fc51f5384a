//! What bad input gets: a reason in one line, an exit code, and a cluster that goes on.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use concoord_tests::cluster::{Cluster, Finished, Scratch, Signal, concoord};
use concoord_transport::{Endpoint, Role};
use concoord_wire::client::Response;
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN};
use concoord_wire::limits::MODULE_BYTES_MAX;
use concoord_wire::{ClusterId, NodeId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SOON: Duration = Duration::from_secs(10);
const COUNTER: &[u8] = include_bytes!("../../objects-wasm/dist/counter.wasm");

/// A command line, and what has to be in the one line that says why it fails.
type Case<'a> = (&'a str, &'a [&'a str]);

/// Runs each line, split at blanks, with each name in braces replaced; all fail with exit code 1.
fn all_fail(scratch: &Scratch, names: &[(&str, String)], cases: &[Case<'_>]) {
    for (line, reasons) in cases {
        let words = line.split(' ').map(|word| filled(word, names)).collect::<Vec<_>>();
        let finished = scratch.concoord(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let reasons = reasons.iter().map(|reason| filled(reason, names)).collect::<Vec<_>>();
        fails_with_one_line(line, &finished, &reasons);
    }
}

fn filled(text: &str, names: &[(&str, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn fails_with_one_line(line: &str, finished: &Finished, reasons: &[String]) {
    assert_eq!(finished.code, Some(1), "{line}: {finished:?}");
    assert_eq!(finished.stdout, "", "{line}");
    // Before it gives up, a replica logs what it does, as JSON.
    let is_log = |said: &&str| line.starts_with("replica ") && said.starts_with("{\"timestamp\":");
    let said = finished.stderr.lines().skip_while(is_log).collect::<Vec<_>>();
    let [error] = said[..] else { panic!("{line}: not one line: {}", finished.stderr) };
    let error = error.strip_prefix("concoord: ").unwrap_or_else(|| panic!("{line}: {error}"));
    for reason in reasons {
        assert!(error.contains(reason), "{line}: no '{reason}' in: {error}");
    }
}

#[test]
fn modules_that_can_not_run_are_refused_by_file_reason_and_offset() {
    let scratch = Scratch::new("modules");
    let imports = wat::parse_str(r#"(module (import "env" "now" (func)))"#).expect("it is text of a module");
    let bare = wat::parse_str("(module (memory 1))").expect("it is text of a module");
    scratch.write("text.wasm", b"#!/bin/sh\n");
    scratch.write("empty.wasm", b"");
    scratch.write("imports.wasm", &imports);
    scratch.write("bare.wasm", &bare);
    scratch.write("cut.wasm", &COUNTER[..COUNTER.len() / 2]);
    scratch.write("big.wasm", &[COUNTER, &vec![0; MODULE_BYTES_MAX][..]].concat());
    let files: [Case<'_>; 6] = [
        ("text.wasm", &["text.wasm: not a WebAssembly module", "byte 0x0", "concoord object build"]),
        ("empty.wasm", &["empty.wasm: not a WebAssembly module"]),
        ("imports.wasm", &["imports.wasm: ", "imports env.now", "byte 0x"]),
        ("bare.wasm", &["bare.wasm: does not export memory", "#[concoord::object]"]),
        ("cut.wasm", &["cut.wasm: not a valid WebAssembly module", "byte 0x"]),
        ("big.wasm", &["big.wasm: larger than the 8388608 bytes"]),
    ];
    for (file, reasons) in files {
        // Each command says it: before a module is sent, before a replica starts, and to who only looks.
        let commands = ["object check {file}", "replica --object {file}", "object show {file}"];
        all_fail(&scratch, &[("file", file.into())], &commands.map(|command| (command, reasons)));
    }
    all_fail(
        &scratch,
        &[],
        &[
            ("object check none.wasm", &["can't read none.wasm", "No such file"]),
            (
                "replica -o conter",
                &["no object 'conter'", "no such file", "the built-in objects are bank, barrier, binarytree, "],
            ),
            ("object build .", &["holds no crate", "Cargo.toml"]),
        ],
    );
}

#[test]
fn addresses_that_can_not_be_used_are_named_with_the_reason() {
    let scratch = Scratch::new("addresses");
    let held = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    let held_address = held.local_addr().expect("it is bound");
    let names = [("held", held_address.to_string()), ("port", held_address.port().to_string())];
    all_fail(
        &scratch,
        &names,
        &[
            ("replica -o counter -p {port}", &["{held} is in use by another process", "-p"]),
            ("replica -o counter -a 192.0.2.1 --insecure", &["192.0.2.1 is not an address of this machine", "-a"]),
            (
                "replica -o counter -a 192.0.2.1",
                &["192.0.2.1 is not a loopback address", "unauthenticated", "--insecure"],
            ),
            ("replica -o counter -a 0.0.0.0", &["0.0.0.0 stands for every address of this machine", "-a"]),
            ("replica -o counter -a no-such-host.invalid", &["'no-such-host.invalid'"]),
            (
                "replica -o counter -p 0 -b {held} --boot-wait 300ms",
                &["{held} did not answer within 300 ms", "is the replica running there?"],
            ),
            ("replica -o counter -b 127.0.0.1:port", &["'127.0.0.1:port'"]),
            ("call -c {held} --timeout 500ms increment", &["can't reach a replica at {held}", "does not answer"]),
            ("call -c 127.0.0.1 increment", &["'127.0.0.1' has no port: write it as 127.0.0.1:14000"]),
            ("view -c 127.0.0.1:70000", &["'70000' in '127.0.0.1:70000' is not a port"]),
        ],
    );
}

#[test]
fn calls_that_do_not_fit_name_what_there_is() {
    let mut cluster = Cluster::new("calls");
    let replica = cluster.start(&["-o", "counter"]);
    let names = [("at", replica.to_string())];
    all_fail(
        cluster.scratch(),
        &names,
        &[
            ("call -c {at} conter.increment", &["no object 'conter'; this cluster has counter"]),
            ("object show -c {at} conter", &["no object 'conter'; this cluster has counter"]),
            ("call -c {at} multiply", &["counter has no method 'multiply'; it has increment, decrement, getvalue"]),
            ("call -c {at} increment 1", &["increment() -> i64", "takes 0 arguments, 1 given"]),
            ("call -c {at} getvalue [1 2", &["'[1' is not JSON"]),
            ("call -c {at} increment --stale", &["counter.increment is an update"]),
        ],
    );
    let value = cluster.scratch().concoord(&["call", "-c", &replica.to_string(), "getvalue"]);
    assert_eq!((value.code, value.stdout.as_str()), (Some(0), "0\n"), "nothing of it was counted");
}

#[test]
fn a_command_line_that_does_not_parse_has_exit_code_2() {
    for line in [
        "frobnicate",
        "replica",
        "replica -o counter -p 65536",
        "replica -o counter --boot-wait soon",
        "call",
        "call --timeout 5 increment",
        "object check",
        "view --yaml",
        "demo --replicas 2",
    ] {
        let finished = concoord(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(finished.code, Some(2), "{line}: {finished:?}");
        assert!(finished.stderr.starts_with("error: ") && finished.stdout.is_empty(), "{line}: {finished:?}");
    }
}

#[test]
fn without_a_majority_the_time_out_says_who_said_what() {
    let mut cluster = Cluster::of("majority", "counter", 2);
    let leader = cluster.leader(cluster.addresses().split(", ").next().expect("two").parse().expect("an address"));
    let other = cluster.other_than(leader);
    cluster.replica(leader).kill();
    let names = [("both", format!("{leader},{other}")), ("dead", leader.to_string()), ("living", other.to_string())];
    let reasons: &[&str] = &["no answer within", "{dead}: does not answer", "{living}: does not lead, no leader known"];
    all_fail(
        cluster.scratch(),
        &names,
        &[
            ("call -c {both} --timeout 2s increment", reasons),
            (
                "call -c {living} --timeout 2s getvalue",
                &["no answer within", "{living}: does not lead, no leader known"],
            ),
        ],
    );
    // What needs no majority is still answered.
    let stale =
        cluster.scratch().concoord(&["call", "-c", &other.to_string(), "--timeout", "5s", "--stale", "getvalue"]);
    assert_eq!((stale.code, stale.stdout.as_str()), (Some(0), "0\n"), "{stale:?}");
}

/// What a stranger who knows the protocol sends: a hello in each role, then bytes that are no frame of it.
async fn send_garbage(address: SocketAddr, cluster: ClusterId, bytes: &[u8]) {
    let endpoint = Endpoint::client().expect("loopback has ports");
    for role in [Role::Client, Role::Join, Role::Peer] {
        let node = (role == Role::Peer).then_some((NodeId(7), address));
        let hello = Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster: Some(cluster), node, life: 1 };
        // A replica need not let a peer in that it does not know.
        let Ok(connection) = endpoint.dial(address, role, &hello, SOON).await else {
            assert_eq!(role, Role::Peer, "clients and joiners are let in");
            continue;
        };
        let (outbox, mut inbox) = connection.split();
        for byte in bytes {
            // Raw bytes behind a proper length; it may be closed before the last of them.
            if outbox.push(&[*byte; 32]).is_err() {
                break;
            }
        }
        let end = async { while let Ok(Some(_)) = inbox.next::<Response>().await {} };
        tokio::time::timeout(SOON, end).await.unwrap_or_else(|_| panic!("{role:?} with garbage is not closed"));
    }
}

#[tokio::test]
async fn garbage_closes_its_connection_and_the_replica_goes_on() {
    let mut cluster = Cluster::new("garbage");
    let replica = cluster.start(&["-o", "counter"]);
    let at = replica.to_string();
    let increment = || concoord(&["call", "-c", &at, "increment"]).stdout;
    assert_eq!(increment(), "1\n");

    let mut random = StdRng::seed_from_u64(11);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    for _ in 0..2000 {
        let length = random.random_range(0..1500);
        let mut datagram = vec![0; length];
        random.fill(&mut datagram[..]);
        if length > 6 && random.random() {
            // As a first packet of QUIC begins.
            datagram[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        socket.send_to(&datagram, replica).expect("loopback takes it");
    }
    assert_eq!(increment(), "2\n");

    let view = concoord(&["view", "-c", &at, "--json"]).stdout;
    let view: serde_json::Value = serde_json::from_str(&view).expect("it is JSON");
    let digits = view["cluster"].as_str().expect("it has an id");
    let id = ClusterId(u128::from_str_radix(digits, 16).expect("it is one"));
    for bytes in [&[0xff][..], &[0x7f, 0, 0x80], &[0xfe; 64]] {
        send_garbage(replica, id, bytes).await;
    }
    assert_eq!(increment(), "3\n");

    cluster.replica(replica).signal(Signal::Terminate);
    assert_eq!(cluster.replica(replica).wait().code(), Some(0));
    let log = cluster.replica(replica).log();
    let counted = log.split("garbage_connections ").nth(1).and_then(|rest| rest.split([',', '\n']).next());
    let counted = counted.and_then(|number| number.trim().parse::<u32>().ok());
    assert!(counted.is_some_and(|counted| counted >= 6), "clients and joiners, three times each: {log}");
}
