//! What an author does, from no crate to three replicas that run it: each step of the page on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use concoord_tests::cluster::{Cluster, Finished, binary, concoord, wait_for};
use concoord_tests::guide::{Tools, run_page};
use concoord_tests::netns::on_own_machine;
use serde_json::{Value, json};

/// The author's directory. It is at one place and what was compiled in it stays, so that only the first run compiles
/// the SDK's dependencies; the crate is a new one each time.
struct Desk {
    path: PathBuf,
    environment: [(String, String); 3],
}

impl Desk {
    fn new() -> Desk {
        let path = binary().ancestors().nth(2).expect("it is in <target>/release").join("authors");
        fs::create_dir_all(&path).expect("a place in the target directory");
        let target = path.join("target").display().to_string();
        // What a new crate needs from elsewhere is what this workspace was built with.
        let environment =
            [("CARGO_TARGET_DIR", target.as_str()), ("CARGO_NET_OFFLINE", "true"), ("CARGO_PROFILE_DEV_DEBUG", "0")];
        Desk { environment: environment.map(|(name, value)| (name.into(), value.into())), path }
    }

    /// Runs a program in `directory`.
    fn run(&self, program: &Path, directory: &str, arguments: &str) -> Finished {
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).current_dir(self.path.join(directory)).env_remove("CONCOORD_CONNECT");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs `concoord` in `directory`; gives what it printed.
    fn concoord(&self, directory: &str, arguments: &str) -> String {
        let finished = self.run(&binary(), directory, arguments);
        assert_eq!(finished.code, Some(0), "concoord {arguments}: {}{}", finished.stdout, finished.stderr);
        finished.stdout
    }

    /// Runs `concoord`, which fails with code 1; gives its last line on standard error: cargo may say more before.
    fn refusal(&self, arguments: &str) -> String {
        let finished = self.run(&binary(), "", arguments);
        assert_eq!(finished.code, Some(1), "concoord {arguments}: {}{}", finished.stdout, finished.stderr);
        finished.stderr.lines().last().unwrap_or_default().to_owned()
    }

    /// An empty directory of this name.
    fn clear(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).expect("it is ours");
        }
        path
    }

    fn write(&self, file: &str, text: &str) {
        let file = self.path.join(file);
        fs::create_dir_all(file.parent().expect("it is in a directory")).expect("it can be made");
        fs::write(file, text).expect("it can be written");
    }
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into()
}

#[test]
fn a_new_object_is_tested_built_and_run_as_the_book_says() {
    on_own_machine("a_new_object_is_tested_built_and_run_as_the_book_says", |_| {
        let desk = Desk::new();
        let directory = desk.clear("page");
        fs::create_dir(&directory).expect("it can be made");
        let commands = binary().parent().expect("it is in a directory").to_owned();
        let tools = Tools { commands: &commands, examples: &commands, environment: &desk.environment };
        run_page(include_str!("../../docs/src/objects/writing.md"), &directory, tools)
            .unwrap_or_else(|why| panic!("{why}"));
        let tested = desk.run(&cargo(), "page/stock", "test");
        assert!(!tested.stderr.contains("warning"), "a new crate compiles without a warning: {}", tested.stderr);
        every_replica_runs_it(&desk, &directory.join("stock/stock.wasm").display().to_string());
    });
}

fn every_replica_runs_it(desk: &Desk, module: &str) {
    let shown: Value = serde_json::from_str(&desk.concoord("", &format!("object show {module} --json"))).expect("JSON");
    let methods = shown["methods"].as_array().expect("methods").iter().map(|method| {
        assert!(method["doc"].as_str().is_some_and(|doc| !doc.is_empty()), "{method}");
        json!([method["name"], method["kind"], method["result"], method["error"]])
    });
    let expected = [
        json!(["put", "update", "u64", null]),
        json!(["take", "update", "u64", "Shortage"]),
        json!(["amount", "query", "u64", null]),
    ];
    assert_eq!(methods.collect::<Vec<_>>(), expected);

    let mut cluster = Cluster::new("authors");
    let first = cluster.start(&["-o", module]);
    for _ in 1..3 {
        cluster.start(&["-b", &first.to_string()]);
    }
    let put = concoord(&["call", "-c", &cluster.addresses(), "stock.put", "plums", "7"]);
    assert_eq!(put.stdout, "7\n", "{put:?}");
    for address in cluster.all() {
        wait_for("every replica to have run the last call", || {
            let has = concoord(&["call", "-c", &address.to_string(), "--stale", "amount", "plums"]);
            if has.stdout == "7\n" { Ok(()) } else { Err(format!("{has:?}")) }
        });
    }
}

#[test]
fn what_is_no_object_yet_is_refused_with_what_to_do() {
    let desk = Desk::new();
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n");
    for (name, source) in [("no-object", "src/lib.rs"), ("no-library", "src/main.rs")] {
        desk.clear(name);
        desk.write(&format!("{name}/Cargo.toml"), &package(name));
        desk.write(&format!("{name}/{source}"), "pub fn main() {}\n");
    }
    desk.clear("elsewhere");
    fs::create_dir(desk.path.join("elsewhere")).expect("it can be made");

    for (arguments, reasons) in [
        ("object new no-object", &["no-object exists and is not empty", "--dir"][..]),
        ("object new Counter", &["the name 'Counter' has 'C'", "lower-case", "'counter' would do"]),
        ("object new match", &["'match' is a word of the Rust language", "my-match"]),
        ("object new fresh --sdk elsewhere", &["elsewhere holds no SDK", "guest-sdk/Cargo.toml"]),
        ("object build no-object", &["no-object builds, but not to an object", "#[concoord::methods]"]),
        ("object build no-library", &["no-library has no library: an object is a src/lib.rs"]),
        ("object build elsewhere", &["elsewhere holds no crate", "concoord object new"]),
    ] {
        let refusal = desk.refusal(arguments);
        assert!(refusal.starts_with("concoord: "), "{arguments}: {refusal}");
        for reason in reasons {
            assert!(refusal.contains(reason), "{arguments}: {refusal}");
        }
    }
    assert!(!desk.path.join("fresh").exists(), "nothing is left of what was refused");

    // With an SDK that is there, none is written, and the crate finds it from where it is.
    desk.clear("sharing");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").display().to_string();
    desk.concoord("", &format!("object new sharing --dir sharing/deep --sdk {repository}"));
    assert!(!desk.path.join("sharing/deep/sdk").exists());
    let metadata = desk.run(&cargo(), "sharing/deep", "metadata --format-version=1");
    assert_eq!(metadata.code, Some(0), "{}", metadata.stderr);
    let metadata: Value = serde_json::from_str(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let sdk = packages.iter().find(|package| package["name"] == "concoord-sdk").expect("it is depended on");
    let found = Path::new(sdk["manifest_path"].as_str().expect("a path")).canonicalize().expect("it is there");
    assert_eq!(found, Path::new(&repository).join("guest-sdk/Cargo.toml").canonicalize().expect("it is there"));
}
