//! The first pages of the guide, line by line: two replicas, the calls, the same from a program, and a clean stop.

use std::net::SocketAddr;

use concoord_client::Client;
use concoord_objects::CounterProxy;
use concoord_tests::cluster::{Cluster, Finished, Scratch, Signal, concoord, wait_for};
use serde_json::Value;

const DOTTED_NAME: &str = "concoord.object.counter.Counter";

/// The two replicas of the guide.
fn guide(name: &str) -> (Cluster, SocketAddr, SocketAddr) {
    let mut cluster = Cluster::verbatim(name);
    let first = cluster.start(&["-o", DOTTED_NAME]);
    let second = cluster.start(&["-o", DOTTED_NAME, "-b", &first.to_string()]);
    (cluster, first, second)
}

fn printed(text: &str) -> Finished {
    Finished { code: Some(0), stdout: format!("{text}\n"), stderr: String::new() }
}

fn call(addresses: &str, words: &[&str]) -> Finished {
    concoord(&[&["call", "-c", addresses], words].concat())
}

#[test]
fn the_lines_of_the_guide_count_to_two() {
    let (_cluster, first, second) = guide("guide");
    let both = format!("{first}, {second}");
    assert_eq!(call(&both, &["increment"]), printed("1"));
    assert_eq!(call(&both, &["increment"]), printed("2"));
    assert_eq!(call(&both, &["getvalue"]), printed("2"));
    // Any living one is enough, the object may be named, and a query may do without the others.
    assert_eq!(call(&second.to_string(), &["counter.decrement"]), printed("1"));
    assert_eq!(call(&first.to_string(), &["counter.getvalue"]), printed("1"));
    wait_for("the second to hear of the last call", || match call(&second.to_string(), &["getvalue", "--stale"]) {
        shown if shown == printed("1") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[tokio::test]
async fn a_program_counts_to_two() {
    let (_cluster, first, second) = guide("program");
    let client = Client::connect(&format!("{first}, {second}")).await.expect("both run");
    let counter = CounterProxy::new(client.clone());
    assert_eq!(counter.increment().await, Ok(1));
    assert_eq!(counter.increment().await, Ok(2));
    assert_eq!(counter.getvalue().await, Ok(2));
    client.close().await;
}

#[test]
fn the_view_names_both_and_one_leader() {
    let (cluster, first, second) = guide("view");
    for address in [first, second] {
        // The promotion of the second ended the first one's leadership, which has to be won again.
        _ = cluster.leader(address);
        let shown = concoord(&["view", "-c", &address.to_string(), "--json"]);
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
        let view: Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
        let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&view), ["cluster", "leader", "members", "version", "view"], "{view}");
        assert_eq!(view["cluster"].as_str().map(str::len), Some(32), "{view}");
        assert!(view["view"].is_u64(), "{view}");
        let members = view["members"].as_array().expect("a list");
        let mut ports: Vec<_> = members.iter().map(|member| member["port"].as_u64()).collect();
        ports.sort_unstable();
        let mut expected = [first, second].map(|address| Some(u64::from(address.port())));
        expected.sort_unstable();
        assert_eq!(ports, expected);
        for member in members {
            assert_eq!(
                keys(member),
                ["addr", "differs", "full", "id", "leader", "live", "port", "role", "silent", "supports", "volatile"],
                "{view}"
            );
            assert_eq!(member["addr"], "127.0.0.1");
            assert_eq!((&member["role"], &member["live"]), (&Value::from("replica"), &Value::from(true)), "{view}");
            assert_eq!(member["leader"], view["leader"] == member["id"], "{view}");
        }
        assert_eq!(members.iter().filter(|member| member["leader"] == true).count(), 1, "{view}");
    }
}

#[test]
fn the_object_is_shown_by_name_by_file_and_from_the_cluster() {
    let (_cluster, first, _) = guide("show");
    let by_name = concoord(&["object", "show", "counter"]);
    assert_eq!((by_name.code, by_name.stderr.as_str()), (Some(0), ""));
    for line in
        ["Counter 0.1.0", "update  increment() -> i64", "update  decrement() -> i64", "query   getvalue() -> i64"]
    {
        assert!(by_name.stdout.lines().any(|shown| shown == line), "no '{line}' in\n{}", by_name.stdout);
    }
    assert!(by_name.stdout.contains("Adds one and returns the new value."), "{}", by_name.stdout);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../objects-wasm/dist/counter.wasm");
    assert_eq!(concoord(&["object", "show", file]), by_name);
    let in_cluster = concoord(&["object", "show", "counter", "-c", &first.to_string()]);
    assert_eq!((in_cluster.code, in_cluster.stderr.as_str()), (Some(0), ""));
    let state = in_cluster.stdout.strip_prefix(&by_name.stdout);
    assert!(state.is_some_and(|state| state.starts_with("\nobject 1, generation 1, ")), "{}", in_cluster.stdout);
    assert_eq!(concoord(&["object", "check", file]).code, Some(0));
}

/// Stops the leader or the other, each with either signal: what was counted stays, and the other goes on alone.
fn a_clean_stop_leaves_the_other_serving(name: &str, signal: Signal, of_the_leader: bool) {
    let (mut cluster, first, second) = guide(name);
    let both = format!("{first}, {second}");
    assert_eq!(call(&both, &["increment"]), printed("1"));
    let leader = cluster.leader(first);
    let stopped = if of_the_leader { leader } else { cluster.other_than(leader) };
    let other = cluster.other_than(stopped);
    cluster.replica(stopped).signal(signal);
    let status = cluster.replica(stopped).wait();
    assert_eq!(status.code(), Some(0), "it was told to stop: {status}");
    assert_eq!(call(&both, &["increment"]), printed("2"));
    assert_eq!(call(&both, &["getvalue"]), printed("2"));
    let members = cluster.members(other);
    assert_eq!(members.iter().map(|member| member.address).collect::<Vec<_>>(), [other], "{members:?}");
    // And the last one stops as well, with nobody to hand over to.
    cluster.replica(other).signal(signal);
    let status = cluster.replica(other).wait();
    assert_eq!(status.code(), Some(0), "it was told to stop: {status}");
}

#[test]
fn the_leader_stops_at_sigterm() {
    a_clean_stop_leaves_the_other_serving("leader-term", Signal::Terminate, true);
}

#[test]
fn the_leader_stops_at_sigint() {
    a_clean_stop_leaves_the_other_serving("leader-int", Signal::Interrupt, true);
}

#[test]
fn the_follower_stops_at_sigterm() {
    a_clean_stop_leaves_the_other_serving("follower-term", Signal::Terminate, false);
}

#[test]
fn the_follower_stops_at_sigint() {
    a_clean_stop_leaves_the_other_serving("follower-int", Signal::Interrupt, false);
}

#[test]
fn a_first_start_with_wrong_constructor_arguments_leaves_nothing_behind() {
    let scratch = Scratch::new("wrong-init");
    let directory = scratch.path().join("data").display().to_string();
    let start = |object: &str, init: &[&str]| {
        concoord(&[&["replica", "-o", object, "-p", "0", "--data-dir", &directory], init].concat())
    };
    let refused = start("concoord.object.barrier.Barrier", &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = refused.stderr.lines().last().unwrap_or_default();
    assert!(said.contains("wrong constructor arguments: ") && said.contains("Barrier(parties: u32)"), "{said}");
    let refused = start("barrier", &["--init", "[0]"]);
    let said = refused.stderr.lines().last().unwrap_or_default();
    assert!(said.contains("a barrier has 1 to 4096 parties") && refused.code == Some(1), "{said}");

    let mut cluster = Cluster::new("right-init");
    let address = cluster.start(&["-o", "barrier", "--init", r#"{"parties": 2}"#, "--data-dir", &directory]);
    assert_eq!(call(&address.to_string(), &["parties"]), printed("2"));
}
