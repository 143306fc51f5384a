//! The life of objects in a cluster of real processes: loaded, called, upgraded, rolled back, suspended and removed while
//! replicas come and go, and the same on each of them.

use std::net::SocketAddr;
use std::path::Path;

use concoord_client::{Client, Consistency};
use concoord_tests::cluster::{Cluster, Finished, Launch, Scratch, concoord, wait_for};
use concoord_tests::tally::{BREAKING, DEAF, FIRST, SECOND, Tally};
use concoord_wire::abi::Answer;
use concoord_wire::codec;
use serde_json::Value;

/// More than a client may send in one request.
const LARGE_BYTES: usize = 3 << 20;

/// The cluster and where its modules are.
struct Life {
    cluster: Cluster,
}

impl Life {
    fn file(&self, name: &str, module: &[u8]) -> String {
        self.cluster.scratch().write(name, module).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let addresses = self.cluster.addresses();
        concoord(&[arguments, &["-c", &addresses]].concat())
    }

    /// What a command prints that must go well.
    fn done(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = self.run(arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}: {stdout}");
        stdout
    }

    /// What a command says that must not go well.
    fn refused(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = self.run(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {stdout}{stderr}");
        stderr
    }

    fn call(&self, method: &str) -> String {
        self.done(&["call", method]).trim().to_owned()
    }

    /// Every replica, asked alone, gives these answers, and lists the same objects. Gives the list.
    fn all_agree(&self, queries: &[(&str, &str)]) -> Value {
        let mut lists = Vec::new();
        for address in self.cluster.all() {
            for (query, expected) in queries {
                let shown = concoord(&["call", "-c", &address.to_string(), query]);
                assert_eq!((shown.stdout.trim(), shown.stderr.as_str()), (*expected, ""), "{query} at {address}");
            }
            lists.push((address, listed(address)));
        }
        let (_, first) = &lists[0];
        for (address, list) in &lists {
            assert_eq!(list, first, "at {address}");
        }
        first.clone()
    }
}

fn listed(address: SocketAddr) -> Value {
    let shown = concoord(&["object", "list", "-c", &address.to_string(), "--json"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&shown.stdout).expect("it is JSON")
}

/// The object of this name in a list.
fn object<'a>(list: &'a Value, name: &str) -> &'a Value {
    let objects = list["objects"].as_array().expect("a list");
    objects.iter().find(|object| object["name"] == name).unwrap_or_else(|| panic!("no {name} in {list}"))
}

