//! Embeds the SDK's sources in the command, for `concoord object new`: a list of the files and their text.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// What a crate needs that depends on the SDK, seen from the root of the workspace.
const PARTS: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "guest-sdk/Cargo.toml",
    "guest-sdk/src",
    "guest-sdk/macros/Cargo.toml",
    "guest-sdk/macros/src",
    "runtime/wire/Cargo.toml",
    "runtime/wire/src",
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the command is a member of the workspace");
    let mut files = vec![];
    for part in PARTS {
        // Of a directory, cargo looks at all that is in it.
        println!("cargo::rerun-if-changed={}", root.join(part).display());
        collect(&root.join(part), &mut files);
    }
    let entries: String = files
        .iter()
        .map(|file| {
            let name = file.strip_prefix(root).expect("it is below").to_str().expect("our names are UTF-8");
            format!("({name:?}, include_str!({file:?})),\n")
        })
        .collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("sdk_files.rs");
    fs::write(out, format!("&[{entries}]")).expect("cargo made the directory");
}

/// All files at or below `path`, in the order of their names.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory can be listed").path()).collect();
    entries.sort();
    for entry in entries {
        collect(&entry, files);
    }
}
