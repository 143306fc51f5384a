//! Questions to a name server, asked with `dig`, and what `dig` and `drill` print.

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

/// A reply in full, as `dig` and `drill` print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `NOERROR`, `SERVFAIL` and so on.
    pub status: String,
    /// `aa`, `ad` and so on.
    pub flags: Vec<String>,
    /// The data of each record in the answer section, in the words of a zone file.
    pub answers: Vec<String>,
}

impl Reply {
    /// Reads what was printed.
    ///
    /// # Errors
    /// All of it, when it is no reply.
    pub fn read(printed: &str) -> Result<Reply, String> {
        let after = |start: &str| printed.split_once(start).map(|(_, rest)| rest);
        let up_to = |rest: &str, end: char| rest.split(end).next().map(str::to_owned);
        let status = after("status: ").or_else(|| after("rcode: ")).and_then(|rest| up_to(rest, ','));
        let flags = after(";; flags:").and_then(|rest| up_to(rest, ';'));
        let (Some(status), Some(flags)) = (status, flags) else { return Err(printed.into()) };
        let section = after(";; ANSWER SECTION:\n").unwrap_or_default();
        // Name, TTL, class and type come first.
        let data = |line: &str| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ");
        let answers = section.lines().take_while(|line| !line.is_empty()).map(data).collect();
        Ok(Reply { status, flags: flags.split_whitespace().map(str::to_owned).collect(), answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_dig_and_drill_print_is_read() {
        let dig = "\n;; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n\
            ;; flags: qr rd ra ad; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n\n\
            ;; QUESTION SECTION:\n;signed.com.\t\tIN\tTXT\n\n\
            ;; ANSWER SECTION:\nsigned.com.\t\t60\tIN\tTXT\t\"a b\"\n\n;; Query time: 4 msec\n";
        let (status, flags) = ("NOERROR".to_owned(), words(&["qr", "rd", "ra", "ad"]));
        assert_eq!(Reply::read(dig), Ok(Reply { status, flags, answers: words(&["\"a b\""]) }));
        let drill = ";; ->>HEADER<<- opcode: QUERY, rcode: SERVFAIL, id: 1\n\
            ;; flags: qr rd ra ; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0 \n\
            ;; QUESTION SECTION:\n;; forged.com.\tIN\tTXT\n\n;; ANSWER SECTION:\n\n;; AUTHORITY SECTION:\n";
        let (status, flags) = ("SERVFAIL".to_owned(), words(&["qr", "rd", "ra"]));
        assert_eq!(Reply::read(drill), Ok(Reply { status, flags, answers: vec![] }));
        assert!(Reply::read(";; no servers could be reached").is_err());
    }
}
