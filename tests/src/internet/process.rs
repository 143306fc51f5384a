//! A server in a process of its own, and what it says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::cluster::{Signal, signal};

/// Lines of a log that a failed test shows.
const LINES_SHOWN: usize = 30;

/// A running server. Dropping it kills and reaps it, and shows the end of its log when the test failed.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts it in this directory, where its log gets its name.
    ///
    /// # Panics
    /// When it can't be run.
    #[must_use]
    pub fn start(directory: &Path, name: &str, mut command: Command) -> Process {
        let log = directory.join(name).with_extension("log");
        let output = File::create(&log).unwrap_or_else(|error| panic!("can't write {}: {error}", log.display()));
        let errors = output.try_clone().expect("a file can have two handles");
        command.current_dir(directory).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| panic!("can't run {command:?}: {error}"));
        Process { name: name.to_owned(), log, child }
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// Never: it is a child of ours.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Sends it a signal.
    pub fn signal(&self, what: Signal) {
        signal(self.child.id(), what);
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// Never: it is a child of ours.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
            eprintln!("--- end of the log of {}\n{tail}", self.name);
        }
    }
}
