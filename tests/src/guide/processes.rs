//! The shell in which a page's commands run, and what runs beside it until the page ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Tools;

/// How long a command may take; building an object with its standard library takes the longest.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
/// How long it may take until a replica is healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// What the shell says behind what each command printed, and its exit code after it.
const MARK: &str = "--- what is printed ends here, with exit code ";
/// The tests are root, and the command and the examples are built.
const WORDS: &str = r#"
sudo() { "$@"; }
cargo() {
    case "$*" in
        "run --quiet --release --example "*) shift 4; "$EXAMPLES/$1" ;;
        "run --release -- "*) shift 3; concoord "$@" ;;
        test) command cargo test ;;
        *) echo "cargo $*: the pages run examples" >&2; return 1 ;;
    esac
}
"#;

/// A shell that runs one command after the other. Dropping it ends it, and the command that it runs.
#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    pub(super) fn start(directory: &Path, tools: Tools<'_>) -> Result<Shell, String> {
        let mut command = shell(directory, tools);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("there is no shell: {error}"))?;
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut shell = Shell { child, input, lines };
        shell.tell(WORDS)?;
        Ok(shell)
    }

    /// Runs a command to its end: what it printed, on standard error too, and its exit code.
    ///
    /// # Errors
    /// When it does not end, or ends the shell.
    pub(super) fn run(&mut self, command: &str) -> Result<(String, i32), String> {
        self.tell(&format!("{{ {command}\n}} 2>&1 </dev/null\nprintf '\\n{MARK}%s\\n' $?\n"))?;
        let deadline = Instant::now() + COMMAND_LIMIT;
        let mut printed = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                return Err(format!("no end of: {command}\nit printed\n{}", printed.join("\n")));
            };
            if let Some(code) = line.strip_prefix(MARK) {
                // The mark begins a line of its own, also where what was printed has no end of line.
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                return Ok((printed.join("\n"), code.parse().map_err(|_| format!("{code} is no exit code"))?));
            }
            printed.push(line);
        }
    }

    /// A script that goes to where this shell is, with what it has exported.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn state(&mut self) -> Result<String, String> {
        Ok(self.run("export -p; printf 'cd \"%s\"' \"$PWD\"")?.0)
    }

    fn tell(&mut self, text: &str) -> Result<(), String> {
        self.input.write_all(text.as_bytes()).map_err(|error| format!("the shell has ended: {error}"))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A command that runs until it is stopped. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Started {
    command: String,
    child: Child,
    log: PathBuf,
}

impl Started {
    /// Starts it in this state of the shell.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start(
        line: &str,
        state: &str,
        number: usize,
        directory: &Path,
        tools: Tools<'_>,
    ) -> Result<Started, String> {
        let line = line.strip_prefix("sudo ").unwrap_or(line).trim_end_matches(" &");
        // Not in the directory of the page, where it would be among what is listed there.
        let log = directory.with_extension(format!("{number}.log"));
        let file = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = file.map_err(|error| format!("can't write {}: {error}", log.display()))?;
        let mut command = shell(directory, tools);
        command.args(["-c", &format!("{state}\nexec {line}")]).stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| format!("there is no shell: {error}"))?;
        Ok(Started { command: line.into(), child, log })
    }

    /// Whether its command has this word, which is no part of another one.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.command.split_whitespace().any(|its| its == word)
    }

    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until what it printed so far is accepted.
    ///
    /// # Errors
    /// Why it is not, when it has ended or time is over.
    pub(super) fn wait_for<T>(&mut self, mut accept: impl FnMut(&str) -> Result<T, String>) -> Result<T, String> {
        let deadline = Instant::now() + HEALTHY_WITHIN;
        loop {
            let ended = self.child.try_wait().expect("a child of ours can be waited for");
            let printed = on_a_terminal(&fs::read_to_string(&self.log).unwrap_or_default());
            match accept(&printed) {
                Ok(accepted) => return Ok(accepted),
                Err(why) if ended.is_some() || Instant::now() >= deadline => {
                    let ended = ended.map_or("it runs".into(), |status| status.to_string());
                    return Err(format!("{}: {ended}, {why}; it printed\n{printed}", self.command));
                }
                Err(_) => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Waits until it is a replica that takes calls, and all that it hears of is well.
    ///
    /// # Errors
    /// What is amiss.
    pub(super) fn wait_until_healthy(&mut self, tools: Tools<'_>) -> Result<(), String> {
        let address = self.wait_for(|printed| {
            let line = printed.lines().find(|line| line.contains(" serves ")).ok_or("it serves nobody yet")?;
            let (_, address) = line.rsplit_once(" at ").ok_or("it does not say where it serves")?;
            Ok(address.trim_end_matches(|char: char| !char.is_ascii_digit()).to_owned())
        })?;
        self.wait_for(|_| {
            let mut health = Command::new(tools.commands.join("concoord"));
            let health = health.args(["health", "--timeout", "2s", "-c", &address]).output();
            let health = health.map_err(|error| format!("concoord can't be run: {error}"))?;
            if health.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&health.stdout).into_owned()) }
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        end(&mut self.child);
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.command, fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// A shell as the reader of a page has it, in a process group of its own.
fn shell(directory: &Path, tools: Tools<'_>) -> Command {
    let path = format!("{}:{}", tools.commands.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.current_dir(directory).env("PATH", path).env("EXAMPLES", tools.examples);
    // Keys that a page has kept go with it.
    command.env("XDG_CONFIG_HOME", directory.with_extension("config"));
    // What would lead elsewhere than the page says.
    command.env_remove("CONCOORD_CONNECT").env_remove("CONCOORD_DNS_SERVER").process_group(0);
    command.envs(tools.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// What a replica prints as it is seen on a terminal, without the times: it writes each line of its log as JSON elsewhere.
pub(super) fn on_a_terminal(printed: &str) -> String {
    let seen = printed.lines().map(|line| {
        let entry: Value = line.strip_prefix(r#"{"timestamp":"#).and_then(|_| serde_json::from_str(line).ok())?;
        Some(format!("{} {}", entry["level"].as_str()?, entry["message"].as_str()?))
    });
    let lines = printed.lines().zip(seen).map(|(line, seen)| seen.unwrap_or_else(|| line.into()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Ends a process of ours and what it started.
fn end(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        // The shell has it built in. The group may end by itself meanwhile, which is as well.
        let _ = Command::new("sh").args(["-c", &format!("kill -KILL -{} 2>/dev/null", child.id())]).status();
        let _ = child.kill();
    }
    let _ = child.wait();
}
