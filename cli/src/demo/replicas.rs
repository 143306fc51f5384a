//! Replicas in processes of their own, which end with the process that started them, however it ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use tokio::sync::oneshot;

/// How long a replica may take until it serves.
const START_WAIT_MAX: Duration = Duration::from_secs(20);

/// The replicas, and the directory for what they write. Both are gone when this is dropped.
pub(super) struct Replicas {
    directory: Directory,
    all: Vec<Replica>,
    started: usize,
}

/// One replica. It ends at once when its standard input closes, which happens with us at the latest.
struct Replica {
    address: String,
    child: Child,
    _input: Option<ChildStdin>,
}

impl Replicas {
    /// None yet.
    ///
    /// # Errors
    /// When there is no place for their files.
    pub(super) fn new() -> anyhow::Result<Replicas> {
        Ok(Replicas { directory: Directory::create()?, all: Vec::new(), started: 0 })
    }

    /// The addresses of all that run, as clients take them.
    pub(super) fn addresses(&self) -> String {
        self.all.iter().map(|replica| replica.address.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Starts one more at a port that the system picks. The first starts a cluster, the others join it.
    ///
    /// # Errors
    /// When it does not serve in time; says what it said last.
    pub(super) async fn start(&mut self) -> anyhow::Result<String> {
        self.start_at(0).await
    }

    /// Ends the one at `address` with SIGKILL.
    ///
    /// # Errors
    /// When there is none, or the system refuses.
    pub(super) fn kill(&mut self, address: &str) -> anyhow::Result<()> {
        let index = self.all.iter().position(|replica| replica.address == address);
        let mut replica = self.all.remove(index.with_context(|| format!("no replica of ours is at {address}"))?);
        replica.child.kill().context("can't kill the leader")?;
        replica.child.wait().context("can't wait for the killed leader")?;
        Ok(())
    }

    /// Starts a killed one with the same flags, or at another port if its own was taken meanwhile.
    ///
    /// # Errors
    /// As [`Replicas::start`].
    pub(super) async fn restart(&mut self, address: &str) -> anyhow::Result<String> {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).context("an address has a port")?;
        match self.start_at(port).await {
            Err(error) if error.to_string().contains("in use") => self.start_at(0).await,
            started => started,
        }
    }

    async fn start_at(&mut self, port: u16) -> anyhow::Result<String> {
        self.started += 1;
        let log = self.directory.path.join(format!("replica-{}.log", self.started));
        let mut command = Command::new(std::env::current_exe().context("this program can't find itself")?);
        command.args(["replica", "-o", "counter", "-a", "127.0.0.1", "-p", &port.to_string(), "--for-parent"]);
        command.arg("--data-dir").arg(self.directory.path.join(self.started.to_string()));
        if !self.all.is_empty() {
            command.args(["-b", &self.addresses()]);
        }
        // In a group of its own, so that Ctrl-C reaches us alone and we end in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(&log).with_context(|| format!("can't write {}", log.display()))?);
        let mut child = command.spawn().context("can't start a replica")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        // From here on it is ended by our drop, whatever happens next.
        let mut replica = Replica { address: String::new(), child, _input: input };
        replica.address = first_line(output, &log).await?;
        self.all.push(replica);
        Ok(self.all.last().map(|replica| replica.address.clone()).unwrap_or_default())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that a replica prints when it serves.
async fn first_line(output: Option<ChildStdout>, log: &Path) -> anyhow::Result<String> {
    let output = output.context("a replica without output")?;
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // An output that can't be read is one that ended.
        let _ = BufReader::new(output).read_line(&mut line);
        let _ = sender.send(line);
    });
    match tokio::time::timeout(START_WAIT_MAX, receiver).await {
        Ok(Ok(line)) if !line.is_empty() => Ok(line.trim_end().to_owned()),
        Ok(_) => Err(anyhow!("a replica did not start: {}", last_line(log))),
        Err(_) => bail!("a replica did not serve within {} s: {}", START_WAIT_MAX.as_secs(), last_line(log)),
    }
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").trim_start_matches("concoord: ").to_owned()
}

/// A directory that is removed with all in it when this is dropped.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn create() -> anyhow::Result<Directory> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("concoord-demo-{}-{}", std::process::id(), now.as_nanos());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(Directory { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What can't be removed lies where the system cleans up.
        let _ = fs::remove_dir_all(&self.path);
    }
}
