//! `concoord object proxy`: a program's side of an object, written from its module alone.

mod layout;
mod names;
mod python;
mod rust;
mod shapes;
#[cfg(test)]
mod strange;
#[cfg(test)]
mod tests;
mod typescript;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use concoord_wire::interface::Interface;

use super::Source;
use crate::print;

/// Write the typed proxy of an object, for programs that call it
///
/// For Rust it is a module that calls through concoord-client, as the proxy that the object's own crate has. For Python and
/// TypeScript it is a typed stub over the JSON form of values, for any client that can carry such a call.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// A .wasm file, or a built-in object
    #[arg(value_name = "FILE|BUILTIN")]
    object: String,

    /// The language
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    lang: Language,

    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a proxy can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// A module of Rust
    Rust,
    /// A module of Python 3.9 or newer
    Python,
    /// A module of TypeScript
    Typescript,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let text = write(&Source::find(&arguments.object)?.interface()?, arguments.lang);
    match &arguments.output {
        Some(file) => fs::write(file, text).with_context(|| format!("can't write {}", file.display())),
        None => print::bytes(text.as_bytes()),
    }
}

/// The proxy's text.
pub(super) fn write(interface: &Interface, language: Language) -> String {
    match language {
        Language::Rust => rust::write(interface),
        Language::Python => python::write(interface),
        Language::Typescript => typescript::write(interface),
    }
}
