//! The zones above the replicas' domain, signed.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use super::{COM, DOMAIN, FORGED, ROOT, SIGNED};

/// How long what the root and `com` say may be kept, as in the real ones: no change there helps whoever asked before.
const TTL_SECONDS: u32 = 172_800;
const TXT: &str = "\"as it was signed\"";

/// A signed zone.
pub(super) struct Zone {
    /// Its file.
    pub(super) file: &'static str,
    /// The record by which its key is trusted.
    pub(super) ds: Ds,
}

/// What a DS record says of a key.
pub(super) struct Ds {
    /// Tag, algorithm and kind of digest.
    pub(super) numbers: String,
    /// In hexadecimal.
    pub(super) digest: String,
}

/// The zone `com`, which delegates the domain to name servers at these addresses, without a DS record.
pub(super) fn com(directory: &Path, delegated: &[Ipv4Addr]) -> Zone {
    let mut text = start("a.gtld-servers.com.", COM);
    text += &format!("{SIGNED}. TXT {TXT}\n{FORGED}. TXT {TXT}\n");
    for address in delegated {
        let server = format!("{address}.ipaddr.{DOMAIN}.");
        text += &format!("{DOMAIN}. NS {server}\n{server} A {address}\n");
    }
    let zone = sign(directory, "com.", "com.zone", &text);
    let file = directory.join(zone.file);
    let signed = std::fs::read_to_string(&file).expect("it was just written");
    let forged = signed.lines().map(|line| match line.starts_with(FORGED) && line.contains(TXT) {
        true => line.replace(TXT, "\"as it was not\""),
        false => line.to_owned(),
    });
    std::fs::write(&file, forged.collect::<Vec<_>>().join("\n") + "\n").expect("it was just written");
    zone
}

/// The root zone, above that one.
pub(super) fn root(directory: &Path, com: &Zone) -> Zone {
    let (numbers, digest) = (&com.ds.numbers, &com.ds.digest);
    let text = start("a.root.", ROOT)
        + &format!("com. NS a.gtld-servers.com.\na.gtld-servers.com. A {COM}\ncom. DS {numbers} {digest}\n");
    sign(directory, ".", "root.zone", &text)
}

fn start(server: &str, address: Ipv4Addr) -> String {
    let soa = format!("@ SOA {server} hostmaster.com. 1 1800 900 604800 900\n");
    format!("$TTL {TTL_SECONDS}\n{soa}@ NS {server}\n{server} A {address}\n")
}

fn sign(directory: &Path, name: &str, file: &'static str, text: &str) -> Zone {
    std::fs::write(directory.join(file), text).expect("the directory is ours");
    run(directory, "dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", name]);
    // One key signs all. The set of DS records goes into a file of its own.
    run(directory, "dnssec-signzone", &["-q", "-S", "-z", "-o", name, "-f", file, file]);
    let set = std::fs::read_to_string(directory.join(format!("dsset-{name}"))).expect("it was just written");
    let (_, data) = set.split_once(" DS ").expect("there is one key");
    let words = data.split_whitespace().collect::<Vec<_>>();
    Zone { file, ds: Ds { numbers: words[..3].join(" "), digest: words[3..].concat() } }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let ran = Command::new(program).args(arguments).current_dir(directory).output();
    let ran = ran.unwrap_or_else(|error| panic!("can't run {program}, which tests/run installs: {error}"));
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}
