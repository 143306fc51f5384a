//! One replica: its process, its flags and its log.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::command::binary;
use super::wait_for;

/// Lines of a log that a failed test shows.
const LINES_SHOWN: usize = 40;

/// What a process can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop in order.
    Terminate,
    /// The same, from a keyboard.
    Interrupt,
    /// Be gone.
    Kill,
}

/// A replica in a process of its own. Dropping it kills and reaps it, and shows the
/// end of its log when the test failed.
#[derive(Debug)]
pub struct Replica {
    address: SocketAddr,
    flags: Vec<String>,
    directory: PathBuf,
    log: PathBuf,
    tied: bool,
    child: Child,
}

impl Replica {
    pub(super) fn start(directory: &Path, address: SocketAddr, flags: &[&str], tied: bool) -> Replica {
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let log = directory.join(format!("replica-{}.log", address.port()));
        let child = spawn(directory, &log, address, &flags, tied);
        Replica { address, flags, directory: directory.into(), log, tied, child }
    }

    /// Starts an ended one again: the same flags, but `-b` names `living`.
    pub(super) fn restart(&mut self, living: SocketAddr) {
        assert!(self.ended().is_some(), "the replica at {} still runs", self.address);
        if let Some(boot) = self.flags.iter().position(|flag| flag == "-b") {
            self.flags.drain(boot..boot + 2);
        }
        self.flags.extend(["-b".into(), living.to_string()]);
        self.child = spawn(&self.directory, &self.log, self.address, &self.flags, self.tied);
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// Sends it a signal.
    pub fn signal(&self, what: Signal) {
        signal(self.child.id(), what);
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("the replica at {} to end", self.address);
        wait_for(&what, || self.ended().ok_or_else(|| self.last_line()))
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn last_line(&self) -> String {
        self.log().lines().last().unwrap_or("it said nothing").to_owned()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        format!("--- end of the log of the replica at {}\n{tail}", self.address)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

fn spawn(directory: &Path, log: &Path, address: SocketAddr, flags: &[String], tied: bool) -> Child {
    let appended = || OpenOptions::new().create(true).append(true).open(log);
    let log = appended().unwrap_or_else(|error| panic!("can't write {}: {error}", log.display()));
    let mut command = Command::new(binary());
    command.arg("replica").args(flags).args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
    // What it writes by default goes under the directory that it runs in.
    command.current_dir(directory).stderr(log);
    if tied {
        command.arg("--for-parent").stdin(Stdio::piped());
    } else {
        command.stdin(Stdio::null());
    }
    let output = File::create(directory.join(format!("replica-{}.out", address.port())));
    command.stdout(output.expect("the directory is there"));
    command.spawn().expect("the binary runs")
}

pub(super) fn signal(process: u32, what: Signal) {
    let name = match what {
        Signal::Terminate => "TERM",
        Signal::Interrupt => "INT",
        Signal::Kill => "KILL",
    };
    // The shell has it built in, everywhere.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(sent.expect("there is a shell").success(), "can't send SIG{name} to process {process}");
}
