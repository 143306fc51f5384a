//! Building objects in other languages than Rust, with what `tests/run` installs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{self, Scratch};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What this compiler writes where `-o` says.
fn made_by(command: &mut Command) -> Vec<u8> {
    let scratch = Scratch::new("guest");
    let module = scratch.path().join("module.wasm");
    command.arg("-o").arg(&module);
    let output =
        command.output().unwrap_or_else(|error| panic!("can't run {command:?}: {error}; tests/run installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    std::fs::read(&module).unwrap_or_else(|error| panic!("can't read what {command:?} wrote: {error}"))
}

/// The module that an object in C makes; `source` is a path from the root of the repository.
///
/// # Panics
/// When the compiler does not accept it, or is not there.
#[must_use]
pub fn build_c(source: &str) -> Vec<u8> {
    let mut command = Command::new(repository().join("guest-sdk/c/build"));
    made_by(command.arg(repository().join(source)).arg("-Werror"))
}

/// The module that an object in AssemblyScript makes; `source` is a path from the directory of its SDK.
///
/// # Panics
/// When the compiler does not accept it, or is not there.
#[must_use]
pub fn build_assemblyscript(source: &str) -> Vec<u8> {
    let compiler = cluster::target().join("assemblyscript/node_modules/.bin/asc");
    assert!(compiler.is_file(), "{} is missing: tests/run installs it", compiler.display());
    let mut command = Command::new(compiler);
    command.current_dir(repository().join("guest-sdk/assemblyscript"));
    made_by(command.args(["--config", "asconfig.json", source]))
}
