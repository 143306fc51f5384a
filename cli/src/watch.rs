//! `concoord watch`: what an object emits.

use anyhow::{Context, bail};
use concoord_client::watch::From;
use concoord_client::{CallError, ClientError, Consistency, EmittedEvent};
use concoord_wire::interface::{Interface, TypeIndex};
use concoord_wire::json;
use serde_json::json as value;

use crate::connect::{self, Connect};
use crate::print;

/// Print what an object emits, an event per line, until interrupted
///
/// Each line is an event's revision, its topic and what it carries, as JSON. A later watch goes on behind a revision without a
/// gap, as long as the events since then are kept: the newest 4096 of each object.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// The object [default: the cluster's first]
    object: Option<String>,

    /// Only events of this topic [default: all]
    #[arg(long)]
    topic: Option<String>,

    /// Begin behind this revision, or with the oldest event that is kept: 'oldest' [default: with what comes from now on]
    #[arg(long, value_name = "REVISION", value_parser = from)]
    from: Option<From>,

    /// End after so many events [default: none]
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,

    /// Print each as {"revision","topic","payload"} [default: off]
    #[arg(long)]
    json: bool,
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "oldest" => Ok(From::Oldest),
        "now" => Ok(From::Now),
        revision => revision.parse().map(From::After).map_err(|_| "neither a revision nor 'oldest' nor 'now'".into()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    connect::runtime()?.block_on(watch(arguments))
}

async fn watch(arguments: &Arguments) -> anyhow::Result<()> {
    let client = arguments.connect.client().await?;
    let object = arguments.object.as_deref();
    let described = connect::describe(&client, object, Consistency::Linearizable).await?;
    let (name, interface) = (described.name.as_str(), described.interface);
    let carries = interface.event.with_context(|| format!("{name} emits no events"))?;
    let mut watch = client.watch(Some(name), arguments.topic.as_deref(), arguments.from.unwrap_or_default()).await?;
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let event = match watch.next().await {
            Err(ClientError::Call(CallError::UnknownObject { .. })) => bail!("{name} was removed"),
            event => event?,
        };
        show(name, &interface, carries, &event, arguments.json)?;
        left -= 1;
    }
    client.close().await;
    Ok(())
}

fn show(
    name: &str,
    interface: &Interface,
    carries: TypeIndex,
    event: &EmittedEvent,
    as_json: bool,
) -> anyhow::Result<()> {
    let EmittedEvent { revision, topic, payload } = event;
    let payload = json::decode(interface, carries, payload)
        .with_context(|| format!("{name} emitted something else than its interface says"))?;
    if as_json {
        return print::json(&value!({"revision": revision.0, "topic": topic, "payload": payload}));
    }
    print::line(format!("{revision} {} {}", print::clean(topic), print::json_text(&payload)))
}
