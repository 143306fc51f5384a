//! BIND, a name server that shares no code with ours, on a port of its own.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::cluster::{Scratch, free_address, wait_for};
use crate::dns::dig;

/// A BIND that serves one zone on loopback. It ends with the test.
#[derive(Debug)]
pub struct Bind {
    server: SocketAddr,
    child: Child,
}

impl Bind {
    /// Starts it for `domain` with the records of `zone`, a zone file, on one thread; all that it writes goes into `scratch`.
    /// Like ours it adds the addresses of names that it gives, and nothing else.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start(scratch: &Scratch, domain: &str, zone: &str) -> Bind {
        let server = free_address();
        scratch.write("zone", zone.as_bytes());
        let configuration = format!(
            "options {{ directory \"{}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;\n\
             session-keyfile none; recursion no; minimal-responses no-auth; }};\n\
             controls {{}};\n\
             zone \"{domain}\" {{ type primary; file \"zone\"; }};\n",
            scratch.path().display(),
            server.port()
        );
        let configuration = scratch.write("named.conf", configuration.as_bytes());
        let log = scratch.path().join("named.log");
        let mut command = Command::new("named");
        command.args(["-g", "-n", "1", "-c"]).arg(configuration).stdin(Stdio::null());
        command.stderr(fs::File::create(&log).expect("the directory is there"));
        let child = command.spawn().expect("named, which tests/run installs");
        // Its process ends with this, also when it does not answer.
        let bind = Bind { server, child };
        wait_for("BIND to serve its zone", || {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            let serial = dig(server, &["-t", "soa", domain]).map_err(|_| said())?;
            if serial.is_empty() { Err(said()) } else { Ok(()) }
        });
        bind
    }

    /// Where it answers.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The number of its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
