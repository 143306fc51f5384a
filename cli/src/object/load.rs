//! `concoord object load`: another object for a cluster.

use concoord_client::ObjectAction;

use super::change::How;
use super::{LoadFlags, Source};
use crate::connect;

/// Load an object into a cluster
///
/// The module is checked here first. Once it is decided, every replica has the object, and so has whoever joins later. Where
/// the module or its constructor fails, no replica has it, and object list keeps the reason.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Name by which clients find the object
    #[arg(value_name = "NAME")]
    name: String,

    /// A .wasm file, or the name of a built-in object
    #[arg(value_name = "FILE|BUILTIN")]
    module: String,

    #[command(flatten)]
    load: LoadFlags,

    #[command(flatten)]
    how: How,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { name, module, load, how } = arguments;
    let source = Source::find(module)?;
    let action = ObjectAction::Load {
        name: name.clone(),
        arguments: load.arguments_for(&source.interface()?)?.into(),
        module: source.module.into(),
        limits: load.limits(),
    };
    let operated = connect::runtime()?.block_on(async { anyhow::Ok(how.operator().await?.operate(action).await?) })?;
    how.tell(name, &format!("loaded, is object {}", operated.object), &operated)
}
