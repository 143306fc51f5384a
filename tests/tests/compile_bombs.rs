//! Modules that are hard to compile, and native code that is kept, as users of the command meet them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use concoord_tests::bombs;
use concoord_tests::cluster::{Cluster, Launch, Scratch, free_address};

/// What the log says with --debug each time that something was compiled.
const COMPILED: &str = "compiled a module of";

#[test]
fn a_module_that_takes_too_much_memory_to_compile_is_refused_before_anything_starts() {
    let scratch = Scratch::new("bomb");
    scratch.write("bomb.wasm", &bombs::find("loops").module());
    let reason = "compiling it took more than 1024 MiB of memory";
    for line in [&["object", "check", "bomb.wasm"][..], &["object", "show", "bomb.wasm"]] {
        let finished = scratch.concoord(line);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
        assert!(finished.stderr.starts_with("concoord: bomb.wasm: "), "{finished:?}");
        assert!(finished.stderr.contains(reason) && finished.stderr.lines().count() == 1, "{finished:?}");
    }
    let checked = scratch.concoord(&["object", "check", "--json", "bomb.wasm"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains(r#""ok":false"#) && checked.stdout.contains(reason), "{checked:?}");

    // A first replica with it starts no cluster, so the next one with another object does.
    let mut cluster = Cluster::new("bomb-replica");
    let file = scratch.path().join("bomb.wasm").display().to_string();
    let data = cluster.scratch().path().join("data").display().to_string();
    let address = free_address();
    let mut refused = cluster.launch(address, Launch::with_flags(&["-o", &file, "--data-dir", &data]));
    assert_eq!(refused.wait().code(), Some(1));
    let log = refused.log();
    assert!(log.contains("the module of object 'bomb' is refused: ") && log.contains(reason), "{log}");
    cluster.start_at(address, Launch::with_flags(&["-o", "counter", "--data-dir", &data]));
    assert_eq!(increment(&cluster), "1\n");
}

#[test]
fn native_code_is_kept_for_the_next_start_and_made_again_where_it_is_damaged() {
    let mut cluster = Cluster::new("native-code");
    let data = cluster.scratch().path().join("data");
    let replica = cluster.start(&["-o", "counter", "-d", "--data-dir", &data.display().to_string()]);
    assert_eq!(increment(&cluster), "1\n");
    let log = cluster.replica(replica).log_since_start();
    assert_eq!(log.matches(COMPILED).count(), 1, "to try it, and not again to load it: {log}");
    let kept = data.join("native-code");
    let mode = |path: &PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let files = files(&kept);
    assert_eq!((mode(&kept), files.len()), (0o700, 2), "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");

    cluster.replica(replica).kill();
    cluster.restart_same(replica);
    assert_eq!(increment(&cluster), "2\n");
    let log = cluster.replica(replica).log_since_start();
    assert_eq!(log.matches(COMPILED).count(), 0, "{log}");

    cluster.replica(replica).kill();
    let code = files.iter().find(|file| !file.ends_with("key")).expect("a file beside the key");
    let mut bytes = fs::read(code).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(code, &bytes).expect("it can be written");
    cluster.restart_same(replica);
    assert_eq!(increment(&cluster), "3\n");
    let log = cluster.replica(replica).log_since_start();
    assert_eq!(log.matches(COMPILED).count(), 1, "{log}");
    assert!(log.contains("is not used but compiled again: it is damaged, or was written elsewhere"), "{log}");
}

#[test]
fn a_replica_that_keeps_nothing_on_disk_keeps_no_native_code_there() {
    let mut cluster = Cluster::new("native-code-off");
    let data = cluster.scratch().path().join("data");
    let replica = cluster.start(&["-o", "counter", "-d", "-w", "off", "--data-dir", &data.display().to_string()]);
    assert_eq!(increment(&cluster), "1\n");
    let log = cluster.replica(replica).log_since_start();
    assert_eq!(log.matches(COMPILED).count(), 1, "it is kept in memory: {log}");
    assert!(!data.exists(), "nothing is on disk");
}

fn increment(cluster: &Cluster) -> String {
    let called = cluster.scratch().concoord(&["call", "-c", &cluster.addresses(), "increment"]);
    assert_eq!(called.code, Some(0), "{called:?}");
    called.stdout
}

fn files(directory: &PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}
