//! `concoord object`: modules before and in a cluster.

mod change;
mod check;
mod held;
mod list;
mod load;
mod new;
mod proxy;
mod show;
mod source;
mod upgrade;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use self::change::Change;
use crate::{build, print};

pub(crate) use source::{LoadFlags, Source};

/// Make, build, check and describe objects, and write their proxies; load, upgrade and remove those of a cluster
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    New(new::Arguments),
    Build(BuildArguments),
    Check(check::Arguments),
    Show(show::Arguments),
    Proxy(proxy::Arguments),
    List(list::Arguments),
    Load(load::Arguments),
    Upgrade(upgrade::Arguments),

    /// Let an object go on with the module and limits that it had before its last upgrade
    ///
    /// The earlier module takes over what the present one exports, so no call is lost; where it can't, nothing happens. What
    /// that breaks for callers is printed and let through. A second rollback undoes the first.
    Rollback(change::Arguments),

    /// Remove an object: its state is gone, its name is free for others
    Remove(change::Arguments),

    /// Let a suspended object go on
    ///
    /// An object is suspended when it traps where nobody waits for an answer, as at the end of a session; object list says
    /// why. It is told again of what it could not be told. An upgrade lets it go on too.
    Resume(change::Arguments),
}

/// Build the Wasm module of an object's crate
///
/// Finds a toolchain that can build for wasm32-unknown-unknown: that of rustup, or Debian's rustc-web with rust-web-src,
/// libstd-rust-web-dev and lld-19. The same toolchain gives the same bytes wherever the crate lies.
#[derive(clap::Args, Debug)]
struct BuildArguments {
    /// Directory of the crate, where its Cargo.toml is
    #[arg(default_value = ".")]
    dir: PathBuf,

    /// Where to write the module [default: object/<name>.wasm in the target directory of the crate's workspace]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Where to write what built it: where two such files are equal, the same source gives the same module
    /// [default: nowhere]
    #[arg(long, value_name = "FILE")]
    toolchain: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::New(arguments) => new::run(&arguments),
        Command::Build(arguments) => build(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Proxy(arguments) => proxy::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Load(arguments) => load::run(&arguments),
        Command::Upgrade(arguments) => upgrade::run(&arguments),
        Command::Rollback(arguments) => change::run(&arguments, Change::Rollback),
        Command::Remove(arguments) => change::run(&arguments, Change::Remove),
        Command::Resume(arguments) => change::run(&arguments, Change::Resume),
    }
}

fn build(arguments: &BuildArguments) -> anyhow::Result<()> {
    let built = build::build(&arguments.dir, arguments.output.as_deref())?;
    if let Some(file) = &arguments.toolchain {
        fs::write(file, built.toolchain.to_string()).with_context(|| format!("can't write {}", file.display()))?;
    }
    print::line(format!("{}: object {}, {} bytes", built.file.display(), built.name, built.bytes))
}
