//! The command `ip` of iproute2.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs it, and gives what it printed.
///
/// # Errors
/// What it said, in one line.
pub(super) fn ip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("'ip' can't be run: {error}; install iproute2"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim().replace('\n', "; ")))
}

/// Runs many commands at once, in a namespace or in the test's own.
///
/// # Panics
/// When one fails.
pub(super) fn batch(namespace: Option<&str>, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(["-4", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("'ip' ran before");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all((lines.join("\n") + "\n").as_bytes()).expect("it reads what it is told");
    drop(input);
    let output = child.wait_with_output().expect("a child of ours can be waited for");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip in {namespace:?}: {lines:#?}: {}", said.trim());
}

/// All named network namespaces.
pub(super) fn names() -> Vec<String> {
    // There is no such directory before the first is made.
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
