//! A session that outlives the command that uses it, by a token in a file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use concoord_client::{Client, SessionToken};
use concoord_wire::limits::{SESSION_TTL_MS_MAX, SESSION_TTL_MS_MIN};

use crate::duration;

/// The session of a command.
#[derive(clap::Args, Debug)]
pub(crate) struct Session {
    /// Go on with the session whose token is in this file, or open one and write its token there. It is not closed, so what it
    /// holds, such as locks, it holds until the next command, for at least --ttl [default: a session that ends with the command]
    #[arg(long = "session", value_name = "FILE")]
    file: Option<PathBuf>,

    /// How long a session lives when nothing is heard of it; up to twice that and a second. Of one that is gone on with, it
    /// stays as it was
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = ttl)]
    pub(crate) ttl: Duration,
}

pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let (min, max) =
        (Duration::from_millis(SESSION_TTL_MS_MIN.into()), Duration::from_millis(SESSION_TTL_MS_MAX.into()));
    let ttl = duration::parse(text)?;
    if (min..=max).contains(&ttl) { Ok(ttl) } else { Err("from 1s to 24h".into()) }
}

impl Session {
    /// Whether it outlives the command.
    pub(crate) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// The token in the file.
    ///
    /// # Errors
    /// When the file can't be read, or has something else in it.
    pub(crate) fn token(&self) -> anyhow::Result<Option<SessionToken>> {
        let Some(file) = &self.file else { return Ok(None) };
        match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => {
                let text = read.with_context(|| format!("can't read {}", file.display()))?;
                let token = text.parse().with_context(|| file.display().to_string())?;
                Ok(Some(token))
            }
        }
    }

    /// Writes the token of the client's session to the file, for its owner only, unless it is there.
    ///
    /// # Errors
    /// When no session can be opened, or the file not be written.
    pub(crate) async fn save(&self, client: &Client) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let token = client.session().await?;
        if self.token()? == Some(token) {
            return Ok(());
        }
        match write(file, &format!("{token}\n")) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Nobody can go on with this one.
                client.close().await;
                bail!("another command has just begun a session in {}: try again", file.display())
            }
            written => written.with_context(|| format!("can't write {}", file.display())),
        }
    }

    /// What to do about a session that is gone.
    pub(crate) fn advice(&self) -> String {
        let file = self.file.as_deref().unwrap_or(Path::new("the file")).display();
        format!("the session in {file} is gone, and with it what it held: remove {file} to begin another")
    }
}

/// Whoever finds the file finds all of it, and whoever comes second does not write over it.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let written =
        open.write_all(text.as_bytes()).and_then(|()| open.sync_all()).and_then(|()| fs::hard_link(&part, file));
    fs::remove_file(&part)?;
    written
}
