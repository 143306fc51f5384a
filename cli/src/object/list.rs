//! `concoord object list`: the objects of a cluster, and the loads that failed.

use concoord_client::{ObjectList, ObjectState};
use concoord_wire::ModuleHash;
use serde_json::{Value, json};

use super::change::How;
use crate::connect;
use crate::print::{self, Table};

/// Digits of a module's hash that are shown in a table.
const HASH_DIGITS: usize = 12;

/// List the objects of a cluster: name, type and version, module, limits, and whether they run
///
/// Loads that failed lately are listed below, with the reason.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    how: How,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let list =
        connect::runtime()?.block_on(async { anyhow::Ok(arguments.how.operator().await?.objects(None).await?) })?;
    if arguments.how.is_json() { print::json(&as_json(&list)) } else { print::line(as_text(&list)) }
}

fn as_json(list: &ObjectList) -> Value {
    let failures = list
        .failures
        .iter()
        .map(|failure| json!({"slot": failure.slot.0, "name": failure.name, "why": failure.why}))
        .collect::<Vec<_>>();
    json!({"objects": list.objects.iter().map(state_json).collect::<Vec<_>>(), "failures": failures})
}

/// An object's state as JSON.
pub(super) fn state_json(state: &ObjectState) -> Value {
    let hash = |hash: &ModuleHash| hash.to_string();
    json!({
        "object": state.object.0,
        "name": state.name,
        "interface": state.interface_name,
        "version": state.interface_version,
        "module": hash(&state.module),
        "bytes": state.module_bytes,
        "generation": state.generation,
        "loaded": state.loaded.0,
        "changed": state.changed.0,
        "gas_per_call": state.limits.gas_per_call,
        "memory_pages": state.limits.memory_pages,
        "waiting": state.waiting,
        "suspended": state.suspended,
        "previous": state.previous.as_ref().map(hash),
        "versions": state.versions.iter().map(hash).collect::<Vec<_>>(),
    })
}

fn as_text(list: &ObjectList) -> String {
    let mut table = Table::new(&[
        "NAME",
        "ID",
        "TYPE",
        "GENERATION",
        "MODULE",
        "BYTES",
        "LOADED",
        "GAS PER CALL",
        "MEMORY PAGES",
        "WAITING",
        "STATE",
    ]);
    for state in &list.objects {
        table.row([
            print::clean(&state.name),
            state.object.to_string(),
            print::clean(&format!("{} {}", state.interface_name, state.interface_version)),
            state.generation.to_string(),
            state.module.to_string()[..HASH_DIGITS].to_owned(),
            state.module_bytes.to_string(),
            state.loaded.to_string(),
            state.limits.gas_per_call.to_string(),
            state.limits.memory_pages.to_string(),
            state.waiting.to_string(),
            match &state.suspended {
                None => "runs".into(),
                Some(why) => print::clean(&format!("suspended: {why}")),
            },
        ]);
    }
    let mut lines = vec![if list.objects.is_empty() { "no objects".to_owned() } else { table.to_string() }];
    for failure in &list.failures {
        lines.push(print::clean(&format!(
            "load of '{}' at slot {} failed: {}",
            failure.name, failure.slot, failure.why
        )));
    }
    lines.join("\n")
}

/// An object's state, a line for each side of it.
pub(super) fn state_lines(state: &ObjectState) -> Vec<String> {
    let ObjectState { object, generation, loaded, changed, limits, module, module_bytes, .. } = state;
    let mut lines = vec![
        format!("object {object}, generation {generation}, loaded at slot {loaded}, last changed at slot {changed}"),
        format!("module {module}, {module_bytes} bytes"),
        format!("limits: {} gas per call, {} pages of memory", limits.gas_per_call, limits.memory_pages),
    ];
    lines.push(match &state.suspended {
        None => "runs".into(),
        Some(why) => format!("suspended: {why}"),
    });
    if state.waiting > 0 {
        lines.push(format!("calls that wait for it: {}", state.waiting));
    }
    if let Some(previous) = &state.previous {
        lines.push(format!("rollback goes to module {previous}"));
    }
    for (index, version) in state.versions.iter().enumerate() {
        lines.push(format!("{} {version}", if index == 0 { "modules so far:" } else { "               " }));
    }
    lines
}
