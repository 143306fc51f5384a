//! moto's Route 53, in a process of its own.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Records;
use crate::cluster::{Scratch, wait_for};
use crate::python;

const ASK: &str = include_str!("moto.py");
const LOG: &str = "log";
/// What stands before its endpoint in the log.
const RUNNING: &str = "Running on ";

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Moto {
    endpoint: String,
    process: Child,
    scratch: Scratch,
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Moto {
    /// A server without any hosted zone.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Moto {
        let scratch = Scratch::new("moto");
        let file = scratch.path().join(LOG);
        let log = File::create(&file).expect("room for a log");
        let mut command = Command::new(python::program("moto_server"));
        // The port is whichever is free; the log says which.
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("one more handle")).stderr(log);
        let process = command.spawn().expect("moto_server runs");
        let endpoint = wait_for("moto to listen", || {
            let log = fs::read_to_string(&file).expect("its log");
            let running = log.split_once(RUNNING).and_then(|(_, endpoint)| endpoint.split_once('\n'));
            running.map(|(endpoint, _)| endpoint.to_owned()).ok_or_else(|| log.clone())
        });
        Moto { endpoint, process, scratch }
    }

    /// What a client is given as the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// How many batches were sent to it, as its log has them.
    ///
    /// # Panics
    /// When its log can't be read.
    #[must_use]
    pub fn batches(&self) -> usize {
        let log = fs::read_to_string(self.scratch.path().join(LOG)).expect("its log");
        log.lines().filter(|line| line.contains("\"POST ") && line.contains("/rrset")).count()
    }

    /// Makes a hosted zone, and gives its id.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn create_zone(&self, name: &str) -> String {
        self.ask(&["create-zone", name]).as_str().expect("an id").to_owned()
    }

    /// Puts a record set there by hand.
    pub fn put(&self, zone: &str, name: &str, kind: &str, values: &[&str]) {
        self.ask(&[&["put", zone, name, kind], values].concat());
    }

    /// What is in a zone.
    ///
    /// # Panics
    /// When it can't be listed.
    #[must_use]
    pub fn records(&self, zone: &str) -> Records {
        let listed = self.ask(&["list", zone]);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let sets = listed.as_array().expect("a list").iter();
        sets.map(|set| {
            let values = set[2].as_array().expect("a list").iter().map(text).collect();
            ((text(&set[0]), text(&set[1])), values)
        })
        .collect()
    }

    fn ask(&self, what: &[&str]) -> Value {
        let mut command = Command::new(python::program("python"));
        let output = command.args(["-c", ASK, &self.endpoint()]).args(what).output().expect("python runs");
        assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}
