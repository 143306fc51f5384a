//! `concoord object new`: a crate that builds, tests and runs, for an author to change.

mod name;
mod sdk;

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};

use crate::print;
use name::Name;

/// What is written, with `Stock` and `stock` standing for the object's names. The sources are Rust as they are here.
const TEMPLATE: [(&str, &str); 4] = [
    ("src/lib.rs", include_str!("new/template/lib.rs")),
    ("README.md", include_str!("new/template/README.md")),
    ("clippy.toml", include_str!("new/template/clippy.toml")),
    (".gitignore", "/target\n/concoord-data\n/*.wasm\n"),
];

/// Make the crate of a new object
///
/// The crate has a small object to change, tests, a README with the commands, and in sdk/ the SDK of this command, so that
/// nothing else has to be at hand. It is a crate of its own, also inside another workspace.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Name of the crate and of the object's module: lower-case letters, digits, '-' and '_', beginning with a letter
    name: String,

    /// Directory to make, or an empty one [default: NAME in the working directory]
    #[arg(long)]
    dir: Option<PathBuf>,

    /// Use the SDK that is there already: a clone of Concoord's repository, or sdk/ of another object [default: write
    /// this command's own to sdk/]
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let name = Name::read(&arguments.name)?;
    let directory = arguments.dir.clone().unwrap_or_else(|| PathBuf::from(&name.package));
    let given = arguments.sdk.as_deref().map(sdk::find).transpose()?;
    make_directory(&directory)?;
    let path = match &given {
        Some(sdk) => relative(&directory.canonicalize()?, sdk),
        None => "sdk".into(),
    };

    write(&directory, "Cargo.toml", &manifest(&name, &path))?;
    // Cargo takes out what this crate does not need, and keeps the versions that the SDK was tested with.
    write(&directory, "Cargo.lock", sdk::lock_file())?;
    for (file, text) in TEMPLATE {
        write(&directory, file, &name.put_into(text))?;
    }
    if given.is_none() {
        for (file, text) in sdk::files() {
            write(&directory.join("sdk"), file, &text)?;
        }
    }
    print::line(format!(
        "{}: a crate with the object {}; its README.md says how to test, build and run it",
        directory.display(),
        name.type_name
    ))
}

/// Takes only a directory that nothing can be lost in.
fn make_directory(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("can't make the directory {shown}"))?;
    let mut entries = fs::read_dir(directory).with_context(|| format!("can't read the directory {shown}"))?;
    ensure!(
        entries.next().is_none(),
        "{shown} exists and is not empty: choose another name, or a directory with --dir"
    );
    Ok(())
}

fn write(directory: &Path, file: &str, text: &str) -> anyhow::Result<()> {
    let path = directory.join(file);
    let parent = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("can't make the directory {}", parent.display()))?;
    fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
}

/// `sdk` is where the SDK is, seen from the crate.
fn manifest(name: &Name, sdk: &Path) -> String {
    let package = &name.package;
    // Debug escapes as TOML does, but for what no path has.
    let path = sdk.join("guest-sdk");
    format!(
        "\
[package]
name = \"{package}\"
description = \"A replicated object\"
version = \"0.1.0\"
edition = \"2024\"
rust-version = \"{}\"
publish = false

[dependencies]
concoord-sdk = {{ path = {path:?} }}

# `concoord object build` brings the profile of modules. With this, native release builds overflow as modules do.
[profile.release]
overflow-checks = true

# A workspace of its own, so that it may be kept inside another.
[workspace]
exclude = [\"sdk\"]
",
        env!("CARGO_PKG_RUST_VERSION")
    )
}

/// How to get from one absolute directory to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(from, to)| from == to).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_directory_is_reached_over_what_both_are_in() {
        for (from, to, way) in [
            ("/home/ann/stock", "/home/ann/concoord", "../concoord"),
            ("/home/ann/stock", "/home/ann/till/sdk", "../till/sdk"),
            ("/home/ann/objects/stock", "/srv/concoord", "../../../../srv/concoord"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(way), "{from} to {to}");
        }
    }

    #[test]
    fn every_file_carries_the_new_name_and_none_the_templates() {
        let name = Name::read("parking-lot").expect("a name");
        for (file, text) in TEMPLATE {
            let text = name.put_into(text);
            assert!(!text.contains("stock") && !text.contains("Stock"), "{file}: {text}");
        }
        let (_, source) = TEMPLATE[0];
        assert!(name.put_into(source).contains("pub struct ParkingLot {"));
        assert!(manifest(&name, Path::new("../sdk")).contains("path = \"../sdk/guest-sdk\""));
    }

    #[test]
    fn the_object_in_the_book_is_the_new_one() {
        let (_, source) = TEMPLATE[0];
        let (object, _) = source.split_once("\n#[cfg(test)]").expect("the tests come last");
        let (_, object) = object.split_once("\n\n").expect("the crate's description comes first");
        let book = include_str!("../../../docs/src/objects/writing.md");
        assert!(book.contains(&format!("```rust\n{object}```")), "{object}");
    }
}
