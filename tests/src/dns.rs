//! Questions to a name server, asked with `dig`.

use std::net::SocketAddr;
use std::process::Command;

/// How `dig` asks: once, and for no longer than a second.
const ONCE: [&str; 2] = ["+tries=1", "+time=1"];

/// The answer to a question of `dig`, one line for each record, as `+short` prints it; empty when there is none.
///
/// # Errors
/// What `dig` said when there was no answer at all.
///
/// # Panics
/// When there is no `dig`.
pub fn dig(server: SocketAddr, question: &[&str]) -> Result<Vec<String>, String> {
    let (ip, port) = (format!("@{}", server.ip()), server.port().to_string());
    let mut command = Command::new("dig");
    command.args([&ip, "-p", &port, "+short"]).args(ONCE).args(question);
    let output = command.output().expect("dig, which tests/run installs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(said.lines().map(str::to_owned).collect())
    } else {
        Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    }
}
