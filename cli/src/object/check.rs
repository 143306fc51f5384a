//! `concoord object check`: whether a replica would run a module.

use std::path::PathBuf;

use anyhow::anyhow;
use concoord_module::{Checked, Refusal};
use concoord_wire::interface::Interface;
use serde_json::{Value, json};

use crate::compiler::compiler;
use crate::{builtin, print};

/// Check whether a module can run as an object
///
/// Prints what it is made of, how large it is when all is added that meters and undoes calls, and what it can do. Exit code
/// 0 if it can run; else 1, with one line that says what stands against it, where, and what to do.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The .wasm file
    file: PathBuf,

    /// Print JSON: {"file","ok","reason","offset","advice","interface","sizes"}, with what object show --json prints as the
    /// interface and {"module","code","data","functions","globals","mutable_globals","memory_pages_min",
    /// "memory_pages_max","rewritten"} as the sizes; both are null where ok is false [default: off]
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = arguments.file.display().to_string();
    let module = builtin::read_module(&arguments.file)?;
    let verdict = verdict(&module);
    if arguments.json {
        print::json(&as_json(&file, &verdict))?;
    }
    match verdict {
        Ok(_) if arguments.json => Ok(()),
        Ok(accepted) => print::line(as_text(&file, &accepted)),
        Err(Objection::Refused(refusal)) => Err(anyhow!("{file}: {refusal}")),
        Err(Objection::Undescribed(why)) => Err(anyhow!("{file}: it can't be asked what it does: {why}")),
    }
}

/// What stands against a module.
enum Objection {
    /// Found by looking at it.
    Refused(Refusal),
    /// Found by running it.
    Undescribed(String),
}

/// A module that a replica would run.
struct Accepted {
    interface: Interface,
    checked: Checked,
    /// Bytes of what is compiled.
    rewritten: usize,
}

fn verdict(module: &[u8]) -> Result<Accepted, Objection> {
    let checked = concoord_module::check(module).map_err(Objection::Refused)?;
    let interface =
        super::show::describe(module, &*compiler()).map_err(|error| Objection::Undescribed(print::one_line(&error)))?;
    let rewritten = concoord_module::rewrite(module, &checked).len();
    Ok(Accepted { interface, checked, rewritten })
}

fn as_text(file: &str, accepted: &Accepted) -> String {
    let Accepted { interface, checked, rewritten } = accepted;
    let Checked { module_bytes, functions, code_bytes, data_bytes, globals, .. } = checked;
    let (min, max) = (checked.memory_pages_min, checked.memory_pages_max);
    let lines = [
        format!(
            "{file}: {} {}, {} methods, {module_bytes} bytes",
            print::clean(&interface.name),
            print::clean(&interface.version),
            interface.methods.len()
        ),
        format!("  code       {code_bytes} bytes in {functions} functions"),
        format!("  data       {data_bytes} bytes"),
        format!("  memory     {min} pages of 64 KiB at first, at most {max}"),
        format!("  globals    {globals}, of which {} can change", checked.mutable_globals.len()),
        format!(
            "  rewritten  {rewritten} bytes, {:.1} times as many, with what meters and undoes calls",
            *rewritten as f64 / *module_bytes as f64
        ),
        String::new(),
    ];
    lines.join("\n") + "\n" + &super::show::as_text(interface, None)
}

fn as_json(file: &str, verdict: &Result<Accepted, Objection>) -> Value {
    let refused = |reason: String, offset: Option<usize>, advice: Option<&str>| {
        json!({
            "file": file,
            "ok": false,
            "reason": reason,
            "offset": offset,
            "advice": advice,
            "interface": null,
            "sizes": null,
        })
    };
    match verdict {
        Ok(Accepted { interface, checked, rewritten }) => json!({
            "file": file,
            "ok": true,
            "reason": null,
            "offset": null,
            "advice": null,
            "interface": super::show::as_json(interface, None),
            "sizes": {
                "module": checked.module_bytes,
                "code": checked.code_bytes,
                "data": checked.data_bytes,
                "functions": checked.functions,
                "globals": checked.globals,
                "mutable_globals": checked.mutable_globals.len(),
                "memory_pages_min": checked.memory_pages_min,
                "memory_pages_max": checked.memory_pages_max,
                "rewritten": rewritten,
            },
        }),
        Err(Objection::Refused(refusal)) => refused(refusal.reason.to_string(), refusal.offset, Some(refusal.advice())),
        Err(Objection::Undescribed(why)) => refused(why.clone(), None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_measured() {
        let counter = builtin::find("counter").expect("built in").module;
        let checked = concoord_module::check(counter).expect("it is an object");
        let interface = super::super::show::describe(counter, &concoord_executor::InProcess).expect("it has one");
        let rewritten = concoord_module::rewrite(counter, &checked).len();
        let accepted = Accepted { interface, checked, rewritten };
        let text = as_text("counter.wasm", &accepted);
        assert!(text.starts_with("counter.wasm: Counter ") && text.contains("update  increment() -> i64\n"), "{text}");
        assert!(text.contains(&format!("\n  rewritten  {rewritten} bytes, ")), "{text}");
        let json = as_json("counter.wasm", &Ok(accepted));
        assert_eq!(json["sizes"]["module"], counter.len());
        assert!(json["sizes"]["rewritten"].as_u64().is_some_and(|bytes| bytes > counter.len() as u64), "{json}");
        assert_eq!(json["interface"]["methods"].as_array().map(Vec::len), Some(3));
    }
}
