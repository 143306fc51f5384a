//! `concoord lock`: a command that runs while a lock is held.

use std::io::{ErrorKind, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use concoord_client::{Client, Options};
use concoord_wire::abi::Answer;
use concoord_wire::client::Consistency;
use concoord_wire::codec;
use concoord_wire::interface::{Interface, MethodKind, Type};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::connect::{self, Connect};
use crate::session::ttl;
use crate::{duration, parent_death, print};

/// How often a running command is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Time that giving the lock back may take; with the session it is given back anyway.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Run a command while holding a lock
///
/// Waits until the lock is free, takes it, runs the command, and gives the lock back. The command has the fencing token as
/// CONCOORD_TOKEN, for whoever guards what the lock is for. When the lock is lost, because the cluster was not reached for as
/// long as --ttl, the command gets SIGTERM, and SIGKILL after --grace: before anybody else can have the lock. So does all that it
/// started, unless its input is a terminal: then only the command itself. When this command gets SIGTERM, SIGHUP, SIGQUIT or SIGINT,
/// the other one gets it too, and the lock is held until that has ended; on SIGKILL it is killed.
///
/// The exit code is the command's (128 + N where signal N ended it), 127 where there is no such command, 126 where it can't be run,
/// or 1 where there was no lock, or it was lost.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// The lock, or another object with the methods acquire and release, such as a semaphore
    #[arg(value_name = "NAME")]
    object: String,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// How long to wait for the lock, in the cluster's time [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// How long the cluster may not be reached until the lock is lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = ttl)]
    ttl: Duration,

    /// How long the command has to end after SIGTERM when the lock is lost; it is taken off --ttl, so at most half of that
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    grace: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match connect::runtime().and_then(|runtime| runtime.block_on(lock(arguments))) {
        Ok(code) => code,
        Err(error) => {
            print::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn lock(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.grace > arguments.ttl / 2 {
        bail!("--grace is longer than half of --ttl: the command would go on when somebody else has the lock");
    }
    // The session outlives what the client takes for its end by the grace, so the command has ended before that.
    let options = Options { session_ttl: arguments.ttl, lost_before: arguments.grace, ..Options::default() };
    let client = arguments.connect.client_with(options).await?;
    let held = hold(arguments, &client).await;
    // What it holds goes with the session, and what it waits for.
    client.close().await;
    match held? {
        Ended::Itself(status) => Ok(exit_code(status)),
        Ended::Lost => {
            let name = &arguments.object;
            bail!(
                "{name} is lost: the cluster was not reached for too long, or has ended the session; the command was stopped"
            )
        }
        Ended::Interrupted => bail!("interrupted"),
        Ended::NotBegun(error) => {
            print::error(&anyhow!("can't run {}: {error}", arguments.command[0]));
            Ok(ExitCode::from(if error.kind() == ErrorKind::NotFound { 127 } else { 126 }))
        }
    }
}

/// Takes the lock, runs the command, and gives the lock back.
async fn hold(arguments: &Arguments, client: &Client) -> anyhow::Result<Ended> {
    let name = arguments.object.as_str();
    // Whoever stops this command later means the one that it runs.
    let mut signals = Signals::listen().context("can't listen for signals")?;
    let described = connect::describe(client, Some(name), Consistency::Linearizable).await?;
    check(name, &described.interface)?;
    let waiting = arguments.wait.map_or_else(|| client.clone(), |wait| client.with_wait(wait));
    let lost = client.lost();
    let acquired = tokio::select! {
        acquired = waiting.call_waiting(Some(name), "acquire", Vec::new()) => acquired?,
        _ = signals.next() => return Ok(Ended::Interrupted),
    };
    let token = match acquired {
        Answer::Returned(token) => codec::from_bytes::<u64>(&token).context("acquire gave no token")?,
        Answer::Failed(_) => bail!("{name}.acquire failed"),
        Answer::Rejected(why) => bail!("{name}.acquire did not run: {why}"),
    };
    let ended = run_command(arguments, lost, signals, token).await;
    if let Ok(Ended::Itself(_) | Ended::NotBegun(_)) = ended {
        // A lock that was revoked meanwhile is not ours any more.
        let release = client.with_timeout(RELEASE_TIMEOUT);
        let _ = release.call(Some(name), "release", codec::to_bytes(&Some(token))).await;
    }
    ended
}

/// Whether the object is one that can be held like a lock.
fn check(name: &str, interface: &Interface) -> anyhow::Result<()> {
    let acquire = interface.method("acquire").filter(|method| {
        method.kind == MethodKind::Waiting
            && method.arguments.is_empty()
            && *interface.ty(method.result) == Type::U64
            && method.error.is_none()
    });
    let release = interface.method("release").filter(|method| match &method.arguments[..] {
        [token] => matches!(interface.ty(token.ty), Type::Option(of) if *interface.ty(*of) == Type::U64),
        _ => false,
    });
    if acquire.is_some() && release.is_some() {
        return Ok(());
    }
    bail!("{name} is no lock: it has no acquire() -> u64 that waits, and release(token: Option<u64>)")
}

/// How the command ended.
enum Ended {
    Itself(ExitStatus),
    /// It was stopped, since the lock was lost.
    Lost,
    /// It was not begun.
    Interrupted,
    /// It can't be.
    NotBegun(std::io::Error),
}

/// What asks this command to stop.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    quit: unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.hang_up.recv() => Signal::HUP,
            _ = self.quit.recv() => Signal::QUIT,
        }
    }
}

