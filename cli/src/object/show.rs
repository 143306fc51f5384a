//! `concoord object show`: what an object can do, as it says itself.

use std::path::Path;

use anyhow::{Context, anyhow};
use concoord_client::{ObjectState, Options};
use concoord_executor::Compiler;
use concoord_wire::client::Consistency;
use concoord_wire::interface::{Argument, Interface, Method};
use concoord_wire::signature;
use serde_json::{Value, json};

use super::{change, list};
use crate::compiler::compiler;
use crate::connect::{self, Connect};
use crate::{builtin, print};

/// Show an object's name, version, description and methods
///
/// A file is read, a built-in object is known; any other name, and every name with -c, is looked up in the cluster. Of an
/// object of a cluster, its modules, limits and state are shown too.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// A .wasm file, a built-in object, or an object of the cluster
    #[arg(value_name = "NAME|FILE")]
    name: String,

    #[command(flatten)]
    connect: Connect,

    /// Print JSON: {"name","version","doc","methods":[{"name","kind","doc","arguments","result","error"}],"types","init","event",
    /// "state"}, with what object list --json prints of an object as the state, or null [default: off]
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (interface, state) = find(arguments)?;
    if arguments.json {
        print::json(&as_json(&interface, state.as_ref()))
    } else {
        print::line(as_text(&interface, state.as_ref()))
    }
}

/// What an object can do, and how it is where it is one of a cluster.
fn find(arguments: &Arguments) -> anyhow::Result<(Interface, Option<ObjectState>)> {
    let name = &arguments.name;
    let path = Path::new(name);
    if path.is_file() || path.extension().is_some_and(|extension| extension == "wasm") {
        let module = builtin::read_module(path)?;
        concoord_module::check(&module).map_err(|refusal| anyhow!("{name}: {refusal}"))?;
        let described = describe(&module, &*compiler());
        let interface = described.map_err(|error| error.context(format!("{name}: it can't be asked what it does")))?;
        return Ok((interface, None));
    }
    match builtin::find(name) {
        Some(builtin) if !arguments.connect.is_given() => Ok((describe(builtin.module, &*compiler())?, None)),
        _ => connect::runtime()?.block_on(async {
            let client = arguments.connect.client().await.with_context(|| not_built_in(arguments))?;
            let described = connect::describe(&client, Some(name), Consistency::Linearizable).await?;
            client.close().await;
            let operator = arguments.connect.operator(Options::default().timeout).await?;
            let state = change::find(&operator, &described.name).await?;
            Ok((described.interface, Some(state)))
        }),
    }
}

/// Where no cluster was named, the name was more likely meant to be that of a built-in object.
fn not_built_in(arguments: &Arguments) -> String {
    let name = &arguments.name;
    if arguments.connect.is_given() {
        format!("can't look up '{name}'")
    } else {
        format!("'{name}' is neither a file nor one of the built-in objects, which are {}", builtin::names())
    }
}

/// Asks a checked module for its interface.
///
/// # Errors
/// When it does not answer with one.
pub(super) fn describe(module: &[u8], compiler: &dyn Compiler) -> anyhow::Result<Interface> {
    Ok(concoord_executor::describe(module, compiler)?)
}

pub(super) fn as_json(interface: &Interface, state: Option<&ObjectState>) -> Value {
    let arguments = |arguments: &[Argument]| {
        let each = |argument: &Argument| json!({"name": argument.name, "type": signature::ty(interface, argument.ty)});
        arguments.iter().map(each).collect::<Vec<_>>()
    };
    let methods = interface.methods.iter().map(|method| {
        json!({
            "name": method.name,
            "kind": signature::kind(method.kind),
            "doc": method.doc,
            "arguments": arguments(&method.arguments),
            "result": signature::ty(interface, method.result),
            "error": method.error.map(|error| signature::ty(interface, error)),
        })
    });
    json!({
        "name": interface.name,
        "version": interface.version,
        "doc": interface.doc,
        "methods": methods.collect::<Vec<_>>(),
        "types": signature::definitions(interface),
        "init": arguments(&interface.init),
        "event": interface.event.map(|event| signature::ty(interface, event)),
        "state": state.map(list::state_json),
    })
}

pub(super) fn as_text(interface: &Interface, state: Option<&ObjectState>) -> String {
    let mut lines = vec![format!("{} {}", interface.name, interface.version)];
    lines.extend(interface.doc.lines().map(|line| format!("  {}", line.trim())));
    if !interface.init.is_empty() {
        lines.push(String::new());
        lines.push(format!("init    {}", signature::constructor(interface)));
    }
    for method in &interface.methods {
        lines.push(String::new());
        lines.extend(method_lines(interface, method));
    }
    if let Some(event) = interface.event {
        lines.push(String::new());
        lines.push(format!("emits   {}", signature::ty(interface, event)));
    }
    let definitions = signature::definitions(interface);
    if !definitions.is_empty() {
        lines.push(String::new());
        lines.extend(definitions);
    }
    if let Some(state) = state {
        lines.push(String::new());
        lines.extend(list::state_lines(state));
    }
    lines.iter().map(|line| print::clean(line)).collect::<Vec<_>>().join("\n")
}

fn method_lines(interface: &Interface, method: &Method) -> Vec<String> {
    let mut lines = vec![format!("{:<6}  {}", signature::kind(method.kind), signature::method(interface, method))];
    lines.extend(method.doc.lines().map(|line| format!("        {}", line.trim())));
    lines
}

#[cfg(test)]
mod tests {
    use concoord_executor::InProcess;

    use super::*;

    #[test]
    fn the_counter_shows_its_three_methods() {
        let counter = builtin::find("counter").expect("built in");
        let interface = describe(counter.module, &InProcess).expect("it describes itself");
        let text = as_text(&interface, None);
        assert!(text.starts_with("Counter "), "{text}");
        assert!(text.contains("update  increment() -> i64\n"), "{text}");
        assert!(text.contains("update  decrement() -> i64\n"), "{text}");
        assert!(text.contains("query   getvalue() -> i64\n"), "{text}");

        let json = as_json(&interface, None);
        let getvalue =
            json["methods"].as_array().and_then(|all| all.iter().find(|method| method["name"] == "getvalue"));
        let getvalue = getvalue.expect("listed");
        assert_eq!((getvalue["kind"].as_str(), getvalue["result"].as_str()), (Some("query"), Some("i64")));
    }
}
