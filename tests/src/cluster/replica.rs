//! One replica: its process, its flags and its log.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::command::binary;
use super::launch::Launch;
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
    /// Stand still.
    Stop,
    /// Go on.
    Continue,
    /// The terminal is gone.
    HangUp,
}

/// A replica in a process of its own. Dropping it kills and reaps it, and shows the
/// end of its log when the test failed.
#[derive(Debug)]
pub struct Replica {
    address: SocketAddr,
    launch: Launch,
    directory: PathBuf,
    log: PathBuf,
    /// Bytes of the log from before it was started last.
    log_before: u64,
    tied: bool,
    child: Child,
}

impl Replica {
    pub(super) fn start(directory: &Path, address: SocketAddr, launch: Launch, tied: bool) -> Replica {
        let log = directory.join(format!("replica-{}-{}.log", address.ip(), address.port()));
        let log_before = bytes_of(&log);
        let child = spawn(directory, &log, address, &launch, tied);
        Replica { address, launch, directory: directory.into(), log, log_before, tied, child }
    }

    /// Starts an ended one again with exactly the same flags, and waits for nothing.
    ///
    /// # Panics
    /// When it still runs.
    pub fn begin_restart(&mut self) {
        assert!(self.ended().is_some(), "the replica at {} still runs", self.address);
        self.log_before = bytes_of(&self.log);
        self.child = spawn(&self.directory, &self.log, self.address, &self.launch, self.tied);
    }

    /// Starts an ended one again: the same flags, but `-b` names `living`.
    pub(super) fn restart(&mut self, living: SocketAddr) {
        let flags = &mut self.launch.flags;
        if let Some(boot) = flags.iter().position(|flag| flag == "-b") {
            flags.drain(boot..boot + 2);
        }
        flags.extend(["-b".into(), living.to_string()]);
        self.begin_restart();
    }

    /// From its next start on it has these environment variables.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.launch.environment = environment;
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.begin_kill();
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// Sends it SIGKILL, so that several can be killed at once.
    pub(super) fn begin_kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
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

    /// What it wrote since it was started last.
    #[must_use]
    pub fn log_since_start(&self) -> String {
        let log = self.log();
        log.get(usize::try_from(self.log_before).expect("it was read whole")..).unwrap_or_default().to_owned()
    }

    /// Its identity, once it has said so since it was started last.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        let log = self.log_since_start();
        let line = log.lines().find(|line| line.contains(" of cluster ") && line.contains(" serves "))?;
        let (id, _) = line.split_once("replica ")?.1.split_once(" of cluster ")?;
        Some(id.to_owned())
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

fn bytes_of(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |known| known.len())
}

fn spawn(directory: &Path, log: &Path, address: SocketAddr, launch: &Launch, tied: bool) -> Child {
    let appended = || OpenOptions::new().create(true).append(true).open(log);
    let appended = appended().unwrap_or_else(|error| panic!("can't write {}: {error}", log.display()));
    let mut command = match &launch.namespace {
        None => Command::new(binary()),
        Some(namespace) => {
            // It becomes the replica, so that signals reach that.
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(binary());
            command
        }
    };
    command.arg("replica").args(&launch.flags);
    command.args(["-a", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    // What it writes by default goes under the directory that it runs in.
    command.current_dir(directory).stderr(appended);
    if tied {
        command.arg("--for-parent").stdin(Stdio::piped());
    } else {
        command.stdin(Stdio::null());
    }
    let output = File::create(log.with_extension("out"));
    command.stdout(output.expect("the directory is there"));
    command.spawn().unwrap_or_else(|error| panic!("can't run {command:?}: {error}"))
}

/// Sends a process a signal.
///
/// # Panics
/// When it is not there.
pub fn signal(process: u32, what: Signal) {
    let name = match what {
        Signal::Terminate => "TERM",
        Signal::Interrupt => "INT",
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
        Signal::HangUp => "HUP",
    };
    // The shell has it built in, everywhere.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(sent.expect("there is a shell").success(), "can't send SIG{name} to process {process}");
}
