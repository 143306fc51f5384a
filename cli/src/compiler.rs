//! The process that compiles modules: this command again, with a word that nobody types.

use std::process::ExitCode;
use std::sync::Arc;

use concoord_executor::{ChildCompiler, Compiler};

/// Compile the module on standard input to native code on standard output, for the process that started this
#[derive(clap::Args, Debug)]
#[command(hide = true)]
pub(crate) struct Arguments;

/// What compiles in this command.
pub(crate) fn compiler() -> Arc<dyn Compiler> {
    Arc::new(ChildCompiler::new(["compile-module"]))
}

pub(crate) fn run() -> ExitCode {
    concoord_executor::serve_compiling()
}
