//! Building objects in other languages than Rust, with what `tests/run` installs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{self, Scratch};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What this compiler writes where `-o` says.
fn made_by(command: &mut Command, scratch: &Scratch) -> Vec<u8> {
    let module = scratch.path().join("module.wasm");
    command.arg("-o").arg(&module);
    let output =
        command.output().unwrap_or_else(|error| panic!("can't run {command:?}: {error}; tests/run installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    fs::read(&module).unwrap_or_else(|error| panic!("can't read what {command:?} wrote: {error}"))
}

/// The module that an object in C makes; `source` is a path from the root of the repository.
///
/// # Panics
/// When the compiler does not accept it, or is not there.
#[must_use]
pub fn build_c(source: &str) -> Vec<u8> {
    let mut command = Command::new(repository().join("guest-sdk/c/build"));
    made_by(command.arg(repository().join(source)).arg("-Werror"), &Scratch::new("c"))
}

/// The module that an object in AssemblyScript makes; `source` is a path from the root of the repository. It is built in
/// a project of its own, with the helpers copied into it.
///
/// # Panics
/// When the compiler does not accept it, or is not there.
#[must_use]
pub fn build_assemblyscript(source: &str) -> Vec<u8> {
    let compiler = cluster::target().join("assemblyscript/node_modules/.bin/asc");
    assert!(compiler.is_file(), "{} is missing: tests/run installs it", compiler.display());
    let (scratch, sdk) = (Scratch::new("assemblyscript"), repository().join("guest-sdk/assemblyscript"));
    copy(&sdk.join("asconfig.json"), &scratch.path().join("asconfig.json"));
    copy(&repository().join(source), &scratch.path().join("objects/object.ts"));
    for helper in ["concoord.ts", "exports.ts", "panic.ts", "postcard.ts"] {
        copy(&sdk.join("assembly").join(helper), &scratch.path().join("assembly").join(helper));
    }
    let mut command = Command::new(compiler);
    command.current_dir(scratch.path()).args(["--config", "asconfig.json", "objects/object.ts"]);
    made_by(&mut command, &scratch)
}

fn copy(from: &Path, to: &Path) {
    let directory = to.parent().expect("it is in the scratch directory");
    let copied = fs::create_dir_all(directory).and_then(|()| fs::copy(from, to));
    copied.unwrap_or_else(|error| panic!("can't copy {} to {}: {error}", from.display(), to.display()));
}
