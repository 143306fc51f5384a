//! `concoord lock`: whatever becomes of it, its command does not go on when somebody else may have the lock.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, Signal, binary, concoord, signal, wait_for};

/// Runs a script under the lock, in the background, without a terminal.
fn under_the_lock(cluster: &Cluster, flags: &[&str], script: &str) -> Child {
    let mut command = Command::new(binary());
    command.args(["lock", "lock", "-c", &cluster.addresses()]).args(flags).args(["--", "sh", "-c", script]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("it runs")
}

fn ended(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().expect("it ends");
    (output.status, String::from_utf8(output.stderr).expect("text"))
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

fn wait_for_lines(file: &Path) {
    wait_for("the command to write", || if lines(file) > 0 { Ok(()) } else { Err("nothing yet".into()) });
}

/// A script that writes a line every 50 ms, by a process of its own each time, for longer than any test takes.
fn writes(file: &Path) -> String {
    format!("for each in $(seq 600); do sh -c 'sleep 0.05; echo line >>{}'; done", file.display())
}

/// Nothing more is written.
fn is_still(file: &Path) -> bool {
    // What is on its way.
    std::thread::sleep(Duration::from_millis(200));
    let before = lines(file);
    std::thread::sleep(Duration::from_millis(300));
    lines(file) == before
}

#[test]
fn on_a_hang_up_the_lock_is_held_until_the_command_has_ended() {
    let cluster = Cluster::of("lock-hang-up", "lock", 1);
    let file = cluster.scratch().path().join("lines");
    let script = format!("trap '' HUP; echo begun >{0}; sleep 2; echo end >>{0}", file.display());
    let first = under_the_lock(&cluster, &["--ttl", "2s", "--grace", "1s"], &script);
    wait_for_lines(&file);
    signal(first.id(), Signal::HangUp);
    let next = concoord(&["lock", "lock", "-c", &cluster.addresses(), "--", "cat", &file.display().to_string()]);
    assert_eq!((next.code, next.stdout.as_str()), (Some(0), "begun\nend\n"), "{next:?}");
    assert_eq!(ended(first).0.code(), Some(0));

    // One that ends by it is not waited for any longer.
    fs::remove_file(&file).expect("it is there");
    let first = under_the_lock(&cluster, &[], &writes(&file));
    wait_for_lines(&file);
    let began = Instant::now();
    signal(first.id(), Signal::Terminate);
    assert_eq!(ended(first).0.code(), Some(128 + 15));
    assert!(is_still(&file) && began.elapsed() < Duration::from_secs(5), "what it started has ended with it");
}

#[test]
fn a_command_does_not_outlive_what_holds_its_lock() {
    let cluster = Cluster::of("lock-killed", "lock", 1);
    let file = cluster.scratch().path().join("lines");
    let script = format!("while :; do echo line >>{}; sleep 0.05; done", file.display());
    let first = under_the_lock(&cluster, &[], &script);
    wait_for_lines(&file);
    signal(first.id(), Signal::Kill);
    ended(first);
    assert!(is_still(&file));
}

#[test]
fn all_that_a_command_started_is_stopped_when_the_lock_is_lost() {
    let mut cluster = Cluster::of("lock-lost", "lock", 1);
    let address = cluster.all()[0];
    let file = cluster.scratch().path().join("lines");
    let first = under_the_lock(&cluster, &["--ttl", "2s", "--grace", "500ms"], &writes(&file));
    wait_for_lines(&file);
    cluster.replica(address).signal(Signal::Stop);
    let (status, said) = ended(first);
    assert!(is_still(&file));
    cluster.replica(address).signal(Signal::Continue);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("lock is lost: "), "{said}");

    // What it started has its time to end in order, also where the command itself is gone before.
    let ended_well = cluster.scratch().path().join("ended-well");
    let worker =
        format!("trap 'sleep 0.3; echo line >>{}; exit' TERM; while :; do sleep 0.05; done", ended_well.display());
    let script = format!("sh -c \"{worker}\" & echo line >>{}; exec sleep 60", file.display());
    fs::remove_file(&file).expect("it is there");
    let second = under_the_lock(&cluster, &["--ttl", "4s", "--grace", "2s"], &script);
    wait_for_lines(&file);
    cluster.replica(address).signal(Signal::Stop);
    assert_eq!(ended(second).0.code(), Some(1));
    cluster.replica(address).signal(Signal::Continue);
    assert_eq!(lines(&ended_well), 1);
}

#[test]
fn a_command_that_can_not_be_run_gives_the_lock_back_and_the_codes_of_a_shell() {
    let cluster = Cluster::of("lock-no-command", "lock", 1);
    let addresses = cluster.addresses();
    for (command, code) in [("/there/is/none", 127), ("/etc/passwd", 126)] {
        let ran = concoord(&["lock", "lock", "-c", &addresses, "--", command]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.starts_with(&format!("concoord: can't run {command}: ")), "{ran:?}");
    }
    assert_eq!(concoord(&["call", "-c", &addresses, "lock.holders"]).stdout, "[]\n");
}
