//! `concoord object upgrade`: another module for an object of a cluster.

use anyhow::bail;
use bytes::Bytes;
use concoord_client::{ObjectAction, ObjectState, Operated};
use concoord_wire::interface::Interface;
use concoord_wire::signature;
use serde_json::json;

use super::Source;
use super::change::{self, How};
use super::source::LimitFlags;
use crate::{connect, print};

/// Let an object of a cluster go on with another module
///
/// The new module takes over what the present one exports: first a copy of it, and where that fails nothing happens. An
/// upgrade that would break callers is refused, and each change named: a method that is gone, is a query and was an update or
/// the other way round, or takes or gives something else.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The object's name in the cluster
    #[arg(value_name = "NAME")]
    name: String,

    /// A .wasm file, or the name of a built-in object
    #[arg(value_name = "FILE|BUILTIN")]
    module: String,

    /// Try it on a copy and print what would change; exit code 1 where the upgrade would be refused [default: off]
    #[arg(long)]
    dry_run: bool,

    /// Also if it breaks callers [default: off]
    #[arg(long)]
    allow_breaking: bool,

    #[command(flatten)]
    limits: LimitFlags,

    #[command(flatten)]
    how: How,
}

/// What is known before the cluster is asked for the upgrade.
struct Upgrade {
    state: ObjectState,
    old: Interface,
    new: Interface,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let source = Source::find(&arguments.module)?;
    let new = source.interface()?;
    let module = Bytes::from(source.module);
    connect::runtime()?.block_on(async {
        let operator = arguments.how.operator().await?;
        let state = change::find(&operator, &arguments.name).await?;
        let (object, limits) = (state.object, arguments.limits.changed(state.limits));
        if arguments.dry_run {
            let client = arguments.how.client().await?;
            let old = client.interface(Some(&arguments.name)).await?;
            client.close().await;
            let operated = operator.try_upgrade(object, &module, limits).await?;
            return tell_trial(arguments, &Upgrade { state, old, new }, &operated);
        }
        let allow_breaking = arguments.allow_breaking;
        let action = ObjectAction::Upgrade { object, based_on: state.generation, module, limits, allow_breaking };
        let operated = operator.operate(action).await?;
        let Interface { name, version, .. } = &new;
        let done = format!("upgraded to {name} {version}, in generation {}", operated.generation);
        arguments.how.tell(&arguments.name, &print::clean(&done), &operated)
    })
}

/// Says what an upgrade would come to.
fn tell_trial(arguments: &Arguments, upgrade: &Upgrade, operated: &Operated) -> anyhow::Result<()> {
    let Upgrade { state, old, new } = upgrade;
    let added = new.methods.iter().filter(|method| old.method(&method.name).is_none());
    let added: Vec<String> = added.map(|method| print::clean(&signature::method(new, method))).collect();
    let breaks = change::broken(operated);
    if arguments.how.is_json() {
        print::json(&json!({
            "name": arguments.name,
            "object": state.object.0,
            "generation": operated.generation,
            "from": {"name": old.name, "version": old.version},
            "to": {"name": new.name, "version": new.version},
            "adds": added,
            "breaks": breaks,
        }))?;
    } else {
        let (from, to) = (format!("{} {}", old.name, old.version), format!("{} {}", new.name, new.version));
        let generation = operated.generation;
        let becomes = format!("{}: {from} would become {to}, in generation {generation}", arguments.name);
        print::line(print::clean(&becomes))?;
        print::line("  its state is taken over")?;
        added.iter().try_for_each(|method| print::line(format!("  adds {method}")))?;
        breaks.iter().try_for_each(|change| print::line(format!("  breaks callers: {change}")))?;
    }
    if !breaks.is_empty() && !arguments.allow_breaking {
        bail!("the upgrade would be refused, since it would break callers: --allow-breaking lets it through");
    }
    Ok(())
}