/// The command that runs.
struct Running {
    child: Child,
    /// Whether it leads a group of processes, with all that it starts. At a terminal it does not: only the group in front may read
    /// there, and gets what is typed to interrupt it.
    leads: bool,
}

impl Running {
    fn start(command: &[String], token: u64) -> std::io::Result<Running> {
        let [program, rest @ ..] = command else { return Err(ErrorKind::InvalidInput.into()) };
        let leads = !std::io::stdin().is_terminal();
        let mut command = std::process::Command::new(program);
        command.args(rest).env("CONCOORD_TOKEN", token.to_string());
        if leads {
            command.process_group(0);
        }
        let child = parent_death::spawn_bound_to_this(&mut command)?;
        Ok(Running { child, leads })
    }

    fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("can't wait for the command")
    }

    fn id(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Whether it is still there, or anything of its group.
    fn is_there(&mut self) -> anyhow::Result<bool> {
        let has_ended = self.has_ended()?.is_some();
        Ok(!has_ended || self.leads && self.id().is_some_and(|id| test_kill_process_group(id).is_ok()))
    }

    /// It is still there, so its id is its own.
    fn send(&self, signal: Signal) {
        if let Some(id) = self.id() {
            // One that ends meanwhile needs none.
            let _ = if self.leads { kill_process_group(id, signal) } else { kill_process(id, signal) };
        }
    }

    async fn stop(&mut self, grace: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + grace;
        self.send(Signal::TERM);
        while self.is_there()? {
            if Instant::now() >= until {
                self.send(Signal::KILL);
                self.child.wait().context("can't wait for the command")?;
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

async fn run_command(
    arguments: &Arguments,
    lost: impl Future<Output = ()>,
    mut signals: Signals,
    token: u64,
) -> anyhow::Result<Ended> {
    tokio::pin!(lost);
    let mut running = match Running::start(&arguments.command, token) {
        Ok(running) => running,
        Err(error) => return Ok(Ended::NotBegun(error)),
    };
    loop {
        if let Some(status) = running.has_ended()? {
            return Ok(Ended::Itself(status));
        }
        tokio::select! {
            () = &mut lost => {
                running.stop(arguments.grace).await?;
                return Ok(Ended::Lost);
            }
            // At a terminal, the command has got what is typed there by itself.
            signal = signals.next() => if running.leads || !matches!(signal, Signal::INT | Signal::QUIT) {
                running.send(signal);
            },
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
