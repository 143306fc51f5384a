//! `concoord object check`: whether a replica would run a module.

use std::path::PathBuf;

use anyhow::anyhow;
use concoord_module::Refusal;
use concoord_wire::interface::Interface;
use serde_json::{Value, json};

use crate::compiler::compiler;
use crate::{builtin, print};

/// Check whether a module can run as an object
///
/// Exit code 0 if it can; else 1, with one line that says what stands against it, where, and what to do.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The .wasm file
    file: PathBuf,

    /// Print JSON: {"file","ok","reason","offset","advice"} [default: off]
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
        Ok(interface) => {
            let (name, version) = (print::clean(&interface.name), print::clean(&interface.version));
            print::line(format!(
                "{file}: {name} {version}, {} methods, {} bytes",
                interface.methods.len(),
                module.len()
            ))
        }
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

/// The interface of a module that a replica would run.
fn verdict(module: &[u8]) -> Result<Interface, Objection> {
    concoord_module::check(module).map_err(Objection::Refused)?;
    super::show::describe(module, &*compiler()).map_err(|error| Objection::Undescribed(print::one_line(&error)))
}

fn as_json(file: &str, verdict: &Result<Interface, Objection>) -> Value {
    match verdict {
        Ok(_) => json!({"file": file, "ok": true, "reason": null, "offset": null, "advice": null}),
        Err(Objection::Refused(refusal)) => json!({
            "file": file,
            "ok": false,
            "reason": refusal.reason.to_string(),
            "offset": refusal.offset,
            "advice": refusal.advice(),
        }),
        Err(Objection::Undescribed(why)) => {
            json!({"file": file, "ok": false, "reason": why, "offset": null, "advice": null})
        }
    }
}
