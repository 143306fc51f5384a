//! Backups of a living cluster, and new clusters made of them.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use concoord_tests::cluster::{Cluster, Finished, Launch, free_address, wait_for};
use concoord_tests::load::{Load, blocking, counted};
use concoord_transport::{DialError, Endpoint, Role};
use concoord_wire::ClusterId;
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN, Refusal};
use serde_json::Value;

const CLIENTS: usize = 8;
const INCREMENTS: u64 = 2000;

fn fails(finished: &Finished, reasons: &[&str]) {
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    for reason in reasons {
        assert!(finished.stderr.contains(reason), "no '{reason}' in: {}", finished.stderr);
    }
}

fn ok(cluster: &Cluster, words: &[&str]) -> String {
    let finished = cluster.scratch().concoord(words);
    assert_eq!(finished.code, Some(0), "{words:?}: {finished:?}");
    finished.stdout
}

/// A replica of a new cluster, made of `source`, as the commands say it.
fn restored(name: &str, source: &str, force: bool) -> (Cluster, SocketAddr, String) {
    let mut cluster = Cluster::new(name);
    let address = free_address();
    let port = address.port().to_string();
    let mut words = vec!["restore", source, "-p", &port];
    words.extend(force.then_some("--force-new-cluster"));
    let said = ok(&cluster, &words);
    assert!(said.contains(&format!("start it with: concoord replica -a 127.0.0.1 -p {port}\n")), "{said}");
    fails(&cluster.scratch().concoord(&words), &["holds a replica's data already", "--data-dir"]);
    cluster.start_at(address, Launch::default());
    (cluster, address, said)
}

fn cluster_id(cluster: &Cluster, address: SocketAddr) -> ClusterId {
    let view: Value =
        serde_json::from_str(&ok(cluster, &["view", "-c", &address.to_string(), "--json"])).expect("it is JSON");
    ClusterId(u128::from_str_radix(view["cluster"].as_str().expect("an id"), 16).expect("digits"))
}

/// What a client that has spoken with `cluster` hears at `address`.
fn refusal(cluster: ClusterId, address: SocketAddr) -> Option<Refusal> {
    blocking(async {
        let hello = Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster: Some(cluster), node: None, life: 0 };
        let endpoint = Endpoint::client().expect("loopback has ports");
        match endpoint.dial(address, Role::Client, &hello, Duration::from_secs(10)).await {
            Err(DialError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    })
}

#[test]
fn a_backup_under_load_becomes_a_cluster_of_its_own() {
    let old = Cluster::of("backup", "counter", 3);
    let load = Load::start(&old.addresses(), CLIENTS);
    load.wait_for_increments(INCREMENTS);
    let file = old.scratch().path().join("counter.backup").display().to_string();
    let acknowledged = load.acknowledged();
    let said = ok(&old, &["backup", &file, "-c", &old.addresses()]);
    let most = load.acknowledged() + CLIENTS as u64;
    assert!(said.starts_with("backup of slot ") && said.contains(&file), "{said}");
    assert!(!fs::exists(format!("{file}.part")).expect("it can be looked at"), "nothing unfinished is left");

    let (mut new, first, _) = restored("restored", &file, false);
    let value = counted(&first.to_string());
    assert!((acknowledged..=most).contains(&value), "{value} is not from {acknowledged} to {most}");

    // Both go on, each for itself, and who joins the new one has its state.
    let second = new.start(&["-b", &first.to_string()]);
    new.start(&["-b", &second.to_string()]);
    assert_eq!(ok(&new, &["call", "-c", &new.addresses(), "increment"]), format!("{}\n", value + 1));
    wait_for("the joiner to have it", || {
        let shown = new.scratch().concoord(&["call", "-c", &second.to_string(), "--stale", "getvalue"]);
        if shown.stdout == format!("{}\n", value + 1) { Ok(()) } else { Err(format!("{shown:?}")) }
    });
    load.wait_for_increments(INCREMENTS);
    _ = load.finish(&old.addresses());
    let (ours, theirs) = (old.all()[0], first);
    let (old_id, new_id) = (cluster_id(&old, ours), cluster_id(&new, theirs));
    assert_ne!(old_id, new_id);
    assert_eq!(refusal(old_id, theirs), Some(Refusal::OtherCluster { expected: old_id, actual: new_id }));
    assert_eq!(refusal(new_id, ours), Some(Refusal::OtherCluster { expected: new_id, actual: old_id }));
}

#[test]
fn a_backup_that_is_damaged_is_refused_and_an_old_one_is_replaced() {
    let cluster = Cluster::of("damaged", "counter", 1);
    let at = cluster.addresses();
    let file = cluster.scratch().path().join("counter.backup");
    let name = file.display().to_string();
    ok(&cluster, &["backup", &name, "-c", &at]);
    ok(&cluster, &["call", "-c", &at, "increment"]);
    ok(&cluster, &["backup", &name, "-c", &at]);
    let (_new, address, _) = restored("replaced", &name, false);
    assert_eq!(counted(&address.to_string()), 1, "the second backup is there");

    let mut bytes = fs::read(&file).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("it can be written");
    let directory = cluster.scratch().path().join("none");
    let into = directory.display().to_string();
    fails(&cluster.scratch().concoord(&["restore", &name, "--data-dir", &into]), &["counter.backup", "checksum"]);
    assert!(!directory.exists(), "nothing is left of a restore that failed");
    let scratch = cluster.scratch().path().display().to_string();
    let into_directory = cluster.scratch().concoord(&["backup", &scratch, "-c", &at]);
    fails(&into_directory, &["name a file"]);
    let nowhere = cluster.scratch().concoord(&["backup", "x", "-c", &free_address().to_string(), "--timeout", "1s"]);
    fails(&nowhere, &["no backup was taken", "not done within 1"]);
    assert!(!cluster.scratch().path().join("x.part").exists());
}

#[test]
fn what_one_replica_of_a_dead_cluster_has_becomes_a_new_one_by_force() {
    let mut dead = Cluster::of("dead", "counter", 3);
    let survivor = dead.all()[2];
    let data = dead.scratch().path().join("concoord-data").join(format!("127.0.0.1-{}", survivor.port()));
    let data = data.display().to_string();
    let load = Load::start(&dead.addresses(), CLIENTS);
    load.wait_for_increments(INCREMENTS);
    let acknowledged = load.finish(&dead.addresses()).acknowledged;
    wait_for("the survivor to have it all", || {
        let shown = dead.scratch().concoord(&["call", "-c", &survivor.to_string(), "--stale", "getvalue"]);
        if shown.stdout == format!("{acknowledged}\n") { Ok(()) } else { Err(format!("{shown:?}")) }
    });
    let into = dead.scratch().path().join("into").display().to_string();
    let forced = ["restore", &data, "--data-dir", &into, "--force-new-cluster"];
    fails(&dead.scratch().concoord(&forced), &["in use by another process"]);
    dead.kill_all();
    fails(&dead.scratch().concoord(&["restore", &data]), &["not a backup", "--force-new-cluster"]);
    let (new, address, said) = restored("forced", &data, true);
    assert!(said.contains("what the others decided and this replica never heard of is lost"), "{said}");
    assert_eq!(counted(&address.to_string()), acknowledged);
    assert_eq!(ok(&new, &["call", "-c", &address.to_string(), "increment"]), format!("{}\n", acknowledged + 1));
    // The dead one is as it was.
    dead.restart_all_same();
    assert_eq!(counted(&dead.addresses()), acknowledged);
}
