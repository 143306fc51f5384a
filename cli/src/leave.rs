//! `concoord leave`: one replica leaves its cluster and stops.

use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use concoord_client::{Client, Options};
use concoord_wire::NodeId;
use concoord_wire::member::Roster;

use crate::connect::{self, Connect, OPERATOR_TIMEOUT};
use crate::{duration, print};

/// From one look at the members to the next.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Have a replica leave its cluster and stop
///
/// The replica named with -c is taken out of the view, hands over what it leads, and stops. Started again with its data
/// it comes back under its id.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// How long it may take until the others know that it has left
    #[arg(long, value_name = "TIME", default_value = OPERATOR_TIMEOUT, value_parser = duration::parse)]
    timeout: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let addresses = arguments.connect.addresses();
    if addresses.contains(',') {
        bail!("'{addresses}' names several replicas: give -c the one that is to leave");
    }
    if !addresses.contains(':') {
        bail!("'{addresses}' may be any replica of a domain: give -c the address:port of the one that is to leave");
    }
    let deadline = Instant::now() + arguments.timeout;
    connect::runtime()?.block_on(async {
        let operator = arguments.connect.operator(arguments.timeout).await?;
        let address = addresses.trim().to_socket_addrs().ok().and_then(|mut found| found.next());
        let address = address.with_context(|| format!("'{addresses}' leads to no address"))?;
        let before = look(&addresses).await?;
        let leaver = before.reporter;
        operator.leave(address).await?;
        let others = before.members.iter().filter(|member| member.id != leaver);
        let others = others.map(|member| member.address.to_string()).collect::<Vec<_>>().join(",");
        let mut seen = String::new();
        while Instant::now() < deadline {
            match step(&addresses, &others, leaver).await {
                Ok(said) => return print::line(said),
                Err(why) => seen = why,
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let waited = duration::show(arguments.timeout);
        bail!("replica {leaver} was told, and has not left within {waited}: {seen}; it goes on trying")
    })
}

/// Whether it has left, as the others say; without others, whether it is gone.
async fn step(address: &str, others: &str, leaver: NodeId) -> Result<String, String> {
    if others.is_empty() {
        return match look(address).await {
            Err(_) => {
                Ok(format!("replica {leaver} has stopped; it was alone, so the cluster waits in its data directory"))
            }
            Ok(_) => Err("it still answers".into()),
        };
    }
    let roster = look(others).await.map_err(|error| print::one_line(&error))?;
    let listed = roster.members.iter().any(|member| member.id == leaver);
    if listed || roster.reporter == leaver {
        return Err(format!("view {} has it, and needs a live majority without it", roster.view));
    }
    Ok(format!("replica {leaver} has left: view {} has {} members", roster.view, roster.members.len()))
}

async fn look(addresses: &str) -> anyhow::Result<Roster> {
    let options = Options { timeout: LOOK_TIMEOUT, connect_timeout: LOOK_TIMEOUT, ..Options::default() };
    let connected = Client::connect_with(addresses, options).await;
    let client = connected.with_context(|| format!("can't reach a replica at {addresses}"))?;
    let roster = client.view().await?;
    client.close().await;
    Ok(roster)
}
