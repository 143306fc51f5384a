//! The SDK as this command carries it: the sources that it was built beside, as a workspace of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Paths, seen from the root of Concoord's workspace, and texts.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));
/// The crates among them.
const MEMBERS: [&str; 3] = ["guest-sdk", "guest-sdk/macros", "runtime/wire"];

/// Where an SDK is: the directory that `guest-sdk` is in.
///
/// # Errors
/// When there is none.
pub(super) fn find(directory: &Path) -> Result<PathBuf> {
    let shown = directory.display();
    ensure!(
        directory.join("guest-sdk/Cargo.toml").is_file(),
        "{shown} holds no SDK: it has no guest-sdk/Cargo.toml; give a clone of Concoord's repository, or sdk/ of \
         another object"
    );
    directory.canonicalize().with_context(|| format!("can't read {shown}"))
}

/// The versions of everything that the SDK was tested with, and of more.
pub(super) fn lock_file() -> &'static str {
    file("Cargo.lock")
}

/// Every file of the SDK's own workspace, with its path in it.
pub(super) fn files() -> impl Iterator<Item = (&'static str, String)> {
    let sources = FILES.iter().filter(|(path, _)| !["Cargo.toml", "Cargo.lock"].contains(path));
    let sources = sources.map(|(path, text)| (*path, (*text).to_owned()));
    sources.chain([("Cargo.toml", manifest(file("Cargo.toml"), &MEMBERS.map(manifest_of)))])
}

fn manifest_of(member: &str) -> &'static str {
    file(&format!("{member}/Cargo.toml"))
}

fn file(path: &str) -> &'static str {
    FILES.iter().find(|(name, _)| *name == path).expect("the build script embeds it").1
}

/// The manifest of a workspace of these members: of the whole workspace's `root`, what they inherit.
fn manifest(root: &str, members: &[&str]) -> String {
    let mut lines = vec![
        format!("# The SDK of Concoord {}, as `concoord object new` wrote it.", env!("CARGO_PKG_VERSION")),
        "# To take another, replace this directory by that of a newly made object.".into(),
        "[workspace]".into(),
        "resolver = \"3\"".into(),
        format!("members = {MEMBERS:?}"),
    ];
    let mut section = "";
    for line in root.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let inherited = match section {
            "[workspace]" => false,
            "[workspace.dependencies]" => line.starts_with('[') || members.iter().any(|member| inherits(member, line)),
            section => section.starts_with("[workspace.") && !line.starts_with('#') && !line.is_empty(),
        };
        if inherited {
            if line.starts_with('[') {
                lines.push(String::new());
            }
            lines.push(line.into());
        }
    }
    lines.join("\n") + "\n"
}

/// Whether a member's manifest takes over the dependency that `line` declares.
fn inherits(member: &str, line: &str) -> bool {
    let Some((name, _)) = line.split_once(" = ") else { return false };
    let forms = [format!("{name}.workspace = true"), format!("{name} = {{ workspace = true")];
    member.lines().any(|line| forms.iter().any(|form| line.starts_with(form)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_what_its_members_inherit_and_nothing_else() {
        let (_, manifest) = files().find(|(path, _)| *path == "Cargo.toml").expect("written");
        for expected in
            ["\nversion = \"", "\npostcard = {", "\nconcoord-wire = { path = \"runtime/wire\" }", "\nmissing_docs"]
        {
            assert!(manifest.contains(expected), "{expected}: {manifest}");
        }
        for foreign in ["tokio", "wasmtime", "profile", "objects-wasm"] {
            assert!(!manifest.contains(foreign), "{foreign}: {manifest}");
        }
    }

    #[test]
    fn every_member_is_there_whole() {
        let paths: Vec<&str> = files().map(|(path, _)| path).collect();
        for expected in ["guest-sdk/src/lib.rs", "guest-sdk/macros/src/lib.rs", "runtime/wire/src/lib.rs", "LICENSE"] {
            assert!(paths.contains(&expected), "{expected}: {paths:?}");
        }
    }
}
