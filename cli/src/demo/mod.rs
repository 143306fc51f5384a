//! `concoord demo`: three replicas, clients that never pause, a leader killed among them, and the count afterwards.

mod callers;
mod replicas;

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use concoord_wire::member::{Role, Roster};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::demo::callers::Callers;
use crate::demo::replicas::Replicas;
use crate::print::{self, Progress, Table};
use crate::{connect, duration};

/// How long replicas may take until all of them are members, and a killed one until it is one again.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(20);
/// How often the view is asked for while a change of it is awaited.
const VIEW_INTERVAL: Duration = Duration::from_millis(20);

/// Show that nothing is lost when the leader is killed
///
/// Starts replicas of the counter in processes of their own, calls it from several clients without pause, kills the
/// leader with SIGKILL, starts it again, and compares the counter with the calls that were acknowledged. Exit code 0
/// only if they are equal. Leaves nothing behind.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Number of replicas: with fewer than 3 no majority is left when one is killed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    replicas: u8,

    /// Number of clients that call at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,

    /// How long they call: a third each before the kill, after it, and with the killed replica back
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,

    /// Print JSON instead of the table [default: off]
    #[arg(long)]
    json: bool,
}

/// What the demonstration showed.
struct Findings {
    acknowledged: u64,
    counted: i64,
    longest_wait: Duration,
    calling: Duration,
    killed: String,
    leader_after: String,
    rejoined_after: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = connect::runtime()?;
    let findings = LocalSet::new().block_on(&runtime, async {
        let mut terminate = signal(SignalKind::terminate()).context("can't listen for signals")?;
        tokio::select! {
            findings = demonstrate(arguments) => findings,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })?;
    if arguments.json {
        print::json(&findings.as_json(arguments))?;
    } else {
        print::line(findings.as_table(arguments))?;
    }
    let Findings { acknowledged, counted, .. } = findings;
    ensure!(findings.is_exact(), "{acknowledged} increments were acknowledged, but the counter is at {counted}");
    Ok(())
}

async fn demonstrate(arguments: &Arguments) -> anyhow::Result<Findings> {
    let third = Duration::from_secs(u64::from(arguments.seconds)) / 3;
    let mut progress = Progress::new();
    let mut replicas = Replicas::new()?;
    for number in 1..=arguments.replicas {
        let address = replicas.start().await?;
        progress.step(format!("replica {number} of {} serves the counter at {address}", arguments.replicas));
    }
    let observer = connect::client(&replicas.addresses()).await?;
    let members = usize::from(arguments.replicas);
    await_view(&observer, "all replicas are members", |roster| is_complete(roster, members)).await?;

    let mut callers = Callers::start(&replicas.addresses(), arguments.clients).await?;
    let began = Instant::now();
    progress.step(format!("{} clients call increment without pause", arguments.clients));
    callers.watch(third, &mut progress).await?;

    let leader = await_view(&observer, "a leader is known", |roster| leader(roster).is_some()).await?;
    let killed = leader_address(&leader)?;
    replicas.kill(&killed)?;
    progress.step(format!("killed the leader {killed} with SIGKILL"));
    callers.watch(third, &mut progress).await?;

    let restarted = Instant::now();
    let address = callers.alongside(replicas.restart(&killed)).await?;
    callers.alongside(await_view(&observer, "it is a member again", |roster| is_complete(roster, members))).await?;
    let rejoined_after = restarted.elapsed();
    progress.step(format!("started it again at {address}: a member after {}", duration::show(rejoined_after)));
    callers.watch(third, &mut progress).await?;

    let calling = began.elapsed();
    let (acknowledged, longest_wait) = callers.stop().await?;
    progress.clear();
    let counted = callers::value(&observer).await?;
    let leader_after = leader_address(&observer.view().await?)?;
    Ok(Findings { acknowledged, counted, longest_wait, calling, killed, leader_after, rejoined_after })
}

/// Asks for the view until it is as it should be.
async fn await_view(
    observer: &concoord_client::Client,
    what: &str,
    is: impl Fn(&Roster) -> bool,
) -> anyhow::Result<Roster> {
    let awaited = async {
        loop {
            match observer.view().await {
                Ok(roster) if is(&roster) => return roster,
                _ => tokio::time::sleep(VIEW_INTERVAL).await,
            }
        }
    };
    let late = || format!("waited {} s in vain until {what}", JOIN_WAIT_MAX.as_secs());
    tokio::time::timeout(JOIN_WAIT_MAX, awaited).await.with_context(late)
}

/// Whether that many members vote, live, under a leader that lives.
fn is_complete(roster: &Roster, members: usize) -> bool {
    let votes = roster.members.iter().filter(|member| member.live && member.role == Role::Replica).count();
    votes == members && roster.members.len() == members && leader(roster).is_some()
}

fn leader(roster: &Roster) -> Option<String> {
    let leader = roster.members.iter().find(|member| Some(member.id) == roster.leader)?;
    leader.live.then(|| leader.address.to_string())
}

fn leader_address(roster: &Roster) -> anyhow::Result<String> {
    leader(roster).context("no leader is known")
}

impl Findings {
    fn is_exact(&self) -> bool {
        i64::try_from(self.acknowledged) == Ok(self.counted)
    }

    fn calls_per_second(&self) -> f64 {
        self.acknowledged as f64 / self.calling.as_secs_f64()
    }

    fn as_table(&self, arguments: &Arguments) -> String {
        let verdict = if self.is_exact() { "equal: nothing lost, nothing done twice" } else { "NOT EQUAL" };
        let mut table = Table::untitled();
        let mut row = |name: &str, value: String| table.row([name.into(), value]);
        row("replicas", arguments.replicas.to_string());
        row("clients", arguments.clients.to_string());
        row("leader killed with SIGKILL", self.killed.clone());
        row("leader afterwards", self.leader_after.clone());
        row("killed replica a member again after", duration::show(self.rejoined_after));
        row("longest wait of a client", duration::show(self.longest_wait));
        row("increments per second", format!("{:.0}", self.calls_per_second()));
        row("increments acknowledged", self.acknowledged.to_string());
        row("counter at the end", format!("{} ({verdict})", self.counted));
        table.to_string()
    }

    fn as_json(&self, arguments: &Arguments) -> Value {
        json!({
            "replicas": arguments.replicas,
            "clients": arguments.clients,
            "killed": self.killed,
            "leader_after": self.leader_after,
            "rejoined_after_ms": self.rejoined_after.as_millis() as u64,
            "longest_wait_ms": self.longest_wait.as_millis() as u64,
            "per_second": self.calls_per_second().round(),
            "acknowledged": self.acknowledged,
            "counted": self.counted,
            "exact": self.is_exact(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_differs_is_called_so() {
        let arguments = Arguments { replicas: 3, clients: 8, seconds: 6, json: false };
        let mut findings = Findings {
            acknowledged: 1200,
            counted: 1200,
            longest_wait: Duration::from_millis(312),
            calling: Duration::from_secs(6),
            killed: "127.0.0.1:40001".into(),
            leader_after: "127.0.0.1:40002".into(),
            rejoined_after: Duration::from_millis(800),
        };
        assert!(findings.as_table(&arguments).contains("1200 (equal: nothing lost, nothing done twice)"));
        assert_eq!(findings.as_json(&arguments)["per_second"], 200.0);
        findings.counted = 1199;
        assert!(findings.as_table(&arguments).contains("1199 (NOT EQUAL)"));
        assert_eq!(findings.as_json(&arguments)["exact"], false);
    }
}
