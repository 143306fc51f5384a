//! The book is right: its first pages run as they stand there, each on a machine of its own, and no link leads nowhere.

use std::fs;
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

/// Runs a page's commands, for which all ports are free and nobody else is there.
fn runs(test: &str, page: &str) {
    runs_beside(test, page, &[]);
}

/// The same in a directory with these files, which the page names and says what they are.
fn runs_beside(test: &str, page: &str, files: &[(&str, Vec<u8>)]) {
    on_own_machine(test, |directory| {
        let directory = directory.join("here");
        fs::create_dir(&directory).expect("there is room");
        for (name, bytes) in files {
            fs::write(directory.join(name), bytes).expect("there is room");
        }
        let commands = binary().parent().expect("it is in a directory").to_owned();
        let tools = Tools { commands: &commands, examples: &commands.join("examples") };
        match run_page(&read(page), &directory, tools) {
            Ok(ran) => println!(
                "{page}: {} commands printed what it says beside {} that ran on; {} blocks are run by other tests",
                ran.compared, ran.started, ran.elsewhere
            ),
            Err(why) => panic!("{page}, {why}"),
        }
    });
}

/// Two versions of an object.
fn tallies() -> [(&'static str, Vec<u8>); 2] {
    [("tally-1.wasm", tally::FIRST.module()), ("tally-2.wasm", tally::SECOND.module())]
}

#[test]
fn readme() {
    runs_beside("readme", "README.md", &tallies());
}

#[test]
fn getting_started() {
    runs("getting_started", "docs/src/getting-started.md");
}

#[test]
fn calling_objects() {
    runs("calling_objects", "docs/src/clients.md");
}

#[test]
fn standard_objects() {
    runs("standard_objects", "docs/src/objects/standard.md");
}

#[test]
fn methods_that_wait() {
    runs("methods_that_wait", "docs/src/objects/waiting.md");
}

#[test]
fn starting_replicas() {
    runs("starting_replicas", "docs/src/operating/start.md");
}

#[test]
fn members_and_health() {
    runs("members_and_health", "docs/src/operating/members.md");
}

#[test]
fn objects_of_a_cluster() {
    runs_beside("objects_of_a_cluster", "docs/src/operating/objects.md", &tallies());
}

#[test]
fn backup_and_restore() {
    runs("backup_and_restore", "docs/src/operating/backup.md");
}

#[test]
fn finding_replicas_by_name() {
    runs("finding_replicas_by_name", "docs/src/operating/names.md");
}

#[test]
fn logs() {
    runs("logs", "docs/src/operating/logs.md");
}

#[test]
fn disks() {
    runs("disks", "docs/src/operating/disks.md");
}

#[test]
fn proxies_from_a_module() {
    let page = "docs/src/objects/proxies.md";
    let program = texts(&read(page), "python").swap_remove(0);
    let module = fs::read(repository().join("objects-wasm/dist/kv.wasm")).expect("it is built");
    runs_beside("proxies_from_a_module", page, &[("kv.wasm", module), ("apples.py", program.into_bytes())]);
}

#[test]
fn native_code() {
    let bomb = ("bomb.wasm", bombs::find("loops").module());
    runs_beside("native_code", "docs/src/operating/native-code.md", &[bomb]);
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
