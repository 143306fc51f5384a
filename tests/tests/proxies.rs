//! The proxies that `concoord object proxy` writes from modules alone: those of all standard objects compile, and what the book shows
//! of them is so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use concoord_tests::cluster::{Scratch, binary, concoord};
use concoord_tests::guide::texts;

/// The page that shows them.
const PAGE: &str = include_str!("../../docs/src/objects/proxies.md");

/// The standard objects, by their modules.
fn objects() -> Vec<String> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../objects-wasm/dist");
    let files = fs::read_dir(dist).expect("the built modules").map(|file| file.expect("readable").path());
    let modules = files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    let mut names: Vec<String> =
        modules.map(|file| file.file_stem().expect("a name").to_str().expect("in ASCII").to_owned()).collect();
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// What `object proxy` prints.
fn proxy(object: &str, language: &str) -> String {
    let printed = concoord(&["object", "proxy", object, "--lang", language]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{object} in {language}");
    printed.stdout
}

/// Runs a program to its good end.
fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    assert!(!stderr.contains("warning"), "{command:?}: {stderr}");
}

/// A place that stays, so that only the first run compiles dependencies.
fn desk() -> PathBuf {
    let path = binary().ancestors().nth(2).expect("it is in <target>/release").join("proxies");
    fs::create_dir_all(path.join("src")).expect("a place in the target directory");
    path
}

#[test]
fn in_rust_they_compile_without_a_warning_and_are_formatted() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let desk = desk();
    let wire = repository.join("runtime/wire").display().to_string();
    let manifest = format!(
        "[package]\nname = \"proxies\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         concoord-wire = {{ path = {wire:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n"
    );
    fs::write(desk.join("Cargo.toml"), manifest).expect("it can be written");
    // The same versions as here, since no other may be there.
    fs::copy(repository.join("Cargo.lock"), desk.join("Cargo.lock")).expect("it can be copied");
    // What is in the directory above says nothing about the format here.
    fs::write(desk.join("rustfmt.toml"), "").expect("it can be written");

    let mut modules = String::new();
    for object in objects() {
        let file = desk.join("src").join(format!("of_{object}.rs"));
        fs::write(&file, proxy(&object, "rust")).expect("it can be written");
        run(Command::new("rustfmt").args(["--check", "--edition", "2024"]).arg(&file));
        modules += &format!("pub mod of_{object};\n");
    }
    // The program of the page, with a client that is not connected here.
    let program = texts(PAGE, "rust").swap_remove(1);
    let lines = program.lines().filter(|line| !line.starts_with("let client = "));
    modules += &format!(
        "\n/// It is used like this.\npub async fn used<C: concoord_wire::caller::Caller<Error: 'static>>(\n    client: C,\n\
         ) -> Result<(), Box<dyn std::error::Error>> {{\nuse of_kv as kv;\n{}\nOk(())\n}}\n",
        lines.collect::<Vec<_>>().join("\n")
    );
    fs::write(desk.join("src/lib.rs"), modules).expect("it can be written");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["check", "--offline", "--quiet"])
        .current_dir(&desk)
        .env("CARGO_TARGET_DIR", desk.join("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0"));
}

#[test]
fn in_python_they_compile() {
    let scratch = Scratch::new("python-proxies");
    for object in objects() {
        let file = scratch.write(&format!("{object}.py"), proxy(&object, "python").as_bytes());
        run(Command::new("python3").args(["-m", "py_compile"]).arg(file));
    }
}

#[test]
fn the_page_shows_parts_of_them() {
    for (language, object) in [("rust", "kv"), ("typescript", "kv")] {
        let written = proxy(object, language);
        let shown = texts(PAGE, language).swap_remove(0);
        for part in shown.split("\n\n") {
            assert!(written.contains(part.trim_end()), "not in the proxy in {language}: {part}");
        }
    }
}

#[test]
fn a_module_that_is_none_is_refused_and_nothing_is_written() {
    let scratch = Scratch::new("no-proxy");
    let text = scratch.write("text.wasm", b"text").display().to_string();
    let output = scratch.write("kept.rs", b"kept").display().to_string();
    for (object, says) in [(text.as_str(), "not a WebAssembly module"), ("conter", "the built-in objects are ")] {
        let refused = concoord(&["object", "proxy", object, "-o", &output]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
        assert!(refused.stderr.contains(says) && refused.stderr.lines().count() == 1, "{refused:?}");
    }
    assert_eq!(fs::read_to_string(&output).expect("it is there"), "kept");

    let written = concoord(&["object", "proxy", "kv", "--output", &output]);
    assert_eq!((written.code, written.stdout.as_str(), written.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(fs::read_to_string(&output).expect("it is there"), proxy("kv", "rust"));
}
