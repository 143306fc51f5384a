//! moto's Route 53, in a process of its own.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Records;
use crate::cluster::{Scratch, free_address, wait_for};
use crate::python;

const ASK: &str = include_str!("moto.py");

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
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
        let address = free_address();
        let log = File::create(scratch.path().join("log")).expect("room for a log");
        let mut command = Command::new(python::program("moto_server"));
        command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("one more handle")).stderr(log);
        let process = command.spawn().expect("moto_server runs");
        let moto = Moto { address, process, scratch };
        wait_for("moto to listen", || TcpStream::connect(address).map_err(|error| error.to_string()));
        moto
    }

    /// What a client is given as the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many batches were sent to it, as its log has them.
    ///
    /// # Panics
    /// When its log can't be read.
    #[must_use]
    pub fn batches(&self) -> usize {
        let log = std::fs::read_to_string(self.scratch.path().join("log")).expect("its log");
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
