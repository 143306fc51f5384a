//! A logger that takes the lines of replicas, ends, and comes back.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use concoord_tests::cluster::{Cluster, Scratch, binary, wait_for};
use concoord_tests::load::{counted, increment_many};

/// Calls that a replica serves while nobody takes its lines.
const CALLS: u64 = 2_000;

/// A logger that ends with the test.
struct Logger(Child);

impl Logger {
    fn start(port: u16, file: &Path) -> Logger {
        let mut command = Command::new(binary());
        command.args(["logger", "-p", &port.to_string(), "-o"]).arg(file);
        Logger(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs"))
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TCP port that is free, if nobody takes it meanwhile.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Waits until the file has a line of this replica with these words.
fn wait_for_line(file: &Path, replica: SocketAddr, words: &str) {
    let head = format!("{{\"replica\":\"{replica}\",\"timestamp\":");
    wait_for(&format!("a line of {replica} with '{words}'"), || {
        let lines = fs::read_to_string(file).map_err(|error| error.to_string())?;
        let found = lines.lines().any(|line| line.starts_with(&head) && line.contains(words));
        found.then_some(()).ok_or_else(|| format!("{} lines", lines.lines().count()))
    });
}

#[test]
fn a_logger_gets_the_lines_of_all_replicas_and_none_of_them_waits_for_it() {
    let scratch = Scratch::new("logger");
    let file = scratch.path().join("lines");
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let logger = Logger::start(port, &file);
    let mut cluster = Cluster::new("logged");
    let first = cluster.start(&["-o", "counter", "-l", &at, "--log-format", "text"]);
    wait_for_line(&file, first, "serves counter");
    let log = cluster.replica(first).log();
    assert!(log.contains("INFO") && !log.contains("\"level\""), "text, as it was told: {log}");
    let second = cluster.start(&["-o", "counter", "-l", &at, "-b", &first.to_string()]);
    wait_for_line(&file, second, "serves counter");
    assert!(cluster.replica(second).log().lines().all(|line| line.starts_with('{')), "JSON where there is no terminal");

    drop(logger);
    increment_many(&first.to_string(), CALLS, 64);
    let third = cluster.start(&["-o", "counter", "-l", &at, "-b", &first.to_string()]);
    assert_eq!(counted(&cluster.addresses()), CALLS);
    let logger = Logger::start(port, &file);
    wait_for_line(&file, third, "serves counter");
    wait_for_line(&file, first, "is reached again");
    drop(logger);
}