async fn number(client: &Client, method: &str) -> i64 {
    match client.query(Some("tally"), method, Vec::new(), Consistency::Linearizable).await {
        Ok(Answer::Returned(bytes)) => codec::from_bytes(&bytes).expect("a number"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn objects_live_in_a_cluster_alike_on_every_replica() {
    let mut life = Life { cluster: Cluster::of("object-life", "counter", 3) };
    let [first, second, breaking, deaf] = [
        ("first.wasm", FIRST.module()),
        ("second.wasm", SECOND.module()),
        ("breaking.wasm", BREAKING.module()),
        ("deaf.wasm", DEAF.module_with(LARGE_BYTES)),
    ]
    .map(|(name, module)| life.file(name, &module));

    // A second object, with an argument for its constructor and limits of its own.
    assert!(life.refused(&["object", "load", "tally", &first]).contains("Tally(start: i64)"));
    let load = ["object", "load", "tally", &first, "--init", r#"{"start": 5}"#, "--gas-per-call", "1000000"];
    assert_eq!(life.done(&[&load[..], &["--memory-pages", "16"]].concat()), "tally: loaded, is object 2\n");
    assert!(life.refused(&load).contains("the name 'tally' is taken by object 2"));
    assert!(life.refused(&["call", "taly.get"]).contains("no object 'taly'; this cluster has counter, tally"));
    assert_eq!((life.call("tally.add"), life.call("counter.increment")), ("6".into(), "1".into()));
    let list = life.all_agree(&[("tally.get", "6"), ("counter.getvalue", "1")]);
    let tally = object(&list, "tally");
    assert_eq!((&tally["gas_per_call"], &tally["memory_pages"]), (&1_000_000.into(), &16.into()));
    assert_eq!(
        (&tally["generation"], &tally["suspended"], &tally["interface"]),
        (&1.into(), &Value::Null, &"Tally".into())
    );

    // An upgrade, tried first, which takes the state over.
    let trial = life.done(&["object", "upgrade", "tally", &second, "--dry-run"]);
    assert!(trial.contains("Tally 1.0.0 would become Tally 2.0.0") && trial.contains("adds count() -> i64"), "{trial}");
    assert_eq!(life.all_agree(&[("tally.get", "6")]), list, "nothing changed");
    let upgraded = life.done(&["object", "upgrade", "tally", &second]);
    assert_eq!(upgraded, "tally: upgraded to Tally 2.0.0, in generation 2\n");
    assert_eq!(life.call("tally.add"), "16");
    life.all_agree(&[("tally.get", "16"), ("tally.count", "1"), ("counter.getvalue", "1")]);

    // One that would break callers, and one that can't take the state over.
    let changes = [
        "add takes 'much', which it did not",
        "get is an update and was a query",
        "get: result is String and was i64",
        "count is removed",
    ];
    let trial = life.run(&["object", "upgrade", "tally", &breaking, "--dry-run"]);
    let refused = life.refused(&["object", "upgrade", "tally", &breaking]);
    for change in changes {
        assert!(refused.contains(change), "{refused}");
        assert!(trial.code == Some(1) && trial.stdout.contains(change), "{trial:?}");
    }
    assert!(life.refused(&["object", "upgrade", "tally", "counter"]).starts_with("concoord: "), "no tally");
    life.all_agree(&[("tally.get", "16"), ("tally.count", "1")]);

    // Back, with what was added since.
    let back = life.done(&["object", "rollback", "tally"]);
    assert_eq!(back, "tally: rolled back, in generation 3\n  breaks callers: count is removed\n");
    assert_eq!(life.call("tally.add"), "17");
    assert!(life.refused(&["call", "tally.count"]).contains("tally has no method 'count'"));
    life.all_agree(&[("tally.get", "17")]);

    // Whoever joins now, and whoever starts again from its disk, has it too.
    let seed = life.cluster.all()[0].to_string();
    life.cluster.start(&["-o", "counter", "-b", &seed]);
    let leader = life.cluster.leader(life.cluster.all()[3]);
    life.cluster.replica(leader).kill();
    // While nobody leads yet.
    assert!(life.done(&["object", "upgrade", "tally", &second]).contains("generation 4"));
    assert_eq!(life.call("tally.add"), "27");
    life.cluster.restart_same(leader);
    let list = life.all_agree(&[("tally.get", "27"), ("tally.count", "1"), ("counter.getvalue", "1")]);
    assert_eq!(object(&list, "tally")["generation"], 4);

    // A module that is too large for one request, whose object fails where nobody waits.
    assert_eq!(life.done(&["object", "load", "deaf", &deaf, "--init", "[0]"]), "deaf: loaded, is object 3\n");
    assert_eq!(life.call("deaf.add"), "1");
    let why = wait_for("the end of the session to be told", || {
        let list = listed(life.cluster.all()[0]);
        object(&list, "deaf")["suspended"].as_str().map(str::to_owned).ok_or_else(|| list.to_string())
    });
    assert!(why.starts_with("told of the end of session ") && why.contains("it trapped"), "{why}");
    life.all_agree(&[("tally.get", "27")]);
    assert!(life.refused(&["call", "deaf.add"]).contains(&format!("deaf is suspended: {why}")));
    assert!(life.refused(&["call", "deaf.get"]).contains("deaf is suspended"));
    assert!(life.done(&["object", "list"]).contains(&format!("suspended: {why}")));
    assert_eq!(life.done(&["object", "resume", "deaf"]), "deaf: resumed\n");
    assert_eq!(object(&listed(life.cluster.all()[0]), "deaf")["suspended"], why, "it is told again, in the same slot");
    assert!(life.done(&["object", "upgrade", "deaf", &first]).contains("generation 2"));
    assert_eq!(life.call("deaf.add"), "2");
    life.all_agree(&[("deaf.get", "2")]);

    // A client that knows the name finds who has it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(Client::connect(&life.cluster.addresses())).expect("it is there");
    assert_eq!(runtime.block_on(number(&client, "get")), 27);
    assert_eq!(life.done(&["object", "remove", "tally"]), "tally: removed, was object 2\n");
    assert!(life.refused(&["object", "remove", "tally"]).contains("this cluster has counter, deaf"));
    assert!(life.refused(&["call", "tally.get"]).contains("no object 'tally'"));
    assert_eq!(life.done(&["object", "load", "tally", &first, "--init", "[-40]"]), "tally: loaded, is object 4\n");
    assert_eq!(runtime.block_on(number(&client, "get")), -40, "the new one");
    let list = life.all_agree(&[("tally.get", "-40"), ("deaf.get", "2"), ("counter.getvalue", "1")]);
    assert_eq!(object(&list, "tally")["object"], 4);
    runtime.block_on(client.close());
}

/// What `object show` prints of the object.
fn state(address: &str) -> Value {
    let shown = concoord(&["object", "show", "tally", "-c", address, "--json"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let shown: Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    shown["state"].clone()
}

fn write(scratch: &Scratch, version: Tally) {
    scratch.write("tally.wasm", &version.module());
}

#[test]
fn a_file_given_again_has_to_be_a_version_that_the_object_had() {
    let mut cluster = Cluster::new("object-again");
    write(cluster.scratch(), FIRST);
    let file = cluster.scratch().path().join("tally.wasm").display().to_string();
    let flags = ["-o", &file, "--init", "[7]", "--gas-per-call", "2000000"];
    let replica = cluster.start(&flags);
    let address = replica.to_string();
    assert_eq!(concoord(&["call", "-c", &address, "add"]).stdout, "8\n");
    assert_eq!(state(&address)["gas_per_call"], 2_000_000);
    cluster.scratch().write("second.wasm", &SECOND.module());
    let second = cluster.scratch().path().join("second.wasm").display().to_string();
    let upgraded = concoord(&["object", "upgrade", "tally", &second, "-c", &address]);
    assert_eq!(upgraded.code, Some(0), "{}", upgraded.stderr);

    // With what it was started with, although that is an old version by now, and with the new one.
    for version in [FIRST, SECOND] {
        write(cluster.scratch(), version);
        cluster.replica(replica).kill();
        cluster.restart_same(replica);
        assert_eq!(concoord(&["call", "-c", &address, "get"]).stdout, "8\n");
        assert_eq!(state(&address)["versions"].as_array().map(Vec::len), Some(2));
    }
    write(cluster.scratch(), BREAKING);
    let mut ended = cluster.release(replica);
    ended.kill();
    ended.begin_restart();
    assert_eq!(ended.wait().code(), Some(1));
    let log = ended.log_since_start();
    assert!(log.contains("object 'tally' of this cluster never had the module"), "{log}");

    // A name that the cluster has not is no reason to end.
    let other = Path::new(&file).with_file_name("other.wasm");
    std::fs::copy(&file, &other).expect("it is there");
    cluster.start_at(replica, Launch::with_flags(&["-o", &other.display().to_string()]));
    assert_eq!(concoord(&["call", "-c", &address, "add"]).stdout, "18\n");
}
