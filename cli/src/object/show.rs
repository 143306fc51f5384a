//! `concoord object show`: what an object can do, as it says itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use concoord_client::{ObjectState, Options};
use concoord_executor::Compiler;
use concoord_wire::client::Consistency;
use concoord_wire::interface::{Argument, Interface, Method};
use concoord_wire::signature;
use serde_json::{Value, json};

use super::held::{self, Held};
use super::{change, list};
use crate::compiler::compiler;
use crate::connect::{self, Connect};
use crate::{builtin, print};

/// Show an object's name, version, description and methods
///
/// A file is read. A name is looked up in the cluster, and without -c also among the built-in objects, if no cluster at the
/// default address has it. Of an object of a cluster, its modules, limits and state are shown too, and who holds it and who
/// waits for it, where it has the queries 'holders' and 'waiters'.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// A .wasm file, a built-in object, or an object of the cluster
    #[arg(value_name = "NAME|FILE")]
    name: String,

    #[command(flatten)]
    connect: Connect,

    /// Print JSON: {"name","version","doc","methods":[{"name","kind","doc","arguments","result","error"}],"types","init","event",
    /// "state","holders","waiters"}, with what object list --json prints of an object as the state, or null [default: off]
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Found { interface, state, held } = find(arguments)?;
    if arguments.json {
        let mut all = as_json(&interface, state.as_ref());
        for (name, said) in held {
            all[name] = said.unwrap_or(Value::Null);
        }
        print::json(&all)
    } else {
        let mut lines = vec![as_text(&interface, state.as_ref())];
        lines.extend(held::lines(&held));
        print::line(lines.join("\n"))
    }
}

/// Without -c there may be no cluster: for so long the default address is asked for an object that is built in as well,
const BUILT_IN_PATIENCE: Duration = Duration::from_millis(300);
/// and for so long for one that is not.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(2);

/// What an object can do; how it is and who has it, where it is one of a cluster.
struct Found {
    interface: Interface,
    state: Option<ObjectState>,
    held: Held,
}

fn find(arguments: &Arguments) -> anyhow::Result<Found> {
    let alone = |interface| Found { interface, state: None, held: Held::new() };
    let name = &arguments.name;
    let path = Path::new(name);
    if path.is_file() || path.extension().is_some_and(|extension| extension == "wasm") {
        let module = builtin::read_module(path)?;
        concoord_module::check(&module).map_err(|refusal| anyhow!("{name}: {refusal}"))?;
        let described = describe(&module, &*compiler());
        let interface = described.map_err(|error| error.context(format!("{name}: it can't be asked what it does")))?;
        return Ok(alone(interface));
    }
    let builtin = builtin::find(name);
    let patience = match (&builtin, arguments.connect.is_given()) {
        (_, true) => Options::default().connect_timeout,
        (Some(_), false) => BUILT_IN_PATIENCE,
        (None, false) => UNKNOWN_PATIENCE,
    };
    let name = builtin.as_ref().map_or(name.as_str(), |builtin| builtin.name);
    match (connect::runtime()?.block_on(look_up(arguments, name, patience)), builtin) {
        (Err(_), Some(builtin)) if !arguments.connect.is_given() => Ok(alone(describe(builtin.module, &*compiler())?)),
        (found, _) => found,
    }
}

/// Looks the object up in the cluster, a replica of which has to answer so soon.
async fn look_up(arguments: &Arguments, name: &str, patience: Duration) -> anyhow::Result<Found> {
    let options = Options { connect_timeout: patience, ..Options::default() };
    let client = arguments.connect.client_with(options).await.with_context(|| not_built_in(arguments))?;
    let described = connect::describe(&client, Some(name), Consistency::Linearizable).await?;
    let held = held::ask(&client, &described.name, &described.interface).await;
    client.close().await;
    let operator = arguments.connect.operator(options.timeout).await?;
    let state = change::find(&operator, &described.name).await?;
    Ok(Found { interface: described.interface, state: Some(state), held })
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
