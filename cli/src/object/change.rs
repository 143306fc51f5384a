//! `concoord object rollback`, `remove` and `resume`: what takes nothing but a name. Also what all changes share.

use std::time::Duration;

use concoord_client::{Client, ObjectAction, ObjectState, Operated, Operator};
use serde_json::{Value, json};

use crate::connect::{self, Connect, OPERATOR_TIMEOUT};
use crate::{duration, print};

/// How an object of a cluster is changed.
#[derive(clap::Args, Debug)]
pub(super) struct How {
    #[command(flatten)]
    connect: Connect,

    /// How long it may take until a change is decided, retries included
    #[arg(long, value_name = "TIME", default_value = OPERATOR_TIMEOUT, value_parser = duration::parse)]
    timeout: Duration,

    /// Print JSON: {"name","object","generation","breaks":[TEXT]} [default: off]
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The object's name in the cluster
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    how: How,
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Rollback,
    Remove,
    Resume,
}

impl How {
    /// Whoever asks the cluster.
    ///
    /// # Errors
    /// When the addresses are none.
    pub(super) async fn operator(&self) -> anyhow::Result<Operator> {
        self.connect.operator(self.timeout).await
    }

    /// A client of the same cluster.
    ///
    /// # Errors
    /// When no replica answers.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        self.connect.client_within(self.timeout).await
    }

    /// Whether JSON is wanted.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Says what was done, and what it breaks.
    pub(super) fn tell(&self, name: &str, done: &str, operated: &Operated) -> anyhow::Result<()> {
        if self.json {
            return print::json(&as_json(name, operated));
        }
        print::line(format!("{name}: {done}"))?;
        broken(operated).into_iter().try_for_each(|change| print::line(format!("  breaks callers: {change}")))
    }
}

fn as_json(name: &str, operated: &Operated) -> Value {
    let Operated { object, generation, .. } = operated;
    json!({"name": name, "object": object.0, "generation": generation, "breaks": broken(operated)})
}

/// What it breaks, a line each.
pub(super) fn broken(operated: &Operated) -> Vec<String> {
    let mut lines: Vec<String> = operated.changes.iter().map(|change| print::clean(&change.to_string())).collect();
    if operated.more_changes > 0 {
        lines.push(format!("{} more", operated.more_changes));
    }
    lines
}

/// The object of this name, as it is now.
///
/// # Errors
/// When there is none; says which there are.
pub(super) async fn find(operator: &Operator, name: &str) -> anyhow::Result<ObjectState> {
    let list = operator.objects(Some(name)).await?;
    list.objects.into_iter().next().ok_or_else(|| anyhow::anyhow!("the cluster says nothing of '{name}'"))
}

pub(super) fn run(arguments: &Arguments, change: Change) -> anyhow::Result<()> {
    let Arguments { name, how } = arguments;
    let operated = connect::runtime()?.block_on(async {
        let operator = how.operator().await?;
        let ObjectState { object, generation, .. } = find(&operator, name).await?;
        let action = match change {
            Change::Rollback => ObjectAction::Rollback { object, based_on: generation },
            Change::Remove => ObjectAction::Remove { object },
            Change::Resume => ObjectAction::Resume { object },
        };
        anyhow::Ok(operator.operate(action).await?)
    })?;
    let done = match change {
        Change::Rollback => format!("rolled back, in generation {}", operated.generation),
        Change::Remove => format!("removed, was object {}", operated.object),
        Change::Resume => "resumed".into(),
    };
    how.tell(name, &done, &operated)
}
