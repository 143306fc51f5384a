//! The servers: each a process of its own at an address of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::process::Process;
use super::zones::Zone;
use super::{DNS_PORT, ROOT, ROOT_HINTS};
use crate::cluster::wait_for;
use crate::dns::dig;

/// A name server of one zone: BIND.
pub(super) fn authority(directory: &Path, name: &str, at: Ipv4Addr, origin: &str, zone: &Zone) -> Process {
    let file = zone.file;
    let more = format!("zone \"{origin}\" {{ type primary; file \"{file}\"; }};\n");
    bind(directory, name, at, "recursion no; dnssec-validation no;", &more)
}

/// A resolver that checks signatures: BIND.
pub(super) fn bind_resolver(directory: &Path, name: &str, at: Ipv4Addr, root: &Zone) -> Process {
    let (numbers, digest) = (&root.ds.numbers, &root.ds.digest);
    let more = format!(
        "zone \".\" {{ type hint; file \"{ROOT_HINTS}\"; }};\n\
         trust-anchors {{ . static-ds {numbers} \"{digest}\"; }};\n"
    );
    bind(directory, name, at, "recursion yes; dnssec-validation yes;", &more)
}

/// A resolver that checks signatures: unbound.
pub(super) fn unbound_resolver(directory: &Path, name: &str, at: Ipv4Addr, root: &Zone) -> Process {
    let (numbers, digest) = (&root.ds.numbers, &root.ds.digest);
    // What is not of this place and this network is at its default, hardening too.
    let text = format!(
        "server:\n  directory: \"{directory}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  \
         logfile: \"\"\n  do-daemonize: no\n  do-ip6: no\n  interface: {at}\n  do-not-query-localhost: no\n  \
         root-hints: \"{ROOT_HINTS}\"\n  trust-anchor: \". DS {numbers} {digest}\"\n\
         remote-control:\n  control-enable: no\n",
        directory = directory.display(),
    );
    start(directory, name, at, "unbound", &text, &["-d", "-c"])
}

fn bind(directory: &Path, name: &str, at: Ipv4Addr, options: &str, more: &str) -> Process {
    let text = format!(
        "options {{\n  directory \"{directory}\"; pid-file none; session-keyfile none;\n  \
         listen-on port {DNS_PORT} {{ {at}; }}; listen-on-v6 {{ none; }};\n  {options}\n}};\ncontrols {{ }};\n{more}",
        directory = directory.display(),
    );
    start(directory, name, at, "named", &text, &["-4", "-g", "-n", "1", "-c"])
}

/// Starts a program whose last argument is the file of its configuration, and waits until it answers.
fn start(directory: &Path, name: &str, at: Ipv4Addr, program: &str, text: &str, flags: &[&str]) -> Process {
    let configuration = directory.join(name).with_extension("conf");
    std::fs::write(&configuration, text).expect("the directory is ours");
    // BIND listens only where an interface has the very address.
    let address = Command::new("ip").args(["address", "add", &format!("{at}/32"), "dev", "lo"]).status();
    assert!(address.expect("'ip' ran before").success(), "{at} is in use");
    // As a copy it is not confined to the system's own directories where AppArmor has a profile for it.
    let copy = directory.join(name).with_extension(program);
    let copied = Command::new("sh").args(["-c", &format!("cp \"$(command -v {program})\" \"$0\"")]).arg(&copy).status();
    assert!(copied.expect("there is a shell").success(), "no {program}, which tests/run installs");
    let mut command = Command::new(copy);
    command.args(flags).arg(configuration);
    let mut process = Process::start(directory, name, command);
    let server = SocketAddr::from((at, DNS_PORT));
    wait_for(&format!("{name} to answer"), || {
        assert!(process.ended().is_none(), "{name} has ended");
        dig(server, &["-t", "soa", "com"]).and_then(|answer| match answer.is_empty() && at != ROOT {
            true => Err("no answer".into()),
            false => Ok(()),
        })
    });
    process
}
