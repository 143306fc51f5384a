//! The book is right: its pages run as they stand there, each on a machine of its own, and no link leads nowhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use concoord_tests::cluster::binary;
use concoord_tests::guide::{Tools, broken_links, run_page, strange_programs, texts};
use concoord_tests::netns::on_own_machine;
use concoord_tests::{bombs, tally};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Each page with commands that is run: its test, and what it finds in its directory.
macro_rules! pages {
    ($($test:ident: $page:literal, $beside:expr;)*) => {
        const RUN: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $test() {
                runs(stringify!($test), $page, $beside);
            }
        )*
    };
}

pages! {
    readme: "README.md", tallies;
    getting_started: "docs/src/getting-started.md", nothing;
    calling_objects: "docs/src/clients.md", nothing;
    standard_objects: "docs/src/objects/standard.md", nothing;
    methods_that_wait: "docs/src/objects/waiting.md", nothing;
    objects_in_other_languages: "docs/src/objects/languages.md", helpers;
    proxies_from_a_module: "docs/src/objects/proxies.md", kv_and_a_program;
    starting_replicas: "docs/src/operating/start.md", nothing;
    members_and_health: "docs/src/operating/members.md", nothing;
    objects_of_a_cluster: "docs/src/operating/objects.md", tallies;
    finding_replicas_by_name: "docs/src/operating/names.md", nothing;
    route53: "docs/src/operating/route53.md", secret_key;
    logs: "docs/src/operating/logs.md", nothing;
    disks: "docs/src/operating/disks.md", nothing;
    native_code: "docs/src/operating/native-code.md", bomb;
    backup_and_restore: "docs/src/operating/backup.md", nothing;
}

/// Pages with commands that are not run here, and why.
const NOT_RUN: [(&str, &str); 3] = [
    ("docs/src/how/testing.md", "it shows what long runs of the tests print, and these take hours"),
    ("docs/src/measurements/README.md", "it shows what was measured on one machine, and that takes hours"),
    ("docs/src/objects/writing.md", "tests/tests/authors.rs runs it, where what was compiled stays"),
];

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).expect("there is room");
}

fn nothing(_: &Path) {}

/// Two versions of an object.
fn tallies(directory: &Path) {
    write(directory, "tally-1.wasm", &tally::FIRST.module());
    write(directory, "tally-2.wasm", &tally::SECOND.module());
}

/// The helpers for objects in other languages, where they are in the repository.
fn helpers(directory: &Path) {
    let helpers = fs::canonicalize(repository().join("guest-sdk")).expect("it is there");
    symlink(helpers, directory.join("guest-sdk")).expect("there is room");
}

/// The module that the page has proxies of, and the program that it shows.
fn kv_and_a_program(directory: &Path) {
    let module = fs::read(repository().join("objects-wasm/dist/kv.wasm")).expect("it is built");
    write(directory, "kv.wasm", &module);
    let program = texts(&read("docs/src/objects/proxies.md"), "python").swap_remove(0);
    write(directory, "apples.py", program.as_bytes());
}

/// The secret that stands in all examples of AWS.
fn secret_key(directory: &Path) {
    write(directory, "key", b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n");
}

/// A module that takes too much to compile.
fn bomb(directory: &Path) {
    write(directory, "bomb.wasm", &bombs::find("loops").module());
}

/// Runs a page's commands in a directory that was prepared, where all ports are free and nobody else is there.
fn runs(test: &str, page: &str, prepare: fn(&Path)) {
    on_own_machine(test, |directory| {
        let directory = directory.join("here");
        fs::create_dir(&directory).expect("there is room");
        prepare(&directory);
        let commands = binary().parent().expect("it is in a directory").to_owned();
        let tools = Tools { commands: &commands, examples: &commands.join("examples"), environment: &[] };
        match run_page(&read(page), &directory, tools) {
            Ok(ran) => println!(
                "{page}: {} commands printed what it says beside {} that ran on; {} blocks are run by other tests",
                ran.compared, ran.started, ran.elsewhere
            ),
            Err(why) => panic!("{page}, {why}"),
        }
    });
}

#[test]
fn every_page_with_commands_is_run_or_says_why_not() {
    let mut files = vec![repository().join("README.md")];
    pages(&repository().join("docs/src"), &mut files);
    let mut commands: Vec<String> = files
        .iter()
        .filter(|file| fs::read_to_string(file).expect("it is text").contains("```console"))
        .map(|file| file.strip_prefix(repository()).expect("it is in there").display().to_string())
        .collect();
    commands.sort();
    let mut known: Vec<&str> = RUN.iter().copied().chain(NOT_RUN.map(|(page, _)| page)).collect();
    known.sort_unstable();
    assert_eq!(commands, known, "pages with commands, and those that are run or are known not to be");
}

#[test]
fn each_program_of_the_guide_is_an_example_that_is_built() {
    let examples = fs::read_dir(repository().join("cli/examples")).expect("it is there");
    let examples = examples.map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("it is text"));
    let examples: Vec<_> = examples.collect();
    for page in ["docs/src/getting-started.md", "docs/src/clients.md"] {
        let page_text = read(page);
        assert!(page_text.contains("```rust,no_run\n"), "{page} has programs");
        assert_eq!(strange_programs(&page_text, &examples), [0; 0], "{page}: lines of programs that are no examples");
    }
}

/// All pages of the book, with their paths from its directory.
fn pages(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            into.push(path);
        }
    }
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_in_the_summary() {
    let book = repository().join("docs/src");
    let mut files = Vec::new();
    pages(&book, &mut files);
    let summary = read("docs/src/SUMMARY.md");
    for file in &files {
        let name = file.strip_prefix(&book).expect("it is in there").display().to_string();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("]({name})")), "{name} is not in SUMMARY.md");
    }
    files.push(repository().join("README.md"));
    let broken = files.iter().flat_map(|file| {
        let page = fs::read_to_string(file).expect("it is text");
        broken_links(file, &page).into_iter().map(|link| format!("{}: {link}", file.display())).collect::<Vec<_>>()
    });
    assert_eq!(broken.collect::<Vec<_>>(), Vec::<String>::new());
}
