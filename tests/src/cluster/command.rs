//! Running the `concoord` binary to its end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long one command may take; building an object with its standard library takes the longest.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All that it wrote to standard output.
    pub stdout: String,
    /// All that it wrote to standard error.
    pub stderr: String,
}

/// The directory into which cargo builds.
pub(crate) fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    test.ancestors().nth(3).expect("cargo builds tests into <target>/<profile>/deps").to_owned()
}

/// The `concoord` binary, as `cargo build --release` makes it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary() -> PathBuf {
    let binary = target().join("release").join("concoord");
    assert!(binary.is_file(), "{} is missing: build it with `cargo build --release`", binary.display());
    binary
}

/// Runs `concoord` with these arguments to its end.
///
/// # Panics
/// When it does not end by itself.
#[must_use]
pub fn concoord(arguments: &[&str]) -> Finished {
    run_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments, &[], "")
}

pub(super) fn run_in(directory: &Path, arguments: &[&str], environment: &[(String, String)], input: &str) -> Finished {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(directory).env_remove("CONCOORD_CONNECT");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let id = child.id();
    // Little enough for the pipe to hold; one that reads nothing may be gone.
    let _ = child.stdin.take().expect("it was asked for").write_all(input.as_bytes());
    // Its pipes have to be read while it runs, or it may wait for us for ever.
    let waiting = thread::spawn(move || child.wait_with_output());
    let deadline = Instant::now() + COMMAND_LIMIT;
    while !waiting.is_finished() {
        if Instant::now() >= deadline {
            super::replica::signal(id, super::Signal::Kill);
            panic!("concoord {arguments:?} did not end within {COMMAND_LIMIT:?}");
        }
        thread::sleep(POLL_INTERVAL);
    }
    let output = waiting.join().expect("waiting does not panic").expect("a child of ours can be waited for");
    let text = |bytes| String::from_utf8(bytes).expect("the command writes UTF-8");
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
