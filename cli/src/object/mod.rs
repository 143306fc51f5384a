//! `concoord object`: modules before and in a cluster.

mod check;
mod new;
mod show;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use crate::{build, print};

/// Make, build, check and describe objects
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
    }
}

fn build(arguments: &BuildArguments) -> anyhow::Result<()> {
    let built = build::build(&arguments.dir, arguments.output.as_deref())?;
    if let Some(file) = &arguments.toolchain {
        fs::write(file, built.toolchain.to_string()).with_context(|| format!("can't write {}", file.display()))?;
    }
    print::line(format!("{}: object {}, {} bytes", built.file.display(), built.name, built.bytes))
}
