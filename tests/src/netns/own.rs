//! A test on a machine of its own, as far as network, mounts and processes go.
//!
//! Nothing of it has a name, so nothing can be left behind: the namespaces go with their first process, which is the test
//! itself, and every process in them goes with that one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{SKIP, is_skipped};
use crate::cluster::Scratch;

/// Tells the test that it is within, and where its directory is.
const WITHIN: &str = "CONCOORD_TEST_WITHIN";
/// What the system's resolver reads, within.
const RESOLVER_FILE: &str = "resolv.conf";
/// How long a test within may take; one builds an object.
const LIMIT: Duration = Duration::from_secs(600);
/// Has a loopback interface and a resolver's file of its own, and becomes the test.
const SETUP: &str = r#"ip link set lo up; mount --bind "$1/resolv.conf" /etc/resolv.conf; shift; exec "$@""#;

/// Runs `body`, which is all that the test named `test` does, in namespaces of its own as root. There all of 127.0.0.0/8 is
/// its own, with all ports, and it is told a directory, whose file `resolv.conf` is `/etc/resolv.conf`. The directory is gone
/// after a test that passed.
///
/// Runs nothing when the environment says that there shall be no such tests here, which is printed.
///
/// # Panics
/// When there can be no namespaces, or the test within fails or does not end.
pub fn on_own_machine(test: &str, body: impl FnOnce(&Path)) {
    if let Some(directory) = std::env::var_os(WITHIN) {
        return body(Path::new(&directory));
    }
    if is_skipped() {
        return;
    }
    let scratch = Scratch::new(&test.replace("::", "-"));
    scratch.write(RESOLVER_FILE, b"");
    let own = std::env::current_exe().expect("a test knows its own file");
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--mount",
        "--mount-proc",
        "--pid",
        "--fork",
        "--kill-child",
    ]);
    command.args(["sh", "-ec", SETUP, "sh"]).arg(scratch.path()).arg(own);
    // With two threads its name is not printed before what it says, but after.
    command.args(["--exact", test, "--nocapture", "--test-threads=2"]);
    command.env(WITHIN, scratch.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("can't run {command:?}: {error}; install util-linux"));
    let mut within = Within(child);
    let deadline = Instant::now() + LIMIT;
    let lines = lines_of(&mut within.0);
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if is_said_by_harness(&line) => {}
            // It is captured like all that a test prints.
            Ok(line) => println!("{line}"),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{test} did not end within {LIMIT:?}"),
        }
    }
    let status = within.0.wait().expect("a child of ours can be waited for");
    assert!(status.success(), "{test}: {status}, see above; namespaces need root, or set {SKIP}=1 to do without");
}

/// The test within. Killing it kills all that it started.
struct Within(Child);

impl Drop for Within {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// The harness counts the test within as well, but it is one test.
fn is_said_by_harness(line: &str) -> bool {
    line.is_empty() || line.starts_with("running ") || line.starts_with("test ")
}
