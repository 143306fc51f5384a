//! `concoord log check`, over a directory that a log was written to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use concoord_node::disk::RealDirectory;
use concoord_node::log::{Identity, Log, LogOptions};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::View;
use concoord_wire::record::Record;
use concoord_wire::value::Value;
use concoord_wire::{Ballot, ClusterId, NodeId, Slot, ViewId};

/// A directory of its own, removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("concoord-log-check-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_concoord"));
        command.args(["log", "check"]).arg(&self.0).args(arguments).output().expect("it runs")
    }

    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(&self.0).expect("a list").map(|entry| entry.expect("an entry").path());
        entries.map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A log with three frames, each one sector: slots 1 to 3.
fn write_log(path: &Path) -> Log {
    let identity = Identity { cluster: ClusterId(7), node: NodeId(9), tag: 0x1234_5678 };
    let view = View::first([]);
    let start = Checkpoint::genesis(identity.cluster, view);
    let directory = Arc::new(RealDirectory::open(path).expect("a directory"));
    let mut log = Log::create(directory, identity, &start, b"state", LogOptions::new(8 << 10)).expect("set up");
    let ballot = Ballot { view: ViewId(1), round: 1, leader: identity.node };
    for slot in 1..=3 {
        let record = Record::Accepted { slot: Slot(slot), ballot, value: Value::Noop };
        log.write(&[(log.next(), record)]).expect("written");
        log.sync().expect("synced");
    }
    log
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_whole_is_shown_with_exit_code_0() {
    let scratch = Scratch::new("whole");
    write_log(&scratch.0).close().expect("closed");
    let before = scratch.contents();
    let output = scratch.check(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("replica 0000000000000009 of cluster 00000000000000000000000000000007"), "{shown}");
    assert!(
        shown.lines().any(|line| line.starts_with("log-00000000000000000001") && line.ends_with("whole")),
        "{shown}"
    );
    let json: serde_json::Value = serde_json::from_slice(&scratch.check(&["--json"]).stdout).expect("JSON");
    assert_eq!((&json["synced"], &json["accepted"]), (&3.into(), &3.into()));
    assert_eq!(json["damage"], serde_json::json!([]));
    assert_eq!(scratch.contents(), before, "nothing is changed");
}

#[test]
fn damage_is_named_with_exit_code_1_and_left_as_it_is() {
    let scratch = Scratch::new("damaged");
    write_log(&scratch.0).close().expect("closed");
    let segment = scratch.0.join("log-00000000000000000001");
    let mut bytes = fs::read(&segment).expect("readable");
    // The body of the second frame.
    bytes[512 + 130] ^= 1;
    fs::write(&segment, bytes).expect("written");
    let before = scratch.contents();
    let output = scratch.check(&[]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("log-00000000000000000001 at byte 512") && error.contains("slots 2 to 2"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let output = scratch.check(&["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["damage"][0]["unknown"], serde_json::json!([2, 2]));
    assert_eq!(scratch.contents(), before, "nothing is changed");
}

#[test]
fn a_directory_in_use_or_without_a_log_is_refused_with_a_reason() {
    let scratch = Scratch::new("refused");
    let error = text(&scratch.check(&[]).stderr);
    assert!(error.contains("holds no replica's log"), "{error}");
    let log = write_log(&scratch.0);
    let output = scratch.check(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("in use by another process"), "{}", text(&output.stderr));
    drop(log);
    fs::remove_file(scratch.0.join("identity")).expect("removed");
    let error = text(&scratch.check(&[]).stderr);
    assert!(error.contains("identity is lost"), "{error}");
}
